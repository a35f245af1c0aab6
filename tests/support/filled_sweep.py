"""Sweeps over a tiny backbone, rsa files for them, and a backbone in which each emotion has neurons of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from planted import BAD, FILLER, GOOD, LAYERS, MASK, READOUT, WIDTH, WORD_BAD, WORD_GOOD, Plant, planted_encoder
from tables import write_tsv
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from skn.data import corpus
from skn.data.spec import DataSpec
from skn.runs.prepare import TrainRequest
from skn.runs.sweep import Cell, Sweep
from skn.seeds import generator
from skn.stages.train import train
from skn.store import artifacts

TASKS = ("emotion/joy", "emotion/anger", "emotion/fear")
SEEDS = (1, 2)

# A cell → the folder of its data.
MakeData = Callable[[Path, Cell], Path]


def make_sweep(folder, backbone, tasks=TASKS, seeds=SEEDS, make_data: MakeData | None = None, **settings) -> Sweep:
    """Make a sweep whose cells are trained for ``epochs``, by default 0, each on data of its own."""
    settings = {"prompt_length": 4, "epochs": 0, "batch_size": 16, "words": ["negative", "positive"]} | settings
    make_data = make_data or corpus_data
    sweep = Sweep(Path(folder), list(tasks), list(seeds), {"backbone": str(backbone), **settings})
    sweep.save()
    for cell in sweep.cells:
        data = make_data(Path(folder).parent / f"{Path(folder).name}-data", cell)
        request = TrainRequest(backbone=str(backbone), data=DataSpec(data=str(data)), seed=cell.seed, **settings)
        train(request, sweep.folder(cell))
    return sweep


def corpus_data(folder: Path, cell: Cell) -> Path:
    seed = int(torch.randint(1000, (1,), generator=generator(0, cell)))
    return _write(folder / cell.task / str(cell.seed), ["text", "label"], corpus.generate(seed=seed, size=90))


def _write(folder: Path, header: list[str], rows: list) -> Path:
    folder.mkdir(parents=True)
    third = len(rows) // 3
    for name, part in (("train", rows[:third]), ("validation", rows[third : 2 * third]), ("test", rows[2 * third :])):
        write_tsv(folder / f"{name}.tsv", header, part)
    return folder


def make_rsa(path, rank, attributes, conditions=None, distance=None, **provenance) -> Path:
    """Write an rsa file: ranks [attribute, L, F]; for ``distance`` [attribute, pair], ``conditions`` gives the names."""
    tensors = {"rank": rank} | ({} if distance is None else {"distance": distance})
    meta = {} if conditions is None else {"conditions": list(conditions)}
    return artifacts.save(path, "rsa", tensors, provenance, attributes=list(attributes), **meta)


def random_ranks(attributes: int, layers: int, width: int, seed: int = 0) -> torch.Tensor:
    """Return [attribute, L, F] float64: each attribute ranks the neurons in an order of its own."""
    orders = [torch.randperm(layers * width, generator=generator(seed, a)) + 1 for a in range(attributes)]
    return torch.stack(orders).double().view(attributes, layers, width)


# ---- each emotion with neurons of its own -----------------------------------------------------------------------

# Emotion → its words, dimensions and units. Dimensions 0 to 3 belong to tests/support/planted.py.
PLANTS = {
    "joy": Plant(GOOD, BAD, (0, 1), {1: (2, 11), 2: (5, 17)}),
    "anger": Plant(60, 61, (4, 5), {1: (3, 12), 2: (6, 18)}),
    "fear": Plant(62, 63, (6, 7), {1: (4, 13), 2: (7, 19)}),
}
UNITS = 4  # of each emotion
assert not {dim for plant in PLANTS.values() for dim in plant.signal} & set(READOUT)


def planted_backbone(folder: Path) -> Path:
    """Write the folder of a headless RoBERTa with a word-level tokenizer: token i is the word "w<i>"."""
    model = planted_encoder(list(PLANTS.values()))
    model.save_pretrained(folder)
    special = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": MASK}
    words = {f"w{i}": i for i in range(len(special), model.config.vocab_size)}
    tokenizer = Tokenizer(models.WordLevel({**special, **words}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
        unk_token="<unk>", pad_token="<pad>", mask_token="<mask>", model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip
    return folder


PLANTED_WORDS = [f"w{WORD_BAD}", f"w{WORD_GOOD}"]


def planted_data(folder: Path, cell: Cell, rows: int = 180) -> Path:
    """Write texts of filler words with the emotion's "good" or "bad" word among them.

    The classes are drawn, not balanced.
    """
    plant, draw = PLANTS[cell.condition], generator(0, cell)
    texts = []
    for _ in range(rows):
        words = torch.randint(
            FILLER.start, FILLER.stop, (int(torch.randint(5, 9, (1,), generator=draw)),), generator=draw
        )
        label = int(torch.randint(2, (1,), generator=draw))
        words[int(torch.randint(len(words), (1,), generator=draw))] = plant.good if label else plant.bad
        texts.append((" ".join(f"w{word}" for word in words.tolist()), label))
    return _write(folder / cell.task / str(cell.seed), ["text", "label"], texts)


def planted_ranks() -> torch.Tensor:
    """Return [emotion, L, F]: an emotion's planted units first, then the others in an order of their own."""
    ranks = random_ranks(len(PLANTS), LAYERS, WIDTH)
    for rank, plant in zip(ranks, PLANTS.values(), strict=True):
        for layer, units in plant.units.items():
            rank[layer, list(units)] -= LAYERS * WIDTH
    return torch.stack([r.flatten().argsort().argsort().view_as(r) + 1 for r in ranks]).double()
