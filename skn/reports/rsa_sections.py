"""The sections of a searchlight: significance, top-k sets, their overlap, their stability.

A section is a function from :class:`SweepReportData` to a :class:`Section`, or to None where its numbers are missing.
"""

from __future__ import annotations

import numpy as np

from skn.reports import overlap, rsa_figures, rsa_numbers
from skn.reports.drawing import Picture
from skn.reports.page import Section, Table
from skn.reports.sweep_data import Searchlight, SweepReportData

# Names of the artifact's p values, in the order in which they take more into account.
MEASURES = {
    "p": "parametric p",
    "q": "parametric q",
    "q_all": "q over all",
    "p_mantel": "Mantel p",
    "q_mantel": "Mantel q",
    "p_family": "family-wise p",
}
PARTIAL = {f"partial_{name}": words for name, words in MEASURES.items() if name != "q_all"}
MAPPED = ("q", "q_mantel", "p_family")
BEST_SHOWN = 5
USUAL_TOP = 3000  # the report draws the available k that is nearest to this one


def searchlight(data: SweepReportData) -> Section | None:
    rsa = data.searchlight
    if rsa is None or "tau" not in rsa.values:
        return None
    pictures = []
    mapped = [name for name in MAPPED if name in rsa.values]
    if mapped:
        counts = {name: rsa.significant(name).sum(axis=2) for name in mapped}  # [attribute, L]
        panels = {f"{MEASURES[name]} ≤ {rsa.alpha:g}: {found.sum():,} in all": found for name, found in counts.items()}
        alt = f"Significant neurons by layer and attribute, by {', '.join(MEASURES[name] for name in mapped)}"
        drawn = rsa_figures.figure_counts(panels, rsa.attributes)
        named = {MEASURES[name]: found for name, found in counts.items()}
        pictures.append(Picture("searchlight", drawn, alt, rsa_numbers.of_counts(named, rsa.attributes, rsa.alpha)))
    text = [_extent(rsa), _which_p(rsa)]
    verdict = _difference(rsa)
    tables = [_counts(rsa, "tau", MEASURES, "Significant neurons"), _best(rsa, "tau")]
    if "partial_tau" in rsa.values:
        verdict.append(
            "Partial tau is the correlation with an attribute's distances that is left once those of the other attributes "
            "are controlled for; its p values are read as those of tau."
        )
        tables += [_counts(rsa, "partial_tau", PARTIAL, "Significant partial tau"), _best(rsa, "partial_tau")]
    return Section("searchlight", "Neurons that resemble an attribute", [*text, *verdict], pictures, tables)


def top_map(data: SweepReportData) -> Section | None:
    rsa = data.searchlight
    if rsa is None:
        return None
    k, rank, attributes = _ordered(rsa)
    placed = overlap.places(rank, k)
    if not (placed >= 0).any():  # no neuron has a tau
        return None
    counts, chance = overlap.times_chosen(placed >= 0, ~np.isnan(rank))
    text = (
        f"Of {rsa.shape[0] * rsa.shape[1]:,} neurons, {counts.sum():,} belong to the best {k:,} of at least one of "
        f"{len(attributes)} attributes; sets that had nothing to do with each other would cover {chance.sum():,.0f}. "
        f"{counts[1:].sum():,} belong to more than one, where {chance[1:].sum():,.0f} would."
    )
    columns = overlap.by_first_set(placed)
    drawn = rsa_figures.figure_top_map(placed[:, columns], k, attributes)
    alt = f"The {k} best neurons of each attribute, and which of them are shared"
    picture = Picture("top-neurons", drawn, alt, rsa_numbers.of_top_map(placed, columns, rsa.shape[1], attributes))
    rows = [[m, f"{n:,}", f"{by_chance:,.1f}"] for m, (n, by_chance) in enumerate(zip(counts, chance, strict=True), 1)]
    last = max((row for row, n in enumerate(counts) if n), default=0)
    caption = f"Neurons by the number of attributes whose best {k:,} they belong to; no neuron belongs to more"
    header = ["attributes", "neurons", "by chance"]
    return Section(
        "top", f"The {k:,} best neurons", [text], [picture], [Table(caption, header, rows[: last + 1], range(3))]
    )


