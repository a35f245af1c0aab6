"""The choices that options of the command line have."""

from enum import Enum

Method = Enum("Method", {name: name for name in ("prompt", "bitfit", "adapter", "template")}, type=str)
DType = Enum("DType", {name: name for name in ("float32", "bfloat16", "float16")}, type=str)
ComputeDType = Enum("ComputeDType", {name: name for name in (*DType.__members__, "bf16x3", "int8")}, type=str)
Split = Enum("Split", {name: name for name in ("train", "validation", "test")}, type=str)
HeldOut = Enum("HeldOut", {name: name for name in ("validation", "test")}, type=str)
Kind = Enum("Kind", {name: name for name in ("zero", "mean", "gaussian", "scale", "resample")}, type=str)
Freeze = Enum("Freeze", {name: name for name in ("mean", "zero")}, type=str)
Aggregate = Enum("Aggregate", {name: name for name in ("mean", "min")}, type=str)
By = Enum("By", {name: name for name in ("predictivity", "plain", "auroc")}, type=str)
_READOUTS = ("prompt", "mask", "last", "mean", "max")
Readout = Enum("Readout", {name: name for name in (*_READOUTS, *(f"{name}-gate" for name in _READOUTS))}, type=str)
NeuronPart = Enum("NeuronPart", {name: name for name in ("activation", "gate")}, type=str)
Threshold = Enum("Threshold", {name: name for name in ("mean", "zero")}, type=str)
Engine = Enum("Engine", {name: name for name in ("hf", "fast")}, type=str)
Quoting = Enum("Quoting", {name: name for name in ("none", "multiline")}, type=str)
Foreign = Enum("Foreign", {name: name for name in ("thresholds", "accuracies")}, type=str)


def value(choice: Enum | None) -> str | None:
    """The text of a choice."""
    return None if choice is None else choice.value
