"""D over seeds: whether the neurons of a task harm this task more than another one, whichever prompt was tuned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import ttest_1samp

from skn.errors import InputError
from skn.intervals import mean_interval
from skn.neurons.off_target_table import OffTarget, read_off_target, set_name, signed, test_of
from skn.neurons.side_by_side import ONE_RUN
from skn.tables import Table

COLUMNS = ["task", "other task", "mask", "masked", "random sets", "seeds", "D", "95% over seeds", "p over seeds"]
# What measurements of several seeds must share. Of the random sets, each seed has its own.
ALIKE = ("kind", "alpha", "controls", "match", "layers", "split", "dtype")


def off_target_over_seeds(harms: Sequence[OffTarget | Mapping[str, Any] | Path | str]) -> Table:
    """Join the D of several seeds of a task: a row for each other task, mask and share that two seeds or more have.

    Each seed has its own prompt and its own ranking, masked in the runs of the other tasks. The seeds are a sample of
    prompts, so they give D an interval and a p. Where a seed was masked in several runs of another task, their mean D
    counts once.

    Args:
        harms: what ``skn.off_target`` returned for each seed, or its JSON files. Several tasks may stand together.

    Returns:
        A table with mean D, its 95% interval and p, both of Student's t: the interval leaves out zero where p is below
        0.05. D: excess drop of the task less that of the other task, each as a share of what the unmasked model reaches
        above the larger class.

    Raises:
        InputError: a file is damaged, one seed is given twice with the same mask, or no two seeds can be joined.

    Example::

        >>> own = {"run": "sst2", "provenance": {"task": "sst2"}, "rows": [{"fraction": 0.1}]}
        >>> other = {"run": "trec", "provenance": {"task": "trec"}}
        >>> how = dict.fromkeys(("kind", "alpha", "controls", "match", "layers", "split", "dtype"))
        >>> harms = [  # as in the JSON files of three seeds
        ...     how | {"runs": [own | {"provenance": {"task": "sst2", "seed": seed}}, other],
        ...            "tests": [{"run": "trec", "fraction": 0.1, "difference": difference, "p": 0.05}]}
        ...     for seed, difference in enumerate((0.5, 0.7, 0.0))
        ... ]
        >>> (row,) = skn.off_target_over_seeds(harms)
        >>> row["seeds"], round(row["D"], 2), round(row["p over seeds"], 2)
        (3, 0.4, 0.19)
    """
    table = joined_seeds(harms)
    if not len(table):
        raise InputError(
            "off_target_over_seeds: no two seeds of a task with one mask and one other task; give the results of 'skn mask "
            "--on' of two or more seeds"
        )
    return table


def joined_seeds(harms: Sequence[OffTarget | Mapping[str, Any] | Path | str]) -> Table:
    """Return the table of :func:`off_target_over_seeds`. It has no row where no two seeds can be joined."""
    found: dict[tuple, dict[tuple, float]] = {}
    for harm in harms:
        for key, seed, difference in _differences(_document(harm)):
            if seed in found.setdefault(key, {}):
                raise InputError(
                    f"off_target_over_seeds: two results of one run of {key[0]} with one mask; give each once"
                )
            found[key][seed] = difference
    rows = [[*_named(key), *_over(list(seeds.values()))] for key, seeds in found.items() if len(seeds) > 1]
    formats = {"D": "+.3f", "95% over seeds": signed, "p over seeds": ".3g"}
    return Table("On target less off target, over the seeds of a task", COLUMNS, rows, formats)


def _document(harm: OffTarget | Mapping[str, Any] | Path | str) -> Mapping[str, Any]:
    if isinstance(harm, Path | str):
        return read_off_target(Path(harm))
    return harm.document if isinstance(harm, OffTarget) else harm


def _differences(document: Mapping[str, Any]) -> Iterator[tuple[tuple, tuple, float]]:
    """Yield what is measured, the run of the seed, and the mean D, for each other task and masked set."""
    own, *others = document["runs"]
    task, seed = own["provenance"]["task"], tuple(str(own["provenance"].get(name)) for name in ONE_RUN)
    for row in own["rows"]:
        by_task: dict[str, list[float]] = {}
        for other in others:
            test = test_of(document["tests"], other["run"], row["fraction"])
            if test is not None and other["provenance"]["task"] != task:
                by_task.setdefault(other["provenance"]["task"], []).append(test["difference"])
        for name, each in by_task.items():
            how = tuple(str(document[setting]) for setting in ALIKE)
            yield (task, name, row["fraction"], how), seed, float(np.mean(each))


def _named(key: tuple) -> list[Any]:
    task, other, fraction, how = key
    said = dict(zip(ALIKE, how, strict=True))
    return [task, other, f"{said['kind']}, {said['split']}", set_name(fraction), f"{said['controls']}, {said['match']}"]


def _over(differences: list[float]) -> list[Any]:
    mean, *ends = mean_interval(differences)
    # Equal differences have no spread, and no test.
    p = float(ttest_1samp(differences, 0.0).pvalue) if np.ptp(differences) > 0 else None
    return [len(differences), mean, ends, p]
