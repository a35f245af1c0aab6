"""Top-k sets: who is in them, what they share, and what chance would give."""

import numpy as np

from skn.reports import overlap

NAN = np.nan


def test_places_break_ties_by_index_and_leave_out_nan():
    rank = np.array([[2.5, NAN, 2.5, 1, 4], [NAN, NAN, NAN, 1, 2]])
    assert overlap.places(rank, 2).tolist() == [[1, -1, -1, 0, -1], [-1, -1, -1, 0, 1]]
    assert overlap.places(rank, 5).tolist() == [[1, -1, 2, 0, 3], [-1, -1, -1, 0, 1]]


def test_neurons_are_ordered_by_the_first_set_then_by_place():
    found = np.array([[1, 0, -1, -1, -1], [-1, 1, -1, 0, -1]])
    assert overlap.by_first_set(found).tolist() == [1, 0, 3]


def test_shared_and_expected():
    chosen = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]], dtype=bool)
    eligible = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [0, 0, 0, 0]], dtype=bool)
    assert overlap.shared(chosen).tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 0]]
    chance = overlap.expected(chosen, eligible)
    assert chance[0, 1] == 4 / 3 and np.isnan(chance[0, 2])


def test_expected_is_what_independent_sets_share():
    generator = np.random.default_rng(0)
    rank = np.stack([generator.permutation(1000) + 1.0 for _ in range(40)])
    chosen = overlap.places(rank, 200) >= 0
    found = overlap.shared(chosen)[np.tril_indices(40, -1)].mean()
    assert abs(found - overlap.expected(chosen, ~np.isnan(rank))[0, 1]) < 1.5  # 40, of which the mean is exact to 0.2
    counts, chance = overlap.times_chosen(chosen, ~np.isnan(rank))
    assert counts @ np.arange(1, 41) == 40 * 200
    assert np.abs(counts - chance).max() < 60


def test_attributes_that_share_stand_together():
    sets = np.zeros((4, 12), dtype=bool)
    for row, members in enumerate([range(4), range(6, 10), range(1, 5), range(7, 11)]):
        sets[row, list(members)] = True
    order = overlap.similar_first(overlap.shared(sets))
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset({0, 2}), frozenset({1, 3})}


def test_order_of_empty_sets_and_of_few():
    assert overlap.similar_first(np.zeros((2, 2), dtype=int)) == [0, 1]
    assert sorted(overlap.similar_first(np.zeros((4, 4), dtype=int))) == [0, 1, 2, 3]
