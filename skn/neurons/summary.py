"""The result of :class:`skn.neurons.statistics.NeuronStatistics`: moments and hits by class, and measures computed from
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from skn.errors import InputError
from skn.neurons import selection
from skn.neurons.selection import Contrast, default_contrasts

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False)
class NeuronSummary:
    """Activations by class; all tensors are on the CPU.

    Axes: C classes, L layers, P positions, F the FFN width of the unpruned model. The axis P exists only if ``readout``
        is a list of positions. Activations have no unit. Where ``present`` is False, the neuron was pruned away and its
        values are 0.

    Attributes:
        count: int64 [C], examples of each class.
        mean: float64 [C, L, (P,) F]; NaN for a class without examples.
        variance: float64 [C, L, (P,) F], the variance of the population (divided by the count); NaN for a class without
            examples.
        total_mean: float64 [L, (P,) F], the mean over all examples; NaN without examples.
        threshold: float64 [L, (P,) F], the threshold of ``hits``. In a pass without a threshold, it is the total mean,
            which the next pass takes as its threshold (Wang et al., 2022, section 3).
        hits: int64 [C, L, (P,) F], the exact number of examples of each class whose activation exceeds the threshold;
            None in a pass without a threshold.
        present: bool [L, F], which neurons the model has.
        readout: "first", "last", "mean", "max", or the positions.
    """

    count: Tensor
    mean: Tensor
    variance: Tensor
    total_mean: Tensor
    threshold: Tensor
    hits: Tensor | None
    present: Tensor
    readout: str | tuple[int, ...]

    @classmethod
    def of(
        cls,
        count: Tensor,
        total: Tensor,
        total_sq: Tensor,
        hits: Tensor | None,
        threshold: Tensor | None,
        present: Tensor,
        readout: str | tuple[int, ...],
    ) -> NeuronSummary:
        """Make a summary of sums [C, L, P, F] and a threshold [L, P, F]."""

        def axes(tensor: Tensor | None) -> Tensor | None:
            one_position = tensor is not None and isinstance(readout, str)
            return tensor.squeeze(-2) if one_position else tensor

        n = count[:, None, None, None]
        mean, total_mean = total / n, total.sum(dim=0) / count.sum()
        variance = (total_sq / n - mean * mean).clamp(min=0)
        threshold = total_mean if threshold is None else threshold
        return cls(count, *map(axes, (mean, variance, total_mean, threshold, hits)), present, readout)

    def accuracy(self, contrast: Contrast | None = None) -> Tensor:
        """Each neuron's accuracy as a classifier that says "positive" where its activation exceeds the threshold.

        The accuracy is the mean of the two sides' rates of right answers, float64 [L, (P,) F]. A neuron that is not
        present has 0.5.

        Args:
            contrast: the positive and the negative classes; by default class 1 against class 0.

        Raises:
            InputError: the pass had no threshold; there are more than two classes and no contrast; a side has no
                examples.
        """
        if self.hits is None:
            raise InputError("accuracy needs hits: record a second pass with threshold=summary.threshold")
        if contrast is None:
            classes = len(self.count)
            if classes != 2:
                raise InputError(f"{classes} classes: say which are positive, for example Contrast((1,), (0,))")
            contrast = default_contrasts(classes)[0]
        return selection.balanced_accuracy(self.hits, self.count, contrast)

    def predictivity(self, contrast: Contrast | None = None) -> Tensor:
        """max(accuracy, 1 − accuracy) at each neuron's best position: float64 [L, F].

        Raises the errors of :meth:`accuracy`.
        """
        accuracy = self.accuracy(contrast)
        return selection.predictivity(accuracy[:, None] if isinstance(self.readout, str) else accuracy)

    def to_pandas(self) -> pandas.DataFrame:
        """A row for every present neuron and class.

        The columns are layer, (position,) neuron, class, mean, variance and, if counted, hits.

        Raises:
            InputError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise InputError("to_pandas() needs pandas, which skn does not install: pip install pandas") from error
        listed = not isinstance(self.readout, str)
        present = self.present[:, None].expand(*self.mean.shape[1:]) if listed else self.present
        index = present.expand_as(self.mean).nonzero()
        names = ["class", "layer", *(["position"] if listed else []), "neuron"]
        columns = dict(zip(names, index.T.numpy(), strict=True))
        if listed:
            columns["position"] = torch.tensor(self.readout)[columns["position"]].numpy()
        values = {"mean": self.mean, "variance": self.variance} | ({} if self.hits is None else {"hits": self.hits})
        for name, value in values.items():
            columns[name] = value[tuple(index.T)].numpy()
        order = [*names[1:], "class", *values]
        return pandas.DataFrame(columns)[order].sort_values(order[: len(names)], ignore_index=True, kind="stable")
