"""The native library: what it depends on, how it is built, and what happens where it is missing or broken."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from repository import REPOSITORY

from skn.ops import backends, native


@pytest.fixture
def library():
    path = backends.native_library()
    if path is None:
        pytest.skip(f"no native library: {native.build_record()['reason']}")
    return path


@pytest.fixture
def compiler():
    found = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    if found is None:
        pytest.skip("no C++ compiler on this machine")
    return found


@pytest.fixture
def tree(tmp_path):
    """The parts of the repository that an install reads, without anything built; tests may break it."""
    copy = tmp_path / "tree"
    built = shutil.ignore_patterns("_native", "__pycache__")
    for name in ("csrc", "kernels", "skn"):
        shutil.copytree(REPOSITORY / name, copy / name, ignore=built)
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, copy)
    for readme in REPOSITORY.glob("README*"):
        shutil.copy(readme, copy)
    return copy


def python(*arguments, cwd, path=None, **variables):
    """Run this Python elsewhere, seeing only what is installed and ``path``."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "SKN_BUILD", "SKN_LEVELS", *variables)}
    env |= {k: str(v) for k, v in variables.items() if v is not None}
    if path is not None:
        env["PYTHONPATH"] = str(path)
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, check=False, cwd=cwd, env=env, capture_output=True, text=True, timeout=600)


