"""permuted_hits: equal to plain loops over bits and labels to the bit on every path, and what its terms mean."""

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from levels import LEVELS, at_level, default, skip_unavailable, threads
from permutation_cases import REST, Problem, assert_right, problem

from skn import ops

A, B, C, D, E = (frozenset([c]) for c in range(5))
BINARY = ((B, REST),)
RESTS = tuple((side, REST) for side in (A, B, C, D, E))
PAIRS = ((A, B), (C, A), (B | C, D))  # leave classes out
MIXED = ((A | B, C), (D, REST), (C, B))


@pytest.fixture(params=(*LEVELS, "eager"))
def permuted(request):
    skip_unavailable(request.param)
    return default("permuted_hits") if request.param == "eager" else at_level(request.param, "permuted_hits")


# Values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("examples", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("contrasts", [BINARY, RESTS[:3], RESTS, PAIRS, MIXED], ids=len)
def test_against_plain_loops(permuted, examples, contrasts):
    given = problem(examples, contrasts)
    assert_right(permuted(*given.arguments()), given)


def test_equal_statistics_of_unequal_columns_are_ties(permuted):
    """In whole numbers. Of 30 examples, 15 in the class, 3, 6 and 15 ones give 45 / 9 = 60 / 12 = 75 / 15."""
    random, n, n_p, groups = np.random.default_rng(0), 30, 15, 40
    labels = np.stack([random.permutation(n) < n_p for _ in range(150)]).astype(np.int64)
    bits = np.stack([[random.permutation(n) < ones for ones in (3, 6, 15)] for _ in range(groups)])
    given, members = Problem(bits.transpose(2, 1, 0)[None], labels, BINARY), labels == 1

    def greatest(labels, group):
        squares = []
        for column in given.bits[0, :, :, group].T:
            ones = int(column.sum())
            difference = n * int((column & labels).sum()) - n_p * ones
            squares.append(Fraction(difference**2, ones * (n - ones)) if 0 < ones < n else Fraction(0))
        return max(squares)

    reached = []
    for group in range(groups):
        own, *others = (greatest(labels, group) for labels in members)
        reached.append(sum(other >= own for other in others))
    assert permuted(*given.arguments())[1].tolist() == reached


@pytest.mark.parametrize("lowest", [False, True])
@pytest.mark.parametrize("runs", [2, 3])
@pytest.mark.parametrize("contrasts", [BINARY, MIXED], ids=len)
def test_runs_are_joined(permuted, runs, lowest, contrasts):
    given = problem(70, contrasts, runs, lowest=lowest)
    assert_right(permuted(*given.arguments()), given)


@pytest.mark.parametrize("groups", [1, 8, 31, 32, 33, 70])
def test_numbers_of_groups(permuted, groups):
    given = problem(66, BINARY, groups=groups, positions=3)
    assert_right(permuted(*given.arguments()), given)


@pytest.mark.parametrize("others", [0, 1, 3, 4, 31, 32, 66])
def test_numbers_of_labellings(permuted, others):
    given = problem(66, PAIRS, groups=9, others=others)
    assert_right(permuted(*given.arguments()), given)


@pytest.mark.parametrize("examples", [31 * 64, 31 * 64 + 1, 4200])
def test_many_examples(permuted, examples):
    given = problem(examples, ((A | B, C), (C, REST)), groups=5, others=2)
    bits = given.bits.copy()
    bits[:, :, 1, 1:] = True  # the greatest counts
    bits[:, ::2, 1, 2] = False
    given = replace(given, bits=bits)
    assert_right(permuted(*given.arguments()), given)


@pytest.mark.parametrize("examples", [31 * 64 + 1, 66_000])  # more than bytes and than 16 bits hold
def test_a_class_of_nearly_all_examples(permuted, examples):
    random = np.random.default_rng(0)
    labels = np.stack([random.permutation(examples) < 3 for _ in range(4)]).astype(np.int64)
    bits = random.random((1, examples, 3, 5)) > 1e-4
    given = Problem(bits, labels, ((A, REST), (B, A)))
    assert_right(permuted(*given.arguments()), given)


def test_every_constant_column_has_statistic_and_excess_0(permuted):
    given = problem(90, BINARY, others=3)
    bits = np.broadcast_to(np.arange(37) % 2 == 0, given.bits.shape)
    own, reached, greatest = permuted(*replace(given, bits=bits).arguments())
    assert not own.any() and not greatest.any() and reached.tolist() == [3] * 37


def test_a_column_and_its_complement_tie(permuted):
    given = problem(85, BINARY, positions=1, others=20)
    bits = np.concatenate([given.bits, ~given.bits], axis=3)
    own, reached, _ = permuted(*replace(given, bits=bits).arguments())
    assert torch.equal(own[:, :37], own[:, 37:]) and torch.equal(reached[:37], reached[37:])


def test_no_groups(permuted):
    own, reached, greatest = permuted(*problem(70, BINARY, groups=0).arguments())
    assert own.shape == (2, 0) and reached.shape == (0,) and greatest.tolist() == [[0.0] * 5] * 2


def test_what_the_terms_mean(permuted):
    """Over all labellings of a size, the squared statistic of a column is 1 in the mean; its excess is predictivity - ½."""
    bits = np.array([1, 1, 0, 1, 0, 0, 1], dtype=bool)
    chosen = np.array([[i in some for i in range(7)] for some in itertools.combinations(range(7), 3)])
    labels = np.concatenate([chosen[4:5], chosen]).astype(int)
    for contrasts in (BINARY, ((B, A),), ((A, REST),)):
        own, reached, greatest = permuted(*Problem(bits[None, :, None, None], labels, contrasts).arguments())
        assert greatest[0].square().mean().item() == pytest.approx(1)
        rates = [(bits == (row == 1))[row == c].mean() for row in labels for c in (0, 1)]
        accuracy = np.reshape(rates, (-1, 2)).mean(axis=1)
        np.testing.assert_allclose(greatest[1], np.maximum(accuracy, 1 - accuracy)[1:] - 0.5, atol=1e-15)
        assert own[:, 0].tolist() == greatest[:, 4].tolist()
        assert reached.item() == (greatest[0] >= own[0, 0]).sum()


