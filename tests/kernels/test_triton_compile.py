"""Every Triton kernel compiles for sm_80 and sm_90, in the types and at the block sizes it is launched with.

No device is needed for that. It shows what the interpreter cannot: bfloat16 products, arguments that Triton turns into
constants because they are 1, shared memory beyond the device's, registers spilled to memory.
"""

import re
import subprocess

import pytest

pytest.importorskip("triton", reason="Triton is not installed (pip install 'skn[gpu]')")

import triton
from skn.kernels import ffn_masked, ffn_pruned, ffn_statistics, noise, pooling, residual_norm, statistics
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

SHARED = {80: 163 * 1024, 90: 227 * 1024}  # bytes a block can have
POINTERS = {
    "order": "*i64", "begin": "*i64", "label": "*i64", "labels": "*i64", "lengths": "*i64", "offset": "*i64",
    "examples": "*i64", "hits": "*i64", "total": "*fp64", "total_sq": "*fp64", "threshold": "*fp64",
    "scale": "*fp32", "shift": "*fp32", "table": "*fp32",
}  # fmt: skip
WORKING = ("x", "y", "act", "w_in", "b_in", "w_out", "b_out", "ln_weight", "ln_bias", "out")


STATISTICS = {"BLOCK_B": statistics.BLOCK_B, "BLOCK_F": statistics.BLOCK_F}
POOLING = {"BLOCK_S": pooling.BLOCK_S, "BLOCK_F": pooling.BLOCK_F}
FUSED = {"BLOCK_B": ffn_statistics.BLOCK_B, "BLOCK_F": ffn_statistics.BLOCK_F}
MASKED = {"BLOCK_M": ffn_masked.BLOCK_M, "BLOCK_N": ffn_masked.BLOCK_N}
PRUNED = {"BLOCK_M": ffn_pruned.BLOCK_M, "BLOCK_N": ffn_pruned.BLOCK_N}
FEW = {"BLOCK_M": ffn_pruned.BLOCK_M, **ffn_pruned.FEW}
UP = ffn_statistics.up_statistics_kernel
# name -> kernel, constants, types of the pointers that are not named above, warps
KERNELS = {
    "moments": (statistics.moments_kernel, STATISTICS, {}, 4),
    "hits": (statistics.hits_kernel, STATISTICS, {}, 4),
    "mean": (pooling.pool_kernel, {"MEAN": True, **POOLING}, {"out": "*fp32"}, 4),
    "max": (pooling.pool_kernel, {"MEAN": False, **POOLING}, {"out": "*fp32"}, 4),
    "noise": (noise.noise_kernel, {"BLOCK": noise.BLOCK}, {"out": "*fp32", "neurons": "*i64"}, 4),
    "fused moments": (UP, {"MOMENTS": True, "WRITE": True, **FUSED}, {"first": "*fp64", "second": "*fp64"}, 8),
    "fused hits": (UP, {"MOMENTS": False, "WRITE": False, **FUSED}, {"first": "*i64", "second": "*i64"}, 8),
    "masked": (ffn_masked.up_masked_kernel, MASKED, {}, ffn_masked.WARPS),
    "pruned 512": (ffn_pruned.ffn_pruned_kernel, {"WIDTH": 512, **PRUNED}, {}, ffn_pruned.WARPS),
    "pruned 1024": (ffn_pruned.ffn_pruned_kernel, {"WIDTH": 1024, **PRUNED}, {}, ffn_pruned.WARPS),
    "norm": (residual_norm.residual_norm_kernel, {"WIDTH": 1024}, {}, residual_norm.WARPS),
    "wide norm": (residual_norm.residual_norm_kernel, {"WIDTH": residual_norm.MAX_HIDDEN}, {}, residual_norm.WARPS),
}
# Few neurons in bfloat16, which are one tile.
OF_FEW = {
    "few 512": (ffn_pruned.ffn_pruned_kernel, {"WIDTH": 512, **FEW}, {}, ffn_pruned.WARPS),
    "few 1024": (ffn_pruned.ffn_pruned_kernel, {"WIDTH": 1024, **FEW}, {}, ffn_pruned.WARPS),
}


def compiled(name, dtype, capability, unit_strides):
    kernel, constants, pointers, warps = (KERNELS | OF_FEW)[name]
    constants = dict(constants)
    if "BLOCK_H" in kernel.arg_names:
        constants.setdefault("BLOCK_H", 32 if dtype == "fp32" else 64)
    signature, aligned = {}, {}
    for index, argument in enumerate(kernel.arg_names):
        pointer = pointers.get(argument) or POINTERS.get(argument) or (f"*{dtype}" if argument in WORKING else None)
        if argument in constants:
            signature[argument] = "constexpr"
        elif pointer is not None:
            signature[argument] = pointer
            aligned[(index,)] = [["tt.divisibility", 16]]
        elif argument == "eps":
            signature[argument] = "fp32"
        elif argument.endswith(("_f", "_h")) and unit_strides and argument not in ("w_in_f", "w_f", "w_out_f"):
            # What Triton makes of an argument that equals 1: the last axis is contiguous, as it nearly always is.
            signature[argument], constants[argument] = "constexpr", 1
        else:
            signature[argument] = "i32"
            if unit_strides and ("_" in argument or argument in ("hidden", "neurons")):
                aligned[(index,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constants, aligned)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps})


def stack_bytes(cubin, folder):
    """Bytes of local memory a thread has, from the tool that Triton ships."""
    binary = folder / "kernel.cubin"
    binary.write_bytes(cubin)
    command = [triton.knobs.nvidia.cuobjdump.path, "-res-usage", binary]
    usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(re.search(r"STACK:(\d+)", usage)[1])


def check(name, result, capability):
    assert result.metadata.shared <= SHARED[capability]
    # A flushed subnormal would be a wrong count.
    if name in ("moments", "hits", "max"):
        assert ".ftz" not in result.asm["ptx"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "capability", "dtype"),
    [
        *((name, capability, dtype) for name in KERNELS for capability in (80, 90) for dtype in ("bf16", "fp32")),
        *((name, 90, "bf16") for name in OF_FEW),
    ],
)
def test_kernels_compile(name, dtype, capability, tmp_path):
    result = compiled(name, dtype, capability, unit_strides=True)
    check(name, result, capability)
    assert stack_bytes(result.asm["cubin"], tmp_path) == 0, "registers spilled to memory"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in KERNELS if name != "pruned 512"])
@pytest.mark.parametrize(("capability", "dtype"), [(80, "fp32"), (90, "bf16")])
def test_kernels_compile_with_strides_that_are_no_constants(name, dtype, capability):
    """Each type and each capability once: what strides change does not depend on the pair, nor on the width.

    Such a launch is rare and may spill: addresses take more registers.
    """
    check(name, compiled(name, dtype, capability, unit_strides=False), capability)
