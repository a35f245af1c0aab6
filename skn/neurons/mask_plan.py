"""Which neurons a mask touches: the chosen sets, and the random sets beside each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from skn.errors import InputError
from skn.inference.loaded import LoadedRun
from skn.neurons.controls import Drawn, control_sets, matched_sets
from skn.neurons.mask_options import MaskOptions
from skn.neurons.matching import balance, match_by_activity, refuse_unknown
from skn.neurons.neuron_sets import NeuronSets, check_layers
from skn.seeds import generator


@dataclass(frozen=True)
class MaskPlan:
    """The sets to mask, by fraction, and the neurons from which skn draws their controls.

    ``candidates`` maps a match to these neurons. Controls that match by activity are drawn by ``activity`` [L, F].
    """

    sets: NeuronSets
    layers: range
    chosen: dict[float | None, Tensor]
    candidates: dict[str, Tensor]
    factor: Tensor | None
    activity: Tensor | None = None

    @classmethod
    def of(
        cls,
        run: LoadedRun,
        neurons: NeuronSets | Path | str | None,
        fractions: float | Sequence[float] | None,
        layers: range | None,
        options: MaskOptions,
    ) -> MaskPlan:
        present = run.model.backbone.present
        layers = check_layers(layers, len(present))
        sets = neurons_of(run, neurons)
        shares = [fractions] if isinstance(fractions, float | int) else fractions
        if shares is not None and not len(shares):
            raise InputError("--fraction: no share is given; give one or several, or none at all for a fixed set")
        chosen = {None: sets.fixed(layers)} if shares is None else {float(f): sets.cut(f, layers) for f in shares}
        for share, cut in chosen.items():
            if share and not cut.any():
                where = f"layers {layers.start}:{layers.stop}"
                raise InputError(f"--fraction {share:g}: no neuron of {where}; give a larger share, or 0 for no mask")
        drawn = [match for match in options.matches if match != "activity"] if options.controls else []
        candidates = {match: _within(layers, present) if match == "overall" else present for match in drawn}
        return cls(sets, layers, chosen, candidates, sets.factor if options.kind == "scale" else None)

    @property
    def touched(self) -> Tensor:
        """[L, F] bool: every neuron that a chosen set may hold, or a random set that matches by number."""
        chosen = touched = torch.stack(list(self.chosen.values())).any(dim=0)
        for match, candidates in self.candidates.items():
            rows = chosen.any() if match == "overall" else chosen.any(dim=1, keepdim=True)
            touched = touched | (rows & candidates)
        return touched

    def with_activity(self, activity: Tensor) -> MaskPlan:
        """Raises :class:`InputError` for a neuron to mask whose activity is not known."""
        refuse_unknown(torch.stack(list(self.chosen.values())).any(dim=0), activity)
        return replace(self, activity=activity)

    def random_sets(self, match: str, chosen: Tensor, options: MaskOptions) -> tuple[Iterable[Drawn], dict | None]:
        """Draw the controls of ``chosen``, each with its factors. Says for match "activity" how alike they are.

        The same keys serve every match, so a match that stands beside another one has the draws that it has alone.
        """
        if not options.controls:
            return (), None
        keys = partial(generator, options.seed, "control", int(chosen.sum()))
        if match != "activity":
            scaled = self.factor is not None
            of = self.candidates[match]
            return control_sets(chosen, of, match, keys=keys, draws=options.controls, factors=scaled), None
        partners = [match_by_activity(chosen, self.activity, keys(draw)) for draw in range(options.controls)]
        return matched_sets(partners, self.factor), balance(chosen, self.activity, partners)


def neurons_of(run: LoadedRun, neurons: NeuronSets | Path | str | None) -> NeuronSets:
    """Return the neurons to mask: the given sets, the sets of a file, or the run's own ranking; checked against the
    run's model.
    """
    present = run.model.backbone.present
    if isinstance(neurons, NeuronSets):
        return neurons.checked(run.provenance, present)
    if not isinstance(neurons, str | Path | None):
        raise InputError(f"neurons: expected what skn.rank returns, or a file, not {type(neurons).__name__}")
    return NeuronSets.load(Path(neurons or run.file("neurons")), run.provenance, present)


def _within(layers: range, present: Tensor) -> Tensor:
    """Return [L, F] bool: the neurons in ``layers`` that exist."""
    within = torch.zeros_like(present)
    within[layers.start : layers.stop] = present[layers.start : layers.stop]
    return within


def alpha_of(options: MaskOptions, factor: Tensor | None, neurons: str) -> float | None:
    """Return one factor for all neurons, or None if each neuron has a ``factor`` of its own."""
    if factor is None:
        return options.alpha if options.alpha is not None else (0.1 if options.kind == "gaussian" else 0.5)
    if options.alpha is not None:
        raise InputError(f"--alpha {options.alpha:g}: {neurons} has a factor for each neuron; leave the option out")
    return None
