"""Top-k sets of a searchlight: the neurons that they share, and the number that they would share by chance."""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from scipy.stats import binom

from skn.rsa.searchlight import places as order_of


def places(rank: np.ndarray, k: int) -> np.ndarray:
    """``rank`` [A, N] → [A, N] int: 0 to k − 1 for the ``k`` neurons of lowest rank, −1 for all other neurons.

    Ties go to the lower index. A neuron without a rank (NaN) is in no set.
    """
    place = order_of(-rank)
    return np.where(place < k, place, -1)


def by_first_set(placed: np.ndarray) -> np.ndarray:
    """:func:`places` → the neurons in any set, ordered by the first set that has them, then by their place in it."""
    chosen = placed >= 0
    first = chosen.argmax(axis=0)
    columns = np.flatnonzero(chosen.any(axis=0))
    return columns[np.lexsort((placed[first[columns], columns], first[columns]))]


def shared(chosen: np.ndarray) -> np.ndarray:
    """[A, N] bool → [A, A] int: the number of neurons that two sets share. The diagonal holds the sizes of the sets."""
    # float32 products use BLAS, and are exact below 2^24 neurons.
    return np.rint(chosen.astype(np.float32) @ chosen.astype(np.float32).T).astype(np.int64)


def expected(chosen: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """[A, A] float: how many neurons two independent random sets of these sizes share on average, k²/N of N eligible
    neurons.
    """
    sizes, both = chosen.sum(axis=1), shared(eligible)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.outer(sizes, sizes) / both


def similar_first(counts: np.ndarray) -> list[int]:
    """Order the sets so that sets which share much are neighbours (average linkage on Jaccard distances)."""
    if len(counts) < 3:
        return list(range(len(counts)))
    distance = 1 - jaccard(counts)
    np.fill_diagonal(distance, 0)
    return leaves_list(linkage(squareform(distance, checks=False), "average", optimal_ordering=True)).tolist()


def jaccard(counts: np.ndarray) -> np.ndarray:
    """[A, A] of :func:`shared` → the shared part of two sets' union; 0 for two empty sets."""
    sizes = np.diag(counts)
    union = sizes[:, None] + sizes[None, :] - counts
    return np.divide(counts, union, out=np.zeros(counts.shape), where=union > 0)


def times_chosen(chosen: np.ndarray, eligible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For m = 1 … A: the number of neurons in exactly m sets, and the number expected for independent random sets
    (binomial).
    """
    sets, neurons = len(chosen), int(eligible.any(axis=0).sum())
    counts = np.bincount(chosen.sum(axis=0), minlength=sets + 1)[1:]
    share = chosen.sum() / max(sets * neurons, 1)
    return counts, neurons * binom.pmf(np.arange(1, sets + 1), sets, share)
