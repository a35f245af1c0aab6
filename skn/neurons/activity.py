"""How much a mask takes from the stream at each neuron, by which random neurons are matched to chosen ones.

A neuron adds its activation times its column of the down-projection to the stream. A mask changes the activation a to
scale · a + shift + noise (:mod:`skn.neurons.masking`), so it takes away (1 − scale) · a − shift − noise. The activity
of a neuron is the root mean square of what is taken, over the examples of train and the positions of the main read-out,
times the L2 norm of the column. For the kinds of mask, the root mean square is:

- "zero": √E[a²];
- "mean": √E[(a − μ)²], where μ is the mean that the mask sets. With the run's own means this is the standard deviation;
- "scale": |1 − α| · √E[a²]. If each neuron has a factor of its own, √E[a²], because a control neuron takes the factor of
  the neuron that it stands for;
- "resample": √2 · √E[Var[a]], where Var is the variance at one position, because the mask sets the activation of another
  example at the same position;
- "gaussian": |α|, because the mask adds α · ε, and ε has mean 0 and variance 1.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers.integrations.accelerate import load_offloaded_parameter
from transformers.pytorch_utils import Conv1D

from skn.errors import InputError
from skn.inference.loaded import LoadedRun
from skn.inference.readouts import OF_GATE
from skn.model.backbone import Backbone, FfnSite
from skn.neurons.mask_options import RESAMPLE, MaskOptions
from skn.neurons.neuron_sets import NeuronSets
from skn.neurons.probing import Moments
from skn.neurons.thresholds import is_of_run, read_means
from skn.store.foreign_files import stands

# A variance below this share of the mean square is the rounding of a neuron that never changes.
_ROUNDING = 1e-12


def activity_of(
    run: LoadedRun, neurons: NeuronSets, options: MaskOptions, *, alpha: float | None, mean: Tensor | None
) -> Tensor:
    """Return the activity [L, F] float64 of every neuron; NaN where a neuron is absent or was never finite.

    :param alpha: as the mask takes it; None if each neuron has a factor of its own.
    :param mean: μ [L, F] of a mask of kind "mean".

    Raises :class:`InputError` if the run has no moments.
    """
    average, square, variance = _moments(run, neurons)
    if options.kind == "gaussian":
        removed = torch.where(square.isfinite(), abs(alpha), torch.nan)
    elif options.kind == "mean":
        removed = (_above_rounding(square - average**2, square) + (average - mean) ** 2).sqrt()
    elif options.kind == RESAMPLE:
        removed = (2 * _above_rounding(variance, square)).sqrt()
    else:
        kept = alpha if options.kind == "scale" and alpha is not None else 0.0
        removed = abs(1 - kept) * square.sqrt()
    activity = removed * column_norms(run.model.backbone)
    return activity.masked_fill(~activity.isfinite(), torch.nan)


def mean_square(moments: Moments) -> Tensor:
    """[L, F] float64: the mean squared activation over the examples and positions."""
    return (moments.total_sq.sum(dim=0) / moments.count.sum()).mean(dim=1)


def mean_variance(moments: Moments) -> Tensor:
    """[L, F] float64: the variance of the activation at a position over the examples, as the mean of the positions."""
    return mean_square(moments) - moments.threshold().square().mean(dim=1)


def column_norms(backbone: Backbone) -> Tensor:
    """[L, F] float64: the L2 norm of each neuron's column of the down-projection; NaN where a neuron is absent."""
    norms = torch.full((len(backbone.ffn_sites), backbone.ffn_width), torch.nan, dtype=torch.float64)
    for site in backbone.ffn_sites:
        weight = _down_weight(site)
        outputs = 1 if isinstance(site.down, Conv1D) else 0
        norms[site.layer, site.neurons.cpu()] = torch.linalg.vector_norm(weight, dim=outputs, dtype=torch.float64)
    return norms


def _down_weight(site: FfnSite) -> Tensor:
    """Return the weight on the CPU, where its norms have the same bits whatever device runs the model."""
    weight = site.down.weight
    return (load_offloaded_parameter(site.down, "weight") if weight.is_meta else weight).detach().cpu()


def _above_rounding(variance: Tensor, square: Tensor) -> Tensor:
    return torch.where(variance > _ROUNDING * square, variance, variance * 0)


def _moments(run: LoadedRun, neurons: NeuronSets) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean, the mean square and the variance at a position [L, F] of the activations: of the probe that was
    ranked in memory, if it is of this run; otherwise of the run's moments.
    """
    if neurons.mean is not None and neurons.square is not None and is_of_run(neurons.mean[0], run):
        return neurons.mean[1], neurons.square, neurons.variance
    if run.path is None:
        raise InputError(
            "--match activity: needs the moments of a probe of this run; give what skn.rank makes of it, or tune and "
            "probe in a folder"
        )
    file, of_gate = (run.file("moments", run.main_readout + part) for part in ("", OF_GATE))
    if not stands(file):
        only = f"; {of_gate.name} is of act(gate) alone, and a mask changes act(gate)·up" if stands(of_gate) else ""
        raise InputError(
            f"--match activity: needs {file}, which is not there{only}; run 'skn probe --run {run.path}' first"
        )
    artifact = read_means(file, run, neurons, "run", kinds=("moments",))
    moments = Moments(artifact["count"], artifact["total"], artifact["total_sq"])
    return moments.threshold().mean(dim=1), mean_square(moments), mean_variance(moments)
