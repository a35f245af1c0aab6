"""How well every neuron's activation predicts the label: thresholds on train, hits and accuracies on the other splits.

Source: Wang et al., "Finding Skill Neurons in Pre-trained Transformer-based Language Models", EMNLP 2022, section 3.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from skn.data.template import Template
from skn.errors import InputError
from skn.inference.compute import BATCH_TOKENS
from skn.inference.engine import choose_engine
from skn.inference.hf import ACTIVATION, GATE, check_part
from skn.inference.loaded import LoadedRun
from skn.inference.readouts import OF_GATE, check_readouts
from skn.int8.convert import tell_of_activations
from skn.names import one_of
from skn.neurons.auroc import tell_of_size
from skn.neurons.bits import Bits
from skn.neurons.probe_files import HELD_OUT, MEAN, THRESHOLDS, Plan, ProbeFiles
from skn.neurons.probed import Probe, confusion
from skn.neurons.probing import Moments, nan_neurons, probe_hits, probe_moments
from skn.neurons.significance import PERMUTATIONS, check_permutations, permutation_tests
from skn.store.locks import held
from skn.store.output import refuse_existing

log = logging.getLogger(__name__)

LARGE = 10  # MB of bits, from which on a probe says beforehand how much they take


def probe(
    run: LoadedRun,
    at: Sequence[str] | None = None,
    *,
    neuron: str = ACTIVATION,
    threshold: str = MEAN,
    permutations: int = PERMUTATIONS,
    keep_bits: bool = True,
    auroc: bool = False,
    batch_tokens: int = BATCH_TOKENS,
    out: Path | str | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> Probe:
    """Measure how well every neuron's activation predicts the label, in one pass over each split.

    A neuron's threshold is its mean activation over train. The neuron says "positive" when its activation exceeds the threshold. The probe
    keeps one bit for each activation of validation and test, for the permutation tests, and nothing else for each example.

    Args:
        run: from ``skn.tune`` or ``skn.open_run``.
        at: where activations are read, one or several read-outs in the same passes: "prompt" (each prompt position), "mask", "last" (the last
            token), "mean" or "max" over the text's own tokens, without special tokens and those of a prompt or template. By default where the
            label words are scored: "prompt"; of a template "mask" or, of a decoder, "last".
        neuron: of a gated layer. "activation" is act(gate)·up, which the down-projection reads and a mask changes. "gate" is act(gate) alone; its
            read-outs have "-gate" behind their names.
        threshold: "mean", each neuron's mean over train, or "zero", above which a neuron counts as active (Tang et al., ACL 2024).
        permutations: how many relabellings of the held-out examples tell chance from predictivity
            (:func:`skn.significance`). 0 makes no test, and then memory does not grow with the data.
        keep_bits: keep the bits, so that ``skn.rank`` of several seeds and ``skn.significance`` can test again. In a folder they take
            an eighth of a byte for each example, position and neuron.
        auroc: also compute the area under the ROC curve of every neuron and position, on validation and test, for each class against the rest:
            ``probe.area("test")``. This keeps the activations of a split until its pass ends, above 2 GiB in a temporary file beside ``out``.
        batch_tokens: the most tokens of a batch, prompt and padding included.
        out: a folder for the files ``moments``, ``hits``, ``accuracy``, ``significance``, ``bits`` and ``auroc``. In the run's own folder, the files become part of the run.
        overwrite: replace files that exist.
        resume: keep the files that an interrupted probe left, and compute the others.

    Returns:
        The statistics and the tables made of them.

    Raises:
        InputError: ``at`` names a read-out that the run does not have; the files exist already; the engine cannot read the activations.

    Example::

        >>> probe = skn.probe(run)
        >>> probe.predictivity.shape, probe.accuracy("test").shape
        (torch.Size([3, 48]), torch.Size([1, 3, 4, 48]))
    """
    asked = [run.main_readout] if at is None else [at] if isinstance(at, str) else at
    folder = None if out is None else Path(out)
    if not asked:
        raise InputError("--at: no read-out; name one, or leave it out for the run's own")
    readouts = check_readouts(asked, run.template is not None, run.model.backbone.causal)
    check_part(neuron, run.model.backbone)
    one_of(threshold, THRESHOLDS, "--threshold")
    readouts = _of_part(readouts, neuron)
    check_permutations(permutations)
    refuse_stored(readouts, folder, overwrite or resume)
    with nullcontext() if folder is None else held(folder):
        plan = Plan(readouts, threshold, permutations, keep_bits, auroc)
        return _probe(run, plan, batch_tokens, None if folder is None else ProbeFiles(folder, plan), resume)


def _probe(run: LoadedRun, plan: Plan, batch_tokens: int, files: ProbeFiles | None, resume: bool) -> Probe:
    if run.engine != "hf":  # the fast engine may not return the activations of these read-outs
        engine = choose_engine(run.model.backbone, readouts=plan.readouts)
        run = replace(run, provenance={**run.provenance, "engine": engine})
    if files is not None and resume:
        files.refuse_others(run.provenance)
    tell_of_activations(run.model.backbone)
    if plan.permutations:
        _tell_of_bits(run, plan, files and files.folder)
    moments = _moments(run, plan, batch_tokens, files, resume)
    probed = Probe(moments, {}, run.model.backbone.present, run.provenance, {}, path=files and files.folder)
    for split in HELD_OUT:
        found = files.done(split, probed) if resume and files is not None else None
        if found is None:
            found = _held_out(run, plan, split, probed, batch_tokens)
            if files is not None:
                files.save(split, found)
        probed = probed.joined(found if plan.keep_bits else replace(found, bits={}))
    return probed


def _moments(
    run: LoadedRun, plan: Plan, batch_tokens: int, files: ProbeFiles | None, resume: bool
) -> dict[str, Moments]:
    stored = files.stored_moments() if resume and files is not None else None
    if stored is not None:
        return stored
    by_readout, _ = probe_moments(
        run.model,
        run.encoded("train"),
        batch_tokens,
        readouts=plan.readouts,
        description="probe train",
        engine=run.engine,
    )
    for readout, m in by_readout.items():
        _name_nan(run, readout, m.total)
        if files is not None:
            files.save_moments(readout, m, run.model.backbone.present, run.provenance)
    return by_readout


def _held_out(run: LoadedRun, plan: Plan, split: str, before: Probe, batch_tokens: int) -> Probe:
    """Return the counts, the bits and the permutation tests of a split. ``before`` holds the splits that came first."""
    encoded, present = run.encoded(split), run.model.backbone.present
    thresholds = plan.thresholds(before.moments)
    if plan.auroc:
        tell_of_size(run, split, thresholds, before.path)
    hits, packed, logits = probe_hits(
        run.model,
        encoded,
        batch_tokens,
        thresholds=thresholds,
        description=f"probe {split}",
        engine=run.engine,
        with_bits=plan.permutations > 0,
        auroc=plan.auroc,
        folder=before.path,
    )
    row = torch.tensor(run.data.rows[split], dtype=torch.int64)
    bits = {(split, r): Bits(p, encoded.label, row, present.shape[1], hits[r].count.numel()) for r, p in packed.items()}
    tests = {}
    for readout in packed:
        chosen = before.significance.get(("validation", readout))
        found = permutation_tests(
            bits[split, readout],
            present,
            plan.permutations,
            chosen=None if chosen is None else chosen.beyond_chance,
        )
        if found is None:
            log.warning(
                "%s: no permutation tests at %s, because no contrast of classes has rows on both sides", split, readout
            )
        else:
            tests[split, readout] = found
    by_split = {(split, readout): split_hits for readout, split_hits in hits.items()}
    answers = {split: confusion(logits, encoded.label)}
    return replace(before, hits=by_split, confusion=answers, bits=bits, significance=tests)


def checked(at: Sequence[str], neuron: str, template: Template | None) -> list[str]:
    """Return the names of the read-outs. Raises :class:`InputError` for an unknown one before :func:`probe` needs a model."""
    one_of(neuron, (ACTIVATION, GATE), "--neuron")
    return _of_part(check_readouts(at, template is not None, template is not None and template.causal), neuron)


def _of_part(readouts: list[str], neuron: str) -> list[str]:
    return [name + OF_GATE for name in readouts] if neuron == GATE else readouts


def refuse_stored(readouts: list[str], out: Path | None, allowed: bool) -> None:
    """Refuse files that a probe with these read-outs would replace, unless it is ``allowed``."""
    if out is not None:
        refuse_existing(ProbeFiles(out, Plan(readouts)).all(), allowed, resume_option=True)


def _tell_of_bits(run: LoadedRun, plan: Plan, folder: Path | None) -> None:
    """Say how much the bits take before the first pass makes any, if it is much."""
    layers, width = run.model.backbone.present.shape
    positions = sum(run.positions(readout.removesuffix(OF_GATE)) for readout in plan.readouts)
    size = sum(len(run.data.rows[split]) for split in HELD_OUT) * positions * layers * ((width + 7) // 8) / 1e6
    if size < LARGE:
        return
    kept = f"kept in {folder}" if folder is not None and plan.keep_bits else "in memory"
    log.info("the permutation tests read a bit of each activation of validation and test: %.1f MB, %s", size, kept)


def _name_nan(run: LoadedRun, readout: str, total: Tensor) -> None:
    bad = nan_neurons(run.model.backbone, total)
    if bad:
        names = " ".join(f"{layer},{neuron}" for layer, neuron in bad[:20]) + (" …" if len(bad) > 20 else "")
        log.warning(
            "%s: the activation total of %d neurons is NaN; they count as never exceeding: %s", readout, len(bad), names
        )
