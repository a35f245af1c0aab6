"""``skn activate``: read the activations of chosen neurons, of the prompt alone, or of all neurons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from skn.console import say
from skn.errors import InputError
from skn.inference.compute import AS_TRAINED, Compute
from skn.neurons import activations as library
from skn.neurons.chosen import Neuron
from skn.runs.run import Run, timed
from skn.store.output import refuse_existing


def activate(
    run_path: Path,
    neurons: Sequence[Neuron] = (),
    *,
    best: int | None = None,
    empty: bool = False,
    everything: bool = False,
    split: str = "test",
    compute: Compute = AS_TRAINED,
    overwrite: bool = False,
) -> Path:
    """Write one ``activations`` file [example, L, P, F] float32.

    The last axis lists chosen neurons in the given order, with L = 1. ``empty`` reads the first prompt position under
    the prompt with an empty text (one example, P = 1). ``everything`` streams all neurons at all prompt positions to
    disk.
    """
    chosen = bool(neurons) or best is not None
    if chosen + empty + everything != 1:
        raise InputError("say what to read: --best N, --neuron LAYER,NEURON (repeatable, or 'best'), --empty or --all")
    run = Run.open(run_path)
    name = f"neuron-{split}" if chosen else "empty" if empty else f"all-{split}"
    out = run.file("activations", name)
    refuse_existing([out], overwrite, kind="activations")
    loaded, tokens = run.load(compute), compute.batch_tokens
    with timed(run_path, f"activate-{name}"):
        if everything:
            library.activate_all(loaded, out, split, tokens)
        else:
            asked = {"best": best, "split": split, "batch_tokens": tokens}
            library.activate(loaded, neurons, **asked, out=out, overwrite=overwrite)
    say(f"wrote {out}")
    return out
