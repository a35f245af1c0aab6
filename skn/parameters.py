"""Show the options in a message as parameters of the Python face: ``--batch-tokens 3`` becomes ``batch_tokens=3``.

Messages are written for the command line. Outside of it, :class:`skn.errors.SknError` shows them through this module.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextvars import ContextVar

FLAGS = (
    "overwrite",
    "resume",
    "onnx",
    "int8",
    "no_plain",
    "stock",
    "portable",
    "drop_unlabelled",
    "partial",
    "leave_one_out",
    "keep_bits",
    "auroc",
    "autocast",
    "overall",
)

# Options whose parameter has another name.
RENAMED = {
    "text": "texts",
    "verbalizer": "words",
    "text_column": "text",
    "pair_column": "pair",
    "label_column": "label",
    "neuron": "neurons",
    "contrast": "contrasts",
    "model": "models",
    "with": "with_",
}
# The other parameters of the Python face. An option without a parameter, such as --workers, stays as it is.
_OTHERS = """
activations aggregate alpha at attributes backbone batch_size batch_tokens best bootstrap bootstrap_fraction by class_names columns conditions controls count data device device_map dtype encoding engine
epochs eval_every fraction freeze init_from kind layers lr match max_length method name neurons on out patience permutations probe
prompt_length quoting readout repeats retune run seed shape split task template threshold thresholds top warmup
"""
NAMES = {*FLAGS, *_OTHERS.split()}

# Values that are recognised in the middle of a sentence: a number, a quoted text, a placeholder, or a known choice.
_CHOICES = (
    *("cpu", "cuda", "float32", "bfloat16", "float16", "bf16x3", "int8", "hf", "fast", "prompt", "bitfit", "adapter"),
    *("template", "mask", "last", "gate"),
    *(
        "zero",
        "mean",
        "gaussian",
        "scale",
        "resample",
        "none",
        "multiline",
        "train",
        "validation",
        "test",
        "min",
        "max",
    ),
    *("predictivity", "plain", "auroc", "layer", "overall", "activity"),
)
_VALUE = rf"[-+]?\.?\d[\w.,:+-]*(?<![.,:;])|'[^']*'|[A-Z][A-Zx][\w,|/]*|(?:{'|'.join(_CHOICES)})\b"
_OPTION = "--(?P<{0}>[a-z][a-z0-9-]*[a-z0-9]|by|lr)(?![\\w-])"
# The value of an option at the beginning of a message may be any text up to ": ".
_FIRST = re.compile(_OPTION.format("first") + rf"(?: (?P<all>(?:{_VALUE})(?=[ :])|(?:(?! --).)+?(?=: ))|(?=: ))")
_ANY = re.compile(
    rf"(?P<quoted>(?<!\w)'[^']*')|(?<![\w'-]){_OPTION.format('option')}(?: (?P<value>{_VALUE}))?(?P<colon>:)?"
)

_on_command_line: ContextVar[bool] = ContextVar("on_command_line", default=False)


@contextlib.contextmanager
def command_line() -> Iterator[None]:
    """Messages keep the options of the command line in the block."""
    token = _on_command_line.set(True)
    try:
        yield
    finally:
        _on_command_line.reset(token)


def for_reader(message: str) -> str:
    """Return the message unchanged on the command line, and with parameters elsewhere."""
    return message if _on_command_line.get() else as_parameters(message)


def as_parameters(message: str) -> str:
    """Return a message with each option as a parameter of the Python face.

    Example::

        >>> as_parameters("--engine turbo: expected hf, fast; see 'skn probe --help'")
        'engine="turbo": expected hf, fast; see \\'skn probe --help\\''
    """
    begin = _FIRST.match(message)
    parameter = begin and _parameter(begin["first"])
    if not parameter:
        return _ANY.sub(_translated, message)
    return _assigned(parameter, begin["all"]) + _ANY.sub(_translated, message[begin.end() :])


def _translated(found: re.Match[str]) -> str:
    parameter = None if found["quoted"] else _parameter(found["option"])
    if parameter is None:
        return found[0]
    colon = found["colon"] or ""
    return _assigned(parameter, found["value"], bare="" if colon else "=") + colon


def _parameter(option: str) -> str | None:
    name = option.replace("-", "_")
    return RENAMED.get(name) or (name if name in NAMES else None)


def _assigned(parameter: str, value: str | None, bare: str = "") -> str:
    if parameter in FLAGS:
        return f"{parameter}=True" + (f" {value}" if value else "")
    return parameter + bare if value is None else f"{parameter}={_written(value)}"


def _written(value: str) -> str:
    """Write a value of the command line as Python does: numbers, ranges and lists if it is one of them, otherwise a
    text.
    """
    if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|nan|inf|[\[(].*[\])]|'.*'|[A-Z][A-Zx][\w,|/]*", value):
        return value
    if bounds := re.fullmatch(r"(-?\d+):(-?\d+)", value):
        return f"range({bounds[1]}, {bounds[2]})"
    if re.fullmatch(r"-?\d+(\.\d+)?(,-?\d+(\.\d+)?)+", value):
        return f"[{', '.join(value.split(','))}]"
    return f'"{value}"'
