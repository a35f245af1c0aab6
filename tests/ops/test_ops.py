"""What the statistics refuse and in which words, their contracts with torch, and the table of all operators."""

import pytest
import torch
from levels import LEVELS, default
from statistics_cases import NAMES, path_or_skip, state

from skn import ops
from skn.ops import backends, native


@pytest.fixture(params=[*LEVELS, "eager"], scope="session")
def checked(request):
    """The paths that check shapes, too; ``reference`` leaves that to ``skn.ops``."""
    return path_or_skip(request.param)


def arguments(name, act=None):
    """Valid arguments of an operator by name: B = 4, P or S = 3, F = 5, C = 2."""
    act = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0)) if act is None else act
    labels = torch.tensor([0, 1, 1, 0])
    to = state(2, 3, 5)
    if name == "accumulate_moments":
        return {"count": to.count, "total": to.total, "total_sq": to.total_sq, "act": act, "labels": labels}
    if name == "accumulate_hits":
        threshold = torch.zeros(3, 5, dtype=torch.float64)
        return {"hits": to.hits, "act": act, "threshold": threshold, "labels": labels}
    lengths, offset = torch.tensor([3, 2, 1, 0]), torch.tensor([0, 1, 2, 3])
    return {"act": act, "lengths": lengths, "offset": offset, "reduce": "mean"}


WRONG = [
    (
        "accumulate_moments",
        "act",
        torch.zeros(4, 5),
        r"act must be float32, .* \[B, P, F\], got float32 \[4, 5\]",
    ),
    (
        "accumulate_moments",
        "act",
        torch.zeros(4, 3, 5, dtype=torch.int32),
        "act must be float32, .* got int32",
    ),
    ("accumulate_moments", "count", torch.zeros(2), r"count must be int64 \[C\] = \[2\], got float32 \[2\]"),
    ("accumulate_moments", "count", torch.tensor(0), r"count must be int64 \[C\], got int64 \[\]"),
    (
        "accumulate_moments",
        "total",
        torch.zeros(2, 3, 5),
        r"total must be float64 \[C, P, F\] = \[2, 3, 5\], got fl",
    ),
    (
        "accumulate_moments",
        "total_sq",
        torch.zeros(2, 3, 4, dtype=torch.float64),
        r"total_sq must .* \[2, 3, 4\]",
    ),
    (
        "accumulate_moments",
        "labels",
        torch.zeros(3, dtype=torch.int64),
        r"labels must be int64 \[B\] = \[4\], got",
    ),
    (
        "accumulate_moments",
        "total",
        torch.zeros(1, 1, 1, dtype=torch.float64).expand(2, 3, 5),
        "not be expanded",
    ),
    (
        "accumulate_moments",
        "count",
        torch.zeros(1, dtype=torch.int64).expand(2),
        "count must not be expanded",
    ),
    ("accumulate_hits", "act", torch.zeros(4, 3, 5, dtype=torch.int64), "act must be float32"),
    (
        "accumulate_hits",
        "hits",
        torch.zeros(2, 15, dtype=torch.int64),
        r"hits must be int64 \[C, P, F\], got",
    ),
    (
        "accumulate_hits",
        "hits",
        torch.zeros(2, 3, 5),
        r"hits must be int64 \[C, P, F\] = \[2, 3, 5\], got float32",
    ),
    ("accumulate_hits", "hits", torch.zeros(2, 3, 1, dtype=torch.int64).expand(2, 3, 5), "not be expanded"),
    (
        "accumulate_hits",
        "threshold",
        torch.zeros(3, 5),
        r"threshold must be float64 \[P, F\] = \[3, 5\], got float32",
    ),
    (
        "accumulate_hits",
        "labels",
        torch.zeros(4, dtype=torch.int32),
        r"labels must be int64 .* got int32 \[4\]",
    ),
    ("pool_tokens", "act", torch.zeros(5), r"act must be .* \[B, S, F\], got float32 \[5\]"),
    ("pool_tokens", "lengths", torch.zeros(5, dtype=torch.int64), r"lengths must be int64 \[B\] = \[4\]"),
    ("pool_tokens", "offset", torch.zeros(4), r"offset must be int64 \[B\] = \[4\], got float32 \[4\]"),
    ("pool_tokens", "reduce", "median", "reduce must be 'mean' or 'max', got 'median'"),
]


@pytest.mark.parametrize(("name", "argument", "value", "message"), WRONG)
def test_wrong_arguments_are_named(checked, name, argument, value, message):
    with pytest.raises(RuntimeError, match=f"{name}: .*{message}"):
        getattr(checked, name)(**{**arguments(name), argument: value})


@pytest.mark.parametrize(("name", "argument", "value", "message"), WRONG)
def test_the_fake_refuses_the_same(name, argument, value, message):
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True) as mode:
        given = {**arguments(name), argument: value}
        fake = {k: mode.from_tensor(v) if isinstance(v, torch.Tensor) else v for k, v in given.items()}
        with pytest.raises(RuntimeError, match=message):
            getattr(ops, name)(**fake)


@pytest.mark.parametrize("name", NAMES)
def test_tensors_of_two_devices_are_refused(name):
    given = arguments(name)
    other = "labels" if "labels" in given else "lengths"
    given[other] = given[other].to("meta")
    with pytest.raises(RuntimeError, match=f"{other} must be on the device of act"):
        getattr(ops, name)(**given)


@pytest.mark.parametrize("name", [name for name in NAMES if "labels" in arguments(name)])
def test_labels_may_stay_on_the_cpu(name):
    given = {k: v.to("meta") if k != "labels" else v for k, v in arguments(name).items()}
    getattr(ops, name)(**given)
    default(name)(**given)
    given["labels"] = given["labels"] + 99
    with pytest.raises(RuntimeError, match=f"{name}: labels must lie in"):
        default(name)(**given)


@pytest.mark.parametrize("name", NAMES)
def test_statistics_carry_no_gradient(statistics, name):
    given = arguments(name, torch.randn(4, 3, 5, requires_grad=True))
    result = getattr(statistics, name)(*given.values())
    assert [k for k, v in given.items() if isinstance(v, torch.Tensor) and v.requires_grad] == ["act"]
    assert result is None or not result.requires_grad


def test_the_table_names_every_operator():
    defined = {schema.name for schema in torch._C._jit_get_all_schemas() if schema.name.startswith("skn::")}
    assert {f"skn::{name}" for name in backends.TABLE} == defined
    for name in backends.TABLE:
        level = native.kernel_isa(name)
        assert backends.implementation(name, "cpu") == ("eager" if level is None else f"c++ ({level})")
        if not torch.cuda.is_available():
            assert backends.implementation(name, "cuda") == "eager"
        assert backends.implementation(name, torch.device("meta")) == "eager"
