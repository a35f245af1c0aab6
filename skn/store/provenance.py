"""Decide by provenance which files may be used together, and which may be resumed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skn.errors import InputError

# The provenance of a run's numbers, without the device, dtype and engine that computed them.
_SOURCE = (
    *("backbone_digest", "prompt_length", "word_scores", "task", "class_names", "label_words"),
    *("split_digest", "method", "template", "seed", "tuned"),
)

# For each use of two files together: the values that they must share. A value that one of the files lacks is not
# compared, because imported files and files of older versions lack some values.
MATCHED_PROVENANCE = {
    "neurons": ("backbone_digest",),  # neurons belong to a backbone; other prompts and tasks over it may use them
    "means": ("backbone_digest", "prompt_length", "template"),  # mean activations that the user brings
    # runs of one task that are averaged; the digest is over all rows, whichever rows a seed draws
    "seeds": ("backbone_digest", "word_scores", "task", "class_names", "label_words", "split_digest"),
    "run": _SOURCE,  # files of one run
    "pass": (*_SOURCE, "dtype"),  # numbers of one run that are compared with each other
    "resume": (*_SOURCE, "dtype", "device", "engine"),  # the two halves of a file's numbers
}

_IN_WORDS = {
    "backbone_digest": "another backbone",
    "prompt_length": "another prompt length",
    "word_scores": "another way to score words",
    "task": "another task",
    "class_names": "other classes",
    "label_words": "other label words",
    "split_digest": "other data",
    "method": "another method",
    "template": "another template",
    "seed": "another seed",
    "tuned": "another tuned prompt",
    "dtype": "another dtype",
}

# What to do if only a new beginning can make the two alike.
ANEW = "say what it was started with, or --overwrite begins anew"


def compare_provenance(
    provenance: Mapping[str, Any],
    match: Mapping[str, Any],
    where: str,
    use: str = "run",
    *,
    other: str = "this run",
    way_out: str | None = None,
) -> None:
    """Refuse a file that was made for something else than its use here.

    :param where: the refused file, which begins the message.
    :param use: a key of :data:`MATCHED_PROVENANCE`.
    :param other: the name of the run or file with the provenance ``match``.
    :param way_out: what the user can do; by default to give another file.
    """
    for key in MATCHED_PROVENANCE[use]:
        theirs, ours = provenance.get(key), match.get(key)
        if theirs is not None and ours is not None and theirs != ours:
            values = f"{key} {_listed(theirs)}, {other} has {_listed(ours)}"
            raise InputError(
                f"{where}: made for {_IN_WORDS[key]} ({values}); {way_out or f'give one made for {other}'}"
            )


def _listed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def refuse_differences(where: Path | str, stands: Mapping[str, Any], asked: Mapping[str, Any], way_out: str) -> None:
    """Refuse to resume if ``stands`` was begun with settings that differ from ``asked``. Every stage that resumes calls
    this.

    The names are those of the message: "--epochs" or "dtype". Settings that ``asked`` does not name may have any value.
    A setting that ``stands`` lacks counts as different.

    :param way_out: what the user can do; it follows the semicolon.
    """
    differences = [
        _difference(name, stands[name], value)
        for name, value in asked.items()
        if name in stands and stands[name] != value
    ]
    unsaid = [name for name in asked if name not in stands]  # a file of an older version does not name them
    if unsaid:
        differences.append(f"no word of {', '.join(unsaid[:3])}{', …' if len(unsaid) > 3 else ''}")
    if differences:
        raise InputError(f"--resume: {where} was started with {' and '.join(differences)}; {way_out}")


def _difference(name: str, was: Any, value: Any) -> str:
    return f"no {name}" if was is None or was is False else f"{name} {_listed(was)}, not {_listed(value)}"


def resumed(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a provenance that must be the same in both halves of a resumed file."""
    return {name: provenance[name] for name in MATCHED_PROVENANCE["resume"] if name in provenance}
