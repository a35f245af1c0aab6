"""What transformers loads, for skn: without its reports and bars, and refused in one line where it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from skn.errors import InputError


def load_tokenizer(name: str) -> Any:
    """The fast tokenizer of a local folder or a hub id; raises :class:`InputError`."""
    with quiet_transformers():
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{name}: no tokenizer that transformers can load ({first_line(error)})") from error
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # transformers makes an empty one where files are missing
        raise InputError(f"{name}: no tokenizer with words in it; save the model's tokenizer there")
    # Texts over the limit are truncated and counted by skn itself; transformers' own warning would be noise.
    tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True
    return tokenizer


def load_config(name: str) -> Any:
    """The configuration of a local folder or a hub id; raises :class:`InputError`."""
    if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
        raise InputError(f"{name}: this folder is no model (no config.json in it)")
    if Path(name).is_file():
        raise InputError(f"{name}: a file; give the folder of a model or a hub id")
    try:
        return transformers.AutoConfig.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{name}: neither the folder of a model nor a reachable hub id ({first_line(error)})"
        ) from error


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
    """The first line of an error's text, without its closing full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def resolve_device(device: str) -> torch.device:
    """The torch device "cpu" or "cuda", refused where it is absent."""
    if device not in ("cpu", "cuda"):
        raise InputError(f"--device {device}: use cpu or cuda (CUDA_VISIBLE_DEVICES chooses among several GPUs)")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: this torch sees no CUDA device; use --device cpu")
    return torch.device(device)
