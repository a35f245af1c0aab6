"""Every operator against a float64 NumPy oracle written here, on the native and on the eager path."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from levels import DTYPES, LEVELS, paths_of, skip_unavailable, threads

from skn import backends, native, ops

NAMES = ("accumulate_moments", "accumulate_hits", "pool_tokens")
PATHS = paths_of(NAMES)
EXAMPLES = settings(max_examples=80, deadline=None)


def path_or_skip(name):
    skip_unavailable(name)
    return PATHS[name]


@pytest.fixture(params=PATHS, scope="session")
def path(request):
    return path_or_skip(request.param)


@pytest.fixture(params=[*LEVELS, "eager"], scope="session")
def checked(request):
    """The paths that check shapes, too; ``reference`` leaves that to ``skn.ops``."""
    return path_or_skip(request.param)


# Inputs ---------------------------------------------------------------------------------------------------

ACT_LAYOUTS = ("contiguous", "slice", "step", "transposed", "same examples", "same positions", "same neurons")


def laid_out(values, layout):
    """``values`` in a memory layout; the "same" layouts repeat the first slice by stride 0."""
    b, s, f = values.shape
    if layout == "slice":
        big = values.new_full((b, s + 3, f + 5), 7.0)
        big[:, 2 : 2 + s, 1 : 1 + f] = values
        return big[:, 2 : 2 + s, 1 : 1 + f]
    if layout == "step":
        big = values.new_full((b, 2 * s, 3 * f), 7.0)
        big[:, ::2, ::3] = values
        return big[:, ::2, ::3]
    if layout == "transposed":
        return values.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    if layout.startswith("same"):
        axis = {"same examples": 0, "same positions": 1, "same neurons": 2}[layout]
        return values.narrow(axis, 0, min(1, values.shape[axis])).expand(values.shape)
    return values


def laid_out_vector(values, layout):
    if layout == "step":
        return torch.stack([values, torch.full_like(values, -99)], 1)[:, 0]
    return values


def laid_out_state(values, layout):
    """Like :func:`laid_out`, for a state that is written."""
    return laid_out(values.clone(), layout)


def draw_values(rng, shape, dtype):
    """Ordinary numbers mixed with the ones that break comparisons and conversions."""
    info = torch.finfo(dtype)
    largest = min(info.max, 1e100)  # float64 sums must not overflow, for then their order would matter
    special = [
        0.0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        largest,
        -largest,
        info.tiny,
        -info.tiny,
        info.tiny / 4,
        1.0,
    ]
    values = rng.normal(size=shape) * rng.choice([1e-3, 1.0, 30.0], size=shape)
    values = np.where(rng.random(shape) < 0.3, rng.choice(special, size=shape), values)
    return torch.from_numpy(values).to(dtype)


def draw_threshold(rng, act, shape):
    """Per cell: an activation of that cell, a float64 neighbour of it, or some other number."""
    exact = act.to(torch.float64).numpy()
    base = exact[rng.integers(len(exact))] if len(exact) else rng.normal(size=shape)
    choices = np.stack(
        [
            base,
            np.nextafter(base, np.inf),
            np.nextafter(base, -np.inf),
            rng.normal(size=shape),
            np.broadcast_to(rng.choice([np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-50, -1e-50, 0.0], shape), shape),
        ]
    )
    return torch.from_numpy(np.take_along_axis(choices, rng.integers(5, size=(1, *shape)), 0)[0].copy())


@st.composite
def batches(draw):
    """act, labels, the number of classes and a generator, from sizes that shrink and a seed."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    batch, positions = draw(st.integers(0, 11)), draw(st.integers(1, 3))
    neurons = draw(st.sampled_from([1, 2, 7, 64, 511, 512, 513, 1030]))
    classes = draw(st.sampled_from([1, 2, 5, 150]))
    act = draw_values(rng, (batch, positions, neurons), draw(st.sampled_from(DTYPES)))
    act = laid_out(act, draw(st.sampled_from(ACT_LAYOUTS)))
    labels = laid_out_vector(torch.from_numpy(rng.integers(classes, size=batch)), draw(st.sampled_from(["", "step"])))
    return SimpleNamespace(
        act=act,
        labels=labels,
        classes=classes,
        rng=rng,
        state=draw(st.sampled_from(["contiguous", "slice", "step", "transposed"])),
        threads=draw(st.sampled_from([1, 2])),
    )