def install(tree, target, **variables):
    done = python(
        *("-m", "pip", "install", "-v", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"),
        *("--target", target, "."),
        cwd=tree,
        **variables,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # pip passes on what the build prints on either stream, depending on its version.
    return done.stdout + done.stderr


def build(tree, target, **variables):
    """The build step alone, without pip around it: much faster, and it prints the same line."""
    done = python("setup.py", "-q", "build", "--build-lib", target, cwd=tree, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pretended(folder, first=""):
    """A compiler that takes a note of every file it is to make, in ``folder/calls``, and writes its arguments there."""
    path = folder / "pretended"
    path.write_text(
        f"""#!/bin/sh
case "$*" in *-dM*) echo '#define __x86_64__ 1'; exit;; *--version*) echo pretended; exit;; esac
echo "$*" >> {folder}/calls
{first}
arguments=$*
while [ "$1" != -o ]; do shift; done
echo "$arguments" > "$2"
"""
    )
    path.chmod(0o755)
    return path


def record_of(target):
    return json.loads((target / "skn" / "_native" / "build.json").read_text())


def run_eagerly(target, cwd):
    """`skn.ops` of an installed tree works, and the dispatcher says that nothing native is involved; what skn warned of."""
    code = (
        "import torch, skn; from skn import ops; from skn.ops import backends\n"
        "hits = torch.zeros(2, 1, 1, dtype=torch.int64)\n"
        "threshold, labels = torch.zeros(1, 1).double(), torch.tensor([0, 1, 1])\n"
        "for _ in range(2):\n    ops.accumulate_hits(hits, torch.ones(3, 1, 1), threshold, labels)\n"
        "served = {backends.implementation(op, 'cpu') for op in backends.TABLE}\n"
        "print(skn.__path__[0], hits.flatten().tolist(), served)"
    )
    done = python("-c", code, cwd=cwd, path=target)
    assert done.stdout.strip() == f"{target / 'skn'} [2, 4] {{'eager'}}", done.stdout + done.stderr
    return done.stderr


# What the library is --------------------------------------------------------------------------------------


def test_the_library_uses_only_the_stable_interface(library):
    if shutil.which("nm") is None:
        pytest.skip("no nm on this machine")
    done = subprocess.run(["nm", "-D", "--undefined-only", "-C", library], capture_output=True, text=True, check=True)
    assert "torch_library_impl" in done.stdout
    unstable = [line for line in done.stdout.splitlines() if any(name in line for name in ("at::", "c10::", "Py"))]
    assert not unstable, unstable


def test_the_library_names_no_path_of_the_build_machine(library):
    content = library.read_bytes()
    import torch

    assert str(REPOSITORY).encode() not in content
    assert str(Path(torch.__file__).parent).encode() not in content


def test_the_record_describes_the_library(library):
    record = native.build_record()
    assert record["built"] is True and record["target"] == "2.11"
    assert "-ffast-math" not in record["flags"]
    assert not any(flag.startswith("-march") for flag in record["flags"])


# How it is installed --------------------------------------------------------------------------------------


def test_the_kernels_folder_has_no_name_of_its_own(tmp_path):
    try:
        distribution("skn")
    except PackageNotFoundError:
        pytest.skip("skn is not installed, so skn.kernels has no place yet")
    code = (
        "import importlib.util, skn.kernels\n"
        "spec = importlib.util.find_spec('kernels')\n"
        "print(skn.kernels.__doc__ is not None, spec and spec.origin)"
    )
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    has_doc, origin = done.stdout.split(maxsplit=1)
    assert has_doc == "True"
    assert str(REPOSITORY) not in origin


@pytest.mark.slow
def test_without_the_native_build_everything_still_runs(tree, tmp_path):
    printed = install(tree, tmp_path / "site", SKN_BUILD=0)
    assert "skn: no native library, operators run on their eager definitions: SKN_BUILD=0" in printed
    assert not list((tmp_path / "site").rglob("*.so"))
    record = record_of(tmp_path / "site")
    assert record["built"] is False and record["reason"] == "SKN_BUILD=0"
    assert record["cuda"] == "not built: SKN_BUILD=0"
    assert run_eagerly(tmp_path / "site", tmp_path) == ""


def test_what_is_compiled_already_is_not_compiled_again(tree, tmp_path):
    def made(target, **variables):
        """How many files the compiler made, the library among them."""
        (tmp_path / "calls").write_text("")
        build(tree, target, **{"CXX": pretended(tmp_path), "SKN_LEVELS": "avx2", **variables})
        assert record_of(target)["built"] is True and (target / "skn" / "_native" / "libskn_cpu.so").is_file()
        return len((tmp_path / "calls").read_text().splitlines())

    everything = made(tmp_path / "out")
    assert everything > 10 and made(tmp_path / "out") == made(tmp_path / "other") == 1
    # Another list of levels: the kernels of one level, and the list of all.
    assert 2 < made(tmp_path / "out", SKN_LEVELS="avx2 avx512") < everything
    next(tree.glob("build/objects/*/*.o")).unlink()
    assert made(tmp_path / "out", SKN_LEVELS="avx2 avx512") == 2
    assert made(tmp_path / "out", CXX=f"{pretended(tmp_path)} -DANOTHER") == everything
    with (tree / "csrc" / "cpu" / "bodies" / "simd.h").open("a") as source:
        source.write("\n")
    assert made(tmp_path / "out", CXX=f"{pretended(tmp_path)} -DANOTHER") == everything
    assert len(list(tree.glob("build/objects/*"))) == 1


# What the build does without the means to -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"CXX": "/nonexistent/compiler"}, "no compiler: CXX names /nonexistent/compiler"),
        ({"CXX": None, "PATH": ""}, "no C++ compiler found"),
    ],
    ids=["CXX", "PATH"],
)
def test_no_compiler(tree, tmp_path, variables, reason):
    printed = build(tree, tmp_path / "out", **variables)
    lines = [line for line in printed.splitlines() if line.startswith("skn:")]
    assert len(lines) == 1 and reason in lines[0]
    record = record_of(tmp_path / "out")
    assert record["built"] is False and record["reason"].startswith(reason)
    assert record["cuda"].startswith(("not built: ", "libskn_cuda.so built with "))
    assert not list((tmp_path / "out").rglob("*.so"))


def test_a_build_that_torch_is_hidden_from_is_told_of_at_the_first_use(tree, tmp_path):
    """pip shows nothing of what a build prints, and its isolation hides torch: the first use is where a user can learn it."""
    visible = tmp_path / "visible"
    visible.mkdir()
    for name in ("setuptools", "_distutils_hack"):
        (visible / name).symlink_to(importlib.util.find_spec(name).submodule_search_locations[0])
    isolated = ("-S", "setup.py", "-q", "build", "--build-lib", tmp_path / "out")
    done = python(*isolated, cwd=tree, path=visible, CXX=pretended(tmp_path))
    assert done.returncode == 0, done.stderr
    reason = record_of(tmp_path / "out")["reason"]
    assert reason.startswith("the build saw no torch") and reason in done.stdout
    (warned,) = run_eagerly(tmp_path / "out", tmp_path).splitlines()
    assert warned.startswith("skn was installed without its native code") and "--no-build-isolation" in warned


def test_a_compile_error_is_recorded_and_removes_the_old_library(tree, tmp_path, compiler):
    old = tmp_path / "out" / "skn" / "_native" / "libskn_cpu.so"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"of an earlier build")
    with (tree / "csrc" / "cpu" / "bodies" / "accumulate_hits.h").open("a") as source:
        source.write("\nint broken = undeclared_name;\n")
    # Only the broken body is worth the compiler's time; the others take as long as theirs would.
    noting = pretended(tmp_path, f'case "$*" in *hits.h*) exec {compiler} "$@";; esac\nsleep 2')
    printed = build(tree, tmp_path / "out", CXX=noting, SKN_LEVELS="baseline")
    lines = [line for line in printed.splitlines() if "the compiler failed: " in line]
    assert len(lines) == 1 and "csrc/cpu/bodies/accumulate_hits.h:" in lines[0]
    record = record_of(tmp_path / "out")
    assert record["built"] is False and "undeclared_name" in record["reason"]
    assert not old.exists()
    # It is the first of all bodies, and what has not been started when it fails never is.
    calls = (tmp_path / "calls").read_text()
    assert "bodies/accumulate_hits.h" in calls and "-shared" not in calls
    if os.cpu_count() <= 4:
        assert sum(" -c " in call for call in calls.splitlines()) < 10


def test_an_unknown_level_is_refused(tree, tmp_path, compiler):
    printed = build(tree, tmp_path / "out", SKN_LEVELS="avx2 sse9")
    reason = "SKN_LEVELS names sse9: expected some of baseline, avx2, avx_vnni, avx512, avx512_bf16, amx"
    assert record_of(tmp_path / "out")["reason"] == reason and reason in printed
