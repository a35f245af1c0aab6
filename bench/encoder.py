"""A batch of 32 texts of 56 tokens through a model of roberta-base's shape: full, and pruned to 61 neurons in layers 3–11.

    python bench/encoder.py [--repeats 7] [--no-compile]

Random weights. Every contestant answers with the class scores of the batch, except "original", which works as the
original code does: float32, full model, logits of the whole vocabulary at every position, every activation copied to
numpy by hooks. Validated against one another first, then timed in turn. Beside them: the operations of the packed encoder,
its last layer trimmed to the scored position, over the rate of torch's own matrix product measured in the same run.
"""

from __future__ import annotations

import argparse
from functools import partial

import torch
import transformers
from machine import quartiles, ratio, take_turns, write

from skn.backbone import Backbone, PromptedBatch
from skn.fast_forward import scored_hidden
from skn.pruning import prune
from skn.tuning import TunedModel

BATCH, LENGTH, PROMPT_LENGTH = 32, 56, 16
PRUNED_LAYERS, KEPT = range(3, 12), 61
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    options = parser.parse_args()
    models = _models()
    results = {}
    with torch.inference_mode():
        rates = {name: _matmul_rate(dtype) for name, dtype in DTYPES.items()}
        for name in models:
            for dtype in DTYPES:
                results[f"{name} {dtype}"] = _compare(models[name], dtype, not options.no_compile, options.repeats)
                results[f"{name} {dtype}"]["at_matmul_rate_ms"] = round(
                    1e3 * _operations(models[name]) / rates[dtype], 2
                )
        original = take_turns({"original": partial(_original, models["dense"])}, 3)["original"]
    result = {"batch": [BATCH, LENGTH], "original_float32_dense_ms": quartiles(original), "claims": results}
    result["matmul_gflops"] = {name: round(rate / 1e9) for name, rate in rates.items()}
    _show(result)
    print(f"wrote {write('encoder', result, 'encode')}")


def _models() -> dict[str, object]:
    """The full and the pruned model, as prompted models in float32."""
    torch.manual_seed(0)
    config = transformers.RobertaConfig(max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5)
    backbone = Backbone(transformers.RobertaForMaskedLM(config).eval().requires_grad_(False))
    tuned = TunedModel(backbone, [100, 200], 4, PROMPT_LENGTH).requires_grad_(False)
    keep = torch.ones(12, 3072, dtype=torch.bool)
    keep[PRUNED_LAYERS.start :, KEPT:] = False
    return {"dense": tuned, "pruned": prune(tuned, keep, torch.zeros(12, 3072, dtype=torch.float64), ["no", "yes"])}


def _batch(model: object) -> PromptedBatch:
    ids = torch.randint(5, 50000, (BATCH, LENGTH - PROMPT_LENGTH), generator=torch.Generator().manual_seed(1))
    return model.assemble(ids, torch.ones_like(ids))


def _compare(model: object, dtype: str, compiled: bool, repeats: int) -> dict[str, object]:
    """Milliseconds of every contestant on one model in one dtype, and the ratios to skn."""
    model = model.to(DTYPES[dtype])
    model.backbone.model.to(DTYPES[dtype])
    backbone, batch = model.backbone, _batch(model)
    contestants = {
        "skn": lambda: backbone.word_scores(scored_hidden(backbone, batch), model.label_ids),
        "eager": lambda: backbone.scores(batch, model.label_ids),
    }
    if compiled:
        fast = torch.compile(lambda: backbone.scores(batch, model.label_ids), options={"freezing": True})
        contestants["torch.compile"] = fast
    exact = contestants["eager"]()
    for name, contestant in contestants.items():
        error = (contestant() - exact).abs().max() / exact.abs().max()
        assert error < (1e-4 if dtype == "float32" else 0.1), f"{name} in {dtype} is off by {error}"
    seconds = take_turns(contestants, repeats)
    model.float()
    model.backbone.model.float()
    return {
        "ms": {name: quartiles(values) for name, values in seconds.items()},
        "over_skn": {name: ratio(values, seconds["skn"]) for name, values in seconds.items() if name != "skn"},
    }


def _original(model: TunedModel) -> None:
    """Hooks, host copies, full-vocabulary logits."""
    backbone, batch = model.backbone, _batch(model)
    copies: list[object] = []
    handles = [
        site.activation.register_forward_hook(lambda _m, _i, out: copies.append(out.cpu().numpy().copy()))
        for site in backbone.ffn_sites
    ]
    backbone.model(
        inputs_embeds=batch.inputs_embeds, attention_mask=batch.attention_mask, position_ids=batch.position_ids
    )
    for handle in handles:
        handle.remove()


def _operations(model: object) -> float:
    """Multiplications and additions of the packed encoder; the last layer beyond keys and values at one row a text."""
    hidden, rows = model.backbone.hidden_size, BATCH * LENGTH
    total = 0.0
    for site in model.backbone.ffn_sites:
        read = BATCH if site is model.backbone.ffn_sites[-1] else rows
        projections = 2 * rows * hidden * 2 * hidden + 2 * read * hidden * 2 * hidden
        total += projections + 4 * read * LENGTH * hidden + 4 * read * hidden * site.width
    return total


def _matmul_rate(dtype: torch.dtype) -> float:
    """Operations a second of torch's own matrix product at a size that suits it."""
    a, b = torch.randn(1024, 1024, dtype=dtype), torch.randn(1024, 4096, dtype=dtype)
    out = torch.empty(1024, 4096, dtype=dtype)
    return 2 * 1024 * 1024 * 4096 / min(take_turns({"mm": lambda: torch.mm(a, b, out=out)}, 10)["mm"])


def _show(result: dict[str, object]) -> None:
    print(f"{'original, float32, dense':28} {result['original_float32_dense_ms'][1]:9.1f} ms")
    for claim, found in result["claims"].items():
        print(f"{claim}: at the rate of torch.mm {found['at_matmul_rate_ms']} ms")
        for name, (low, median, high) in found["ms"].items():
            over = found["over_skn"].get(name)
            shown = (
                f"{over['ratio_median']:.2f}x skn ({over['ratio_low']:.2f} – {over['ratio_high']:.2f})" if over else ""
            )
            print(f"  {name:26} {median:9.1f} ms ({low:.1f} – {high:.1f}) {shown}")


if __name__ == "__main__":
    main()
