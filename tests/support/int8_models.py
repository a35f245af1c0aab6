"""What the tests of models in int8 share."""

import pytest
from refusals import command

import skn

WORDS = ["negative", "positive"]


def off(found, exact):
    """Root mean square of the error of logits, over that of the exact logits less their means."""
    return ((found - exact).square().mean() / (exact - exact.mean(0)).square().mean()).sqrt().item()


@pytest.fixture(scope="module")
def int8_run(tiny, corpus_folder, tmp_path_factory):
    """The folder of a run of a tiny RoBERTa, probed and ranked."""
    out = tmp_path_factory.mktemp("int8") / "run"
    run = skn.tune(tiny("roberta"), skn.load_data(corpus_folder), WORDS, prompt_length=4, epochs=0, out=out)
    skn.probe(run, out=out)
    assert command(["select", "--run", out]) == 0
    return out
