"""``skn probe``: thresholds on train, hits on the other splits, in one pass over each split."""

from __future__ import annotations

from pathlib import Path

from skn.console import say, show
from skn.inference.compute import AS_TRAINED, Compute
from skn.inference.hf import ACTIVATION
from skn.inference.processes import everywhere
from skn.neurons import probe as library
from skn.neurons.significance import PERMUTATIONS
from skn.runs.run import Run, timed


def probe(
    run_path: Path,
    at: list[str] | None,
    compute: Compute = AS_TRAINED,
    *,
    neuron: str = ACTIVATION,
    threshold: str = "mean",
    permutations: int = PERMUTATIONS,
    keep_bits: bool = True,
    auroc: bool = False,
    overwrite: bool = False,
    resume: bool = False,
) -> None:
    """Write and print ``moments``, ``hits``, ``accuracy``, ``significance``, ``bits`` and ``auroc``, for each read-out."""
    run = Run.open(run_path)
    at = at or [run.config.main_readout]
    readouts = library.checked(at, neuron, run.config.words_around)
    library.refuse_stored(readouts, run.path, overwrite or resume)
    loaded = everywhere(run.load, compute, readouts)
    with timed(run_path, "probe"):
        probed = library.probe(
            loaded,
            at,
            neuron=neuron,
            threshold=threshold,
            permutations=permutations,
            keep_bits=keep_bits,
            auroc=auroc,
            batch_tokens=compute.batch_tokens,
            out=run.path,
            overwrite=overwrite,
            resume=resume,
        )
    show(probed.table())
    for readout in readouts:
        claim = probed.claim(readout)
        if claim is not None:
            say(f"{readout}: {claim}")
    if loaded.provenance["dtype"] == "float32":
        say("near threshold: activations within float error of it, which another engine or batch may count otherwise")
