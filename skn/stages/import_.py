"""``skn import``: turn files of the original code bases into artifacts of skn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skn.console import say
from skn.rsa.import_foreign import import_foreign


def import_(files: list[Path], out: Path, **options: Any) -> Path:
    """Convert ``files`` into the artifact ``out``, with the options of the library."""
    written = import_foreign(files, out, **options)
    say(f"wrote {written}")
    return written
