"""Recognise errors about what a machine has run out of: memory, disk space, or other resources that a library needs."""

from __future__ import annotations

import errno

_OUTPUT = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EBADF)
_FILES = (errno.EMFILE, errno.ENFILE)

# Messages of torch, safetensors and the loader of shared libraries. torch's own exception has no base class to
# recognise.
_MEMORY = (
    "can't allocate memory",
    "annot allocate memory",
    "not enough memory",
    "out of memory",
    "std::bad_alloc",
    "can't start new thread",
    "failed to map segment",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or the error that caused it, says that memory was missing on the CPU or on a GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    if isinstance(error, (RuntimeError, OSError, ImportError)) or type(error).__name__ == "SafetensorError":
        if any(said in str(error) for said in _MEMORY):
            return True
    return error.__cause__ is not None and is_out_of_memory(error.__cause__)


def exhausted(error: BaseException) -> str | None:
    """Say what has run out, for an error that names no file; None for another error.

    Errors of files name the file, or have become a line where the file was written. An error without a name comes from
    standard output, or from Python's search for a temporary folder.
    """
    if not isinstance(error, OSError) or error.filename is not None:
        return None
    if error.errno in _OUTPUT:
        return f"the output takes no more ({error.strerror})"
    if error.errno in _FILES:
        return f"{error.strerror}; raise the limit ('ulimit -n')"
    if "temporary directory" in str(error):
        return f"{error.strerror}; make space there, set TMPDIR, or raise the limit of a file's size ('ulimit -f')"
    return None
