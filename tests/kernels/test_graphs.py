"""CUDA graphs without CUDA: the shapes, how a batch is filled up, and when what is captured. A graph here is the call."""

import gc

import pytest
import torch
from encode_cases import EPS, Case, error, normal
from levels import default
from skn.kernels import graphs
from skn.kernels.encode import encode_sequences


def test_shapes_are_few_and_little_larger():
    for steps, most in ((8, 1 / 8), (2, 1 / 2)):
        sizes = [graphs.rounded(n, steps) for n in range(1, 5000)]
        assert all(n <= size <= max(n * (1 + most), n) for n, size in zip(range(1, 5000), sizes, strict=True))
        assert sizes == sorted(sizes)
        for power in (64, 1024):
            between = {size for size in sizes if power < size <= 2 * power}
            assert len(between) == steps and 2 * power in between
    shape = graphs.Shape.around(torch.tensor([0, 56, 100, 1793]))
    assert shape == graphs.Shape(rows=1920, sequences=3, longest=2048)


def batch(lengths, generator, hidden=24):
    rows = normal(sum(lengths), hidden, generator=generator).float()
    return rows, torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()])


LENGTHS = [[9, 9, 8, 9, 6], [9, 6, 8, 9, 6, 3], [9, 9, 9, 9, 6]]  # one shape


@pytest.mark.parametrize("read", [0, 1, 3])
def test_what_lay_there_before_changes_nothing(read):
    case, g = Case("small", torch.float32), torch.Generator().manual_seed(1)
    batches = [batch(lengths, g) for lengths in LENGTHS]
    (shape,) = {graphs.Shape.around(bounds) for _, bounds in batches}
    inputs = graphs.Inputs(shape, batches[0][0])
    inputs.hidden.fill_(torch.nan)
    for hidden, bounds in batches:
        inputs.fill(hidden, bounds)
        found = encode_sequences(inputs.hidden, inputs.sequences, case.weights, [], case.heads, EPS, read, 0)[0]
        case.hidden, case.bounds, case.read = hidden, bounds, read
        expected = case.exact()[0]
        assert error([found[: len(expected)]], [expected]) < 3e-6


@pytest.fixture
def captures(monkeypatch):
    """Stands in for CUDA: counts captures, and a replay is the captured call into the one tensor."""
    made = []

    def capture(run, pool):
        made.append(pool)
        output = run()
        return lambda: output.copy_(run())

    monkeypatch.setattr(graphs, "_capture", capture)
    monkeypatch.setattr(graphs, "_new_pool", lambda: (0, len(made)))
    monkeypatch.setattr(graphs, "_stream", lambda: 0)
    monkeypatch.setattr(graphs, "_of_weights", graphs.WeakTensorKeyDictionary())
    return made


@pytest.fixture
def eager(monkeypatch):
    """``encode`` on the plain weights that CUDA's packed ones are."""

    def encode(hidden, bounds, weights, heads, eps, read):
        return default("encode")(hidden, bounds, weights, [], heads, eps, read, 0)

    monkeypatch.setattr(graphs.ops, "encode", encode)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("inference", [False, True])
def test_a_shape_is_captured_when_it_comes_again(captures, inference):
    case, g = Case("small", torch.float32), torch.Generator().manual_seed(2)
    weights = [w.clone() for w in case.weights]
    for i, lengths in enumerate([*LENGTHS, [30], *LENGTHS]):
        case.hidden, case.bounds = batch(lengths, g)
        with torch.inference_mode(inference and i != 4):  # captured in the one, replayed in the other
            found = graphs.encode(case.hidden, case.bounds, weights, case.heads, EPS, 1)
        case.read = 1
        assert error([found], case.exact()) < 3e-6
        assert len(captures) == (0 if i == 0 else 1)
    graphs.encode(case.hidden, case.bounds, weights, case.heads, EPS, 0)
    assert len(captures) == 1  # other rows are read: another graph, and this is the first time


@pytest.mark.usefixtures("eager")
def test_an_answer_is_not_overwritten_by_the_next(captures):
    case, g = Case("small", torch.float32), torch.Generator().manual_seed(3)
    (inputs, bounds), weights = batch(LENGTHS[0], g), [w.clone() for w in case.weights]
    answers = [graphs.encode(inputs * factor, bounds, weights, case.heads, EPS, 1) for factor in (1, 1, 2, 1)]
    assert captures and not torch.equal(answers[1], answers[2])
    assert torch.equal(answers[1], answers[3])


@pytest.mark.usefixtures("eager")
def test_no_more_graphs_than_that(captures, monkeypatch):
    monkeypatch.setattr(graphs, "MOST_GRAPHS", 2)
    case, g = Case("small", torch.float32), torch.Generator().manual_seed(4)
    weights = [w.clone() for w in case.weights]
    for length in (4, 8, 16, 32) * 2:
        hidden, bounds = batch([length], g)
        graphs.encode(hidden, bounds, weights, case.heads, EPS, 1)
    assert len(captures) == 2


@pytest.mark.usefixtures("eager", "captures")
def test_where_cuda_refuses_the_plain_pass_answers(monkeypatch, caplog):
    def refuse(run, pool):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(graphs, "_capture", refuse)
    case, g = Case("small", torch.float32), torch.Generator().manual_seed(5)
    hidden, bounds = batch(LENGTHS[0], g)
    weights = [w.clone() for w in case.weights]
    first, second = (graphs.encode(hidden, bounds, weights, case.heads, EPS, 1) for _ in range(2))
    assert torch.equal(first, second) and "no CUDA graph of Shape(rows=44" in caplog.text


@pytest.mark.usefixtures("eager", "captures")
def test_graphs_go_with_the_weights(monkeypatch):
    monkeypatch.setattr(graphs, "_capture", lambda run, pool: Kept(run()))
    case, g = Case("small", torch.float32), torch.Generator().manual_seed(6)
    hidden, bounds = batch(LENGTHS[0], g)
    weights = [w.clone() for w in case.weights]
    for _ in range(3):
        graphs.encode(hidden, bounds, weights, case.heads, EPS, 1)
    assert len(graphs._of_weights) == 1
    del weights
    gc.collect()
    assert len(graphs._of_weights) == 0


class Kept:
    """A replay that holds its output and nothing else, as that of a graph does."""

    def __init__(self, output):
        self.output = output

    def __call__(self):
        return self.output


def test_on_a_cpu_nothing_fits():
    hidden, bounds = batch(LENGTHS[0], torch.Generator().manual_seed(7))
    assert not graphs.fit(hidden, bounds)
