"""What transformers loads, for skn: without its reports and bars, and refused in one line where it cannot.

A foreign file can make a library raise anything. :func:`reading` is the one place that turns that into a line.
"""

from __future__ import annotations

from collections.abc import Iterator
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

_READ_BY_LIBRARIES = (".json", ".safetensors", ".bin", ".txt", ".model")  # of a model's folder


def load_tokenizer(name: str) -> Any:
    """The fast tokenizer of a local folder or a hub id; raises :class:`InputError`, also where its model lacks tokens."""
    folder = check_place(name)
    with reading(name, "no tokenizer that transformers can load"), _hub_of(name, folder):
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # transformers makes an empty one where files are missing
        raise InputError(f"{name}: no tokenizer with words in it; save the model's tokenizer there")
    check_tokens(name, tokenizer, load_config(name))
    # Texts over the limit are truncated and counted by skn itself; transformers' own warning would be noise.
    tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True
    return tokenizer


def load_config(name: str) -> Any:
    """The configuration of a local folder or a hub id, whose sizes and kinds fit; raises :class:`InputError`."""
    folder = check_place(name)
    what = "neither the folder of a model nor a reachable hub id" if folder is None else "no configuration of a model"
    with reading(name if folder is None else f"{folder / 'config.json'}", what), _hub_of(name, folder):
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
    check_config(name, config, None if folder is None else _bytes_of_weights(folder))
    return config


def load_model(auto: type, name: str, config: Any) -> tuple[nn.Module, dict[str, Any]]:
    """A model by an Auto class of transformers, in float32, and what its weights lacked or had too much of.

    Raises :class:`InputError` for weights that transformers cannot load, and for a folder of skn's that has changed.
    """
    folder = check_place(name)
    check_files(Path(name))
    with reading(name, "no weights that transformers can load"), _hub_of(name, folder):
        model, report = auto.from_pretrained(
            name,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # refused here: transformers' error points to a report that is silent
        )
    for weight, stored, expected in sorted(report["mismatched_keys"]):
        shapes = f"{weight} is {list(stored)}, expected {list(expected)}"
        raise InputError(f"{name}: its weights have not the sizes that its config.json says ({shapes})")
    return model, report


def check_place(name: str) -> Path | None:
    """The folder of this name, or None where it can be a hub id; raises :class:`InputError` where it is neither.

    What cannot be on the hub is not asked for there (:func:`skn.store.hub.refuse_path`).
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
    except (OSError, ValueError) as error:  # a name too long, a null byte
        raise InputError(f"{name}: {missing}") from error
    return None


def _hub_of(name: str, folder: Path | None) -> AbstractContextManager[None]:
    """Where transformers may ask the hub: for what is no folder here."""
    if folder is not None:
        return nullcontext()
    return asking(name, cached=isinstance(try_to_load_from_cache(name, "config.json"), str))


@contextmanager
def reading(what: str, complaint: str) -> Iterator[None]:
    """What a library raises here, whatever it is, becomes an :class:`InputError` about the file or folder ``what``."""
    try:
        with quiet_transformers():
            yield
    except SknError:
        raise
    except Exception as error:  # the libraries have no base in common, and tokenizers raises Exception itself
        if is_out_of_memory(error):  # no fault of the file
            raise
        raise InputError(f"{what}: {complaint} ({first_line(error)})") from error


def _check_files(folder: Path) -> None:
    """Refuse pipes, pointers of Git LFS, and what may not be read or is not there: transformers calls such files missing."""
    for file in sorted(folder.iterdir()):
        if file.suffix in _READ_BY_LIBRARIES:
            check_file(file)


def _bytes_of_weights(folder: Path) -> int | None:
    """How much memory the weight files of a folder take; None where there are none."""
    files = [file for kind in ("*.safetensors", "*.bin") for file in folder.glob(kind)]
    return sum(file.stat().st_size for file in files) if files else None


class quiet_transformers:
    """Silence transformers' loading reports and bars: what matters in them, skn says itself."""

    def __enter__(self) -> None:
        self.verbosity = transformers.logging.get_verbosity()
        self.bars = transformers.utils.logging.is_progress_bar_enabled()
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        transformers.logging.set_verbosity(self.verbosity)
        if self.bars:
            transformers.logging.enable_progress_bar()


def first_line(error: BaseException) -> str:
    """The first lines of an error's text as one, without its closing full stop; its kind where the text says little."""
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    text = f"{lines[0]} {lines[1]}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]
    return f"{type(error).__name__}: {text}" if isinstance(error, LookupError) else text.rstrip(".")


def resolve_device(device: str) -> torch.device:
    """The torch device "cpu" or "cuda", refused where it is absent."""
    if device not in ("cpu", "cuda"):
        raise InputError(f"--device {device}: use cpu or cuda (CUDA_VISIBLE_DEVICES chooses among several GPUs)")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: this torch sees no CUDA device; use --device cpu")
    return torch.device(device)
