"""Passes that read every layer's activations at the tokens of a split's texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from skn.data.splits import Examples
from skn.inference.batches import Batch, Encoded
from skn.inference.engine import choose_engine, predict
from skn.inference.hf import Tap
from skn.inference.loaded import LoadedRun
from skn.inference.readouts import TOKENS
from skn.int8.convert import tell_of_activations
from skn.model.backbone import FfnSite

Add = Callable[[FfnSite, Tensor, Batch], None]


@dataclass(frozen=True)
class TokenPass:
    """The texts of a split, ``examples``, and the same as tokens, ``encoded``, for passes with the Hugging Face forward."""

    run: LoadedRun
    examples: Examples
    encoded: Encoded
    batch_tokens: int

    @classmethod
    def over(cls, run: LoadedRun, split: str, batch_tokens: int) -> TokenPass:
        """Raises :class:`InputError` for a model that the Hugging Face forward cannot run."""
        choose_engine(run.model.backbone, "hf")
        tell_of_activations(run.model.backbone)
        examples = run.data.split(split)
        return cls(run, examples, run.reader.encoded(examples), batch_tokens)

    def take(self, rows: list[int]) -> TokenPass:
        """Return a pass over these rows alone."""
        return TokenPass(self.run, self.examples.take(rows), self.encoded.take(rows), self.batch_tokens)

    def read(self, add: Add, description: str) -> None:
        """Call ``add(site, activation [B, T, width], batch)`` for every batch and layer. ``batch.own`` [B, T] says which
        tokens are the texts'.
        """
        tap = Tap([TOKENS], lambda site, _readout, activation, batch: add(site, activation, batch))
        predict(self.run.model, self.encoded, self.batch_tokens, description=description, engine="hf", tap=tap)
