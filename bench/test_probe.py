"""The time of a probe: moments of train, hits of the other splits, on the real small encoder, float32."""

from __future__ import annotations

import pytest
import torch
from rivals.lenses import nnsight, plain_hooks, transformer_lens
from rivals.original import in_order
from shapes import PROMPT_LENGTH, SPLITS, minilm, splits

from skn.inference.compute import BATCH_TOKENS
from skn.inference.engine import predict
from skn.inference.hf import Tap
from skn.inference.readouts import PROMPT
from skn.neurons.probing import probe_hits, probe_moments


@pytest.fixture(scope="module")
def setting(pytestconfig):
    model, tokenizer = minilm()
    return model, splits(pytestconfig.getoption("data"), tokenizer, pytestconfig.getoption("rows"))


def probe(model, encoded, engine):
    moments, _ = probe_moments(model, encoded["train"], BATCH_TOKENS, [PROMPT], "probe", engine)
    thresholds = {PROMPT: moments[PROMPT].threshold()}
    for split in SPLITS[1:]:
        probe_hits(model, encoded[split], BATCH_TOKENS, thresholds, "probe", engine)


def bare(model, encoded, engine):
    for split in SPLITS:
        predict(model, encoded[split], engine=engine)


def reading(model, encoded):
    """The fast forward, which writes every activation at the prompt positions and drops it."""
    for split in SPLITS:
        predict(model, encoded[split], engine="fast", tap=Tap([PROMPT], lambda *_: None))


def padded(model, encoded):
    """The Hugging Face forward on batches of 32 in the data set's order, as the original code forms them."""
    for split in SPLITS:
        for batch in in_order(encoded[split]):
            model(batch.input_ids, batch.attention_mask, batch.token_type_ids)


def test_probe_over_the_padded_forward(contest, setting):
    model, encoded = setting
    contest(
        "probe, MiniLM",
        {
            "skn": lambda: probe(model, encoded, "fast"),
            "padded bare forward": lambda: padded(model, encoded),
            "skn --engine hf": lambda: probe(model, encoded, "hf"),
        },
        f"train moments and validation and test hits, {_rows(encoded)} rows, float32, prompt {PROMPT_LENGTH}",
        targets={"padded bare forward": 1.54},  # at most 0.65 of this contestant's time
    )


def test_probe_over_its_own_forward(contest, setting):
    model, encoded = setting
    contest(
        "probe over its own forward, MiniLM",
        {
            "skn": lambda: probe(model, encoded, "fast"),
            "fast forward, first position": lambda: bare(model, encoded, "fast"),
            "fast forward, activations read and dropped": lambda: reading(model, encoded),
        },
        f"as above, {_rows(encoded)} rows; what a probe adds to the forward passes it needs",
        targets={"fast forward, first position": 0.971},  # at most 1.03 of this contestant's time
    )


def test_probing_libraries(contest, setting):
    model, encoded = setting
    train = encoded["train"]
    contestants = {
        "skn": lambda: probe_moments(model, train, BATCH_TOKENS, [PROMPT], "probe", "fast"),
        "padded bare forward": lambda: padded(model, dict.fromkeys(SPLITS[:1], train) | dict.fromkeys(SPLITS[1:], [])),
        "plain hooks": plain_hooks(model, train),
        "nnsight": nnsight(model, train),
        "TransformerLens": transformer_lens(model, train),
    }
    total = probe_moments(model, train, BATCH_TOKENS, [PROMPT], "probe", "fast")[0][PROMPT].total.sum(dim=0)
    for name in ("plain hooks", "nnsight", "TransformerLens"):
        if callable(contestants[name]):
            torch.testing.assert_close(torch.stack(contestants[name]()), total, rtol=1e-3, atol=0.05)
    contest(
        "probing libraries, MiniLM", contestants, f"activation sums of {len(train):,} rows at {PROMPT_LENGTH} positions"
    )


def _rows(encoded) -> str:
    return " + ".join(f"{len(encoded[split]):,}" for split in SPLITS)
