"""The time of a whole training, from the loading of the model to the tuned tensors, and of many in one forward.

The validation split has a fifth of train's rows, and is read twice in an epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
import transformers
from shapes import PROMPT_LENGTH, roberta_base

import skn
from skn.data import corpus
from skn.data.splits import LabelledData
from skn.inference.batches import Encoded
from skn.model.backbone import Backbone
from skn.model.pretrained import load_tokenizer
from skn.model.prompted import PromptedBatch
from skn.model.tuned import TunedModel
from skn.stages.demo import demo_backbone
from skn.training import losses, trainer
from skn.training.outcome import TrainResult
from skn.training.settings import DEFAULT_LR, TrainSettings
from skn.training.together import trained_together

BATCH_SIZE, EPOCHS = 32, 2
MOST_ROWS = {"MiniLM": 600, "roberta-base's shape": 160}
CELLS, TOKENS, STEPS = 8, 120, 2  # of a sweep's cells in one forward


@pytest.fixture(autouse=True)
def gradients(quiet_torch):
    with torch.inference_mode(False), torch.enable_grad():
        yield


def minilm(_folder: Path) -> str:
    return str(demo_backbone())


def roberta(folder: Path) -> str:
    """A folder with a model of roberta-base's shape, random weights and MiniLM's tokenizer."""
    tokenizer = load_tokenizer(str(demo_backbone()))
    roberta_base().backbone.model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def all_positions(backbone: Backbone, batch: PromptedBatch) -> torch.Tensor:
    return batch.at_scored(backbone.last_hidden(batch))


def before(training: Callable[[], object]) -> Callable[[], object]:
    """The training with the plain forward in its steps and in its validation passes."""

    def call():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trainer, "choose_engine", lambda _backbone: "hf")
            patch.setattr(losses, "differentiable_hidden", all_positions)
            return training()

    return call


@pytest.mark.parametrize("method", ["prompt", "bitfit"])
@pytest.mark.parametrize("name", MOST_ROWS)
def test_train(contest, pytestconfig, tmp_path, name, method):
    transformers.utils.logging.disable_progress_bar()
    rows = min(pytestconfig.getoption("rows"), MOST_ROWS[name])
    data = _data(pytestconfig.getoption("data"), rows, tmp_path)
    backbone = {"MiniLM": minilm, "roberta-base's shape": roberta}[name](tmp_path / "model")
    length = {"prompt_length": PROMPT_LENGTH} if method == "prompt" else {}

    def training():
        options = {"epochs": EPOCHS, "batch_size": min(BATCH_SIZE, rows // 2), "patience": 100}
        return skn.tune(backbone, data, ["negative", "positive"], method=method, **length, **options)

    contest(
        f"train {method}, {name}",
        {"skn": training, "plain forward, all positions": before(training)},
        f"{name}, {method}, {EPOCHS} epochs of {rows} rows, two evaluations of {rows // 5} rows in each, float32",
    )


def test_train_together(contest, pytestconfig, tmp_path):
    """Cells of a sweep over one backbone that is loaded already, each with an evaluation at its end."""
    batch_size = min(BATCH_SIZE, pytestconfig.getoption("rows") // STEPS)
    rows, backbone = STEPS * batch_size, roberta_base().backbone

    def cell(seed: int) -> TrainResult:
        model = TunedModel.fresh(backbone, [100, 200], 4, PROMPT_LENGTH, seed=seed)
        settings = TrainSettings(epochs=1, batch_size=batch_size, lr=DEFAULT_LR["prompt"], eval_every=STEPS, seed=seed)
        train, validation = _random_rows(rows, seed), _random_rows(max(1, rows // 5), seed)
        return trainer.tune(model, train, validation, settings, tmp_path / str(seed), resume=False)

    cells = [partial(cell, seed) for seed in range(CELLS)]

    def one_by_one() -> list[TrainResult]:
        return [cell() for cell in cells]

    contest(
        f"train {CELLS} cells together, roberta-base's shape",
        {
            "skn": lambda: list(trained_together(cells, CELLS)),
            "one after another": one_by_one,
            "one after another, Hugging Face Trainer with its own forward": before(one_by_one),
        },
        f"roberta-base's shape, {CELLS} prompts, {STEPS} steps of {batch_size} × {TOKENS} tokens and an evaluation of "
        f"{max(1, rows // 5)} rows each, float32; cells an hour: {CELLS} / hours",
    )


def _random_rows(rows: int, seed: int) -> Encoded:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 50000, (rows, TOKENS), generator=generator)
    return Encoded(ids.tolist(), None, torch.arange(rows) % 2, truncated=0)


def _data(folder: str | None, rows: int, scratch: Path) -> LabelledData:
    """The first rows of each split: of the given folder, or of the built-in corpus."""
    if folder is None:
        folder = scratch / "corpus"
        corpus.write(folder)
    first = scratch / "first"
    first.mkdir()
    for split, most in (("train", rows), ("validation", rows // 5), ("test", rows // 5)):
        lines = (Path(folder) / f"{split}.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
        (first / f"{split}.tsv").write_text("".join(lines[: most + 1]), encoding="utf-8")
    return skn.load_data(str(first), text="sentence")
