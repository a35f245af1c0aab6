"""Statistics of neurons in your own loop. This class is for activations what torchmetrics is for predictions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from skn import ops
from skn.errors import InputError
from skn.inference.hf import ACTIVATION, check_part, hooks
from skn.model.backbone import FfnSite
from skn.neurons.readout import Readout
from skn.neurons.recording import Recording, describe, seen_by_skn
from skn.neurons.summary import NeuronSummary

SUMS = ("count", "total", "total_sq", "hits")  # the states that can be added


class NeuronStatistics:
    """Activations of a Hugging Face model's FFN neurons by class, gathered while you run the model yourself.

    Memory does not grow with the data. skn holds a batch's read-outs [B, P, F] of each layer until ``record`` ends, and
    then only sums. The model keeps its dtype, device, mode and gradients, and ``record`` does not change its outputs.

    Examples:
        >>> import torch
        >>> from transformers import RobertaConfig, RobertaForSequenceClassification
        >>> from skn.neurons.statistics import NeuronStatistics
        >>> _ = torch.manual_seed(0)
        >>> config = RobertaConfig(
        ...     vocab_size=100, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32
        ... )
        >>> model = RobertaForSequenceClassification(config).eval()
        >>> loader = [
        ...     {"input_ids": torch.randint(5, 100, (4, 7)), "attention_mask": torch.ones(4, 7, dtype=torch.int64),
        ...      "labels": torch.tensor([0, 1, 1, 0])}
        ...     for _ in range(3)
        ... ]

        The first pass finds the moments, and with them each neuron's threshold:

        >>> stats = NeuronStatistics(model, classes=2, readout="last")
        >>> for batch in loader:
        ...     with stats.record(labels=batch["labels"], attention_mask=batch["attention_mask"]):
        ...         loss = model(**batch).loss
        >>> summary = stats.compute()
        >>> summary.count.tolist(), list(summary.mean.shape), list(summary.threshold.shape)
        ([6, 6], [2, 3, 32], [3, 32])

        The second pass counts, exactly, how often activations exceed the threshold (for honest figures, on other data
        than the first pass):

        >>> counts = NeuronStatistics(model, classes=2, readout="last", threshold=summary.threshold)
        >>> for batch in loader:
        ...     with counts.record(labels=batch["labels"], attention_mask=batch["attention_mask"]):
        ...         loss = model(**batch).loss
        >>> second = counts.compute()
        >>> list(second.hits.shape), list(second.predictivity().shape)
        ([2, 3, 32], [3, 32])
        >>> bool((second.predictivity() >= 0.5).all())
        True

    Args:
        model: of any family in :data:`skn.model.families.FAMILIES`, with any head or none, pruned or not. Its activations are read
            as the down-projection reads them, in their dtype (float32, bfloat16, float16 or float64).
        classes: C. With 1, labels may be left out.
        readout: "last" or "first" real token; "mean" or "max" over the real tokens; or a list of P positions, counted
            from the first real token, negative ones from behind the last (−1 is the last).
        threshold: [L, F], or [L, P, F] for a list of positions, on any device. skn then counts the examples of each
            class that exceed it. Usually it is ``summary.threshold`` of a first pass, the mean activation; zeros count
            positive activations.
        neuron: of a gated layer. "activation" is act(gate)·up, which the down-projection reads; "gate" is act(gate).

    Accuracy: counts and hits are exact. The sums of the activations and of their squares are float64, so the order of
    the batches changes rounding only. The variance is a difference of these sums, with an error of the order
    1e-16 · √n · mean²: over a million examples, a standard deviation under 1e-6 of the mean is not resolved.

    Padding: skn's result does not depend on the side of the padding. The model and you decide the position ids of
    padded texts: GPT-2 and BERT count from the first column, padding or not, unless you pass ``position_ids``.

    Source: Wang et al., "Finding Skill Neurons in Pre-trained Transformer-based Language Models", EMNLP 2022, section 3.

    Raises:
        InputError: an unknown model family, a wrapped model, or a bad ``classes``, ``readout`` or ``threshold``.
    """

    def __init__(
        self,
        model: nn.Module,
        classes: int,
        readout: str | Sequence[int] = "last",
        threshold: Tensor | None = None,
        neuron: str = ACTIVATION,
    ):
        self._backbone = seen_by_skn(model)
        check_part(neuron, self._backbone, "neuron")
        self._part = neuron
        if isinstance(classes, bool) or not isinstance(classes, int) or classes < 1:
            raise InputError(f"classes must be a whole number of at least 1, got {classes!r}")
        self.classes = classes
        self._readout = Readout.of(readout)
        self._present = self._backbone.present
        layers, width = self._present.shape
        self._shape = (layers, self._readout.count, width)
        self._threshold = None if threshold is None else self._checked_threshold(threshold)
        self._recording = False
        self.reset()

    def reset(self) -> None:
        """Forget every example; the threshold stays."""
        self._synced = False
        by_class = (self.classes, *self._shape)
        device = self._backbone.device
        with torch.inference_mode(False):  # outside inference mode, a state made inside it could not be added to
            self._state = {
                "count": torch.zeros(self.classes, dtype=torch.int64, device=device),
                "total": torch.zeros(by_class, dtype=torch.float64, device=device),
                "total_sq": torch.zeros(by_class, dtype=torch.float64, device=device),
            }
            if self._threshold is not None:
                self._state["hits"] = torch.zeros(by_class, dtype=torch.int64, device=device)

    @contextmanager
    def record(
        self,
        labels: Tensor | Sequence[int] | None = None,
        attention_mask: Tensor | None = None,
        tokens: Tensor | None = None,
    ) -> Iterator[None]:
        """Read one call of the model on a batch. skn adds the result when the ``with`` ends without an exception.

        The hooks hang on the model inside the ``with`` only. Gradients are not touched. With gradient checkpointing,
        call ``backward()`` after the ``with``, because ``backward()`` runs the layers again, and skn must not count
        this second run. Two statistics may record the same call (a mean and a last token, say).

        Args:
            labels: int64 [B], each in [0, C), on any device. With one class, None is enough.
            attention_mask: [B, S], 1 at real tokens and 0 at padding on either side; None if all tokens are real. A
                model that puts a prompt before the text reads P more positions: put P ones before the text's mask.
            tokens: [B, S], 1 at the tokens that the read-out may read, such as a text's own tokens without special
                tokens and a template; by default those of the attention mask.

        Raises:
            InputError: the labels or the mask do not fit; a text lacks a listed position; the model is called twice (as
                in generation) or not at all; ``sync`` has summed the statistics. Nothing is added then.
        """
        self._refuse_synced("record more")
        if self._recording:
            raise InputError("record() is already open: one record() for each call of the model")
        if tokens is None:
            batch = Recording(self._readout, self.classes, labels, attention_mask)
        else:
            batch = Recording(self._readout, self.classes, labels, tokens, name="tokens")
        self._recording = True
        try:
            with hooks(self._backbone, batch.read, self._part):
                yield
        finally:
            self._recording = False
        self._add(batch)

    def compute(self) -> NeuronSummary:
        """Return count, mean, variance and, given a threshold, hits by class, of all examples so far."""
        count, total, total_sq, hits = (None if s is None else s.cpu().clone() for s in map(self._state.get, SUMS))
        return NeuronSummary.of(
            count,
            total,
            total_sq,
            hits=hits,
            threshold=self._threshold,
            present=self._present,
            readout=self._readout.given,
        )

    def merge(self, other: NeuronStatistics) -> None:
        """Add the examples that ``other`` has recorded. ``other`` does not change.

        Raises:
            InputError: classes, read-out, sizes or threshold differ; or ``sync`` has summed one of the two.
        """
        self._refuse_synced("merge into it")
        other._refuse_synced("merge it")
        if self._description() != other._description():
            raise InputError(f"these do not add: {self._description()} and {other._description()}")
        for name, state in self._state.items():
            state += other._state[name].to(state.device)

    def sync(self, group: dist.ProcessGroup | None = None) -> None:
        """Replace the states by their sums over all processes. Every process calls it, after its last ``record``.

        After ``sync``, nothing can be added until ``reset``, because a second sum would count examples twice. Counts
        are exact, and moments are the same except for float64 rounding. Without ``torch.distributed``, the only process
        has the sums already.

        Args:
            group: a group of ``torch.distributed``; by default all processes.

        Raises:
            InputError: the processes differ in classes, read-out, sizes or threshold; or they were summed already.
        """
        self._refuse_synced("sync it again")
        if dist.is_available() and dist.is_initialized():
            descriptions: list[str] = [""] * dist.get_world_size(group)
            dist.all_gather_object(descriptions, self._description(), group)
            if len(set(descriptions)) > 1:
                raise InputError(f"the processes' statistics do not add: {' and '.join(sorted(set(descriptions)))}")
            self._move(self._backbone.device)
            for state in self._state.values():
                dist.all_reduce(state, group=group)
        self._synced = True

    def state_dict(self) -> dict[str, Tensor]:
        """Return copies of the states on the CPU. ``count`` is int64 [C]. ``total`` and ``total_sq`` are float64 [C, L,
        P, F]; P is 1 for a named read-out. Given a threshold, ``hits`` is int64 [C, L, P, F] and ``threshold`` is
        float64 [L, P, F].
        """
        states = {name: state.cpu().clone() for name, state in self._state.items()}
        return states if self._threshold is None else states | {"threshold": self._threshold.clone()}

    def load_state_dict(self, states: Mapping[str, Tensor]) -> None:
        """Go on from the states that :meth:`state_dict` returned. Examples that were recorded before are forgotten.

        Raises:
            InputError: names, dtypes, shapes or the threshold differ. Nothing is changed then.
        """
        own = self.state_dict()
        if own.keys() != states.keys():
            raise InputError(f"these states are {', '.join(states)}; here they are {', '.join(own)}")
        for name, state in own.items():
            if states[name].shape != state.shape or states[name].dtype != state.dtype:
                raise InputError(f"state '{name}' is {describe(states[name])}, here it is {describe(state)}")
        if self._threshold is not None and not torch.equal(states["threshold"].cpu(), self._threshold):
            raise InputError("the states' hits were counted over another threshold than the one given here")
        self.reset()
        for name, state in self._state.items():
            state.copy_(states[name])

    def __repr__(self) -> str:
        return f"NeuronStatistics({self._description()}, {int(self._state['count'].sum())} examples)"

    # ---- adding a batch --------------------------------------------------------------------------------------

    def _add(self, batch: Recording) -> None:
        missing = [site.layer for site in self._backbone.ffn_sites if site.layer not in batch.rows]
        if missing:
            raise InputError(
                f"layer {missing[0]} did not run inside record(): call there the very model that these statistics were "
                "made for, not a copy, a compiled or a DataParallel one"
            )
        device = self._backbone.device
        self._move(device)
        again = torch.zeros_like(self._state["count"])  # each layer sees the same examples: count them once
        for site in self._backbone.ffn_sites:
            act = self._full_width(site, batch.rows.pop(site.layer).to(device))
            totals = (self._state[name][:, site.layer] for name in ("total", "total_sq"))
            ops.accumulate_moments(again, *totals, act, batch.labels)
            if self._threshold is not None:
                threshold = self._threshold[site.layer].to(device)
                ops.accumulate_hits(self._state["hits"][:, site.layer], act, threshold, batch.labels)
        self._state["count"] += torch.bincount(batch.labels, minlength=self.classes).to(device)

    def _full_width(self, site: FfnSite, act: Tensor) -> Tensor:
        """Return [B, P, F] with zeros for the neurons that were pruned away."""
        if site.width == self._shape[-1]:
            return act
        full = act.new_zeros(*act.shape[:2], self._shape[-1])
        full[:, :, site.neurons.to(act.device)] = act
        return full

    def _move(self, device: torch.device) -> None:
        """Move the states to the model's device."""
        with torch.inference_mode(False):
            self._state = {name: state.to(device) for name, state in self._state.items()}

    # ---- checks ----------------------------------------------------------------------------------------------

    def _checked_threshold(self, threshold: Tensor) -> Tensor:
        """float64 [L, P, F] on the CPU; 0 for pruned neurons, so that their zeros do not exceed the threshold."""
        layers, positions, width = self._shape
        expected = (layers, width) if self._readout.named else self._shape
        if not isinstance(threshold, Tensor) or threshold.shape != expected:
            given = describe(threshold) if isinstance(threshold, Tensor) else type(threshold).__name__
            raise InputError(f"threshold must be a tensor {list(expected)} for this model and readout, got {given}")
        threshold = threshold.detach().cpu().double().reshape(layers, positions, width)
        threshold = torch.where(self._present[:, None], threshold, 0.0)
        if threshold.isnan().any():
            layer, _, neuron = threshold.isnan().nonzero()[0].tolist()
            raise InputError(f"the threshold of neuron {layer},{neuron} is NaN; was an example recorded before?")
        return threshold

    def _refuse_synced(self, what: str) -> None:
        if self._synced:
            raise InputError(f"sync() has summed these statistics over all processes; reset() before you {what}")

    def _description(self) -> str:
        """Describe the settings that must be equal before two statistics can be added."""
        layers, _, width = self._shape
        text = f"{self.classes} classes, readout {self._readout.given!r}, {layers} layers × {width} neurons"
        if self._part != ACTIVATION:
            text += f" ({self._part})"
        if self._threshold is None:
            return text
        return f"{text}, threshold {hashlib.sha256(self._threshold.numpy().tobytes()).hexdigest()[:8]}"
