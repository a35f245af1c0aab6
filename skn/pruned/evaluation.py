"""Accuracy of the full and the pruned models on a split and, on request, their speed side by side."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import nn

from skn.data.new_texts import NewTexts
from skn.data.spec import SPLITS, column_names
from skn.data.splits import count_shared
from skn.errors import InputError
from skn.inference import processes
from skn.inference.compute import AS_TRAINED, Compute
from skn.inference.engine import predict
from skn.inference.loaded import LoadedRun
from skn.inference.predictions import Predictions
from skn.names import named, named_of, one_of, quoted, result_name
from skn.pruned import speeds
from skn.pruned.contestants import all_of
from skn.pruned.speeds import Rate
from skn.store import documents
from skn.store.digests import of_json
from skn.store.output import refuse_existing
from skn.store.schemas import Share
from skn.tables import Table, span

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ModelLine:
    """The measurements of one model."""

    name: str
    parameters: NonNegativeInt
    engine: str
    accuracy: Share
    examples_per_second: Rate | None
    interval: tuple[Share, Share] | None = None
    auc: Share | None = None
    digest: str | None = None


@dataclass(frozen=True, kw_only=True)
class EvaluationDocument:
    """The content of ``evaluate-<split>[-<name>].json``. Files of older versions may lack the fields that have a
    default.

    An evaluation on another file than the run's data is ``evaluate-data-<name of the file>.json``. Then ``data`` names
    that file, and ``split`` is None. ``texts`` is the digest of the evaluated texts, because two files may have one name.
    """

    split: str | None
    examples: PositiveInt
    truncated: NonNegativeInt
    dtype: str
    device: str
    batch_tokens: int
    threads: int
    tokenization_seconds: float
    models: list[ModelLine]
    majority: Share | None = None
    data: str | None = None
    texts: str | None = None
    name: str | None = None
    provenance: dict[str, Any] | None = None


def evaluation_file(folder: Path, split: str | None, data: Path | str | None = None, name: str | None = None) -> Path:
    """Return the path of a run's evaluation on a split of its data or on another file, with the user's name for it."""
    if data is None:
        return folder / f"{named(f'evaluate-{split}', name)}.json"
    return folder / f"{named_of('evaluate-data-', Path(data).stem, '--data', name)}.json"


def evaluated_on(document: Mapping[str, Any]) -> str:
    """Say in words what was evaluated: "test split", or the name of a file."""
    return document.get("data") or f"{document['split']} split"


def read_evaluation(file: Path) -> dict[str, Any]:
    """Read ``evaluate-<split>.json`` of a run. Raises :class:`InputError` for a damaged file."""
    return documents.read(file, "evaluate", EvaluationDocument, "run 'skn evaluate --overwrite' again")


def check(repeats: int | None) -> None:
    """Raises :class:`InputError` for a number of timed passes that has no meaning."""
    if repeats is not None and repeats < 1:
        raise InputError(f"--repeats {repeats}: at least 1")
    if repeats is not None and processes.several():
        raise InputError(
            "--speed: times one process, and here several share the batches; start 'skn evaluate' by itself"
        )


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Accuracy and speed of each model, as in ``evaluate-<split>.json``.

    ``predictions`` holds each model's answers for every text.
    """

    document: dict[str, Any]
    predictions: list[Predictions]

    @property
    def models(self) -> list[dict[str, Any]]:
        return self.document["models"]

    def table(self) -> Table:
        """A table with one row for each model."""
        document = self.document
        settings = f"{document['examples']} examples, {document['dtype']}, {document['device']}"
        guess = f"; the larger class alone: {document['majority']:.4f}"
        title = f"Evaluation{quoted(document['name'])} on {document['data'] or document['split']} ({settings}{guess})"
        columns = ["model", "parameters", "engine", "accuracy", "95% interval", "AUC", "examples/s: median (min – max)"]
        rows = [
            [*(m[name] for name in ("name", "parameters", "engine", "accuracy", "interval", "auc")), _rates_of(m)]
            for m in self.models
        ]
        formats = {"parameters": ",", "accuracy": ".4f", "95% interval": span, "AUC": ".4f", columns[6]: _spread}
        return Table(title, columns, rows, formats)

    def to_pandas(self) -> Any:
        """The table as a ``pandas.DataFrame``."""
        return self.table().to_pandas()

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def __repr__(self) -> str:
        return str(self.table())


