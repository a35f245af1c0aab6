"""Every operator of skn, in ``torch.library`` namespace ``skn``.

One file for each family of operators, one block for each operator, always in this order: checks, schema, fake, default
kernel, gradient where there is one, public function. The default kernel is the eager definition of
:mod:`skn.ops.reference` and serves every device. Device kernels only register over it, so that a machine with no
compiler and no GPU still runs everything. :mod:`skn.ops.backends` says which one serves.

The checks of shapes, dtypes and devices are the same functions for the fake and for the default kernel; the native
kernels repeat them in the same words. All failures are ``RuntimeError`` and leave the state as it was.
"""

from skn.ops import encoder, ffn, kendall, statistics
from skn.ops.checks import register_cuda
from skn.ops.encoder import encode, pack
from skn.ops.ffn import ffn_masked, ffn_pruned
from skn.ops.kendall import kendall_tau
from skn.ops.statistics import accumulate_hits, accumulate_moments, pool_tokens

__all__ = [
    "accumulate_hits",
    "accumulate_moments",
    "encode",
    "ffn_masked",
    "ffn_pruned",
    "kendall_tau",
    "pack",
    "pool_tokens",
]

register_cuda({**statistics.CHECKS, **encoder.CHECKS, **ffn.CHECKS, **kendall.CHECKS})