def moments_oracle(count, total, total_sq, act, labels):
    count, total, total_sq = count.numpy().copy(), total.numpy().copy(), total_sq.numpy().copy()
    with np.errstate(all="ignore"):
        for value, label in zip(act.to(torch.float64).numpy(), labels.numpy(), strict=True):
            count[label] += 1
            total[label] += value
            total_sq[label] += value * value
    return count, total, total_sq


def hits_oracle(hits, act, threshold, labels):
    hits = hits.numpy().copy()
    for value, label in zip(act.to(torch.float64).numpy(), labels.numpy(), strict=True):
        hits[label] += value > threshold.numpy()
    return hits


# accumulate_moments ---------------------------------------------------------------------------------------


@EXAMPLES
@given(batch=batches())
def test_moments_match_the_oracle(path, batch):
    shape = (batch.classes, *batch.act.shape[1:])
    start = torch.from_numpy(batch.rng.normal(size=shape))
    count = laid_out_vector(torch.arange(batch.classes), batch.state)
    total, total_sq = laid_out_state(start, batch.state), laid_out_state(start + 1, batch.state)
    expected = moments_oracle(count, total, total_sq, batch.act, batch.labels)
    with threads(batch.threads):
        path.accumulate_moments(count, total, total_sq, batch.act, batch.labels)
    np.testing.assert_array_equal(count.numpy(), expected[0])
    np.testing.assert_allclose(total.numpy(), expected[1], rtol=1e-12)
    np.testing.assert_allclose(total_sq.numpy(), expected[2], rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("step", [1, 2])
def test_every_16_bit_value_is_read_exactly(path, dtype, step):
    bits = torch.arange(2**16, dtype=torch.int32).to(torch.int16)
    act = bits.repeat_interleave(step).view(dtype)[None, None, ::step]
    count, total, total_sq = (
        torch.zeros(1, dtype=torch.int64),
        *torch.zeros(2, 1, 1, 2**16, dtype=torch.float64),
    )
    path.accumulate_moments(count, total, total_sq, act, torch.zeros(1, dtype=torch.int64))
    with np.errstate(invalid="ignore"):  # some of the values are signalling NaNs
        if dtype == torch.float16:
            expected = bits.numpy().view(np.float16).astype(np.float64)
        else:
            expected = (bits.numpy().view(np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        np.testing.assert_array_equal(total[0, 0].numpy(), expected)
        np.testing.assert_array_equal(total_sq[0, 0].numpy(), expected * expected)


# accumulate_hits ------------------------------------------------------------------------------------------


@EXAMPLES
@given(batch=batches())
def test_hits_match_the_oracle(path, batch):
    shape = tuple(batch.act.shape[1:])
    threshold = draw_threshold(batch.rng, batch.act, shape)
    hits = laid_out_state(torch.from_numpy(batch.rng.integers(100, size=(batch.classes, *shape))), batch.state)
    threshold = laid_out(threshold[None], batch.state)[0]
    expected = hits_oracle(hits, batch.act, threshold, batch.labels)
    with threads(batch.threads):
        path.accumulate_hits(hits, batch.act, threshold, batch.labels)
    np.testing.assert_array_equal(hits.numpy(), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_thresholds_between_two_activations(path, dtype):
    """Every pairing of a hard activation with a hard threshold, most of which float32 cannot represent."""
    info = torch.finfo(dtype)
    hard = [0.0, 1.0, 1 / 3, info.max, info.tiny, info.tiny / 4, 65504.0, np.inf]
    act = torch.tensor([*hard, *(-x for x in hard), np.nan], dtype=dtype)
    exact = act.to(torch.float64).numpy()
    edge = np.array([1e-50, 5e-324, 3.5e38, 3.4028235677973366e38, 1e300, np.finfo(np.float64).max, np.nan])
    with np.errstate(over="ignore"):
        above, below = np.nextafter(exact, np.inf), np.nextafter(exact, -np.inf)
    threshold = np.concatenate([exact, above, below, edge, -edge])
    hits = torch.zeros(1, len(act), len(threshold), dtype=torch.int64)
    path.accumulate_hits(
        hits,
        act[None, :, None].expand(1, -1, len(threshold)),
        torch.from_numpy(threshold).expand(len(act), -1),
        torch.zeros(1, dtype=torch.int64),
    )
    np.testing.assert_array_equal(hits[0].numpy(), exact[:, None] > threshold[None, :])


# Both statistics ------------------------------------------------------------------------------------------


def state(classes, positions, neurons):
    cells = (classes, positions, neurons)
    return SimpleNamespace(
        count=torch.zeros(classes, dtype=torch.int64),
        total=torch.zeros(cells, dtype=torch.float64),
        total_sq=torch.zeros(cells, dtype=torch.float64),
        hits=torch.zeros(cells, dtype=torch.int64),
    )


def accumulate(path, to, act, threshold, labels):
    path.accumulate_moments(to.count, to.total, to.total_sq, act, labels)
    path.accumulate_hits(to.hits, act, threshold, labels)


@pytest.mark.parametrize("classes", [2, 150])
def test_neither_threads_nor_batch_size_change_a_bit(path, classes):
    generator = torch.Generator().manual_seed(0)
    act = torch.randn(48, 20, 1100, generator=generator)[:, 3:19]
    labels = torch.randint(classes, (48,), generator=generator)
    threshold = torch.randn(16, 1100, generator=generator, dtype=torch.float64)
    states = []
    for count, size in ((1, 48), (2, 48), (2, 7)):
        to = state(classes, 16, 1100)
        with threads(count):
            for part, part_labels in zip(act.split(size), labels.split(size), strict=True):
                accumulate(path, to, part, threshold, part_labels)
        states.append(to)
    np.testing.assert_array_equal(
        states[0].hits.numpy(), hits_oracle(torch.zeros_like(to.hits), act, threshold, labels)
    )
    for other in states[1:]:
        assert all(torch.equal(a, b) for a, b in zip(vars(states[0]).values(), vars(other).values(), strict=True))


@pytest.mark.parametrize("wrong", [-1, 3, 2**62])
def test_a_label_out_of_range_leaves_the_state_alone(path, wrong):
    labels = torch.tensor([0, 1, wrong, 2])
    act, threshold = torch.ones(4, 2, 5), torch.zeros(2, 5, dtype=torch.float64)
    to, untouched = state(3, 2, 5), state(3, 2, 5)
    message = rf"labels must lie in \[0, 3\), got {wrong} at example 2"
    with pytest.raises(RuntimeError, match="accumulate_moments: " + message):
        path.accumulate_moments(to.count, to.total, to.total_sq, act, labels)
    with pytest.raises(RuntimeError, match="accumulate_hits: " + message):
        path.accumulate_hits(to.hits, act, threshold, labels)
    assert all(torch.equal(a, b) for a, b in zip(vars(to).values(), vars(untouched).values(), strict=True))


@pytest.mark.parametrize("shape", [(0, 2, 5), (4, 0, 5), (4, 2, 0)])
def test_empty_axes(path, shape):
    batch, positions, neurons = shape
    to = state(2, positions, neurons)
    labels = torch.zeros(batch, dtype=torch.int64)
    accumulate(path, to, torch.ones(shape), torch.zeros(positions, neurons, dtype=torch.float64), labels)
    assert to.count.tolist() == [batch, 0]
    assert to.hits.sum() == batch * positions * neurons


# pool_tokens ----------------------------------------------------------------------------------------------


@EXAMPLES
@given(batch=batches(), reduce=st.sampled_from(["mean", "max"]), layout=st.sampled_from(["", "step"]))
def test_pooling_matches_the_oracle(path, batch, reduce, layout):
    act = batch.act
    examples, tokens, neurons = act.shape
    offset = batch.rng.integers(tokens + 1, size=examples)
    lengths = batch.rng.integers(tokens - offset + 1)
    exact = act.to(torch.float64).numpy()
    expected = np.zeros((examples, neurons))
    with np.errstate(all="ignore"):
        for b in range(examples):
            span = exact[b, offset[b] : offset[b] + lengths[b]]
            if len(span):
                expected[b] = span.mean(axis=0) if reduce == "mean" else span.max(axis=0)
    spans = (laid_out_vector(torch.from_numpy(v), layout) for v in (lengths, offset))
    with threads(batch.threads):
        pooled = path.pool_tokens(act, *spans, reduce)
    assert pooled.dtype == (torch.float64 if act.dtype == torch.float64 else torch.float32)
    assert pooled.shape == (examples, neurons)
    if reduce == "max":
        np.testing.assert_array_equal(pooled.numpy(), expected)
    else:
        # float64 sums in another order, so where terms cancel the error is relative to the largest term.
        largest = np.abs(exact, where=np.isfinite(exact), out=np.zeros_like(exact)).max(initial=0.0)
        tolerance = 1e-12 if act.dtype == torch.float64 else 2e-7
        np.testing.assert_allclose(
            pooled.numpy(), expected, rtol=tolerance, atol=1e-14 * largest + torch.finfo(pooled.dtype).tiny
        )


def test_pooling_many_tokens_on_two_threads(path):
    act = torch.randn(6, 70, 1100, generator=torch.Generator().manual_seed(0)).transpose(0, 1).contiguous()
    act = act.transpose(0, 1)
    lengths, offset = torch.tensor([70, 0, 1, 12, 69, 30]), torch.tensor([0, 70, 69, 3, 1, 40])
    with threads(2):
        mean, most = (path.pool_tokens(act, lengths, offset, how) for how in ("mean", "max"))
    for b, (n, first) in enumerate(zip(lengths.tolist(), offset.tolist(), strict=True)):
        span = act[b, first : first + n].double()
        torch.testing.assert_close(mean[b].double(), span.mean(0) if n else torch.zeros(1100).double())
        assert torch.equal(most[b].double(), span.amax(0) if n else torch.zeros(1100).double())


def test_nothing_outside_of_a_span_leaks_in(path):
    act = torch.full((1, 5, 3), torch.nan)
    act[:, 2:4] = torch.tensor([1.0, 2.0, -4.0])
    for how in ("mean", "max"):
        pooled = path.pool_tokens(act, torch.tensor([2]), torch.tensor([2]), how)
        assert pooled.tolist() == [[1.0, 2.0, -4.0]]


@pytest.mark.parametrize("how", ["mean", "max"])
def test_no_tokens_at_all(path, how):
    nothing = torch.zeros(2, dtype=torch.int64)
    assert torch.equal(path.pool_tokens(torch.ones(2, 0, 3), nothing, nothing, how), torch.zeros(2, 3))


@pytest.mark.parametrize(("length", "first"), [(3, 2), (-1, 0), (1, -1), (0, 5), (2**63 - 1, 1)])
def test_a_span_out_of_range_is_refused(path, length, first):
    lengths, offset = torch.tensor([4, length]), torch.tensor([0, first])
    with pytest.raises(RuntimeError, match=rf"example 1 covers {length} tokens from {first} on, outside of 4"):
        path.pool_tokens(torch.ones(2, 4, 3), lengths, offset, "mean")


# Contracts ------------------------------------------------------------------------------------------------


def arguments(name, act=None):
    """Valid arguments of an operator by name: B = 4, P or S = 3, F = 5, C = 2."""
    act = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0)) if act is None else act
    labels = torch.tensor([0, 1, 1, 0])
    to = state(2, 3, 5)
    if name == "accumulate_moments":
        return {"count": to.count, "total": to.total, "total_sq": to.total_sq, "act": act, "labels": labels}
    if name == "accumulate_hits":
        threshold = torch.zeros(3, 5, dtype=torch.float64)
        return {"hits": to.hits, "act": act, "threshold": threshold, "labels": labels}
    lengths, offset = torch.tensor([3, 2, 1, 0]), torch.tensor([0, 1, 2, 3])
    return {"act": act, "lengths": lengths, "offset": offset, "reduce": "mean"}


WRONG = [
    (
        "accumulate_moments",
        "act",
        torch.zeros(4, 5),
        r"act must be float32, .* \[B, P, F\], got float32 \[4, 5\]",
    ),
    (
        "accumulate_moments",
        "act",
        torch.zeros(4, 3, 5, dtype=torch.int32),
        "act must be float32, .* got int32",
    ),
    ("accumulate_moments", "count", torch.zeros(2), r"count must be int64 \[C\] = \[2\], got float32 \[2\]"),
    ("accumulate_moments", "count", torch.tensor(0), r"count must be int64 \[C\], got int64 \[\]"),
    (
        "accumulate_moments",
        "total",
        torch.zeros(2, 3, 5),
        r"total must be float64 \[C, P, F\] = \[2, 3, 5\], got fl",
    ),
    (
        "accumulate_moments",
        "total_sq",
        torch.zeros(2, 3, 4, dtype=torch.float64),
        r"total_sq must .* \[2, 3, 4\]",
    ),
    (
        "accumulate_moments",
        "labels",
        torch.zeros(3, dtype=torch.int64),
        r"labels must be int64 \[B\] = \[4\], got",
    ),
    (
        "accumulate_moments",
        "total",
        torch.zeros(1, 1, 1, dtype=torch.float64).expand(2, 3, 5),
        "not be expanded",
    ),
    (
        "accumulate_moments",
        "count",
        torch.zeros(1, dtype=torch.int64).expand(2),
        "count must not be expanded",
    ),
    ("accumulate_hits", "act", torch.zeros(4, 3, 5, dtype=torch.int64), "act must be float32"),
    (
        "accumulate_hits",
        "hits",
        torch.zeros(2, 15, dtype=torch.int64),
        r"hits must be int64 \[C, P, F\], got",
    ),
    (
        "accumulate_hits",
        "hits",
        torch.zeros(2, 3, 5),
        r"hits must be int64 \[C, P, F\] = \[2, 3, 5\], got float32",
    ),
    ("accumulate_hits", "hits", torch.zeros(2, 3, 1, dtype=torch.int64).expand(2, 3, 5), "not be expanded"),
    (
        "accumulate_hits",
        "threshold",
        torch.zeros(3, 5),
        r"threshold must be float64 \[P, F\] = \[3, 5\], got float32",
    ),
    (
        "accumulate_hits",
        "labels",
        torch.zeros(4, dtype=torch.int32),
        r"labels must be int64 .* got int32 \[4\]",
    ),
    ("pool_tokens", "act", torch.zeros(5), r"act must be .* \[B, S, F\], got float32 \[5\]"),
    ("pool_tokens", "lengths", torch.zeros(5, dtype=torch.int64), r"lengths must be int64 \[B\] = \[4\]"),
    ("pool_tokens", "offset", torch.zeros(4), r"offset must be int64 \[B\] = \[4\], got float32 \[4\]"),
    ("pool_tokens", "reduce", "median", "reduce must be 'mean' or 'max', got 'median'"),
]


@pytest.mark.parametrize(("name", "argument", "value", "message"), WRONG)
def test_wrong_arguments_are_named(checked, name, argument, value, message):
    with pytest.raises(RuntimeError, match=f"{name}: .*{message}"):
        getattr(checked, name)(**{**arguments(name), argument: value})


@pytest.mark.parametrize(("name", "argument", "value", "message"), WRONG)
def test_the_fake_refuses_the_same(name, argument, value, message):
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True) as mode:
        given = {**arguments(name), argument: value}
        fake = {k: mode.from_tensor(v) if isinstance(v, torch.Tensor) else v for k, v in given.items()}
        with pytest.raises(RuntimeError, match=message):
            getattr(ops, name)(**fake)


@pytest.mark.parametrize("name", NAMES)
def test_tensors_of_two_devices_are_refused(name):
    given = arguments(name)
    other = "labels" if "labels" in given else "lengths"
    given[other] = given[other].to("meta")
    with pytest.raises(RuntimeError, match=f"{other} must be on the device of act"):
        getattr(ops, name)(**given)


@pytest.mark.parametrize("name", [name for name in NAMES if "labels" in arguments(name)])
def test_labels_may_stay_on_the_cpu(name):
    given = {k: v.to("meta") if k != "labels" else v for k, v in arguments(name).items()}
    getattr(ops, name)(**given)
    getattr(ops, f"_default_{name}")(**given)
    given["labels"] = given["labels"] + 99
    with pytest.raises(RuntimeError, match=f"{name}: labels must lie in"):
        getattr(ops, f"_default_{name}")(**given)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_opcheck(name, dtype):
    act = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    overload = getattr(torch.ops.skn, name).default
    for layout in ("contiguous", "step"):
        torch.library.opcheck(overload, tuple(arguments(name, laid_out(act, layout)).values()))
    torch.library.opcheck(overload, tuple(arguments(name, act.clone().requires_grad_()).values()))


@pytest.mark.parametrize("name", NAMES)
def test_statistics_carry_no_gradient(path, name):
    given = arguments(name, torch.randn(4, 3, 5, requires_grad=True))
    result = getattr(path, name)(*given.values())
    assert [k for k, v in given.items() if isinstance(v, torch.Tensor) and v.requires_grad] == ["act"]
    assert result is None or not result.requires_grad


def test_the_table_names_every_operator():
    defined = {schema.name for schema in torch._C._jit_get_all_schemas() if schema.name.startswith("skn::")}
    assert {f"skn::{name}" for name in backends.TABLE} == defined
    for name in backends.TABLE:
        level = native.kernel_isa(name)
        assert backends.implementation(name, "cpu") == ("eager" if level is None else f"c++ ({level})")
        if not torch.cuda.is_available():
            assert backends.implementation(name, "cuda") == "eager"
        assert backends.implementation(name, torch.device("meta")) == "eager"
