"""Check that a foreign model fits its family: its configuration before the model is built, its weights after loading."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers.activations import ACT2FN

from skn.errors import InputError
from skn.model.families import Family, family_of

# No model that skn reads comes near these numbers. A larger number is a mistake, or would fill the memory.
_MOST_LAYERS, _MOST = 1000, 2**24

# Buffers that older versions of transformers saved among the weights.
_BUFFERS = ("position_ids", "token_type_ids", "attn.bias", "attn.masked_bias")


def check_config(name: str, config: Any, weight_bytes: int | None) -> None:
    """Raises :class:`InputError` for a configuration whose model skn would compute otherwise than its authors.

    :param weight_bytes: the size of the model's weight files, if it is known. The configuration must not need more
        weights.
    """
    family = family_of(config.model_type, name)
    sizes = {
        field: _whole(name, config, field, _MOST_LAYERS if field == "num_hidden_layers" else _MOST)
        for field in (
            "num_hidden_layers",
            "hidden_size",
            "num_attention_heads",
            "vocab_size",
            "max_position_embeddings",
        )
    }
    width = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * sizes["hidden_size"]
    if not isinstance(width, int) or not 0 < width <= _MOST:
        raise _refused(name, f"a feed-forward width of {width}")
    if sizes["hidden_size"] % sizes["num_attention_heads"]:
        heads = sizes["num_attention_heads"]
        raise _refused(name, f"{heads} attention heads, which do not divide the hidden size {sizes['hidden_size']}")
    _check_kind(name, config, family)
    widths = getattr(config, "ffn_widths", None)
    if widths is not None and (len(widths) != sizes["num_hidden_layers"] or not all(0 < w <= width for w in widths)):
        raise _refused(name, f"ffn_widths {widths}, not a width from 1 to {width} for each layer")
    if weight_bytes is not None:
        _check_room(name, sizes, widths or [width] * sizes["num_hidden_layers"], weight_bytes)


def _whole(name: str, config: Any, field: str, most: int) -> int:
    value = getattr(config, field, None)
    if not isinstance(value, int) or not 0 < value <= most:
        raise _refused(name, f"{field} {value!r}; a whole number from 1 to {most:,} is possible")
    return value


def _check_kind(name: str, config: Any, family: Family) -> None:
    """Refuse settings that change how the model computes, beyond its sizes."""
    activation = getattr(config, "hidden_act", None) or getattr(config, "activation_function", None)
    if activation not in ACT2FN:
        raise _refused(name, f"the activation '{activation}', which transformers does not have")
    if getattr(config, "quantization_config", None) is not None:
        raise _refused(name, "quantized weights; skn reads dense ones: give the model they were made from")
    if getattr(config, "add_cross_attention", False):
        raise _refused(name, "cross-attention; skn reads models of one text stream")
    if family.causal:
        return
    if getattr(config, "is_decoder", False):
        raise _refused(name, f"is_decoder; skn reads a {config.model_type} model as an encoder, which sees every token")
    if getattr(config, "chunk_size_feed_forward", 0):
        raise _refused(name, "chunk_size_feed_forward; set it to 0, which changes no result")
    if getattr(config, "position_embedding_type", "absolute") != "absolute":
        raise _refused(
            name, f"position_embedding_type '{config.position_embedding_type}'; skn reads absolute positions"
        )
    if family.padding_shifts_positions and not isinstance(config.pad_token_id, int):
        raise _refused(name, "no pad_token_id, from which its positions are counted; for RoBERTa it is 1")


def _check_room(name: str, sizes: dict[str, int], widths: list[int], weight_bytes: int) -> None:
    """Refuse sizes that need more numbers than the files have bytes, because each number needs at least one byte."""
    hidden = sizes["hidden_size"]
    numbers = (sizes["vocab_size"] + sizes["max_position_embeddings"]) * hidden
    numbers += sum(4 * hidden * hidden + 2 * hidden * width for width in widths)
    if numbers > weight_bytes:
        raise _refused(
            name, f"sizes of {numbers:,} weights, but the weight files have {weight_bytes:,} bytes: are they whole?"
        )


def _refused(name: str, what: str) -> InputError:
    return InputError(f"{name}: its config.json says {what}")


def check_tokens(name: str, tokenizer: Any, config: Any) -> None:
    """Raises :class:`InputError` if the tokenizer gives tokens for which the model has no embedding."""
    beyond = {token: i for token, i in tokenizer.get_vocab().items() if i >= config.vocab_size}
    if beyond:
        last = max(beyond, key=beyond.get)
        raise InputError(
            f"{name}: the tokenizer's token '{last}' is number {beyond[last]}, but the model embeds {config.vocab_size}; "
            "resize its embeddings (resize_token_embeddings) and save it with this tokenizer"
        )


def check_weights(name: str, model: nn.Module, family: Family, report: dict[str, Any]) -> bool:
    """Return whether the model has an LM head. Raises :class:`InputError` for missing weights and weights of another
    encoder.

    The head of another task is allowed, and the LM head may be missing as a whole. ``report`` comes from transformers.
    """
    kind, base = model.config.model_type, family.base + "."
    missing, unexpected = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    lost = [key for key in missing if key.startswith(base)]
    head = [key for key, _ in model.named_parameters() if not key.startswith(base)]
    headless = bool(missing) and family.head is not None and all(_in_head(key, family, missing) for key in head)
    if lost or (missing and not headless):
        raise InputError(f"{name}: not a complete {kind} model, weights are missing: {some_of(lost or missing)}")
    foreign = [key for key in unexpected if _in_encoder(key.removeprefix(base), family)]
    if foreign:
        raise InputError(f"{name}: no plain {kind} model, its encoder has weights of another kind: {some_of(foreign)}")
    return not headless


def _in_head(key: str, family: Family, missing: list[str]) -> bool:
    """Whether a weight outside the encoder is missing, as it is if the whole head is missing."""
    return key in missing or key.startswith(family.decoder + ".")  # the decoder's weights are the embedding's


def _in_encoder(key: str, family: Family) -> bool:
    parts = ("embeddings.", "wte.", "wpe.", "ln_f.", family.layers.split(".")[0] + ".")
    return key.startswith(parts) and not key.endswith(_BUFFERS)


def some_of(keys: list[str]) -> str:
    """Return the first names of many."""
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
