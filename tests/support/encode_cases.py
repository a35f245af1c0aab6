"""Inputs of ``encode`` at many shapes, and the right result in float64."""

import torch
from levels import default

from skn import ops
from skn.ops import reference
from skn.ops.encoder import pack

EPS = 1e-5
# Form -> the weight that the eager definition reads.
EAGER = {"plain": lambda w: w, "bf16x3": reference.split, "int8": lambda w: default("pack")(w, "int8")}
SHAPES = {
    "small": (24, 3, [7, 33], [5, 1, 9], 0, 0),
    "trimmed": (40, 4, [61, 130, 1], [17, 40, 3, 65], 1, 2),
    "several slices": (64, 2, [600, 64], [100, 33], 0, 3),
    "odd": (21, 7, [61], [3, 4], 2, 1),
    "odd heads in full rows": (96, 32, [33], [3, 4], 0, 0),
    "several groups": (32, 4, [48], [70] * 9 + [1], 1, 0),
    "tap over read": (32, 2, [40, 50], [6, 8], 1, 6),
}


def normal(*shape, generator):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def layer(hidden, width, generator):
    def linear(n, k):
        return [normal(n, k, generator=generator) / k**0.5, 0.1 * normal(n, generator=generator)]

    def norm():
        return [1 + 0.1 * normal(hidden, generator=generator), 0.1 * normal(hidden, generator=generator)]

    square = [linear(hidden, hidden) for _ in range(4)]
    return sum([*square, norm(), linear(width, hidden), linear(hidden, width), norm()], [])


class Case:
    """Inputs of a shape, rounded to a dtype, and the float64 result for the rounded inputs."""

    def __init__(self, name, dtype, masked=False, form=None):
        self.form = form
        hidden, self.heads, widths, lengths, self.read, self.tap = SHAPES[name]
        g = torch.Generator().manual_seed(len(name))
        self.weights = [t.to(dtype) for width in widths for t in layer(hidden, width, g)]
        self.hidden = normal(sum(lengths), hidden, generator=g).to(dtype)
        self.bounds = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()])
        self.masks = self.draw_masks(widths, len(lengths), g) if masked else []

    def draw_masks(self, widths, examples, g):
        """Draw in turn a mask for all examples, a mask for each example, and no mask."""
        masks = []
        for i, width in enumerate(widths):
            rows = (1, examples, 1)[i % 3]
            pair = [torch.rand(width, generator=g), torch.randn(rows, width, generator=g)]
            masks += pair if i % 3 < 2 else [torch.empty(0), torch.empty(0)]
        return masks

    def exact(self):
        weights = [w.double() for w in self.weights]
        return reference.encode(
            self.hidden.double(), self.bounds, weights, self.masks, self.heads, EPS, self.read, self.tap
        )

    def eager(self):
        weights = [EAGER[self.form](w) if self.form and w.dim() == 2 else w for w in self.weights]
        return default("encode")(self.hidden, self.bounds, weights, self.masks, self.heads, EPS, self.read, self.tap)

    def of_bytes(self):
        """The answer of the form int8 by its definition: rows are rounded to bytes, and everything else is in float64."""
        weights = [EAGER["int8"](w) if w.dim() == 2 else w.double() for w in self.weights]
        return reference.encode(
            self.hidden.double(), self.bounds, weights, self.masks, self.heads, EPS, self.read, self.tap
        )

    def run(self, level):
        if level == "eager":
            return self.eager()
        packed = [self.packed(w) if w.dim() == 2 else w for w in self.weights]
        return ops.encode(self.hidden, self.bounds, packed, self.heads, EPS, self.masks, self.read, self.tap)

    def packed(self, weight):
        return weight if self.form == "plain" else pack(weight, self.form)


def form_of(weight):
    return str(weight.dtype).removeprefix("torch.")


def error(found, exact):
    return max(((a.double() - b).abs().max() / b.abs().max()).item() for a, b in zip(found, exact, strict=True))


def changed(**changes):
    case = Case("small", torch.float32)
    for name, change in changes.items():
        setattr(case, name, change(getattr(case, name)))
    return case
