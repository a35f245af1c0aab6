"""Small data in the form of GoEmotions: label indices or names, several in a cell, in a folder of three splits."""

from __future__ import annotations

import json
from pathlib import Path

from skn.data.emotions import LABELS

SPLITS = {"train": 240, "validation": 60, "test": 60}


def labels_of(row: int) -> list[int]:
    """Return joy (17) for every third row, love (18) for every fourth, gratitude (15) for every fifth, else neutral
    (27).
    """
    found = [label for label, every in ((17, 3), (18, 4), (15, 5)) if row % every == 0]
    return found or [27]


def text_of(split: str, row: int) -> str:
    words = [LABELS[label] for label in labels_of(row)]
    return f"{split} {row}: the film is {' and '.join(words)}"


def rows_of(split: str) -> list[tuple[str, list[int]]]:
    return [(text_of(split, row), labels_of(row)) for row in range(SPLITS[split])]


def write_tsv(folder: Path) -> Path:
    """Write the standard files: columns text and labels, indices with commas."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        lines = [f"{text}\t{','.join(map(str, labels))}" for text, labels in rows_of(split)]
        (folder / f"{split}.tsv").write_text("\n".join(["text\tlabels", *lines]) + "\n")
    return folder


def write_jsonl(folder: Path, spelled) -> Path:
    """Write rows of JSON. ``spelled`` turns the indices into their labels."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        lines = [json.dumps({"text": text, "labels": spelled(labels)}) for text, labels in rows_of(split)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def write_columns(folder: Path) -> Path:
    """Write a csv with a column of zeros and ones for each emotion."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        lines = [",".join([text, *(str(int(i in labels)) for i in range(28))]) for text, labels in rows_of(split)]
        (folder / f"{split}.csv").write_text("\n".join([",".join(["text", *LABELS]), *lines]) + "\n")
    return folder
