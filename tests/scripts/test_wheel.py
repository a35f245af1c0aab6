"""The wheel of ``make wheel``, in an environment of its own: no compiler, no repository, none of this process's variables."""

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from repository import REPOSITORY

import skn
from skn.ops import backends, native

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the tag is for Linux on x86-64"
    ),
    pytest.mark.skipif(
        importlib.util.find_spec("auditwheel") is None, reason="no auditwheel: pip install 'skn[wheel]'"
    ),
]
LIBRARY = "skn/_native/libskn_cpu.so"


def make_wheel(folder, **variables):
    env = {name: value for name, value in os.environ.items() if name not in ("SKN_BUILD", "SOURCE_DATE_EPOCH")}
    command = [sys.executable, str(REPOSITORY / "scripts" / "make_wheel.py"), str(folder)]
    return subprocess.run(
        command, cwd=folder.parent, env=env | variables, capture_output=True, text=True, check=False, timeout=900
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    if backends.native_library() is None:
        pytest.skip(f"no native library: {native.build_record()['reason']}")
    folder = tmp_path_factory.mktemp("wheel") / "dist"
    done = make_wheel(folder, SKN_LEVELS="baseline")  # which the wheel does not follow
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = folder.iterdir()
    assert done.stdout == f"{made}\n"
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """``installed(*arguments)`` runs the wheel's ``skn ARGUMENTS``. Its dependencies are those of this Python."""
    home = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home / "env"], check=True)
    (site,) = home.glob("env/lib/python*/site-packages")
    # Python reads no .pth file in a folder that a .pth file adds: the editable skn of that folder is not found.
    (site / "needed.pth").write_text("".join(f"{path}\n" for path in sys.path if path.endswith("site-packages")))
    pip = (sys.executable, "-m", "pip", "--python", home / "env" / "bin" / "python", "install", "-q")
    # pip takes the wheel only if its tag fits this system.
    subprocess.run([*pip, "--no-deps", "--no-index", "--no-compile", wheel], check=True, cwd=home)
    env = {"PATH": str(home / "env" / "bin"), "HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "passive"}
    assert not any(shutil.which(name, path=env["PATH"]) for name in ("c++", "g++", "clang++", "cc", "nvcc"))

    def run(*arguments):
        command = [home / "env" / "bin" / "skn", *map(str, arguments)]
        done = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    run.library = site / LIBRARY
    return run


def test_it_holds_every_instruction_set_and_nothing_of_cuda(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        record = json.loads(archive.read("skn/_native/build.json"))
        library = archive.read(LIBRARY)
    assert record["built"] is True and record["levels"] == list(reversed(native.LEVELS))
    assert library == native.LIBRARY.read_bytes()  # on which the other tests run every instruction set of this machine
    assert record["cuda"] == "not built: SKN_BUILD=cpu"
    assert [name for name in names if ".so" in name] == [LIBRARY]
    assert {name.split("/")[0] for name in names} == {"skn", f"skn-{skn.__version__}.dist-info"}


@pytest.mark.skipif(shutil.which("objdump") is None, reason="no objdump on this machine")
def test_its_tag_is_true(wheel, tmp_path):
    name = re.fullmatch(r"skn-[\d.]+-py3-none-manylinux_2_(\d+)_x86_64\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        library = archive.extract(LIBRARY, tmp_path)
        metadata = archive.read(f"skn-{skn.__version__}.dist-info/WHEEL").decode()
    assert "root-is-purelib: false\n" in metadata.lower()
    listing = subprocess.run(["objdump", "-p", library], capture_output=True, text=True, check=True).stdout
    asked = {int(minor) for minor in re.findall(r"GLIBC_2\.(\d+)", listing)}
    assert name and asked and max(asked) <= int(name[1])
    # Beside torch only what every Linux has, and no folder of the build machine to look for torch in.
    needed = set(re.findall(r"NEEDED +(\S+)", listing))
    systems = {"libstdc++.so.6", "libgcc_s.so.1", "libm.so.6", "libc.so.6", "ld-linux-x86-64.so.2"}
    assert needed - systems == {"libtorch_cpu.so"}
    assert "RPATH" not in listing and "RUNPATH" not in listing


def test_equal_sources_give_equal_bytes(wheel, tmp_path):
    assert make_wheel(tmp_path / "again").returncode == 0
    assert (tmp_path / "again" / wheel.name).read_bytes() == wheel.read_bytes()


def test_every_operator_is_native_where_it_is_installed(installed):
    done = installed("doctor", "--json")
    assert f"native library: {installed.library}\n" in done.stderr
    (operators,) = (table for table in json.loads(done.stdout)["tables"] if table["title"] == "Operators")
    serves = {row[0]: row[1] for row in operators["rows"]}
    assert serves.keys() == backends.TABLE.keys() and all(name.startswith("c++ (") for name in serves.values()), serves


def test_a_probe_there_gives_the_bytes_of_a_probe_here(installed, run):
    probed = [run / f"{name}.safetensors" for name in ("moments", "hits-validation", "hits-test")]
    here = [file.read_bytes() for file in probed]
    for file in probed:
        file.unlink()
    installed("probe", "--run", run, "--overwrite")
    assert [file.read_bytes() for file in probed] == here


def test_there_is_no_wheel_without_a_library(tmp_path):
    done = make_wheel(tmp_path / "dist", SKN_BUILD="0")
    assert done.returncode == 1 and done.stderr == "wheel: no native library to put into a wheel: SKN_BUILD=0\n"
    assert not (tmp_path / "dist").exists()
