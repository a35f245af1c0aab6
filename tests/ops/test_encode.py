"""``pack`` and ``encode`` against the eager definition in float64, at every instruction set of the machine."""

import pytest
import torch
from encode_cases import EAGER, EPS, SHAPES, Case, changed, error, normal
from levels import default, threads

from skn.ops import native
from skn.ops.encoder import PER_LAYER, pack
from skn.ops.reference import LAYER_PARTS

# Hidden size, heads, FFN widths, lengths, read, tap: multiples of nothing, one row, many rows, wide and narrow layers.


@pytest.mark.parametrize("form", [None, "plain"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_float32(level, name, masked, form):
    case = Case(name, torch.float32, masked, form)
    found = case.run(level)
    assert [t.dtype for t in found] == [torch.float32] * len(found)
    assert error(found, case.exact()) < 3e-6


@pytest.mark.parametrize("form", [None, "plain"])
@pytest.mark.parametrize("name", SHAPES)
def test_bfloat16_is_no_worse_than_plain_bfloat16(level, name, form):
    case = Case(name, torch.bfloat16, True, form)
    exact = case.exact()
    assert error(case.run(level), exact) < max(0.02, 1.5 * error(case.eager(), exact))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_bf16x3_is_far_from_bfloat16_and_near_float32(level, name, masked):
    case = Case(name, torch.float32, masked, form="bf16x3")
    exact = case.exact()
    found = case.run(level)
    assert [t.dtype for t in found] == [torch.float32] * len(found)
    assert error(found, exact) < 2e-5 < 2e-3 < error(Case(name, torch.bfloat16, masked).run(level), exact)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_int8_is_its_definition(level, name, masked):
    """But for a number that lies between two bytes, which another order of float32 sums may round to the other one."""
    case = Case(name, torch.float32, masked, form="int8")
    found, definition, exact = case.run(level), case.of_bytes(), case.exact()
    assert [t.dtype for t in found] == [torch.float32] * len(found)
    assert error(found, definition) < 0.02 and error(found, exact) < 0.2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_int8_beside_another_form(level, dtype):
    """The feed-forward products in int8, attention's in the form of the dtype."""
    case, whole = Case("several slices", dtype), Case("several slices", dtype, form="int8")
    pack_as = EAGER["int8"] if level == "eager" else lambda w: pack(w, "int8")
    plain = (lambda w: w) if level == "eager" else pack
    of_ffn = [2 * i for i, part in enumerate(LAYER_PARTS) if part in ("up", "down")]
    weights = [
        t if t.dim() == 1 else (pack_as if i % PER_LAYER in of_ffn else plain)(t) for i, t in enumerate(case.weights)
    ]
    run = default("encode") if level == "eager" else torch.ops.skn.encode
    found = run(case.hidden, case.bounds, weights, [], case.heads, EPS, case.read, case.tap)
    exact = case.exact()
    assert error(case.run(level), exact) < error(found, exact) < 1.5 * error(whole.run(level), exact)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", SHAPES)
def test_plain_weights_beside_packed_ones(level, name, dtype):
    """Keys plain, queries and values packed: the three read the same rows."""
    if level == "eager":
        pytest.skip("there every weight is plain")
    case = Case(name, dtype)
    key = 2 * LAYER_PARTS.index("k")
    weights = [t if t.dim() == 1 or i % PER_LAYER == key else pack(t) for i, t in enumerate(case.weights)]
    found = torch.ops.skn.encode(case.hidden, case.bounds, weights, [], case.heads, EPS, case.read, case.tap)
    exact = case.exact()
    assert error(found, exact) < 2 * error(case.run(level), exact) + 1e-6


@pytest.mark.parametrize("name", SHAPES)
def test_int8_with_bfloat16_around_it(level, name):
    case = Case(name, torch.bfloat16, form="int8")
    assert error(case.run(level), case.of_bytes()) < 0.1


@pytest.mark.parametrize("level", ["avx512_bf16", "amx"], indirect=True)
def test_attention_between_products_of_bytes_is_in_bfloat16_where_that_has_an_instruction(level):
    """Everything else is that of AVX-512, to the bit."""
    cases = [Case("trimmed", torch.float32, form=form) for form in (None, "int8")]
    with native.limited_isa("avx512"):
        built = native.kernel_isa("encode") == "avx512"  # test_amx.py leaves the level out, and a lower one serves
        plain, in_float32 = (case.run(level)[0] for case in cases)
    found = cases[0].run(level)[0]
    assert torch.equal(found, plain) if built else error([found], [plain]) < 3e-6
    # the rounding of sums alone makes 1.2e-5 here
    assert 1e-3 < error(cases[1].run(level)[:1], [in_float32]) < 0.02


@pytest.mark.parametrize("form", [None, "plain", "bf16x3", "int8"])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_threads_and_neighbours_change_no_bit(level, count, form):
    if level == "eager":
        pytest.skip("its products are torch's")
    case = Case("several groups", torch.float32, form=form)
    alone = case.run("native")
    with threads(count):
        assert all(torch.equal(a, b) for a, b in zip(alone, case.run("native"), strict=True))
    first = Case("several groups", torch.float32, form=form)
    first.hidden, first.bounds = case.hidden[:70], case.bounds[:2]
    assert torch.equal(first.run("native")[0], alone[0][:1])


FORMS = [
    (torch.float32, None),
    (torch.bfloat16, None),
    (torch.float32, "plain"),
    (torch.bfloat16, "plain"),
    (torch.float32, "bf16x3"),
    (torch.float32, "int8"),
    (torch.bfloat16, "int8"),
]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("dtype", "form"), FORMS)
def test_threads_that_share_few_rows_change_no_bit(level, dtype, form, name):
    if level == "eager":
        pytest.skip("its products are torch's")
    case = Case(name, dtype, form=form)
    with threads(1):
        alone = case.run("native")
    for count in (2, 9):  # more threads than sequences: they share columns and heads
        with threads(count):
            assert all(torch.equal(a, b) for a, b in zip(alone, case.run("native"), strict=True))


@pytest.mark.parametrize(("name", "row"), [("small", 6), ("odd", 3), ("odd heads in full rows", 3)])  # the last begins
@pytest.mark.parametrize(("dtype", "form"), FORMS)
def test_a_nan_stays_in_its_sequence(level, dtype, form, name, row):
    case = Case(name, dtype, form=form)
    before = row if case.read == 0 else case.read  # rows of the result that are of earlier sequences
    whole = case.run(level)[0]
    case.hidden[row] = torch.nan
    found = case.run(level)[0]
    assert torch.equal(found[:before], whole[:before]) and found[before:].isnan().all()


@pytest.mark.parametrize(("dtype", "form"), FORMS)
def test_strided_hidden_and_empty_batch(level, dtype, form):
    case = Case("small", dtype, form=form)
    whole = case.run(level)[0]
    case.hidden = torch.stack([case.hidden, case.hidden], 2)[:, :, 0]
    assert torch.equal(case.run(level)[0], whole)
    case.hidden, case.bounds = case.hidden[:0], case.bounds[:1]
    assert case.run(level)[0].shape == (0, 24)


def test_long_sequence(level):
    g = torch.Generator().manual_seed(0)
    case = Case("small", torch.float32)
    case.hidden, case.bounds = normal(515, 24, generator=g).float(), torch.tensor([0, 512, 515])
    assert error(case.run(level), case.exact()) < 3e-6


@pytest.mark.parametrize(
    ("weight", "form", "message"),
    [
        (
            torch.zeros(3, 4),
            "bfloat16",
            "form must be 'float32', 'bf16x3' or 'int8' for a weight of float32, got 'bfloat16'",
        ),
        (
            torch.zeros(3, 4).bfloat16(),
            "bf16x3",
            "form must be 'bfloat16' or 'int8' for a weight of bfloat16, got 'bf16x3'",
        ),
        (torch.zeros(3, 4).double(), None, "weight must be float32 or bfloat16"),
        (torch.zeros(3), None, r"\[N, K\]"),
    ],
)
@pytest.mark.parametrize("path", ["native", "eager"])
def test_pack_refuses_a_form_that_does_not_fit(path, weight, form, message):
    with pytest.raises(RuntimeError, match=message):
        if path == "native":
            pack(weight, form)
        else:
            default("pack")(weight, form or "float32")


def test_fake_shapes():
    case = Case("trimmed", torch.float32)
    fake = [w.to("meta") for w in case.weights]
    found = torch.ops.skn.encode(case.hidden.to("meta"), case.bounds.to("meta"), fake, [], case.heads, EPS, 1, 2)
    assert [t.shape for t in found] == [t.shape for t in case.exact()]


def test_a_gradient_is_refused():
    case = Case("small", torch.float32)
    case.hidden.requires_grad_()
    with pytest.raises(RuntimeError, match="for inference only"):
        case.run("native")


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (changed(hidden=lambda x: x.double()), "hidden must be float32 or bfloat16"),
        (changed(hidden=lambda x: x[None]), r"\[T, H\]"),
        (changed(bounds=lambda b: b.int()), "bounds must be int64"),
        (changed(bounds=lambda b: b + 1), "bounds must go from 0 to 15"),
        (changed(bounds=lambda b: torch.tensor([0, 5, 5, 15])), "sequence 1 has 0 rows"),
        (changed(heads=lambda _: 5), "5 heads do not divide 24"),
        (changed(weights=lambda w: w[:-1]), f"{PER_LAYER} tensors a layer, got {2 * PER_LAYER - 1}"),
        (changed(tap=lambda _: 4), "sequence 1 has 1 rows, fewer than 1, read or tap"),
        (changed(masks=lambda _: [torch.ones(7)]), "scale and shift of 2 layers, got 1"),
    ],
)
@pytest.mark.parametrize("path", ["native", "eager"])
def test_what_does_not_fit_is_refused(path, case, message):
    if path == "native" and native.isa() is None:
        pytest.skip("no native library")
    with pytest.raises(RuntimeError, match=message):
        case.run(path)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (changed(masks=lambda _: [torch.ones(6), torch.ones(1, 7)] * 2), r"scale must be float32 \[7\]"),
        (changed(masks=lambda _: [torch.ones(7), torch.ones(2, 7)] * 2), "shift must be float32"),
        (changed(weights=lambda w: [w[1], *w[1:]]), "must be plain and contiguous, or packed"),
        (changed(form=lambda _: "plain", weights=lambda w: [w[0].T, *w[1:]]), "plain and contiguous"),
        (changed(form=lambda _: "plain", weights=lambda w: [w[0].bfloat16(), *w[1:]]), "plain and contiguous"),
        (changed(form=lambda _: "bf16x3", weights=lambda w: [*w[:2], w[2].bfloat16()[0], *w[3:]]), "as bf16x3"),
        (changed(weights=lambda w: [w[0], w[1][:5], *w[2:]]), r"expected float32 \[24\], got float32 \[5\]"),
    ],
)
def test_the_kernel_reads_no_foreign_memory(case, message):
    if native.isa() is None:
        pytest.skip("no native library")
    with pytest.raises(RuntimeError, match=message):
        case.run("native")
