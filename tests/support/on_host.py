"""An operator as CUDA serves it, kernels, launches and registration, on the host: see tests/kernels/cuda/on_host.h."""

import re
import subprocess
from pathlib import Path

import torch
from nvcc import NVCC
from repository import REPOSITORY

CUDA = REPOSITORY / "csrc" / "cuda"
LAUNCH = re.compile(r"(\w+(?:<[\w, ()]+>)?)<<<(.*?)>>>\((.*?)\);", re.DOTALL)


def operator_on_host(folder, name, registration, launches, changes):
    """Yield the operator as csrc/cuda registers it, for tensors on the CPU and in a namespace of its own.

    ``changes``: what is replaced in a source, by the source's name; ``launches``: how many there are.
    """
    for found in operators_on_host(folder, name, registration, launches, changes, names=[name]):
        yield found[name]


def operators_on_host(folder, source, registration, launches, changes, names):
    """Yield the operators of a source, by name, like :func:`operator_on_host`."""
    kernels = _read(f"{source}.cu", changes.get(f"{source}.cu", {}))
    kernels, found = LAUNCH.subn(r"launch([&] { \1(\3); }, \2);", kernels)
    assert found == kernels.count("launch([&]") == launches
    (folder / "kernels.cpp").write_text('#include "on_host.h"\n' + kernels)
    space = f"skn_{source}_on_host"
    of_registration = {"(skn, CUDA, m)": f"({space}, CPU, m)", **changes.get(registration, {})}
    (folder / "registration.cpp").write_text(_read(registration, of_registration))

    torch_folder = Path(torch.__file__).parent
    own = REPOSITORY / "tests" / "kernels" / "cuda"
    includes = ("-I", own, "-I", CUDA, "-isystem", torch_folder / "include")
    command = (
        NVCC,
        "-std=c++20",
        "-O2",
        "--threads=2",
        "-shared",
        "-Xcompiler=-fPIC,-pthread,-Wno-unknown-pragmas",
        *includes,
    )
    done = subprocess.run(
        [*map(str, command), "-DTORCH_TARGET_VERSION=0x020b000000000000", *map(str, sorted(folder.glob("*.cpp"))),
         "-L", str(torch_folder / "lib"), "-ltorch_cpu", "-o", str(folder / "operator.so")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    library = torch.library.Library(space, "DEF")
    for name in names:
        library.define(str(getattr(torch.ops.skn, name).default._schema).removeprefix("skn::"))
        library.impl(name, torch.library.fallthrough_kernel, "Autograd")
    torch.ops.load_library(str(folder / "operator.so"))
    yield {name: getattr(getattr(torch.ops, space), name) for name in names}
    library._destroy()


def _read(name, changes):
    """A source of csrc/cuda with each of the changes made once."""
    source = (CUDA / name).read_text()
    for old, new in changes.items():
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source
