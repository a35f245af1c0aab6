"""Whether Triton is here. Files with a Triton kernel are imported only then."""

import functools


@functools.cache
def triton_here() -> bool:
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return True
