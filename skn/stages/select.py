"""``skn select``: one ranking of the neurons of each layer, from one or several runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skn.console import say, show
from skn.errors import InputError
from skn.neurons.bootstrap import FRACTION
from skn.neurons.claims import beyond_chance
from skn.neurons.ranking import on_test, rank
from skn.neurons.selection import Contrast
from skn.neurons.significance import PERMUTATIONS
from skn.runs.run import Run
from skn.store.output import refuse_existing


@dataclass(frozen=True, kw_only=True)
class SelectOptions:
    """The options of a ranking (:func:`skn.neurons.ranking.rank`)."""

    aggregate: str = "mean"
    split: str = "validation"
    by: str = "predictivity"
    readout: str | None = None
    contrasts: Sequence[Contrast] | None = None
    permutations: int = PERMUTATIONS
    bootstrap: int = 0
    bootstrap_fraction: float = FRACTION


def select(
    runs: Sequence[Path],
    with_runs: Sequence[Sequence[Path]] = (),
    options: SelectOptions = SelectOptions(),
    out: Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the ``neurons`` file of :func:`rank` and print the ten best neurons.

    ``runs`` are seeds of one task. Each of ``with_runs`` is a further binary task with one or more seeds.
    """
    if options.contrasts and with_runs:
        raise InputError("--contrast and --with exclude each other: a contrast is read from one task's classes")
    out = out or runs[0] / "neurons.safetensors"
    refuse_existing([out], overwrite, kind="neurons")
    split, readout = options.split, options.readout or Run.open(runs[0]).config.main_readout
    first, *others = [[Run.open(path).probe(split, readout) for path in group] for group in [runs, *with_runs]]
    ranking = rank(first, others, **vars(options))
    alone = len(runs) == 1 and not with_runs and split != "test"  # only then it is clear how to read a neuron on test
    tested = on_test(ranking, first[0], Run.open(runs[0]).probe("test", readout)) if alone else None
    ranking.save(out)
    show(ranking.table(title=f"Best neurons ({out})", on_test=tested))
    if split in ranking.tests and split != "test":
        say(beyond_chance(ranking.tests[split], ranking.tests.get("test")))
    if ranking.stability is not None:
        show(ranking.stability.table())
        say(ranking.stability.claim)
    return out
