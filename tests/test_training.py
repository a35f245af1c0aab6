"""Training: only what is tuned changes, the best is kept, the same seed gives the same bytes."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import TrainerCallback

from skn import artifacts, training
from skn.backbone import Backbone
from skn.data import DataSpec, load_data
from skn.engine import accuracy, predict
from skn.errors import InputError, SknError
from skn.runs import Run
from skn.stages.train import TrainRequest, train

CASES = [("roberta", "prompt"), ("roberta", "bitfit"), ("roberta", "adapter"), ("bert", "prompt"),
         ("bert-headless", "prompt"), ("xlm-roberta", "prompt"), ("gpt2", "prompt")]  # fmt: skip
LR = {"prompt": 0.05, "bitfit": 0.01, "adapter": 0.01}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def request_for(tiny, corpus_folder):
    def make(family="roberta", method="prompt", **options) -> TrainRequest:
        options = {"prompt_length": 4 if method == "prompt" else 1, "epochs": 2, "batch_size": 16, "eval_every": 4,
                   "lr": LR[method], "verbalizer": "negative,positive"} | options  # fmt: skip
        return TrainRequest(str(tiny(family)), DataSpec(data=str(corpus_folder)), method, **options)

    return make


@pytest.fixture
def trainers(monkeypatch):
    """Every Trainer that is made, with the callbacks added that a test puts into ``watch``."""

    class Trainers(list):
        watch: tuple[TrainerCallback, ...] = ()

    made = Trainers()
    original = training._TuneTrainer.__init__

    def init(self, *args, **kwargs):
        original(self, *args, **kwargs)
        made.append(self)
        for callback in made.watch:
            self.add_callback(callback)

    monkeypatch.setattr(training._TuneTrainer, "__init__", init)
    return made


@pytest.fixture
def scripted(monkeypatch):
    """``scripted(values)``: the evaluations of a training find these accuracies; returns the tensors at each."""

    def script(values, trainers):
        seen, values = [], iter(values)

        def fake(_logits, _label):
            seen.append(trainers[-1].model.tuned_tensors())
            return next(values)

        monkeypatch.setattr(training, "accuracy", fake)
        return seen

    return script


def train_rows(request: TrainRequest) -> int:
    return len(load_data(request.data).rows["train"])


def stored(run: Run) -> dict[str, torch.Tensor]:
    return artifacts.load(run.tuned_file, "tuned").tensors


def evaluations(run: Run) -> list[dict[str, float]]:
    return [entry for entry in run.training["history"] if "eval_accuracy" in entry]


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def dropout_folder(tiny, tmp_path):
    """A model whose configuration asks for much dropout."""

    def make(family: str):
        folder = tmp_path / "dropout"
        config = transformers.AutoConfig.from_pretrained(tiny(family))
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "resid_pdrop", "embd_pdrop", "attn_pdrop"):
            if hasattr(config, name):
                setattr(config, name, 0.5)
        auto = {"bert-headless": transformers.AutoModel, "gpt2": transformers.AutoModelForCausalLM}
        model = auto.get(family, transformers.AutoModelForMaskedLM).from_pretrained(tiny(family), config=config)
        model.save_pretrained(folder)
        transformers.AutoTokenizer.from_pretrained(tiny(family)).save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def lopsided(corpus_folder, tmp_path) -> DataSpec:
    """Few rows of one class: whatever is tuned can lower the loss, if only by preferring the other."""
    folder = tmp_path / "lopsided"
    folder.mkdir()
    for file in corpus_folder.iterdir():
        header, *rows = file.read_text(encoding="utf-8").splitlines()
        rare = [row for row in rows if row.endswith("\t0")]
        kept = [row for row in rows if row not in rare] + rare[:10]
        (folder / file.name).write_text("\n".join([header, *kept]) + "\n", encoding="utf-8")
    return DataSpec(data=str(folder))


class Watch(TrainerCallback):
    """Looks at the model in the middle of training, in the mode that the Trainer has put it into."""

    def __init__(self):
        self.steps = 0

    def on_train_begin(self, args, state, control, model=None, optimizer=None, **_):
        self.before = {name: t.clone() for name, t in model.backbone.model.state_dict().items()}
        self.named = {name for name, _ in model.named_parameters()}
        self.clipped = {id(p) for p in model.parameters() if p.requires_grad}
        self.optimized = {id(p) for group in optimizer.param_groups for p in group["params"]}
        self.names = {id(p): name for name, p in model.backbone.model.named_parameters()}

    def on_step_end(self, args, state, control, model=None, **_):
        self.steps += 1
        if state.global_step == 3:
            assert model.training
            assert not any(module.training for module in model.backbone.model.modules())
            ids = torch.arange(40, 58).reshape(2, 9)
            with torch.no_grad():
                first, second = (model(ids, torch.ones_like(ids))["logits"] for _ in range(2))
            assert torch.equal(first, second)


@pytest.mark.parametrize("family,method", CASES)
def test_only_what_is_tuned_changes(request_for, trainers, dropout_folder, lopsided, tmp_path, family, method):
    watch = Watch()
    trainers.watch = (watch,)
    request = request_for(family, method, epochs=4)
    request = dataclasses.replace(request, backbone=str(dropout_folder(family)), data=lopsided)
    digest = Backbone.load(request.backbone).digest()
    run = train(request, tmp_path / "run")
    assert watch.steps == 4 * -(-train_rows(request) // 16)
    losses = [entry["loss"] for entry in run.training["history"] if "loss" in entry]
    assert losses[-1] < 0.95 * losses[0]

    model, backbone = trainers[0].model, trainers[0].model.backbone
    after = backbone.model.state_dict()
    changed = {name for name in after if not torch.equal(after[name], watch.before[name])}
    assert watch.optimized == watch.clipped
    tuned_in_place = {watch.names[i] for i in watch.optimized if i in watch.names}
    if method == "bitfit":
        assert watch.named == {"prompt", *(f"extra.{i}" for i in range(len(model.extra)))}
        assert tuned_in_place and all(name.endswith("bias") for name in tuned_in_place)
        assert changed and changed <= tuned_in_place
    else:
        assert not changed and not tuned_in_place and backbone.digest() == digest
        assert all(p.grad is None and not p.requires_grad for p in backbone.model.parameters())
        assert len(watch.optimized) == (1 if method == "prompt" else 4 * len(backbone.ffn_sites))
    tensors = stored(run)
    assert {name.split(".")[0] for name in tensors} == {
        "label_ids", "prompt", *([] if family == "gpt2" else ["mask_embedding"]),
        *{"prompt": [], "bitfit": ["bias"], "adapter": ["adapter"]}[method],
    }  # fmt: skip
    assert not run.checkpoints.exists()

    # What is stored is what was evaluated: over a fresh backbone it has the accuracy that the run states.
    loaded = Run.open(run.path).load()
    found = loaded.encoded("validation")
    assert accuracy(predict(loaded.model, found), found.label) == run.training["best_accuracy"]
    assert run.training["best_accuracy"] == max(entry["eval_accuracy"] for entry in evaluations(run))


def test_the_best_is_kept_not_the_last(request_for, trainers, scripted, tmp_path):
    seen = scripted([0.5, 0.9, 0.7, 0.9, 0.6], trainers)
    run = train(request_for(), tmp_path / "run")
    assert (run.training["best_accuracy"], run.training["best_step"]) == (0.9, 8)
    assert same(stored(run), seen[1]) and not same(seen[1], seen[3])
    assert [entry["eval_accuracy"] for entry in evaluations(run)] == [0.5, 0.9, 0.7, 0.9, 0.6]


def test_early_stopping(request_for, trainers, scripted, tmp_path):
    seen = scripted([0.6, 0.8, 0.8, 0.7, 1.0], trainers)
    run = train(request_for(patience=2), tmp_path / "run")
    assert [entry["step"] for entry in evaluations(run)] == [4, 8, 12, 16]
    assert run.training["best_step"] == 8 and same(stored(run), seen[1])


def test_the_last_step_is_evaluated(request_for, tmp_path):
    run = train(request_for(eval_every=7), tmp_path / "run")
    assert [entry["step"] for entry in evaluations(run)] == [7, 14, 20]
    assert [entry["step"] for entry in run.training["history"] if "loss" in entry] == [7, 14, 20]


@pytest.mark.parametrize(
    "options,words",
    [
        ({"eval_every": 21}, "no evaluation would happen"),
        ({"batch_size": 161}, "fewer than one batch"),
        ({"warmup": 1.0}, "--warmup"),
        ({"method": "bitfit", "dtype": "bfloat16"}, "needs --dtype float32"),
        ({"method": "adapter", "prompt_length": 3}, "--prompt-length 1"),
        ({"prompt_length": 64}, "--prompt-length 64"),
        ({"init_from": "nowhere"}, "nowhere"),
    ],
)
def test_refused_before_anything_is_written(request_for, tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        train(request_for(**options), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"prompt_length": 1}, {"epochs": 0}])
def test_nothing_to_train(request_for, trainers, tmp_path, options):
    """The mask alone, and no epochs: the start is evaluated once."""
    run = train(request_for(**options), tmp_path / "run")
    assert trainers == []
    assert run.training["history"] == [] and run.training["best_step"] == 0
    length = options.get("prompt_length", 4)
    assert stored(run)["prompt"].shape == (length - 1, 32)
    loaded = Run.open(run.path).load()
    found = loaded.encoded("validation")
    assert loaded.model.prompt_length == length
    assert accuracy(predict(loaded.model, found), found.label) == run.training["best_accuracy"]
    assert sorted(p.name for p in run.path.iterdir()) == [
        "run.json",
        "splits.safetensors",
        "timings.json",
        "tuned.safetensors",
    ]


def test_start_from_another_run(request_for, tmp_path):
    first = train(request_for(prompt_length=6), tmp_path / "first")
    second = train(request_for(prompt_length=None, epochs=0, seed=5, init_from=str(first.path)), tmp_path / "second")
    assert second.config.prompt_length == 6
    assert same(stored(second), stored(first))
    assert second.training["best_accuracy"] == first.training["best_accuracy"]
    with pytest.raises(InputError, match="holds a prompt of 6"):
        train(request_for(prompt_length=5, init_from=str(first.path)), tmp_path / "third")
    with pytest.raises(InputError, match="holds a prompt run"):
        train(request_for(method="adapter", init_from=str(first.path)), tmp_path / "third")
    assert not (tmp_path / "third").exists()


def test_start_from_gpt2(request_for, tmp_path):
    first = train(request_for("gpt2"), tmp_path / "first")
    second = train(request_for("gpt2", prompt_length=None, epochs=0, init_from=str(first.path)), tmp_path / "second")
    assert second.config.prompt_length == 4 and same(stored(second), stored(first))


@pytest.fixture
def imported(tmp_path):
    """A prompt of other code, as ``skn import`` writes it: positions from 0, no mask embedding."""
    prompt = torch.randn(4, 32, generator=torch.Generator().manual_seed(3))
    tensors = {"prompt": prompt, "label_ids": torch.tensor([1, 2])}
    return artifacts.save(tmp_path / "imported", "tuned", tensors, {}, method="prompt", position_start=0), prompt


@pytest.mark.parametrize("epochs", [0, 1])
def test_start_from_an_imported_file(request_for, imported, tmp_path, monkeypatch, epochs):
    file, prompt = imported
    seen = []
    encode = Backbone.encode
    monkeypatch.setattr(Backbone, "encode", lambda self, batch: seen.append(batch) or encode(self, batch))
    run = train(request_for(prompt_length=None, epochs=epochs, init_from=str(file)), tmp_path / "run")
    assert run.config.prompt_length == 5
    assert seen and all(batch.position_ids[0].tolist() == list(range(batch.inputs_embeds.shape[1])) for batch in seen)
    assert torch.equal(seen[0].inputs_embeds[0, 1:5], prompt)
    found = artifacts.load(run.tuned_file, "tuned")
    assert found.meta["position_start"] == 0 and found["label_ids"].tolist() != [1, 2]
    assert epochs or torch.equal(found["prompt"], prompt)

    # Every later stage keeps to it, and it makes a difference.
    model = Run.open(run.path).load().model
    ids = torch.arange(40, 58).reshape(2, 9)
    mask = torch.ones_like(ids)
    with torch.no_grad():
        ours = model.backbone.encode(model.assemble(ids, mask))
        usual = model.backbone.encode(model.backbone.assemble(model.prompt_rows(), ids, mask))
    assert model.position_start == 0 and model.backbone.position_start == 2
    assert (ours - usual).abs().max() > 0.01


def test_same_seed_same_bytes(request_for, tmp_path):
    runs = [train(request_for(seed=seed), tmp_path / f"run{i}") for i, seed in enumerate((1, 1, 2))]
    for name in ("tuned.safetensors", "splits.safetensors", "run.json"):
        first, second, other = ((run.path / name).read_bytes() for run in runs)
        assert first == second, name
        assert (first == other) == (name == "splits.safetensors"), name
    assert json.loads((runs[0].path / "run.json").read_text())["training"] == runs[0].training


def test_the_seed_orders_the_rows(request_for, tmp_path):
    """From the same start, another seed is another order."""
    start = train(request_for(epochs=0), tmp_path / "start")
    runs = [train(request_for(seed=s, init_from=str(start.path)), tmp_path / f"run{s}") for s in (1, 2)]
    assert not torch.equal(stored(runs[0])["prompt"], stored(runs[1])["prompt"])


def test_every_row_once_an_epoch(request_for, trainers, tmp_path):
    train(request_for(), tmp_path / "run")
    sampler = trainers[0].sampler
    orders = []
    for epoch in (0, 1, 0):
        sampler.epoch = epoch
        orders.append(list(sampler))
        assert sorted(row for batch in orders[-1] for row in batch) == list(range(160))
    assert orders[0] == orders[2] != orders[1]


class NoVocabulary(TorchDispatchMode):
    """Fails where an operation makes scores of the whole vocabulary."""

    def __init__(self, vocabulary: int):
        super().__init__()
        self.vocabulary, self.operations = vocabulary, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.dim() > 1:
                self.operations += 1
                assert tensor.shape[-1] != self.vocabulary, function
        return result


@pytest.mark.parametrize("family", ["roberta", "bert", "gpt2"])
def test_the_vocabulary_is_never_scored(request_for, tmp_path, family):
    request = request_for(family, epochs=1)
    vocabulary = Backbone.load(request.backbone).embedding.num_embeddings
    assert vocabulary > 300
    with NoVocabulary(vocabulary) as mode:
        train(request, tmp_path / "run")
    assert mode.operations > 1000


@pytest.mark.parametrize("family", ["roberta", "gpt2"])
def test_bfloat16(request_for, tmp_path, family):
    run = train(request_for(family, dtype="bfloat16"), tmp_path / "run")
    losses = [entry["loss"] for entry in run.training["history"] if "loss" in entry]
    assert losses[-1] < losses[0]
    assert stored(run)["prompt"].dtype == torch.float32
    start = train(request_for(family, dtype="bfloat16", epochs=0), tmp_path / "start")
    assert not torch.equal(stored(run)["prompt"], stored(start)["prompt"])


def test_causal_prompt_stands_after_the_text(request_for, trainers, tmp_path):
    seen = []

    class Look(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **_):
            seen.append(model.prompt.grad.abs().sum(dim=1))

    trainers.watch = (Look(),)
    run = train(request_for("gpt2"), tmp_path / "run")
    assert stored(run)["prompt"].shape == (4, 32) and "mask_embedding" not in stored(run)
    assert all((gradient > 0).all() for gradient in seen)  # every vector is tuned
    model = Run.open(run.path).load().model
    ids = torch.tensor([[50, 51, 52, 53, 54], [60, 61, 62, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    batch = model.assemble(ids, mask)
    assert batch.prompt == slice(5, 9) and batch.readout == 8
    assert torch.equal(batch.inputs_embeds[:, 5:], model.prompt_rows().expand(2, -1, -1))
    assert torch.equal(batch.inputs_embeds[1, 2:5], model.backbone.embedding.weight[[60, 61, 62]])
    assert batch.position_ids[1, 2:].tolist() == list(range(7))


def test_divergence_is_said(request_for, trainers, tmp_path):
    """NaN scores would count as the first class; nothing is kept of them."""

    class Break(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **_):
            if state.global_step == 6:
                model.prompt.data.fill_(float("nan"))

    trainers.watch = (Break(),)
    with pytest.raises(SknError, match="diverged: NaN at step 8; lower --lr"):
        train(request_for(), tmp_path / "run")
    assert not (tmp_path / "run" / "tuned.safetensors").exists()


def test_resume_wants_the_same_backbone(request_for, tmp_path, monkeypatch):
    request = request_for(epochs=0)
    train(request, tmp_path / "run")
    with pytest.raises(InputError, match="was started with --backbone"):
        train(request_for("bert"), tmp_path / "run", resume=True)
    folder = request.backbone.rsplit("/", 1)
    monkeypatch.chdir(folder[0])  # the same folder, named from elsewhere
    train(dataclasses.replace(request, backbone=folder[1]), tmp_path / "run", resume=True)
