"""The instruction sets of the native kernels: how one is chosen, and that none leaks into common code."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from skn.errors import InputError
from skn.ops import backends, native

TILES = re.compile(r"%tmm|\b(ldtilecfg|sttilecfg|tilerelease)\b")
FORBIDDEN = re.compile(rf"%[yz]mm|%k[1-7]|{TILES.pattern}|\bv[a-z]+[sp][sd]\b|\bv[p]?mov")


@pytest.fixture(autouse=True)
def library():
    path = backends.native_library()
    if path is None:
        pytest.skip(f"no native library: {native.build_record()['reason']}")
    return path


# Torch is imported once; skn, and with it the library, in a process of its own for each value.
LEVELS_WITH = """
import os, sys, torch
for value in sys.argv[1:]:
    if os.fork() == 0:
        os.environ["SKN_ISA"] = value
        from skn.ops import native
        print(native.isa(), native.machine_isa(), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_the_environment_lowers_the_level_and_never_raises_it():
    machine = native.machine_isa()
    command = [sys.executable, "-c", LEVELS_WITH, "baseline", "amx", ""]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [f"baseline {machine}", f"{machine} {machine}", f"{machine} {machine}"]


def test_an_unknown_level_is_refused(monkeypatch, refused):
    monkeypatch.setenv("SKN_ISA", "sse9")
    refused(["doctor"], "SKN_ISA=sse9", "baseline, avx2, avx_vnni, avx512")


def test_a_level_can_be_lowered_for_a_while():
    before = native.isa()
    with native.limited_isa("baseline"):
        assert native.isa() == "baseline" and native.available() == ["baseline"]
        assert all(native.kernel_isa(op) == "baseline" for op in backends.TABLE)
    assert native.isa() == before and native.kernel_isa("accumulate_hits") in native.available()
    with pytest.raises(InputError, match="instruction set sse9: not available"), native.limited_isa("sse9"):
        pass


def test_the_level_is_one_the_processor_reports():
    features = set(backends.cpu_features())
    needed = {
        "avx2": {"avx2", "fma", "f16c"},
        "avx_vnni": {"avx_vnni"},
        "avx512": {"avx512f", "avx512_vpopcntdq"},
        "avx512_bf16": {"avx512_bf16"},
        "amx": {"amx_tile", "amx_bf16", "amx_int8"},
    }
    for level in native.available():
        assert needed.get(level, set()) <= features
    if {"avx2", "fma", "f16c", "bmi1", "bmi2"} <= features:
        assert native.machine_isa() != "baseline"


@pytest.mark.skipif(shutil.which("objdump") is None, reason="no objdump on this machine")
def test_no_wide_instruction_outside_of_its_namespace(library):
    """A copy of an inline function compiled for a wider set, picked by the linker, would crash older machines."""
    listing = subprocess.run(
        ["objdump", "-dC", "--no-show-raw-insn", str(library)], capture_output=True, text=True, check=True
    ).stdout
    seen, leaks, allowed, function, tiles, of_bytes = set(), [], None, "", set(), set()
    for line in listing.splitlines():
        if heading := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            function = heading[1]
            # objdump leaves some names of nested lambdas as the compiler wrote them.
            level = re.search(r"(?:skn::|^_Z+N3skn\d+)(avx2|avx_vnni|avx512_bf16|avx512|amx)(?:::|\d)", function)
            allowed = level and level[1]
            seen.add(allowed)
        elif allowed == "amx" and re.search(r"\bcall.*block.*Byte", line):  # a product of bytes on tiles
            of_bytes.update(re.findall("Float32|Bfloat16", function))
        elif allowed is None and FORBIDDEN.search(line):
            leaks.append(f"{function}: {line.strip()}")
        elif allowed in ("avx2", "avx_vnni") and re.search(r"%zmm|%k[1-7]", line):
            leaks.append(f"{function}: {line.strip()}")
        elif TILES.search(line):
            tiles.add(line.split()[1])
            if allowed != "amx":
                leaks.append(f"{function}: {line.strip()}")
    assert not leaks, leaks[:5]
    if os.uname().machine == "x86_64":
        # The test would see them.
        assert {"avx2", "avx_vnni", "avx512", "avx512_bf16", "amx"} <= seen
        assert tiles == {"ldtilecfg", "tilerelease", "tilezero", "tileloadd", "tilestored", "tdpbf16ps", "tdpbusd"}
        assert of_bytes == {"Float32", "Bfloat16"}  # whatever the activations are
