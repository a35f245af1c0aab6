"""Training: only what is tuned changes, the best is kept, the vocabulary is never scored."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode
from trainings import evaluations, same, stored
from transformers import TrainerCallback

from skn.data.spec import DataSpec
from skn.data.splits import read_data
from skn.errors import InputError, SknError
from skn.inference.engine import predict
from skn.inference.measures import accuracy
from skn.model.backbone import Backbone
from skn.runs.prepare import TrainRequest
from skn.runs.run import Run
from skn.stages.train import train
from skn.training import trainer as training

CASES = [("roberta", "prompt"), ("roberta", "bitfit"), ("roberta", "adapter"), ("bert", "prompt"),
         ("bert-headless", "prompt"), ("xlm-roberta", "prompt"), ("gpt2", "prompt")]  # fmt: skip

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def scripted(monkeypatch):
    """``scripted(values)``: the evaluations of a training find these accuracies; returns the tensors at each."""

    def script(values, made_trainers):
        seen, values = [], iter(values)

        def fake(_logits, _label):
            seen.append(made_trainers[-1].model.tuned_tensors())
            return next(values)

        monkeypatch.setattr(training, "accuracy", fake)
        return seen

    return script


def train_rows(request: TrainRequest) -> int:
    return len(read_data(request.data).rows["train"])


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


def plain(model) -> Backbone:
    """The backbone that a tuned model stands on."""
    return getattr(model.backbone, "plain", model.backbone)


class Watch(TrainerCallback):
    """Looks at the model in the middle of training, in the mode that the Trainer has put it into."""

    def __init__(self):
        self.steps = 0

    def on_train_begin(self, args, state, control, model=None, optimizer=None, **_):
        backbone = plain(model)
        self.before = {name: t.clone() for name, t in backbone.model.state_dict().items()}
        self.named = {name for name, _ in model.named_parameters()}
        self.clipped = {id(p) for p in model.parameters() if p.requires_grad}
        self.optimized = {id(p) for group in optimizer.param_groups for p in group["params"]}
        self.of_the_backbone = {id(p) for p in backbone.model.parameters()}

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
def test_only_what_is_tuned_changes(request_for, made_trainers, dropout_folder, lopsided, tmp_path, family, method):
    watch = Watch()
    made_trainers.watch = (watch,)
    request = request_for(family, method, epochs=4)
    request = dataclasses.replace(request, backbone=str(dropout_folder(family)), data=lopsided)
    digest = Backbone.load(request.backbone).digest()
    run = train(request, tmp_path / "run")
    assert watch.steps == 4 * -(-train_rows(request) // 16)
    losses = [entry["loss"] for entry in run.training["history"] if "loss" in entry]
    assert losses[-1] < 0.95 * losses[0]

    model, backbone = made_trainers[0].model, plain(made_trainers[0].model)
    after = backbone.model.state_dict()
    changed = {name for name in after if not torch.equal(after[name], watch.before[name])}
    assert watch.optimized == watch.clipped
    assert not changed and not watch.optimized & watch.of_the_backbone and backbone.digest() == digest
    assert all(p.grad is None and not p.requires_grad for p in backbone.model.parameters())
    biases = [name for name, _ in backbone.base.named_parameters() if name.endswith("bias")]
    assert len(watch.optimized) == {"prompt": 1, "bitfit": len(biases), "adapter": 12}[method]
    if method == "bitfit":
        assert watch.named == {"prompt", *(f"extra.biases.{i}" for i in range(len(biases)))}
        assert model.extra.names == biases
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


def test_the_best_is_kept_not_the_last(request_for, made_trainers, scripted, tmp_path):
    seen = scripted([0.5, 0.9, 0.7, 0.9, 0.6], made_trainers)
    run = train(request_for(), tmp_path / "run")
    assert (run.training["best_accuracy"], run.training["best_step"]) == (0.9, 8)
    assert same(stored(run), seen[1]) and not same(seen[1], seen[3])
    assert [entry["eval_accuracy"] for entry in evaluations(run)] == [0.5, 0.9, 0.7, 0.9, 0.6]


def test_early_stopping(request_for, made_trainers, scripted, tmp_path):
    seen = scripted([0.6, 0.8, 0.8, 0.7, 1.0], made_trainers)
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
        ({"warmup": 1.0}, "warmup="),
        ({"method": "bitfit", "dtype": "bfloat16"}, "needs dtype=.float32."),
        ({"method": "adapter", "prompt_length": 3}, "prompt_length=1"),
        ({"prompt_length": 64}, "prompt_length=64"),
        ({"init_from": "nowhere"}, "nowhere"),
    ],
)
def test_refused_before_anything_is_written(request_for, tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        train(request_for(**options), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"prompt_length": 1}, {"epochs": 0}])
def test_nothing_to_train(request_for, made_trainers, tmp_path, options):
    """The mask alone, and no epochs: the start is evaluated once."""
    run = train(request_for(**options), tmp_path / "run")
    assert made_trainers == []
    assert run.training["history"] == [] and run.training["best_step"] == 0
    length = options.get("prompt_length", 4)
    assert stored(run)["prompt"].shape == (length - 1, 32)
    loaded = Run.open(run.path).load()
    found = loaded.encoded("validation")
    assert loaded.model.prompt_length == length
    assert accuracy(predict(loaded.model, found), found.label) == run.training["best_accuracy"]
    assert sorted(p.name for p in run.path.iterdir()) == [
        "run.json",
        "skn.json",
        "splits.safetensors",
        "timings.json",
        "tuned.safetensors",
    ]


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


def test_causal_prompt_stands_after_the_text(request_for, made_trainers, tmp_path):
    seen = []

    class Look(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **_):
            seen.append(model.prompt.grad.abs().sum(dim=1))

    made_trainers.watch = (Look(),)
    run = train(request_for("gpt2"), tmp_path / "run")
    assert stored(run)["prompt"].shape == (4, 32) and "mask_embedding" not in stored(run)
    assert all((gradient > 0).all() for gradient in seen)  # every vector is tuned
    model = Run.open(run.path).load().model
    ids = torch.tensor([[50, 51, 52, 53, 54], [60, 61, 62, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    batch = model.assemble(ids, mask)
    assert batch.prompt == slice(5, 9) and batch.scored == 8
    assert torch.equal(batch.inputs_embeds[:, 5:], model.prompt_rows().expand(2, -1, -1))
    assert torch.equal(batch.inputs_embeds[1, 2:5], model.backbone.embedding.weight[[60, 61, 62]])
    assert batch.position_ids[1, 2:].tolist() == list(range(7))


def test_divergence_is_said(request_for, made_trainers, tmp_path):
    """NaN scores would count as the first class; nothing is kept of them."""

    class Break(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **_):
            if state.global_step == 6:
                model.prompt.data.fill_(float("nan"))

    made_trainers.watch = (Break(),)
    with pytest.raises(SknError, match="diverged: NaN at step 8; lower lr="):
        train(request_for(), tmp_path / "run")
    assert not (tmp_path / "run" / "tuned.safetensors").exists()
