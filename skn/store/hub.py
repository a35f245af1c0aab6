"""Names that may be on the hub: tell them from paths, and wait for the hub only for a limited time."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from skn.errors import InputError

log = logging.getLogger(__name__)

SECONDS = 5.0  # the libraries would try for half a minute and more
_KNOWN_FOR = 60.0  # for so many seconds skn keeps an answer and does not ask again

# A name with one of these endings is a file, whatever a hub would allow.
FILE_ENDINGS = (
    *(".csv", ".tsv", ".jsonl", ".json", ".parquet", ".toml", ".txt", ".xlsx", ".arrow"),
    *(".safetensors", ".bin", ".pt", ".pth", ".npy", ".npz", ".onnx", ".zip", ".gz"),
)

_last: tuple[float, bool] | None = None  # when skn asked the hub, and whether it answered


def refuse_path(name: str, missing: str, see: str = "") -> None:
    """Refuse a name that is no file here, unless the name can be a hub id. Raises :class:`InputError`.

    A name counts as a path if its first part is an existing folder, or if it ends as a file does. ``missing`` says what
    is wrong with a path, "no such file or folder". ``see`` says which option gave the name.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    first, slash, _ = name.partition("/")
    if name.lower().endswith(FILE_ENDINGS) or name.startswith("~"):
        raise InputError(f"{name}: {missing}{see}")
    if slash and first not in ("", ".", "..") and Path(first).is_dir():
        path = f"there is a folder '{first}' here, so the name is taken for a path"
        raise InputError(f"{name}: {missing} ({path}; a hub id needs another working folder){see}")
    try:
        validate_repo_id(name)  # a hub id has at most one slash, and is no absolute path
    except (HFValidationError, ValueError) as error:
        raise InputError(f"{name}: {missing}{see}") from error


@contextlib.contextmanager
def asking(name: str, cached: bool = False) -> Iterator[None]:
    """Let the libraries ask the hub for ``name`` in the block. If the hub does not answer, they use only their caches.

    ``cached``: a copy is on this machine, so skn prints no line about the hub.
    """
    from huggingface_hub import constants

    if constants.is_offline_mode():
        yield
    elif _is_there():
        if not cached:
            _say(name)
        yield
    else:
        with _offline():
            try:
                yield
            except OSError as error:  # the libraries' own errors about a missing cache entry are OSErrors, too
                raise ConnectionError("the hub does not answer, and no copy is kept on this machine") from error


@functools.cache
def _say(name: str) -> None:
    """Say it once for each name, because a tokenizer and its model are looked for one after the other."""
    log.info("%s: nothing of this name stands here; looking for it on the hub", name)


def _is_there() -> bool:
    """Whether the hub gives any answer within :data:`SECONDS`."""
    global _last
    if _last is None or time.monotonic() - _last[0] > _KNOWN_FOR:
        answers: list[bool] = []
        # in a thread, because the look-up of an address has no timeout
        thread = threading.Thread(target=_ask, args=(answers,), daemon=True)
        thread.start()
        thread.join(SECONDS)
        _last = time.monotonic(), bool(answers)
    return _last[1]


def _ask(answers: list[bool]) -> None:
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    with contextlib.suppress(Exception):  # the client has errors of its own, and a proxy has others
        get_session().head(constants.ENDPOINT, timeout=SECONDS)
        answers.append(True)


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Make the libraries believe that the hub is switched off. ``datasets`` has its own copy of the setting."""
    import sys

    from huggingface_hub import constants

    owners = [module for module in (constants, sys.modules.get("datasets.config")) if module is not None]
    before = [module.HF_HUB_OFFLINE for module in owners]
    try:
        for module in owners:
            module.HF_HUB_OFFLINE = True
        yield
    finally:
        for module, value in zip(owners, before, strict=True):
            module.HF_HUB_OFFLINE = value
