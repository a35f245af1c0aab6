"""Sentences in, labels out; and a whole probe: roberta-base's shape with random weights, and the lengths of real
sentences.
"""

from __future__ import annotations

import pytest
import torch
from contest import Missing, Sample
from rivals import original
from rivals.exported import openvino_classifier
from shapes import in_int8, minilm, pruned_roberta_base, roberta_base, texts

from skn.inference.batches import tokenize
from skn.inference.compute import BATCH_TOKENS
from skn.inference.engine import predict
from skn.inference.readouts import PROMPT
from skn.neurons.probing import probe_hits, probe_moments

FEW = 64  # rows for the original, whose time is scaled up


@pytest.fixture(scope="module")
def tokenizer():
    return minilm()[1]


@pytest.fixture
def read(pytestconfig, tokenizer):
    """A split's rows, tokenized."""

    def call(split, rows=None):
        examples = texts(pytestconfig.getoption("data"), split, rows or pytestconfig.getoption("rows"))
        return tokenize(examples, tokenizer, 128)

    return call


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_text_to_label(contest, pytestconfig, tokenizer, dtype):
    examples = texts(pytestconfig.getoption("data"), "validation", pytestconfig.getoption("rows"))
    few = examples.take(list(range(0, len(examples), max(1, len(examples) // FEW)))[:FEW])
    full, plain, sample = roberta_base(), pruned_roberta_base(), tokenize(few, tokenizer, 128)
    small = in_int8(plain) if dtype == "int8" else pruned_roberta_base(torch.bfloat16)
    exported = openvino_classifier(plain, sample, sample if dtype == "int8" else None)

    def ours():
        return predict(small, tokenize(examples, tokenizer, 128)).argmax(dim=1)

    def openvino():
        return exported(tokenize(examples, tokenizer, 128))

    def theirs():
        return original.evaluate(full, tokenize(few, tokenizer, 128))

    contest(
        "text to label, SST-2 validation" + (", int8" if dtype == "int8" else ""),
        {
            f"skn, pruned, {dtype}": ours,
            "skn, pruned, --engine hf": lambda: predict(small, tokenize(examples, tokenizer, 128), engine="hf"),
            f"OpenVINO, pruned, {dtype}": exported if isinstance(exported, Missing) else openvino,
            "original, dense, float32": Sample(theirs, len(examples) / len(few)),
        },
        f"{len(examples):,} sentences, tokenized and classified; the original on {len(few)} of them, scaled up",
        targets={"OpenVINO, pruned, int8": 1.3}
        if dtype == "int8"
        else {"original, dense, float32": 25, "OpenVINO, pruned, bfloat16": 1.4},
        amx=dtype != "int8",
        turns=3,
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_probe_of_the_original(contest, read, dtype):
    train, held_out = read("train"), read("validation")
    model, full = roberta_base(getattr(torch, dtype)), roberta_base()
    few_train, few_held_out = read("train", FEW // 2), read("validation", FEW // 2)

    def ours():
        moments, _ = probe_moments(model, train, BATCH_TOKENS, [PROMPT], "probe", "fast")
        probe_hits(model, held_out, BATCH_TOKENS, {PROMPT: moments[PROMPT].threshold()}, "probe", "fast")

    parts = (len(train) + len(held_out)) / (len(few_train) + len(few_held_out))
    contest(
        f"probe, roberta-base's shape, {dtype}",
        {"skn": ours, "original, float32": Sample(lambda: original.probe(full, few_train, few_held_out), parts)},
        f"{len(train):,} + {len(held_out):,} rows; the original on {len(few_train)} + {len(few_held_out)}, scaled up",
        targets={"original, float32": 2.8 if dtype == "float32" else 15},
        amx=True,
        turns=2,
    )
