"""Which files may be used together, and which may be gone on with: what they must share of where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skn.errors import InputError

# Where a run's numbers come from, whatever they are computed in and on.
_SOURCE = (
    *("backbone_digest", "prompt_length", "word_scores", "task", "class_names", "label_words"),
    *("split_digest", "method", "seed", "tuned"),
)

# What two files must share, by what they are used together for. A value that one of them does not say is not compared:
# imported files and those of older versions say less.
MATCHED_PROVENANCE = {
    "neurons": ("backbone_digest",),  # neurons are a backbone's; its other prompts and tasks may use them
    "means": ("backbone_digest", "prompt_length"),  # mean activations that the user brings from elsewhere
    # averaged as runs of one task; the digest is of its rows, whichever of them a seed draws
    "seeds": ("backbone_digest", "word_scores", "task", "class_names", "label_words", "split_digest"),
    "run": _SOURCE,  # files of one run
    "pass": (*_SOURCE, "dtype"),  # numbers of one run that are compared with each other
    "resume": (*_SOURCE, "dtype", "device", "engine"),  # one half of a file's numbers with the other
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
    "seed": "another seed",
    "tuned": "another tuned prompt",
    "dtype": "another dtype",
}

# The way out where nothing but a new beginning makes the two alike.
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
    """Refuse what was made for something else than it is used for.

    :param where: what is refused; it begins the message.
    :param use: a key of :data:`MATCHED_PROVENANCE`.
    :param other: whose provenance ``match`` is.
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
    """Go on only with what was begun as it is asked for now; every stage that resumes asks this.

    The names are those that the message shall have, "--epochs" or "dtype". What ``asked`` does not name may stand as
    it is; what ``stands`` does not say is not known to be the same.

    :param way_out: what the user can do, behind the semicolon.
    """
    differences = [
        _difference(name, stands[name], value)
        for name, value in asked.items()
        if name in stands and stands[name] != value
    ]
    unsaid = [name for name in asked if name not in stands]  # by a file of an older version
    if unsaid:
        differences.append(f"no word of {', '.join(unsaid[:3])}{', …' if len(unsaid) > 3 else ''}")
    if differences:
        raise InputError(f"--resume: {where} was started with {' and '.join(differences)}; {way_out}")


def _difference(name: str, was: Any, value: Any) -> str:
    return f"no {name}" if was is None or was is False else f"{name} {_listed(was)}, not {_listed(value)}"


def resumed(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What of a provenance must be the same in both halves of what is resumed."""
    return {name: provenance[name] for name in MATCHED_PROVENANCE["resume"] if name in provenance}