def shared(data: SweepReportData) -> Section | None:
    rsa = data.searchlight
    if rsa is None or len(rsa.attributes) < 2:
        return None
    k, rank, attributes = _ordered(rsa)
    chosen = overlap.places(rank, k) >= 0
    if not chosen.any():
        return None
    counts, chance = overlap.shared(chosen), overlap.expected(chosen, ~np.isnan(rank))
    ratio = np.divide(counts, chance, out=np.full(chance.shape, np.nan), where=chance > 0)
    pairs = list(zip(*np.tril_indices(len(attributes), -1), strict=True))
    numbers = rsa_numbers.of_overlap(counts, chance, ratio, k, attributes)
    by_chance = float(np.nanmean([chance[pair] for pair in pairs])) if pairs else 0.0
    drawn = rsa_figures.figure_overlap(counts / k, ratio, attributes, by_chance / k)
    alt = f"Share of the {k} best neurons that each pair of attributes has in common, and its ratio to chance"
    pairs = [pair for pair in pairs if not np.isnan(ratio[pair])]
    pairs.sort(key=lambda pair: -ratio[pair])
    ends = pairs if len(pairs) <= 2 * BEST_SHOWN else pairs[:BEST_SHOWN] + pairs[-BEST_SHOWN:]
    rows = [
        [attributes[j], attributes[i], f"{counts[i, j]:,}", f"{chance[i, j]:,.1f}", f"{ratio[i, j]:.2f}"]
        for i, j in ends
    ]
    text = (
        f"With k = {k:,}, two independent sets share {by_chance:,.1f} neurons on average, {by_chance / k:.1%} of each."
    )
    above = sum(bool(ratio[pair] > 1) for pair in pairs)
    text += f" {above} of {len(pairs)} pairs of attributes share more than that."
    caption = (
        "Pairs of attributes that share most" + (" and least" if len(ends) < len(pairs) else "") + ", against chance"
    )
    tables = [Table(caption, ["attribute", "attribute", "shared", "by chance", "ratio"], rows, range(2, 5))]
    return Section("overlap", "Overlap of the attributes", [text], [Picture("overlap", drawn, alt, numbers)], tables)


def stability(data: SweepReportData) -> Section | None:
    rsa = data.searchlight
    if rsa is None or not rsa.stability:
        return None
    drawn = rsa_figures.figure_stability(rsa.stability, rsa.attributes)
    alt = "Jaccard index of the top-k sets when a seed or a condition is left out"
    pictures = [Picture("stability", drawn, alt, rsa_numbers.of_stability(rsa.stability, rsa.attributes))]
    tables = []
    for what, dropped in rsa.stability.items():
        k = _nearest(sorted(dropped.jaccard))
        rows = [
            _stability_row(name, values, dropped.names)
            for name, values in zip(rsa.attributes, dropped.jaccard[k].T, strict=True)
        ]
        caption = f"Jaccard index of the {k:,} best neurons with one of {len(dropped.names)} {what} left out"
        tables.append(Table(caption, ["attribute", "mean", "lowest", "without"], rows, range(1, 3)))
    return Section("stability", "Stability of the top-k sets", [], pictures, tables)


# ---- words and cells -----------------------------------------------------------------------------------


def _extent(rsa: Searchlight) -> str:
    layers, width = rsa.shape
    conditions = f" over {len(rsa.conditions)} conditions" if rsa.conditions else ""
    seeds = f" and {len(rsa.seeds)} seeds" if rsa.seeds else ""
    constant = int(np.isnan(rsa.values["tau"]).all(axis=0).sum())
    without = f" Constant neurons, which have no tau: {constant:,}." if constant else " Every neuron has a tau."
    return (
        f"{layers * width:,} neurons ({layers} layers of {width:,}) × {len(rsa.attributes)} attributes, "
        f"from activations{conditions}{seeds}.{without}"
    )


