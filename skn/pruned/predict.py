"""Predict the classes of new texts with a run's model or a pruned model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import nn
from transformers import PreTrainedModel

from skn.data.new_texts import NewTexts, given_texts
from skn.data.spec import DataSpec, column_names
from skn.errors import InputError
from skn.inference import engine
from skn.inference.compute import AS_TRAINED, Compute
from skn.inference.loaded import LoadedRun
from skn.inference.predictions import Predictions, csv_of
from skn.inference.reader import TextReader
from skn.model.pretrained import load_tokenizer
from skn.pruned.contestants import placed
from skn.pruned.folder import load_pruned
from skn.pruned.origins import origin_in
from skn.store import atomic
from skn.store.output import refuse_existing

Classifier = LoadedRun | PreTrainedModel


def predict(
    model: LoadedRun | PreTrainedModel | Path | str,
    texts: str | Sequence[str] | Sequence[tuple[str, str]] | None = None,
    *,
    data: Path | str | None = None,
    text: str | None = None,
    pair: str | None = None,
    label: str | None = None,
    quoting: str | None = None,
    encoding: str | None = None,
    columns: str | Sequence[str] | None = None,
    compute: Compute = AS_TRAINED,
    out: Path | str | None = None,
    overwrite: bool = False,
) -> Predictions:
    """Give the class, and the probability of every class, for each text or for each row of a file.

    Args:
        model: a run, from ``skn.tune`` or ``skn.open_run``; a model, from ``skn.prune`` or ``skn.export``; or the folder of one.
        texts: one text, several texts, or pairs of texts for a run on pairs. Give ``texts`` or ``data``.
        data: a csv, tsv, jsonl, json or parquet file. Every row needs a text. When the file has a column of labels, written as in the run's
            data or as the names of the classes, the result also has the accuracy. An empty cell is no label.
        text: the column of that file with the text; by default as in the run's data, of a folder "text".
        pair: the column with the second text of a pair; by default as in the run's data.
        label: the column with the label; by default as in the run's data, of a folder "label".
        quoting: how that file quotes, as in ``skn.load_data``.
        encoding: the encoding of that file, if it is not UTF-8.
        columns: names for the columns of that file, if it has no header line.
        compute: ``batch_tokens``; for a folder also ``device``, ``dtype`` and ``engine``; for a pruned model also ``engine``.
        out: a csv file that keeps all rows.
        overwrite: replace the file ``out`` if skn wrote it.

    Returns:
        ``predicted`` (names), ``probabilities`` [N, C], ``classes``; ``truth``, ``score`` and ``majority`` where labels are
        known; ``table()``, ``to_pandas()``.

    Raises:
        InputError: neither or both of ``texts`` and ``data`` are given; the file cannot be read; a label is none of the classes; a row
            has no text (missing, empty or blank).

    Example::

        >>> found = skn.predict(run, ["a dull film", "the soup was delicious"])
        >>> found.classes, found.probabilities.shape
        (['negative', 'positive'], torch.Size([2, 2]))
        >>> 0 <= skn.predict(small, data=folder / "test.tsv").score.accuracy <= 1
        True
    """
    check_out(out, overwrite)
    if (texts is None) == (data is None):
        raise InputError("give texts, or data= with a file, one of them")
    name, classifier, reader = _opened(model, compute)
    asked = {"text_column": text, "pair_column": pair, "label_column": label}
    asked |= {"quoting": quoting, "encoding": encoding, "columns": column_names(columns)}
    new = reader.read(data, asked) if data is not None else _given(texts, reader)
    encoded = reader.encoded(new.examples)
    with _evaluated(classifier):
        how = _engine(classifier, compute)
        logits = engine.predict(_prompted(classifier), encoded, compute.batch_tokens, "predict", how)
    found = Predictions(name, reader.classes, new, logits)
    if out is not None:
        atomic.write_text(Path(out), csv_of([found]))
    return found


def check_out(out: Path | str | None, overwrite: bool, option: str = "--out") -> None:
    """Refuse a csv file that cannot be written. Raises :class:`InputError`."""
    if out is None:
        return
    if Path(out).suffix != ".csv":
        raise InputError(f"{option} {out}: a csv file is written there; give a name that ends in .csv")
    refuse_existing([Path(out)], overwrite)


def _given(texts: str | Sequence[str] | Sequence[tuple[str, str]], reader: TextReader) -> NewTexts:
    new = given_texts(texts)
    if reader.reads_pairs and new.examples.pair is None:
        raise InputError("--text: this run reads pairs of texts; give --data with a file that has both columns")
    return new


def _opened(model: LoadedRun | PreTrainedModel | Path | str, compute: Compute) -> tuple[str, Classifier, TextReader]:
    """Return the model's name, the model, and its reader of texts."""
    if isinstance(model, LoadedRun):
        return str(model.path or "the run"), model, model.reader
    if isinstance(model, nn.Module):
        if not isinstance(model, PreTrainedModel) or not isinstance(model, engine.PromptedModel):
            raise InputError(
                f"model: expected a run, or what skn.prune or skn.export returns or its folder, not a {type(model).__name__}"
            )
        reader = getattr(model, "reader", None) or _reader_of(Path(model.name_or_path), model)
        return "the pruned model", model, reader
    folder = Path(model)
    if (folder / "run.json").is_file():
        raise InputError(f"{folder}: a run; give what skn.open_run('{folder}') returns")
    if compute.device_map is not None:
        raise InputError(
            f"--device-map: for a run; {folder} holds a pruned model, which is on one device: leave it out"
        )
    found = placed(load_pruned(folder), compute.device or "cpu", compute.dtype or "float32")
    if compute.dtype == "int8" and not found.backbone.int8:
        raise InputError(f"--dtype int8: {folder} holds no weights of int8; 'skn prune --int8' makes such a folder")
    return str(folder), found, _reader_of(folder, found)


def _reader_of(folder: Path, model: PreTrainedModel) -> TextReader:
    """Make the reader of texts for a folder's model, from what the folder says."""
    names = [model.config.id2label[c] for c in range(model.config.num_labels)]
    tokenizer, room = load_tokenizer(str(folder)), model.backbone.max_positions - model.prompt_length
    labels = origin_in(folder).get("class_names")
    if not isinstance(labels, list) or len(labels) != len(names):
        labels = names
    return TextReader(tokenizer, min(room, tokenizer.model_max_length), names, labels, DataSpec())


def _prompted(classifier: Classifier) -> engine.PromptedModel:
    return classifier.model if isinstance(classifier, LoadedRun) else classifier


def _engine(classifier: Classifier, compute: Compute) -> str:
    if isinstance(classifier, LoadedRun):
        return classifier.engine
    return engine.choose_engine(classifier.backbone, compute.engine)


@contextlib.contextmanager
def _evaluated(classifier: Classifier) -> Iterator[None]:
    """Put a model into eval mode in the block, and back into its mode afterwards."""
    model = _prompted(classifier)
    was = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was)
