"""Tiny models without tokenizers, texts of unequal length, a plain way to read their activations, and processes that
share the texts.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist
import transformers
from transformers import BertConfig, GPT2Config, RobertaConfig, XLMRobertaConfig

from skn.errors import InputError
from skn.neurons.statistics import NeuronStatistics
from skn.pruned.modeling import PrunedBertConfig, PrunedBertForMaskedLM, PrunedRobertaConfig, PrunedRobertaForMaskedLM

LAYERS, WIDTH, CLASSES = 3, 24, 3
SIZES = {"vocab_size": 50, "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": LAYERS,
         "intermediate_size": WIDTH, "max_position_embeddings": 32}  # fmt: skip
GPT2 = GPT2Config(
    vocab_size=50, n_embd=16, n_head=2, n_layer=LAYERS, n_inner=WIDTH, n_positions=32,
    bos_token_id=0, eos_token_id=0, pad_token_id=1,
)  # fmt: skip
KEPT = [torch.tensor([0, 2, 3, 7, 23]), torch.arange(WIDTH), torch.tensor([5])]
WIDTHS = {"ffn_widths": [len(kept) for kept in KEPT]}
# family -> a function that makes its model; the models have different heads, or none
MAKERS = {
    "roberta": lambda: transformers.RobertaForSequenceClassification(RobertaConfig(**SIZES)),
    "xlm-roberta": lambda: transformers.XLMRobertaForMaskedLM(XLMRobertaConfig(**SIZES)),
    "bert": lambda: transformers.BertModel(BertConfig(**SIZES)),
    "gpt2": lambda: transformers.GPT2LMHeadModel(GPT2),
    "skn_pruned_roberta": lambda: PrunedRobertaForMaskedLM(PrunedRobertaConfig(**SIZES, **WIDTHS)),
    "skn_pruned_bert": lambda: PrunedBertForMaskedLM(PrunedBertConfig(**SIZES, **WIDTHS)),
}


def model_of(family, attention="eager", dtype=torch.float32):
    torch.manual_seed(0)
    model = MAKERS[family]().to(dtype).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.set_attn_implementation(attention)
    if family.startswith("skn_pruned"):
        for layer, kept in zip(model.base_model.encoder.layer, KEPT, strict=True):
            layer.intermediate.kept_neurons.copy_(kept)
    return model


def texts_of(count=12, seed=1):
    """Return token ids of 3 to 9 tokens for each text, and its label. Class 2 never occurs."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 10, (count,), generator=generator).tolist()
    return [(torch.randint(5, 50, (n,), generator=generator), i % 2) for i, n in enumerate(lengths)]


def batch_of(model, texts, side="right"):
    """Return the model's inputs, and the labels. Position ids count each text's own tokens."""
    columns = max(len(ids) for ids, _ in texts)
    start = model.config.pad_token_id + 1 if "roberta" in model.config.model_type else 0
    inputs = {name: torch.zeros(len(texts), columns, dtype=torch.int64) for name in ("attention_mask", "position_ids")}
    inputs["input_ids"] = torch.ones(len(texts), columns, dtype=torch.int64)
    for row, (ids, _) in enumerate(texts):
        own = slice(0, len(ids)) if side == "right" else slice(columns - len(ids), columns)
        inputs["input_ids"][row, own] = ids
        inputs["attention_mask"][row, own] = 1
        inputs["position_ids"][row, own] = torch.arange(start, start + len(ids))
    return inputs, torch.tensor([label for _, label in texts])


def batches_of(model, size=5, side="right", seed=1):
    texts = texts_of(seed=seed)
    return [batch_of(model, texts[i : i + size], side) for i in range(0, len(texts), size)]


def record_all(stats, model, batches):
    for inputs, labels in batches:
        with stats.record(labels=labels, attention_mask=inputs["attention_mask"]), torch.no_grad():
            model(**inputs)
    return stats.compute()


def plain_readouts(model, batches, readout):
    """Return [N, L, P, F] float64: the inputs of each down-projection, by hooks of this test alone, read out in numpy."""
    found = []
    ends = "mlp.c_proj" if model.config.model_type == "gpt2" else "output.dense"
    downs = [m for name, m in model.named_modules() if name.endswith(ends) and "attention" not in name]
    assert len(downs) == LAYERS
    for inputs, labels in batches:
        seen = []

        def see(_module, arguments, seen=seen):
            seen.append(arguments[0].double().numpy())

        handles = [down.register_forward_pre_hook(see) for down in downs]
        with torch.no_grad():
            model(**inputs)
        for handle in handles:
            handle.remove()
        for row in range(len(labels)):
            real = np.flatnonzero(inputs["attention_mask"][row].numpy())
            found.append([_read(act[row][real], readout) for act in seen])
    return np.array([[_widened(rows, layer, model) for layer, rows in enumerate(text)] for text in found])


def _read(own, readout):
    if isinstance(readout, str):
        return {"first": own[:1], "last": own[-1:], "mean": own.mean(0)[None], "max": own.max(0)[None]}[readout]
    return own[list(readout)]


def _widened(rows, layer, model):
    if not model.config.model_type.startswith("skn_pruned"):
        return rows
    full = np.zeros((len(rows), WIDTH))
    full[:, KEPT[layer].numpy()] = rows
    return full


def record_share(rank, processes, readout="last"):
    """Record statistics of every ``processes``-th batch from ``rank`` on."""
    model = model_of("bert")
    threshold = torch.full((LAYERS, WIDTH), 0.1)
    stats = NeuronStatistics(model, CLASSES, readout, threshold=threshold)
    record_all(stats, model, batches_of(model, size=2)[rank::processes])
    return stats


def add_up(rank, processes, folder):
    """Run as one of the processes. They meet in the folder, and each writes its statistics there after the sum."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=processes)
    stats, another = (record_share(rank, processes, readout) for readout in ("last", "last" if rank else "first"))
    try:
        another.sync()
    except InputError as error:
        (folder / f"{rank}.txt").write_text(str(error))
    stats.sync()
    torch.save(stats.state_dict(), folder / f"{rank}.pt")
    dist.destroy_process_group()