def _which_p(rsa: Searchlight) -> str:
    """Explain each p, with the numbers of these conditions if they are known."""
    n = len(rsa.conditions)
    pairs = f"the {n * (n - 1) // 2:,} pairs of conditions" if n else "the pairs of conditions"
    each = f"in {n - 1} of them" if n else "in many of them"
    words = (
        f"p and q are parametric: a normal approximation that takes {pairs} for independent. They are not, since every "
        f"condition is {each}, so that this p is too small; q is its Benjamini–Hochberg correction over the neurons of an "
        "attribute, and q over all that over all attributes too. "
    )
    if not rsa.permutations:
        return words + (
            "No permutations were run ('skn rsa --permutations N'), so that nothing here allows for that dependence: take "
            "the counts for an upper bound, not for evidence."
        )
    return words + (
        f"Mantel p permutes the labels of the conditions instead ({rsa.permutations:,} permutations), which keeps the "
        "dependence; Mantel q corrects it as q does p. Family-wise p is the share of permutations in which the best of all "
        "neurons reaches this neuron's tau: at 0.05, an attribute without any relation yields a single find in at most 5% "
        "of studies."
    )


def _difference(rsa: Searchlight) -> list[str]:
    """Compare the claims of parametric q with the permutations, and say what too few permutations hide."""
    if not {"q", "q_mantel"} <= rsa.values.keys():
        return []
    parametric, mantel = rsa.significant("q"), rsa.significant("q_mantel")
    claimed, alone = int(parametric.sum()), int((parametric & ~mantel).sum())
    share = f" ({alone / claimed:.1%})" if claimed else ""
    words = (
        f"At {rsa.alpha:g}, parametric q would claim {claimed:,} pairs of a neuron and an attribute; Mantel q supports "
        f"{int(mantel.sum()):,}. Of the parametric claims {alone:,}{share} are not among those of Mantel q."
    )
    if "p_family" not in rsa.values:
        return [words]
    family = rsa.significant("p_family")
    words += f" Family-wise p supports {int(family.sum()):,}."
    missed = int((family & ~mantel).sum())
    if missed:
        words += (
            f" {missed:,} of these Mantel q misses: no Mantel p is below 1/{rsa.permutations + 1:,}, and the correction for "
            "many neurons needs smaller ones. More permutations give Mantel q more to go by."
        )
    return [words]


def _counts(rsa: Searchlight, value: str, measures: dict[str, str], caption: str) -> Table:
    shown = {name: words for name, words in measures.items() if name in rsa.values}
    by_name = {name: rsa.significant(name).sum(axis=(1, 2)) for name in shown}
    constant = np.isnan(rsa.values[value]).sum(axis=(1, 2))
    rows = [
        [attribute, *(f"{by_name[name][a]:,}" for name in shown), f"{constant[a]:,}"]
        for a, attribute in enumerate(rsa.attributes)
    ]
    header = ["attribute", *shown.values(), "constant"]
    return Table(f"{caption} at {rsa.alpha:g}", header, rows, range(1, len(header)))


def _best(rsa: Searchlight, value: str) -> Table:
    """A table of the highest values of each attribute. Ties go to the lower layer and neuron."""
    rows = []
    for attribute, taus in zip(rsa.attributes, rsa.values[value], strict=True):
        flat = taus.ravel()
        order = np.argsort(-flat, kind="stable")[: min(BEST_SHOWN, int((~np.isnan(flat)).sum()))]
        cells = [f"{i // taus.shape[1]}, {i % taus.shape[1]}: {flat[i]:.3f}" for i in order]
        rows.append([attribute, *cells, *["–"] * (BEST_SHOWN - len(cells))])
    header = ["attribute", "best", *(f"{place}." for place in range(2, BEST_SHOWN + 1))]
    return Table(f"Neurons of the highest {value.replace('_', ' ')} (layer, neuron: value)", header, rows, range(1, 6))


def _nearest(tops: list[int]) -> int:
    return min(tops, key=lambda k: (abs(k - USUAL_TOP), k))


def _ordered(rsa: Searchlight) -> tuple[int, np.ndarray, list[str]]:
    """Return k, ``rank`` [A, N] and the attributes, with attributes that share much beside each other."""
    k = _nearest(rsa.top)
    rank = rsa.values["rank"].reshape(len(rsa.attributes), -1)
    order = overlap.similar_first(overlap.shared(overlap.places(rank, k) >= 0))
    return k, rank[order], [rsa.attributes[a] for a in order]


def _stability_row(attribute: str, values: np.ndarray, names: list[str]) -> list[str]:
    if np.isnan(values).all():
        return [attribute, "–", "–", "–"]
    return [attribute, f"{np.nanmean(values):.3f}", f"{np.nanmin(values):.3f}", names[int(np.nanargmin(values))]]
