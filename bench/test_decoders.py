"""What a probe of a decoder costs over the bare forward pass, beside nnsight and TransformerLens."""

from __future__ import annotations

import pytest
import torch
from rivals.lenses import nnsight_last, transformer_lens_last
from shapes import decoder

from skn.inference.batches import Encoded, batches_by_length, collate
from skn.inference.readouts import LAST, MEAN
from skn.neurons.probing import probe_moments

TEXTS, SHORTEST, LONGEST, TOKENS = 48, 12, 48, 1024
TURNS = 12  # a probe and the bare forward are a few percent apart, less than one turn varies


def texts() -> Encoded:
    """Texts of random tokens, as a template would leave them: the last token is scored."""
    draw = torch.Generator().manual_seed(0)
    lengths = torch.randint(SHORTEST, LONGEST + 1, (TEXTS,), generator=draw).tolist()
    ids = [torch.randint(5, 40000, (length,), generator=draw).tolist() for length in lengths]
    own = [[1] * length for length in lengths]
    return Encoded(ids, None, torch.arange(TEXTS) % 2, 0, own=own, scored=[length - 1 for length in lengths])


@pytest.mark.parametrize("name", ["pythia-160m", "llama-135m"])
def test_decoder(contest, name):
    model, encoded = decoder(name), texts()
    base = model.backbone.base
    batches = [collate(encoded, rows) for rows in batches_by_length(encoded, TOKENS, 0)]

    def bare():
        for batch in batches:
            base(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)

    def probe(readouts):
        return probe_moments(model, encoded, TOKENS, readouts, "probe", "hf")[0]

    contestants = {
        "skn, last": lambda: probe([LAST]),
        "bare forward": bare,
        "skn, mean": lambda: probe([MEAN]),
        "skn, last and mean": lambda: probe([LAST, MEAN]),
        "nnsight, last": nnsight_last(decoder(name), batches),  # a model of its own, which the library may change
        "TransformerLens, last": transformer_lens_last(decoder(name), batches),
    }
    total = probe([LAST])[LAST].total.sum(dim=0)[:, 0]
    for rival in ("nnsight, last", "TransformerLens, last"):
        if callable(contestants[rival]):
            torch.testing.assert_close(torch.stack(contestants[rival]()), total, rtol=1e-3, atol=0.05)
    contest(
        f"probe of a decoder, {name}",
        contestants,
        f"activation moments of {TEXTS} texts of {SHORTEST} to {LONGEST} tokens, float32, random weights",
        targets={"bare forward": 0.952},  # "last" takes at most 1.05 of the bare forward's time
        turns=TURNS,
    )
