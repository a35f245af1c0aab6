"""``skn activate --top``: the texts on which chosen neurons, or all neurons, are most and least active."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from skn.console import say, show
from skn.errors import InputError
from skn.inference.compute import AS_TRAINED, Compute
from skn.neurons import exemplars as library
from skn.neurons.chosen import Neuron
from skn.neurons.neuron_sets import NeuronSets
from skn.runs.run import Run, timed
from skn.store.output import refuse_existing


def activate_exemplars(
    run_path: Path,
    top: int,
    neurons: Sequence[Neuron] = (),
    *,
    file: Path | None = None,
    best: int | None = None,
    everything: bool = False,
    split: str = "test",
    compute: Compute = AS_TRAINED,
    overwrite: bool = False,
) -> Path:
    """Write one ``exemplars`` file: the ``top`` texts of each end of each neuron.

    ``file`` is a ranking or a fixed set: its ``best`` neurons, or all of them. Without it, ``best`` means the run's own
    ranking.
    """
    named = bool(neurons) or best is not None
    if named + everything + (file is not None and best is None) != 1:
        choice = (
            "--best N, --neuron LAYER,NEURON (repeatable, or 'best'), --neurons FILE (alone or with --best) or --all"
        )
        raise InputError(f"--top: say whose texts to find: {choice}")
    run = Run.open(run_path)
    name = f"exemplars-{split}"
    out = run.file("exemplars", split)
    refuse_existing([out], overwrite, kind="exemplars")
    loaded = run.load(compute)
    ranking = None if file is None else NeuronSets.load(file, loaded.provenance, loaded.model.backbone.present)
    asked = {"best": best, "top": top, "split": split, "ranking": ranking, "batch_tokens": compute.batch_tokens}
    with timed(run_path, f"activate-{name}"):
        found = library.exemplars(loaded, neurons, **asked, out=out, overwrite=overwrite)
    show(found.table())
    say(f"wrote {out}")
    return out
