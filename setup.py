"""Build the native operators and map folders to packages. Everything else is in pyproject.toml.

The native library is optional. This file never fails for lack of a compiler or of torch: it prints one line that says
what was built, or why nothing was built, and writes the same to ``skn/_native/build.json``. If there are nvcc and a
torch with CUDA, the CUDA library is built, too; the line "cuda" of ``build.json`` says so. ``SKN_BUILD=0`` skips the
native build. ``SKN_BUILD=cpu`` and ``SKN_BUILD=cuda`` build only the library of that name. ``CXX`` chooses the
compiler, ``CUDACXX`` the compiler of CUDA. ``SKN_LEVELS=avx2,amx`` builds only for these instruction sets and the
baseline, which is faster; the next lower level serves in place of a missing one. ``SKN_CUDA_ARCH=90`` builds only for a
device of capability 9.0. The compiled files of the CPU library stay in ``build/objects``. A later build from the same
sources, with the same compiler and torch, links them and compiles only the missing ones.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import ClassVar

from setuptools import Command, Distribution, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build

ROOT = Path(__file__).resolve().parent
LIBRARY = "libskn_cpu.so"
CUDA_LIBRARY = "libskn_cuda.so"
OBJECTS = ROOT / "build" / "objects"
SOURCES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("csrc/cpu/*.cpp"))
CUDA_SOURCES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("csrc/cuda/*.c*"))

# The instruction sets, lowest first, and the sets for which each file of csrc/cpu/bodies is compiled. csrc/cpu/target.h
# says what a compiler may use at each level. The build tells csrc/cpu/kernels.cpp which kernels exist.
LEVELS = ("baseline", "avx2", "avx_vnni", "avx512", "avx512_bf16", "amx")
PLAIN = ("baseline", "avx2", "avx512")  # of bodies without products of bfloat16 or bytes
BODIES = {
    "accumulate_hits": PLAIN,
    "accumulate_moments": PLAIN,
    "auroc": PLAIN,
    "digest": PLAIN,
    "encode": LEVELS,
    "ffn": LEVELS,
    "kendall_tau": PLAIN,
    "permuted_hits": PLAIN,
    "pool_tokens": PLAIN,
}
BODY, KERNELS = "csrc/cpu/body.cpp", "csrc/cpu/kernels.cpp"

# The library is compiled against the stable interface of this torch. It loads in this torch and in any newer one.
TARGET = (2, 11)
FLAGS = [
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    # The vectoriser gets freedom that changes no result. -ffast-math would change results, because NaN and infinity
    # have a meaning here.
    "-fno-math-errno",
    "-fno-trapping-math",
    # A fused multiply-add would give different bits on machines that have one. Kernels that need it ask for it.
    "-ffp-contract=off",
    f"-DTORCH_TARGET_VERSION=0x{TARGET[0]:02x}{TARGET[1]:02x}000000000000",
]
# Torch is loaded before the library, so the library finds torch's own copy by name, and no path is recorded.
LINK_FLAGS = ["-shared", *(("-undefined", "dynamic_lookup") if sys.platform == "darwin" else ("-ltorch_cpu",))]
CUDA_FLAGS = [
    "-std=c++17",
    "-O3",
    "-Xcompiler=-fPIC,-fvisibility=hidden",
    "--threads=4",
    "-DUSE_CUDA",  # enables the part of torch's stable interface that handles streams
    FLAGS[-1],
]


def gencode():
    """Return flags: machine code for A100 and H100 and the intermediate form for later GPUs, or the one of
    ``SKN_CUDA_ARCH``.
    """
    only = os.environ.get("SKN_CUDA_ARCH")
    if only:
        return [f"-gencode=arch=compute_{only},code=sm_{only}"]
    machine = [f"-gencode=arch=compute_{n},code=sm_{n}" for n in (80, 90)]
    return [*machine, "-gencode=arch=compute_90,code=compute_90"]


class CannotBuild(Exception):
    """The reason why there is no native library. build.json stores the message."""


class NotWanted(CannotBuild):
    """The library was not wanted. skn says so when asked, and gives no warning."""


def find_compiler():
    """Return the C++ compiler as a list of arguments: ``CXX`` if it is set, otherwise the first usual name that exists."""
    named = shlex.split(os.environ.get("CXX", ""))
    if named:
        if shutil.which(named[0]) is None:
            raise CannotBuild(f"no compiler: CXX names {named[0]}, which does not exist")
        return named
    for name in ("c++", "g++", "clang++"):
        if shutil.which(name):
            return [name]
    raise CannotBuild("no C++ compiler found (looked for c++, g++ and clang++; set CXX to name one)")


def find_torch():
    """Return torch's folder and version without importing torch: an import takes seconds and can fail."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        raise CannotBuild(
            "the build saw no torch, which pip's build isolation hides (pip install torch setuptools wheel, then install skn "
            "again with --no-build-isolation)"
        )
    folder = Path(next(iter(spec.submodule_search_locations)))
    version = importlib.metadata.version("torch")
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < TARGET:
        raise CannotBuild(f"torch {version} is older than {TARGET[0]}.{TARGET[1]}")
    if not (folder / "include" / "torch" / "csrc" / "stable" / "library.h").is_file():
        raise CannotBuild(f"torch {version} is installed without its C++ headers")
    return folder, version


