"""``pack_int8``: weights of bytes that read each column of a row with a shift and a factor of its own."""

import pytest
import torch
import torch.nn.functional as F
from encode_cases import EPS, Case, error
from levels import default

from skn import ops
from skn.ops import reference


def operator(level, name):
    return default(name) if level == "eager" else getattr(ops, name)


@pytest.mark.parametrize(("rows", "depth", "columns"), [(2, 1, 1), (13, 61, 33), (25, 1030, 40)])
def test_columns_of_any_width_lose_nothing_to_each_other(level, rows, depth, columns):
    g = torch.Generator().manual_seed(0)
    width, middle = 10 ** (4 * torch.rand(depth, generator=g) - 2), 10 * torch.randn(depth, generator=g)
    read, even = torch.randn(rows, depth, generator=g), torch.randn(columns, depth, generator=g)
    x, parts = (
        read * width + middle * width,
        (*reference.rounded_weight(even), torch.stack([middle * width, 1 / width])),
    )
    nothing = [torch.zeros(rows, columns), torch.zeros(depth, columns), torch.zeros(depth)]
    pack, pack_int8 = operator(level, "pack"), operator(level, "pack_int8")
    # x·wᵀ alone: the mask puts x in the place of the activations
    up = pack(nothing[1], "float32")
    weights = nothing[0], up, nothing[2], pack_int8(*parts), torch.zeros(columns)
    found = operator(level, "ffn_masked")(*weights, torch.zeros(depth), x)
    definition = reference.linear(x, default("pack_int8")(*parts), torch.zeros(columns), reference.SLICE)
    exact = F.linear(read.double(), even.double())
    # a number between two bytes may be rounded to either
    assert (found - definition).abs().max() < 2e-3 * exact.abs().max()
    assert (found - exact).square().mean() < (2e-2 * exact.std()) ** 2


def test_products_of_the_same_rows_read_them_in_their_own_ways(level):
    """Queries and values read a row alike, keys otherwise."""
    case = Case("trimmed", torch.float32)
    factors = {0: 1.0, 2: 0.25, 4: 1.0}  # of q, k and v among the tensors of a layer

    def encode(with_columns, pack_int8, run):
        weights = []
        for i, w in enumerate(case.weights):
            if w.dim() == 2:
                number, scale = reference.rounded_weight(w)
                factor = factors.get(i % 16, 2.0) if with_columns else 1.0
                columns = torch.tensor([[0.0], [factor]]).repeat(1, w.shape[1])
                w = pack_int8(number, scale / factor, columns)
            weights.append(w)
        return run(case.hidden, case.bounds, weights, [], case.heads, EPS, case.read, case.tap)

    run = default("encode") if level == "eager" else torch.ops.skn.encode
    found, plain = (encode(given, operator(level, "pack_int8"), run) for given in (True, False))
    assert error(found, plain) < 1e-6  # powers of two change no byte


@pytest.mark.parametrize(
    "wrong",
    [
        lambda number, scale, columns: (number.short(), scale, columns),
        lambda number, scale, columns: (number[0], scale, columns),
        lambda number, scale, columns: (number, scale[1:], columns),
        lambda number, scale, columns: (number, scale.double(), columns),
        lambda number, scale, columns: (number, scale, columns[:1]),
        lambda number, scale, columns: (number, scale, columns[:, 1:]),
        lambda number, scale, columns: (number, scale, columns.bfloat16()),
    ],
)
@pytest.mark.parametrize("level", ["eager", None], indirect=True)
def test_what_does_not_fit_is_refused(level, wrong):
    given = torch.ones(3, 4, dtype=torch.int8), torch.ones(3), torch.ones(2, 4)
    with pytest.raises(RuntimeError, match=r"pack_int8: expected int8 \[N, K\], a scale float32 \[N\] and columns"):
        operator(level, "pack_int8")(*wrong(*given))
