"""A pruned feed-forward sublayer with residual and LayerNorm."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from contest import Work
from rivals.compiled import compiled

from skn.ops.ffn import ffn_pruned

HIDDEN, KEPT = 768, 61
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.07}  # one step of bfloat16 at 8


@pytest.mark.parametrize("rows", [1792, 16384])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_ffn_pruned(contest, dtype, rows):
    torch.manual_seed(0)
    x = torch.randn(rows, HIDDEN, dtype=dtype)
    w_in, w_out = torch.randn(KEPT, HIDDEN, dtype=dtype) / 28, torch.randn(HIDDEN, KEPT, dtype=dtype) / 8
    b_in, b_out, bias = (torch.randn(n, dtype=dtype) for n in (KEPT, HIDDEN, HIDDEN))
    scale = torch.rand(HIDDEN, dtype=dtype)

    def eager():
        act = F.gelu(F.linear(x, w_in, b_in))
        return F.layer_norm(x + F.linear(act, w_out, b_out), (HIDDEN,), scale, bias, 1e-5)

    def ours():
        return ffn_pruned(x, w_in, b_in, w_out, b_out, scale, bias, 1e-5)

    error = (ours().float() - eager().float()).abs().max()
    assert error < TOLERANCE[dtype], f"differs by {error}"
    name = str(dtype).removeprefix("torch.")
    contest(
        f"ffn_pruned {name}, {rows:,} rows",
        {"skn": ours, "eager": eager, "torch.compile": compiled(eager)},
        f"{rows:,} rows, {HIDDEN} → {KEPT} → {HIDDEN}, residual and LayerNorm, {name}",
        Work(2 * x.nbytes, 4 * rows * HIDDEN * KEPT, name),
        targets={"eager": 3.2, "torch.compile": 2.3} if (name, rows) == ("bfloat16", 1792) else None,
        amx=True,
        turns=50,
    )
