"""The peak memory of a probe, compared with the peak memory of the model and one batch."""

from __future__ import annotations

import subprocess
import sys

from shapes import PROMPT_LENGTH

PROBE = """
import sys, torch
sys.path.insert(0, {here!r})
from shapes import minilm, splits
from skn.inference.batches import batches_by_length, collate
from skn.inference.compute import BATCH_TOKENS
from skn.model.backbone import Backbone
from skn.inference.engine import predict
from skn.inference.readouts import PROMPT
from skn.neurons.probing import probe_hits, probe_moments

def peak():
    lines = open("/proc/self/status").read().splitlines()  # getrusage would count the parent before exec
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

model, tokenizer = minilm()
encoded = splits({data!r}, tokenizer, {rows})
first = encoded["train"]
longest = batches_by_length(first, BATCH_TOKENS, model.prompt_length)[0]
one = type(first)([first.input_ids[i] for i in longest], None, first.label[longest], 0)
predict(model, one, engine="fast")
before = peak()
moments, _ = probe_moments(model, first, BATCH_TOKENS, [PROMPT], "probe", "fast")
probe_hits(model, encoded["test"], BATCH_TOKENS, {{PROMPT: moments[PROMPT].threshold()}}, "probe", "fast")
print(before, peak())
"""


def test_peak_memory_of_a_probe(keep, benchmark, pytestconfig):
    here = __file__.rpartition("/")[0]
    code = PROBE.format(here=here, data=pytestconfig.getoption("data"), rows=pytestconfig.getoption("rows"))

    def measure():
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return [float(word) for word in run.stdout.split()[-2:]]

    before, after = benchmark.pedantic(measure, rounds=1)
    keep(
        "peak memory of a probe, MiniLM",
        {
            "what": f"process after model and one batch, and after a whole probe; prompt {PROMPT_LENGTH}, float32",
            "megabytes": [round(before, 1), round(after, 1)],
            "ratio": round(after / before, 3),
            "target": 1.1,
        },
    )
