"""Check that a foreign model fits its family: its configuration before the model is built, its weights after loading."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers.activations import ACT2FN

from skn.errors import InputError
from skn.model.families import BEHIND_PADDING, NO_TABLE, Family, family_of

# No model that skn reads comes near these numbers. A larger number is a mistake, or would fill the memory.
_MOST_LAYERS, _MOST = 1000, 2**24

# Buffers that older versions of transformers saved among the weights.
_BUFFERS = (
    *("position_ids", "token_type_ids", "attn.bias", "attn.masked_bias"),
    *("attention.bias", "attention.masked_bias", "rotary_emb.inv_freq"),
)


def check_config(name: str, config: Any, weight_bytes: int | None) -> None:
    """Raises :class:`InputError` for a configuration whose model skn would compute otherwise than its authors.

    :param weight_bytes: the size of the model's weight files, if it is known. The configuration must not need more
        weights.
    """
    family = family_of(config, name)
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
    width = getattr(config, family.width, None) or 4 * sizes["hidden_size"]
    if not isinstance(width, int) or not 0 < width <= _MOST:
        raise _refused(name, f"a feed-forward width of {width}")
    own_width = getattr(config, "head_dim", None)  # of a head, whatever the hidden size
    if own_width is None and sizes["hidden_size"] % sizes["num_attention_heads"]:
        heads = sizes["num_attention_heads"]
        raise _refused(name, f"{heads} attention heads, which do not divide the hidden size {sizes['hidden_size']}")
    _check_kind(name, config, family)
    widths = getattr(config, "ffn_widths", None)
    if widths is not None and (len(widths) != sizes["num_hidden_layers"] or not all(0 < w <= width for w in widths)):
        raise _refused(name, f"ffn_widths {widths}, not a width from 1 to {width} for each layer")
    if weight_bytes is not None:
        if family.positions == NO_TABLE or not getattr(config, "position_biased_input", True):  # DeBERTa may have none
            sizes["max_position_embeddings"] = 0
        sizes["embedding_size"] = _embedding_size(config)
        _check_room(name, sizes, widths or [width] * sizes["num_hidden_layers"], weight_bytes)


def _whole(name: str, config: Any, field: str, most: int) -> int:
    value = getattr(config, field, None)
    if not isinstance(value, int) or not 0 < value <= most:
        raise _refused(name, f"{field} {value!r}; a whole number from 1 to {most:,} is possible")
    return value


def _check_kind(name: str, config: Any, family: Family) -> None:
    """Refuse settings that change how the model computes, beyond its sizes."""
    activation = activation_of(config)
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
    if getattr(config, "legacy", True) is False:
        raise _refused(
            name, "legacy false, a head that skn does not read; leave it out, and words are scored by embedding"
        )
    if getattr(config, "position_embedding_type", "absolute") != "absolute":
        raise _refused(
            name, f"position_embedding_type '{config.position_embedding_type}'; skn reads absolute positions"
        )
    if family.positions == BEHIND_PADDING and not isinstance(config.pad_token_id, int):
        raise _refused(name, "no pad_token_id, from which its positions are counted; for RoBERTa it is 1")


def activation_of(config: Any) -> str | None:
    """Return the name of the activation function; families have four names for the field."""
    fields = ("hidden_activation", "hidden_act", "activation_function", "activation")
    return next(filter(None, (getattr(config, field, None) for field in fields)), None)


def _embedding_size(config: Any) -> int:
    sizes = (getattr(config, field, None) for field in ("embedding_size", "word_embed_proj_dim"))
    return next(filter(None, sizes), config.hidden_size)


def _check_room(name: str, sizes: dict[str, int], widths: list[int], weight_bytes: int) -> None:
    """Refuse sizes that need more numbers than the files have bytes, because each number needs at least one byte.

    The attention is left out, because its size differs between families.
    """
    numbers = (sizes["vocab_size"] + sizes["max_position_embeddings"]) * sizes["embedding_size"]
    numbers += sum(2 * sizes["hidden_size"] * width for width in widths)
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
    decoder = (
        model.get_output_embeddings()
    )  # its weights may be the word embeddings; None in a pruned model without a head
    words = set() if decoder is None else {id(parameter) for parameter in decoder.parameters()}
    tied = {key for key, parameter in model.named_parameters(remove_duplicate=False) if id(parameter) in words}
    headless = bool(missing) and not family.causal and all(key in missing or key in tied for key in head)
    if lost or (missing and not headless):
        raise InputError(f"{name}: not a complete {kind} model, weights are missing: {some_of(lost or missing)}")
    roots = {root + "." for root, _ in getattr(model, family.base).named_children()}
    foreign = [key for key in unexpected if _in_encoder(key.removeprefix(base), tuple(roots))]
    if foreign:
        raise InputError(f"{name}: no plain {kind} model, its encoder has weights of another kind: {some_of(foreign)}")
    return not headless


def check_word_scores(name: str, model: nn.Module, headless: bool) -> None:
    """Raises :class:`InputError` for a model without an LM head whose word embeddings cannot score hidden states, and for
    a head that shares its weight with anything but the word embeddings.
    """
    words, decoder = model.get_input_embeddings(), model.get_output_embeddings()
    if not headless and decoder is not None:
        tied = [path for path, part in model.named_modules() if getattr(part, "weight", None) is decoder.weight]
        others = [path for path in tied if model.get_submodule(path) not in (words, decoder)]
        if others:
            raise InputError(
                f"{name}: its language-model head is tied to {others[0]}, not to the word embeddings; scores of words would be "
                "those of another weight: save the model with a head of its own"
            )
    width, hidden = model.get_input_embeddings().embedding_dim, model.config.hidden_size
    if headless and width != hidden:
        raise InputError(
            f"{name}: it has no language-model head, and its word embeddings of width {width} cannot score hidden states of "
            f"width {hidden}; give a model with its head (of ELECTRA: the generator)"
        )


def _in_encoder(key: str, roots: tuple[str, ...]) -> bool:
    return key.startswith(roots) and not key.endswith(_BUFFERS)


def some_of(keys: list[str]) -> str:
    """Return the first names of many."""
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
