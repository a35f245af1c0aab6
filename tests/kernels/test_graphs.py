"""CUDA graphs without CUDA: the shapes, how a batch is filled up, and when what is captured. A graph here is the call."""

import gc
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
from captures import refuse
from encode_cases import EPS, Case, error, normal
from levels import default
from skn.kernels import capture, graphs
from skn.kernels.encode import encode_sequences
from torch.cuda import StreamContext


def test_shapes_are_few_and_little_larger():
    for steps, most in ((32, 1 / 32), (8, 1 / 8), (2, 1 / 2)):
        sizes = [capture.rounded(n, steps) for n in range(1, 5000)]
        assert all(n <= size <= max(n * (1 + most), n) for n, size in zip(range(1, 5000), sizes, strict=True))
        assert sizes == sorted(sizes)
        for power in (64, 1024):
            between = {size for size in sizes if power < size <= 2 * power}
            assert len(between) == steps and 2 * power in between
    shape = graphs.Shape.around(torch.tensor([0, 56, 100, 1793]))
    assert shape == graphs.Shape(rows=1920, sequences=3, longest=2048)
    for rows, size in ((16384, 16384), (16385, 16896), (32768, 32768), (32769, 33792)):  # finer steps above 16,384
        assert graphs.Shape.around(torch.tensor([0, 100, rows])).rows == size


def test_the_memory_of_inputs_and_outputs_is_counted():
    shape = graphs.Shape(rows=48, sequences=6, longest=16)
    inputs = graphs.Inputs(shape, torch.empty(0, 24, dtype=torch.bfloat16))
    for read, rows in ((0, 48), (3, 18)):  # the rows that encode returns
        expected = inputs.hidden.nbytes + inputs.sequences.bounds.nbytes + rows * 24 * 2
        assert shape.kept_bytes(inputs.hidden, read) == expected


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
    monkeypatch.setattr(capture, "MOST_GRAPHS", 2)
    case, g = Case("small", torch.float32), torch.Generator().manual_seed(4)
    weights = [w.clone() for w in case.weights]
    for length in (4, 8, 16, 32) * 2:
        hidden, bounds = batch([length], g)
        graphs.encode(hidden, bounds, weights, case.heads, EPS, 1)
    assert len(captures) == 2


@pytest.mark.usefixtures("eager")
def test_graphs_keep_no_more_memory_than_that(captures, monkeypatch):
    case, g = Case("small", torch.float32), torch.Generator().manual_seed(4)
    weights = [w.clone() for w in case.weights]
    batches = [batch([length], g) for length in (32, 64, 8)]
    sizes = [graphs.Shape.around(bounds).kept_bytes(hidden, 1) for hidden, bounds in batches]
    monkeypatch.setattr(capture, "MOST_BYTES", sizes[0] + sizes[2])
    for hidden, bounds in batches * 2:
        found = graphs.encode(hidden, bounds, weights, case.heads, EPS, 1)
        case.hidden, case.bounds, case.read = hidden, bounds, 1
        assert error([found], case.exact()) < 3e-6
    (of_model,) = graphs._of_weights.values()
    assert [key[0].rows for key in of_model.captured] == [32, 8]  # the second shape finds too little left
    assert len(captures) == 2 and of_model.kept == sizes[0] + sizes[2]


@pytest.mark.usefixtures("eager", "captures")
def test_what_cuda_refuses_is_tried_once_and_the_plain_pass_answers(monkeypatch, caplog):
    tried = refuse(monkeypatch)
    case, g = Case("small", torch.float32), torch.Generator().manual_seed(5)
    weights = [w.clone() for w in case.weights]
    for lengths in (LENGTHS[0], [30]):
        hidden, bounds = batch(lengths, g)
        first, *others = (graphs.encode(hidden, bounds, weights, case.heads, EPS, 1) for _ in range(4))
        assert all(torch.equal(first, other) for other in others)
    assert caplog.text.count("no CUDA graph of Shape(rows=44") == 1
    assert len(tried) == 2 and tried[0] is not tried[1]  # another shape is tried, in memory of its own


