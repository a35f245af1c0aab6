"""permuted_hits as CUDA serves it, on the host. A device runs the same sources, and ``scripts/gpu_check.sh`` tests them there."""

import pytest
import torch
from nvcc import NVCC
from on_host import operator_on_host
from permutation_cases import REST, assert_right, problem

from skn import ops  # noqa: F401  defines the operator whose schema is taken

pytestmark = [pytest.mark.skipif(NVCC is None, reason="no nvcc on this machine"), pytest.mark.slow]

A, B, C, D = (frozenset([c]) for c in range(4))
BINARY = ((B, REST),)
MIXED = ((A | B, C), (D, REST), (C, B))


@pytest.fixture(scope="module")
def on_host(tmp_path_factory):
    changes = {"permuted_hits.cu": {"kMostRows = 65535": "kMostRows = 2"}}
    yield from operator_on_host(
        tmp_path_factory.mktemp("on_host"), "permuted_hits", "register_permutations.cpp", 2, changes
    )


@pytest.mark.parametrize("examples", [1, 64, 65, 200])
@pytest.mark.parametrize("contrasts", [BINARY, MIXED], ids=len)
def test_against_plain_loops(on_host, examples, contrasts):
    given = problem(examples, contrasts)
    assert_right(on_host(*given.arguments()), given)


@pytest.mark.parametrize("lowest", [False, True])
def test_runs_are_joined(on_host, lowest):
    given = problem(70, MIXED, 3, lowest=lowest)
    assert_right(on_host(*given.arguments()), given)


@pytest.mark.parametrize("groups", [1, 128, 131])
def test_numbers_of_groups(on_host, groups):
    given = problem(66, BINARY, groups=groups)
    assert_right(on_host(*given.arguments()), given)


@pytest.mark.parametrize("others", [0, 1, 8, 9, 40])  # more than two rows of the grid
def test_numbers_of_labellings(on_host, others):
    given = problem(66, MIXED, groups=9, others=others)
    assert_right(on_host(*given.arguments()), given)


def test_strides_and_no_groups(on_host):
    given = problem(130, MIXED, runs=2)
    words, masks, sides, *rest = given.arguments()
    words = words.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    assert_right(on_host(words, masks, sides.T.contiguous().T, *rest), given)
    assert on_host(words[..., :0], masks, sides, *rest)[2].tolist() == [[0.0] * 5] * 2


def test_what_does_not_fit_is_refused(on_host):
    words, masks, sides, *rest = problem(70, BINARY).arguments()
    with pytest.raises(RuntimeError, match="permuted_hits: words and masks must have W = 2 words for 70 examples"):
        on_host(words[:, :1], masks, sides, *rest)
    with pytest.raises(RuntimeError, match="permuted_hits: contrast 0 must have sides in"):
        on_host(words, masks, torch.tensor([[1, -1]]), *rest)