# Layouts, threads -----------------------------------------------------------------------------------------


def test_strides(permuted):
    given = problem(130, MIXED, runs=2)
    words, masks, sides, terms, *rest = given.arguments()
    words = words.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    masks = masks.repeat_interleave(2, dim=1)[:, ::2]
    assert_right(permuted(words, masks, sides.T.contiguous().T, terms.T.contiguous().T, *rest), given)


def test_the_number_of_threads_does_not_count(permuted):
    given = problem(100, MIXED, runs=2, groups=300, others=40).arguments()
    results = []
    for count in (1, 2, 3):
        with threads(count):
            results.append(permuted(*given))
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


# Contracts ------------------------------------------------------------------------------------------------

WORDS, MASKS, SIDES, TERMS, *_ = problem(70, BINARY).arguments()
GOOD = {"words": WORDS, "masks": MASKS, "sides": SIDES, "terms": TERMS, "examples": 70, "lowest": False}
WRONG = [
    ("words", WORDS.int(), r"words must be int64 \[R, W, P, G\], got int32 \[1, 2, 2, 37\]"),
    ("words", WORDS[0], r"words must be int64 \[R, W, P, G\], got int64 \[2, 2, 37\]"),
    ("words", WORDS[:0], r"words must have at least one run and one position, got int64 \[0, 2, 2, 37\]"),
    ("words", WORDS[:, :, :0], r"words must have at least one run and one position, got int64 \[1, 2, 0, 37\]"),
    ("words", WORDS[:, :1], r"words and masks must have W = 2 words for 70 examples, got int64 \[1, 1, 2, 37\]"),
    ("masks", MASKS[:, :, :1], r"words and masks must have W = 2 words for 70 examples, got .* and int64 \[6, 1, 1\]"),
    ("masks", MASKS.double(), r"masks must be int64 \[M, S, W\], got float64 \[6, 1, 2\]"),
    ("masks", MASKS[0], r"masks must be int64 \[M, S, W\], got int64 \[1, 2\]"),
    ("masks", MASKS[:0], r"masks must have at least one labelling, got int64 \[0, 1, 2\]"),
    ("sides", SIDES.int(), r"sides must be int64 \[K, 2\], got int32 \[1, 2\]"),
    ("sides", SIDES[:0], r"sides must be int64 \[K, 2\] with at least one contrast, got int64 \[0, 2\]"),
    ("sides", SIDES[:, :1], r"sides must be int64 \[K, 2\] with at least one contrast, got int64 \[1, 1\]"),
    ("terms", TERMS.float(), r"terms must be float64 \[K, 4\], got float32 \[1, 4\]"),
    ("terms", TERMS[:, :3], r"terms must be float64 \[K, 4\] = \[1, 4\], got float64 \[1, 3\]"),
    ("terms", TERMS.repeat(2, 1), r"terms must be float64 \[K, 4\] = \[1, 4\], got float64 \[2, 4\]"),
    ("examples", 0, r"examples must lie in \[1, 16777216\], got 0"),
    ("examples", 2**24 + 1, r"examples must lie in \[1, 16777216\], got 16777217"),
    ("examples", 129, "words and masks must have W = 3 words for 129 examples"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_wrong_arguments_are_named(permuted, name, value, message):
    with pytest.raises(RuntimeError, match=f"permuted_hits: {message}"):
        permuted(*{**GOOD, name: value}.values())


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_the_fake_refuses_the_same(name, value, message):
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True) as mode:
        given = {**GOOD, name: value}.values()
        given = [mode.from_tensor(one) if isinstance(one, torch.Tensor) else one for one in given]
        with pytest.raises(RuntimeError, match=f"permuted_hits: {message}"):
            ops.permuted_hits(*given)


@pytest.mark.parametrize("sides", [[1, -1], [-1, 0], [0, 1], [0, -2]])
def test_a_side_that_is_none_is_refused(permuted, sides):
    message = rf"permuted_hits: contrast 1 must have sides in \[0, 1\), or -1 .* got {sides[0]} and {sides[1]}$"
    with pytest.raises(RuntimeError, match=message):
        permuted(WORDS, MASKS, torch.tensor([[0, -1], sides]), TERMS.repeat(2, 1), 70, False)


@pytest.mark.parametrize(("term", "value"), [(0, torch.nan), (1, torch.inf), (2, -1.0), (3, -1.0), (3, torch.nan)])
def test_terms_without_a_meaning_are_refused(permuted, term, value):
    terms = TERMS.clone()
    terms[0, term] = value
    with pytest.raises(RuntimeError, match="permuted_hits: the terms of contrast 0 must be finite, the weight and the"):
        permuted(WORDS, MASKS, SIDES, terms, 70, False)


def test_devices_that_do_not_fit_are_refused():
    with pytest.raises(RuntimeError, match="permuted_hits: masks must be on the device of words"):
        ops.permuted_hits(WORDS, MASKS.to("meta"), SIDES, TERMS, 70)
    with pytest.raises(RuntimeError, match="permuted_hits: sides and terms must be on the CPU"):
        ops.permuted_hits(WORDS, MASKS, SIDES.to("meta"), TERMS, 70)
