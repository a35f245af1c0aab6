"""The section of a run's report about accuracy and AUC under a mask, beside random masks of every match."""

from __future__ import annotations

from typing import Any

from skn.names import quoted
from skn.neurons.mask_table import MATCHED, WORDS, MaskTable, controls_of, matches_of, own_kept
from skn.neurons.neuron_sets import whose
from skn.reports import numbers, run_figures
from skn.reports.drawing import Picture
from skn.reports.page import Section, Table, from_to, layer_span, percent
from skn.reports.run_data import ReportData


def masking(data: ReportData) -> Section | None:
    if not data.masks:
        return None
    uniform = 1 / len(data.config["label_words"])
    text, pictures, tables = [], [], []
    for mask in data.masks:
        setting, rows, chosen = _setting(mask), mask["rows"], whose(mask.get("neurons"))
        text.append(f"{setting}. Chosen: {chosen}.")
        text += [
            verdict
            for match in matches_of(mask)
            for measure in WORDS
            if (verdict := _verdict(mask, match, measure)) is not None
        ]
        if all(row["fraction"] is not None for row in rows):  # a fixed set is a single row without a fraction
            majority = max(data.class_share.get(mask["split"], [uniform]))
            drawn = run_figures.figure_mask(
                mask, uniform, majority if majority > uniform + 0.005 else None, _label(mask)
            )
            alt = f"Accuracy and AUC by masked fraction. {setting}"
            pictures.append(Picture(mask["stem"], drawn, alt, numbers.of_mask(mask)))
        header = ["masked", "neurons", "measure", "chosen", "95% of chosen"]
        header += ["match", "controls: mean", "95% interval", "sets"]
        cells = [_row(row, measure, *of) for row in rows for measure in WORDS for of in controls_of(mask, row).items()]
        tables.append(Table(f"{setting}; chosen: {chosen}", header, cells, range(9)))
        if (alike := MaskTable(mask).balance()) is not None:
            tables.append(Table(f"{alike.title}; {setting}", alike.columns, alike.written(), range(7)))
    if text:
        text.append(
            "AUC is the area under the ROC curve (each class against the rest, averaged). A mask that only shifts the "
            "scores of a class, which random sets of neurons do too, moves the accuracy and leaves the AUC."
        )
    return Section("masking", "Accuracy under a mask", text, pictures, tables)


def _setting(mask: dict[str, Any]) -> str:
    alpha = "" if mask["alpha"] is None else f" (alpha {mask['alpha']:g})"
    return f"Mask{quoted(mask['name'])}: {mask['kind']}{alpha}{own_kept(mask)}; layers {layer_span(mask)}; {mask['split']} split; {mask['dtype']}"


def _label(mask: dict[str, Any]) -> str:
    """Return the name of the chosen neurons' line."""
    neurons = mask.get("neurons")
    task = neurons["task"] if isinstance(neurons, dict) else None
    return f"chosen neurons (of {task})" if task else "chosen neurons"


def _verdict(mask: dict[str, Any], match: str, measure: str) -> str | None:
    """Write one sentence on the largest mask that has controls of this match."""
    rows = [(row, controls[measure]) for row in mask["rows"] if (controls := controls_of(mask, row)[match])]
    rows = [(row, control) for row, control in rows if control]
    if not rows:
        return None
    row, control = max(rows, key=lambda pair: pair[0]["neurons"])
    # Compare the printed values: a difference that the reader cannot see does not count.
    value, low, high = (round(number, 3) for number in (row[measure], control["low"], control["high"]))
    where = "below" if value < low else "above" if value > high else "within"
    matched = f", {MATCHED[match]}" if len(matches_of(mask)) > 1 else ""
    interval = f"95% interval ({percent(low)} to {percent(high)}, from {len(control['draws'])} random sets{matched})"
    masked = f"With {row['neurons']:,} neurons masked the {WORDS[measure]} is {percent(value)}"
    return f"{masked}, {where} the controls' {interval}."


def _row(row: dict[str, Any], measure: str, match: str, controls: dict[str, Any] | None) -> list[str]:
    control = controls and controls[measure]
    ends = row.get("interval") if measure == "accuracy" else None  # files of older versions have no intervals
    return [
        "fixed set" if row["fraction"] is None else f"{100 * row['fraction']:.4g}%",
        f"{row['neurons']:,}",
        WORDS[measure],
        percent(row[measure]),
        from_to(ends),
        match if control else "–",
        percent(control["mean"]) if control else "–",
        from_to((control["low"], control["high"]) if control else None),
        str(len(control["draws"])) if control else "–",
    ]