def evaluate(
    run: LoadedRun,
    models: Path | str | nn.Module | Sequence[Path | str | nn.Module] = (),
    split: str = "test",
    *,
    data: Path | str | None = None,
    text: str | None = None,
    pair: str | None = None,
    label: str | None = None,
    drop_unlabelled: bool = False,
    quoting: str | None = None,
    encoding: str | None = None,
    columns: str | Sequence[str] | None = None,
    repeats: int | None = None,
    compute: Compute = AS_TRAINED,
    name: str | None = None,
    out: Path | str | None = None,
    overwrite: bool = False,
) -> Evaluation:
    """Put a run's model and pruned models side by side: their accuracy and, on request, their speed.

    Each accuracy has its 95% interval (Wilson) and the AUC. The title gives the share of the larger class, because a model that gives every
    text the larger class has that share as its accuracy.

    Args:
        run: from ``skn.tune`` or ``skn.open_run``.
        models: pruned or exported models, or the folders that ``skn.prune`` and ``skn.export`` wrote. They run on the device and in the dtype
            of the run. When a model belongs to another run, another backbone or another task, its name in the result says so:
            "pruned (over roberta-large)".
        split: "train", "validation" or "test".
        data: another labelled file, csv, tsv, jsonl, json or parquet, instead of a split. Its labels are written as in the run's
            data, or are the names of the classes.
        text: the column of that file with the text; by default as in the run's data.
        pair: the column with the second text of a pair; by default as in the run's data.
        label: the column with the label; by default as in the run's data.
        drop_unlabelled: leave out the rows of that file that have no label or no text.
        quoting: how that file quotes, as in ``skn.load_data``.
        encoding: the encoding of that file, if it is not UTF-8.
        columns: names for the columns of that file, if it has no header line.
        repeats: how many timed passes each model makes over the split; the models take turns. None measures no speed. The time of
            tokenization is not included.
        compute: ``engine`` and ``batch_tokens`` of the pruned models; the run has its own engine already.
        name: the name of the result in titles and reports, so that several results can stand side by side.
        out: a JSON file that keeps the result. With ``overwrite`` and without ``repeats``, speeds that the file holds of the same models at
            the same settings stay.

    Returns:
        The evaluation: ``models``, a dictionary for each model with ``name``, ``accuracy``, ``interval`` and ``auc``, the full model first;
        ``document["majority"]``, the share of the larger class; ``table()``.

    Raises:
        InputError: a folder holds no pruned model; a model has other classes or another vocabulary; the file ``out`` exists; the
            label of a row is none of the run's classes.

    Example::

        >>> [model["name"] for model in skn.evaluate(run, [small]).models]
        ['full', 'pruned']
        >>> skn.evaluate(run, data=folder / "validation.tsv").document["examples"]
        40
    """
    check(repeats)
    name = result_name(name)
    if out is not None:
        refuse_existing([Path(out)], overwrite, kind="evaluate")
    one_of(split, SPLITS, "--split")
    asked = {"text_column": text, "pair_column": pair, "label_column": label, "drop_unlabelled": drop_unlabelled}
    asked |= {"quoting": quoting, "encoding": encoding, "columns": column_names(columns)}
    texts = _split(run, split) if data is None else _another(run, data, asked)
    several = [models] if isinstance(models, nn.Module | str | Path) else models
    contestants = processes.everywhere(all_of, run, several, compute.engine)
    start = time.perf_counter()
    encoded = run.reader.encoded(texts.examples)
    tokenization = time.perf_counter() - start
    tokens = compute.batch_tokens
    found = [
        Predictions(c.name, run.class_names, texts, predict(c.model, encoded, tokens, c.name, c.engine))
        for c in contestants
    ]
    timed = speeds.measured(contestants, encoded, tokens, repeats) if repeats else [None] * len(contestants)
    document = {
        "split": split if data is None else None,
        "data": None if data is None else Path(data).name,
        "texts": of_json({"text": texts.examples.text, "pair": texts.examples.pair}),
        "name": name,
        "provenance": run.provenance,
        "examples": len(encoded),
        "majority": found[0].majority,
        "truncated": encoded.truncated,
        "dtype": run.provenance["dtype"],
        "device": run.provenance["device"],
        "batch_tokens": tokens,
        "threads": torch.get_num_threads(),
        "tokenization_seconds": round(tokenization, 3),
        "models": [
            {
                "name": c.name,
                "parameters": c.parameters,
                "engine": c.engine,
                **asdict(answers.score),
                "examples_per_second": rate,
                "digest": c.digest,
            }
            for c, answers, rate in zip(contestants, found, timed, strict=True)
        ],
    }
    if out is not None:
        if repeats is None and Path(out).is_file():
            _keep_speeds(Path(out), document)
        documents.write(Path(out), "evaluate", document)
    return Evaluation(document, found)


def _keep_speeds(file: Path, document: dict[str, Any]) -> None:
    try:
        earlier = read_evaluation(file)
    except InputError:  # the file is replaced in any case
        return
    speeds.carry_over(earlier, document)


def _split(run: LoadedRun, split: str) -> NewTexts:
    examples = run.data.split(split)
    return NewTexts(f"{split} split", examples, list(range(1, len(examples) + 1)))


def _another(run: LoadedRun, file: Path | str, columns: Mapping[str, Any]) -> NewTexts:
    """Read another labelled file, and note if the run was trained on some of its texts."""
    notes: list[tuple] = []
    texts = run.reader.read(file, columns, labelled=True, note=lambda *line: notes.append(line))
    if not len(texts):
        raise InputError(f"{file}: no row with a label and a text; give a file with both")
    for line in notes:
        log.info(*line)
    seen = count_shared(run.data, "train", texts.examples)
    if seen:
        log.info("%s: %d of %d texts also stand in the run's train split", file, seen, len(texts))
    return texts


def _rates_of(model: dict[str, Any]) -> list[float] | None:
    rate = model["examples_per_second"]
    return None if rate is None else [rate[name] for name in ("median", "low", "high")]


def _spread(rates: list[float]) -> str:
    median, low, high = rates
    return f"{median:.1f} ({low:.1f} – {high:.1f})"