def capture(command):
    """Run a command from the repository root, so that no absolute path gets into the library."""
    return subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, errors="replace")


def run_compiler(command):
    """Run one compiler command. If it fails, raise its message."""
    done = capture(command)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        # The lines before the first error are only the chain of includes that led to it.
        first = next((i for i, line in enumerate(lines) if "error" in line), 0)
        shown = "\n".join(lines[first : first + 5]) or f"exit status {done.returncode} and no message"
        raise CannotBuild(f"the compiler failed: {shown}")


def wanted_levels(compiler):
    """Return the levels to build, highest first: those in ``SKN_LEVELS``, and the baseline.

    Other machines have only the baseline.
    """
    named = [name for name in re.split(r"[\s,]+", os.environ.get("SKN_LEVELS", "")) if name]
    if unknown := set(named) - set(LEVELS):
        raise CannotBuild(f"SKN_LEVELS names {min(unknown)}: expected some of {', '.join(LEVELS)}")
    # The machine of the compiler is not always this one.
    if "__x86_64__" not in capture([*compiler, "-dM", "-E", "-xc++", os.devnull]).stdout:
        named = ["baseline"]
    return [level for level in reversed(LEVELS) if level in (*(named or LEVELS), "baseline")]


def compilations(levels):
    """Yield the arguments of every compiler call: each source as it is, and each body once for each of its levels."""
    # The highest levels take longest, so they come first.
    for level in levels:
        for body, its_levels in BODIES.items():
            if level in its_levels:
                yield [BODY, f"-DSKN_ISA={level}", f'-DSKN_BODY="bodies/{body}.h"']
    kernels = [KERNELS]
    for body, its_levels in BODIES.items():
        calls = " ".join(f"X({level}, __VA_ARGS__)" for level in levels if level in its_levels)
        kernels.append(f"-DSKN_LEVELS_{body}(X, ...)={calls}")
    yield kernels
    yield from ([source] for source in SOURCES if source not in (BODY, KERNELS))