@pytest.mark.usefixtures("eager")
def test_what_shares_memory_shares_a_stream(captures, monkeypatch):
    case, g = Case("small", torch.float32), torch.Generator().manual_seed(8)
    weights = [[w.clone() for w in case.weights] for _ in range(2)]
    for model in weights:
        for stream in (0, 7):
            monkeypatch.setattr(capture, "current_stream", lambda stream=stream: stream)
            for lengths in (LENGTHS[0], [30]) * 2:
                graphs.encode(*batch(lengths, g), model, case.heads, EPS, 1)
    lanes = [captures[i] for i in (0, 2, 4, 6)]
    assert captures == [lane for lane in lanes for _ in range(2)] and len(set(lanes)) == 4


@pytest.mark.usefixtures("eager", "captures")
def test_graphs_go_with_the_weights(monkeypatch):
    monkeypatch.setattr(capture, "capture", lambda run, lane: Kept(run()))
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


class Cuda:
    """What a capture asks of CUDA, on one device; ``refuse`` names the call that fails."""

    class Stream:
        device = torch.device("cuda", 0)

        def wait_stream(self, other):
            pass

    def __init__(self, monkeypatch, refuse=None):
        self.current, self.refuse = self.Stream(), refuse
        monkeypatch.setattr(torch._C, "_host_emptyCache", lambda: None, raising=False)
        for name in ("Stream", "current_stream", "set_stream", "stream", "CUDAGraph", "synchronize", "empty_cache"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))

    def current_stream(self, device=None):
        return self.current

    def set_stream(self, stream):
        self.current = stream

    def stream(self, stream):
        context = StreamContext(stream)
        context.idx = 0
        return context

    def CUDAGraph(self):
        return self

    def synchronize(self):
        pass

    empty_cache = replay = synchronize

    def capture_begin(self, *pool, **options):
        self.begun = self.current, pool
        self._fail_at("begin")

    def capture_end(self):
        self._fail_at("end")

    def _fail_at(self, call):
        if self.refuse == call:
            raise RuntimeError("operation not permitted when stream is capturing")


@pytest.mark.parametrize("refuse", [None, "begin", "end"])
def test_a_capture_leaves_the_thread_on_its_stream(monkeypatch, refuse):
    cuda = Cuda(monkeypatch, refuse)
    before, lane, ran_on = cuda.current, capture.Lane((0, 1), cuda.Stream()), []
    if refuse is None:
        assert capture.capture(lambda: ran_on.append(cuda.current) or 5, lane)() == 5
        assert set(ran_on) == {lane.side}
    else:
        with pytest.raises(RuntimeError, match="not permitted"):
            capture.capture(lambda: 5, lane)
    assert cuda.current is before and cuda.begun == (lane.side, (lane.pool,))


@pytest.mark.usefixtures("eager", "captures")
def test_all_of_it_runs_on_the_device_of_the_rows(monkeypatch):
    entered = []

    @contextmanager
    def device_of(tensor):
        entered.append(tensor)
        yield
        entered.pop()

    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    real, asked = capture.Graphs._add, []
    monkeypatch.setattr(capture, "current_stream", lambda: asked.append(("stream", *entered)) or 0)
    monkeypatch.setattr(capture.Graphs, "_add", lambda *all_: asked.append(("capture", *entered)) or real(*all_))
    case = Case("small", torch.float32)
    hidden, bounds = batch(LENGTHS[0], torch.Generator().manual_seed(9))
    weights = [w.clone() for w in case.weights]
    for _ in range(2):
        graphs.encode(hidden, bounds, weights, case.heads, EPS, 1)
    assert [(what, *map(id, on)) for what, *on in asked] == [
        (what, id(hidden)) for what in ("stream", "stream", "capture")
    ]


def test_any_number_of_rows_fits_outside_of_a_capture(monkeypatch):
    capturing = False
    monkeypatch.setattr(torch.cuda, "device_of", lambda tensor: nullcontext())
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: capturing)
    bounds = torch.tensor([0, 10**6])
    for rows, fits in ((10**6, True), (1, True), (0, False)):
        assert graphs.fit(SimpleNamespace(is_cuda=True, shape=(rows, 24)), bounds) is fits
    capturing = True
    assert not graphs.fit(SimpleNamespace(is_cuda=True, shape=(1, 24)), bounds)


def test_on_a_cpu_nothing_fits():
    hidden, bounds = batch(LENGTHS[0], torch.Generator().manual_seed(7))
    assert not graphs.fit(hidden, bounds)
