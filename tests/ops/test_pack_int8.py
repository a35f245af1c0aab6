"""``pack_int8``: weights of bytes that read each column of a row with a shift and a factor of its own."""

import pytest
import torch
import torch.nn.functional as F
from encode_cases import EPS, Case, error
from levels import default

from skn import ops
from skn.model.portable import layers_skn
from skn.ops import reference

DTYPE_FORMS = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=("float32", "bfloat16"))
@pytest.mark.parametrize("depth", [15, 16, 33, 64, 245, 384, 1030])
def test_a_rotated_weight_mixes_the_columns_that_it_reads(level, depth, dtype):
    """Columns of one kind, and a wide one among them, whose steps the mixture spares the others."""
    g = torch.Generator().manual_seed(0)
    x, even = torch.randn(60, depth, generator=g), torch.randn(33, depth, generator=g)
    x[:, 3] *= 30
    x = x.to(dtype)
    columns = torch.stack([torch.full((depth,), 0.5), torch.ones(depth)])
    bias = (even @ columns[0]).to(dtype)
    rotated = *reference.rounded_weight(reference.mixed(even)), columns, True
    # x·wᵀ alone: the mask puts x in the place of the activations
    up = operator(level, "pack")(torch.zeros(depth, 33, dtype=dtype), DTYPE_FORMS[dtype])
    given = torch.zeros(60, 33, dtype=dtype), up, torch.zeros(depth, dtype=dtype)
    packed = operator(level, "pack_int8")(*rotated)
    found = operator(level, "ffn_masked")(*given, packed, bias, torch.zeros(depth), x.float()).float()
    definition = reference.linear(x, default("pack_int8")(*rotated), bias, reference.SLICE).float()
    plain = reference.linear(
        x, default("pack_int8")(*reference.rounded_weight(even), columns), bias, reference.SLICE
    ).float()
    exact = F.linear(x.double(), even.double())
    # a number between two bytes may be rounded to either
    assert (found - definition).abs().max() < (2e-3 if dtype is torch.float32 else 1e-2) * exact.abs().max()
    lost, lost_plain = ((y - exact).square().mean() for y in (found, plain))
    assert lost < (lost_plain / 2 if depth >= 128 else 2 * lost_plain)


@pytest.mark.parametrize("depth", [1, 16, 45, 64, 300])
def test_mixing_keeps_products_and_undoes_itself(depth):
    x, w = torch.randn(5, depth, dtype=torch.float64), torch.randn(3, depth, dtype=torch.float64)
    assert torch.allclose(reference.mixed(x) @ reference.mixed(w).T, x @ w.T)
    assert torch.allclose(reference.mixed(reference.mixed(x)), x)
    assert torch.allclose(layers_skn.mixed(x), reference.mixed(x))
    whole = depth // 16 * 16
    assert whole == 0 or not torch.isclose(reference.mixed(x), x)[:, :whole].any()


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


@pytest.mark.parametrize("rotated", [False, True])
def test_the_portable_layer_computes_the_same(rotated):
    x, weight = torch.randn(7, 245), torch.randn(33, 245)
    layer = layers_skn.Int8Linear(245, 33, sliced=False, plain=False)
    layer.int8_weight = reference.pack_int8(*reference.rounded_weight(weight), torch.rand(2, 245), rotated)
    expected = reference.linear(x, layer.int8_weight, layer.int8_bias)
    for computed in (layer, torch.export.export(layer, (x,)).module()):
        assert (computed(x) - expected).abs().max() < 2e-3 * expected.abs().max()
