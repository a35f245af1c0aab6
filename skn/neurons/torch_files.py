"""Read files of ``torch.save`` without running their code, and refuse a file that would become larger than it is."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.serialization import safe_globals

from skn.errors import InputError
from skn.neurons import pickle_bounds
from skn.store.foreign_files import check_file

# These functions come from NumPy's own pickles, so that skn imports no private module. NumPy 1 and NumPy 2 write the
# same pickle under different module names, and skn must load both.
_RECONSTRUCT = np.zeros(0).__reduce__()[0]
_SCALAR = np.float64(0).__reduce__()[0]
_NUMPY_GLOBALS = [
    np.ndarray,
    np.dtype,
    type(np.dtype(np.float32)),
    type(np.dtype(np.float64)),
    *(
        (function, f"numpy.{package}.multiarray.{name}")
        for package in ("core", "_core")
        for function, name in ((_RECONSTRUCT, "_reconstruct"), (_SCALAR, "scalar"))
    ),
]

# This pattern finds the global or class that torch refused.
_REFUSED = re.compile(r"GLOBAL ([\w.]+)|but got <class '([\w.]+)'>")


def read(path: Path) -> Any:
    """Return what ``torch.save`` wrote, NumPy arrays of floats included. Nothing else is loaded, and no code is run.

    Raises :class:`InputError`, which names the first global that is refused.
    """
    check_file(path)
    pickle_bounds.check(path)
    try:
        # torch warns about pickles of other protocols before it refuses them. One line of error is enough.
        with open(path, "rb") as file, safe_globals(_NUMPY_GLOBALS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # on bytes that are no pickle, the unpickler raises anything, even KeyError
        refused = _REFUSED.search(str(error))
        if refused is None:
            raise InputError(f"{path}: damaged or not written by torch.save") from error
        name = refused[1] or refused[2]
        raise InputError(f"{path}: holds '{name}', which skn does not load") from error
    _check_arrays(path, content)
    return content


def _check_arrays(path: Path, content: Any) -> None:
    """Refuse an array that has more bytes than its file: it was expanded from few values, or the file only claims its
    size.
    """
    size = path.stat().st_size
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple | set):
            waiting.extend(value)
        elif isinstance(value, np.ndarray | np.generic) or (isinstance(value, Tensor) and not value.is_nested):
            stated = (
                value.nbytes if isinstance(value, np.ndarray | np.generic) else value.numel() * value.element_size()
            )
            if stated > size:
                what = f"an array {list(value.shape)} of {stated:,} bytes in a file of {size:,}"
                raise InputError(f"{path}: {what}; save the values themselves, such as with .clone() or .copy()")
