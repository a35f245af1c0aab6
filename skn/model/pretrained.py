"""Load models with transformers, without its reports and bars. A failure becomes one line.

A foreign file can make a library raise any exception. :func:`reading` is the one place that turns exceptions into a
line.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import try_to_load_from_cache
from torch import nn

from skn.errors import InputError, SknError
from skn.limits import is_out_of_memory
from skn.model.fit import check_config, check_tokens
from skn.store.folders import check_files
from skn.store.foreign_files import check_file
from skn.store.hub import asking, refuse_path

# files of a model's folder that libraries read
_READ_BY_LIBRARIES = (".json", ".safetensors", ".bin", ".txt", ".model")

_PLACING = logging.getLogger("accelerate.big_modeling")


def load_tokenizer(name: str) -> Any:
    """Load the fast tokenizer of a folder or a hub id.

    Raises :class:`InputError`, also for tokens that the model lacks.
    """
    folder = check_place(name)
    with reading(name, "no tokenizer that transformers can load"), _hub_of(name, folder):
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    # if files are missing, transformers makes an empty tokenizer
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise InputError(f"{name}: no tokenizer with words in it; save the model's tokenizer there")
    check_tokens(name, tokenizer, load_config(name))
    # skn itself truncates and counts texts that are too long, so transformers' own warning would be noise.
    tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True
    return tokenizer


def load_config(name: str) -> Any:
    """Load the configuration of a folder or a hub id, and check it. Raises :class:`InputError`."""
    folder = check_place(name)
    what = "neither the folder of a model nor a reachable hub id" if folder is None else "no configuration of a model"
    with reading(name if folder is None else f"{folder / 'config.json'}", what), _hub_of(name, folder):
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
    check_config(name, config, None if folder is None else _bytes_of_weights(folder))
    return config


def load_model(
    auto: type, name: str, config: Any, dtype: torch.dtype = torch.float32, spread: Mapping[str, Any] | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """Load a model by an Auto class of transformers. Returns it with transformers' report on its weights.

    ``spread`` comes from :func:`skn.model.placement.loading`. Raises :class:`InputError` for weights that transformers
    cannot load, and for a folder of skn's that has changed.
    """
    check_files(Path(name))
    with loading_weights(name):
        model, report = auto.from_pretrained(
            name,
            config=config,
            dtype=dtype,
            output_loading_info=True,
            trust_remote_code=False,
            # skn refuses them below, because transformers' error points to a report that is silenced
            ignore_mismatched_sizes=True,
            **(spread or {}),
        )
    for weight, stored, expected in sorted(report["mismatched_keys"]):
        shapes = f"{weight} is {list(stored)}, expected {list(expected)}"
        raise InputError(f"{name}: its weights have not the sizes that its config.json says ({shapes})")
    return model, report


def check_place(name: str) -> Path | None:
    """Return the folder of this name, or None if it may be a hub id. Raises :class:`InputError` if it is neither.

    skn does not ask the hub for a name that cannot be there (:func:`skn.store.hub.refuse_path`).
    """
    missing = "no folder of this name, and no hub id could be it"
    folder = Path(name)
    try:
        if folder.is_file():
            raise InputError(f"{name}: a file; give the folder of a model or a hub id")
        if name and folder.is_dir():
            _check_files(folder)
            if not (folder / "config.json").is_file():
                raise InputError(f"{name}: this folder is no model (no config.json in it)")
            return folder
        refuse_path(name, missing)
    except (OSError, ValueError) as error:  # a name that is too long, or a null byte
        raise InputError(f"{name}: {missing}") from error
    return None


def _hub_of(name: str, folder: Path | None) -> AbstractContextManager[None]:
    """Let transformers ask the hub, unless the name is a folder here."""
    if folder is not None:
        return nullcontext()
    return asking(name, cached=isinstance(try_to_load_from_cache(name, "config.json"), str))


@contextmanager
def loading_weights(name: str) -> Iterator[None]:
    """The block reads the weights of a folder or a hub id. Any exception becomes an :class:`InputError` about it."""
    with reading(name, "no weights that transformers can load"), _hub_of(name, check_place(name)):
        yield


@contextmanager
def reading(what: str, complaint: str) -> Iterator[None]:
    """Turn any exception of a library in the block into an :class:`InputError` about the file or folder ``what``."""
    try:
        with quiet_transformers():
            yield
    except SknError:
        raise
    except Exception as error:  # the libraries share no base class, and tokenizers raises Exception itself
        if is_out_of_memory(error):  # not the file's fault
            raise
        raise InputError(f"{what}: {complaint} ({first_line(error)})") from error


def _check_files(folder: Path) -> None:
    """Refuse pipes, Git LFS pointers, unreadable files and broken links, because transformers calls such files missing."""
    for file in sorted(folder.iterdir()):
        if file.suffix in _READ_BY_LIBRARIES:
            check_file(file)


def _bytes_of_weights(folder: Path) -> int | None:
    """Return the bytes of a folder's weight files; None if there are none."""
    files = [file for kind in ("*.safetensors", "*.bin") for file in folder.glob(kind)]
    return sum(file.stat().st_size for file in files) if files else None


class quiet_transformers:
    """Silence transformers' loading reports and bars. skn itself reports what matters in them."""

    def __enter__(self) -> None:
        self.verbosity = transformers.logging.get_verbosity()
        self.bars = transformers.utils.logging.is_progress_bar_enabled()
        transformers.logging.set_verbosity_error()
        self.placing = _PLACING.level
        _PLACING.setLevel(logging.ERROR)  # accelerate says of every offloaded part that it was offloaded
        transformers.logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        transformers.logging.set_verbosity(self.verbosity)
        _PLACING.setLevel(self.placing)
        if self.bars:
            transformers.logging.enable_progress_bar()


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, without its full stop.

    If the text says little, the error's type comes first.
    """
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    text = f"{lines[0]} {lines[1]}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]
    return f"{type(error).__name__}: {text}" if isinstance(error, LookupError) else text.rstrip(".")