def run_side_by_side(function, calls):
    """Call ``function`` with each of ``calls``. After one call fails, no other call is started."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for done in as_completed([pool.submit(function, *call) for call in calls]):
                done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def make_file(command, target):
    """Write a temporary file and rename it, so that ``target`` is complete.

    A process that has mapped the old file keeps it.
    """
    staged = target.with_suffix(f".{os.getpid()}.tmp")
    try:
        run_compiler([*command, "-o", str(staged)])
        os.replace(staged, target)
    finally:
        staged.unlink(missing_ok=True)


def compile_cuda(target):
    """Compile the CUDA library. Returns the line that says so."""
    if os.environ.get("SKN_BUILD") in ("0", "cpu"):
        raise NotWanted(f"SKN_BUILD={os.environ['SKN_BUILD']}")
    nvcc = os.environ.get("CUDACXX") or shutil.which("nvcc")
    if not nvcc or shutil.which(nvcc) is None:
        raise CannotBuild("no nvcc (set CUDACXX to name one)")
    torch, version = find_torch()
    if not (torch / "lib" / "libtorch_cuda.so").is_file():
        raise CannotBuild(f"torch {version} is a build without CUDA")
    include = torch / "include"
    flags = [*CUDA_FLAGS, *gencode(), f"-Xcompiler=-ffile-prefix-map={include}/=", "-isystem", str(include)]
    link = ["-shared", "-nodlink", f"-L{torch / 'lib'}", "-ltorch_cpu", "-ltorch_cuda"]
    make_file([nvcc, *flags, *CUDA_SOURCES, *link], target)
    return f"{CUDA_LIBRARY} built with {capture([nvcc, '--version']).stdout.splitlines()[-1]} against torch {version}"


def digest(*contents):
    """Return a short name for some bytes."""
    found = hashlib.sha256()
    for content in contents:
        found.update(content)
    return found.hexdigest()[:32]


def kept_objects(*inputs):
    """Return the folder of files compiled from these sources and ``inputs``. Other such folders are deleted."""
    sources = sorted(path for path in (*ROOT.glob("csrc/*.h"), *ROOT.glob("csrc/cpu/**/*")) if path.is_file())
    folder = OBJECTS / digest(json.dumps(inputs).encode(), *(path.read_bytes() for path in sources))
    for other in OBJECTS.glob("*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def build_library(target, record):
    """Build ``target`` and fill in ``record`` on the way, so that the record of a failure says how far the build came."""
    if os.environ.get("SKN_BUILD") in ("0", "cuda"):
        raise NotWanted(f"SKN_BUILD={os.environ['SKN_BUILD']}")
    if sys.platform == "win32":
        raise NotWanted("the native library is not built on Windows")
    compiler = find_compiler()
    record["compiler"] = shlex.join(compiler)
    torch, record["torch"] = find_torch()
    try:
        banner = capture([*compiler, "--version"])
    except OSError as error:
        raise CannotBuild(f"the compiler {compiler[0]} does not start: {error}") from None
    record["compiler"] = (banner.stdout.splitlines() or [record["compiler"]])[0]
    record["flags"] = FLAGS
    record["levels"] = wanted_levels(compiler)

    objects = kept_objects(compiler, record["compiler"], record["torch"], FLAGS)
    compile_library(target, compiler, torch, objects, compilations(record["levels"]))


def compile_library(target, compiler, torch, objects, calls):
    """Compile each of ``calls`` that the folder ``objects`` lacks, and link all of them."""
    include = torch / "include"
    compile_ = [*compiler, *FLAGS, f"-ffile-prefix-map={include}/=", "-isystem", str(include), "-c"]
    made = {objects / f"{digest(json.dumps(call).encode())}.o": call for call in calls}
    missing = {path: call for path, call in made.items() if not path.is_file()}
    run_side_by_side(make_file, [([*compile_, *call], path) for path, call in missing.items()])
    make_file([*compiler, *map(str, made), f"-L{torch / 'lib'}", *LINK_FLAGS], target)


class build_native(Command):
    """A step of ``build``: the shared library and build.json, in the source tree for an editable install."""

    description = "build the native operators, where a compiler and torch are present"
    user_options: ClassVar = []
    # setuptools needs these attributes of a build step.
    editable_mode = False
    build_lib = None

    def initialize_options(self):
        pass

    def finalize_options(self):
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def folder(self):
        return (ROOT if self.editable_mode else Path(self.build_lib)) / "skn" / "_native"

    def run(self):
        folder = self.folder()
        folder.mkdir(parents=True, exist_ok=True)
        library = folder / LIBRARY
        record = {
            "built": False,
            "wanted": True,
            "reason": None,
            "compiler": None,
            "torch": None,
            "target": f"{TARGET[0]}.{TARGET[1]}",
            "flags": None,
            "levels": None,
            "machine": platform.machine(),
        }
        try:
            build_library(library, record)
            record["built"] = True
            record["reason"] = f"{LIBRARY} built with {record['compiler']} against torch {record['torch']}"
            line = f"skn: {record['reason']}"
        except CannotBuild as error:
            # A library of an earlier build must not outlive its record.
            library.unlink(missing_ok=True)
            record["wanted"] = not isinstance(error, NotWanted)
            record["reason"] = str(error)
            line = f"skn: no native library, operators run on their eager definitions: {error}"
        record["cuda"] = self.build_cuda(folder / CUDA_LIBRARY)
        (folder / "build.json").write_text(json.dumps(record, indent=2) + "\n")
        print(line, flush=True)

    def build_cuda(self, library):
        """Return one line on the CUDA library. It is printed only if there was a compiler to try."""
        try:
            line = compile_cuda(library)
            print(f"skn, CUDA: {line}", flush=True)
        except CannotBuild as error:
            library.unlink(missing_ok=True)
            line = f"not built: {error}"
        return line

    def get_source_files(self):
        headers = sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("csrc/**/*.h"))
        return [*SOURCES, *CUDA_SOURCES, *headers]

    def get_outputs(self):
        return [str(path) for path in sorted(self.folder().glob("*"))]

    def get_output_mapping(self):
        return {}


class build_with_native(build):
    sub_commands: ClassVar = [*build.sub_commands, ("build_native", None)]


class NativeDistribution(Distribution):
    """The library is no extension module, but setuptools must install it among the files of one platform."""

    def has_ext_modules(self):
        return True


class platform_wheel(bdist_wheel):
    """One wheel for each platform and for every Python, because the library has no Python symbols."""

    def get_tag(self):
        return ("py3", "none", super().get_tag()[2])


if __name__ == "__main__":  # scripts/oldest_torch.py reads the flags and sources above
    setup(
        packages=[*find_packages(str(ROOT), include=["skn", "skn.*"]), "skn.kernels"],
        distclass=NativeDistribution,
        package_dir={"skn": "skn", "skn.kernels": "kernels"},
        cmdclass={"build": build_with_native, "build_native": build_native, "bdist_wheel": platform_wheel},
    )
