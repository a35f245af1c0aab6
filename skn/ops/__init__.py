"""Every operator of skn, in the ``torch.library`` namespace ``skn``.

Each family of operators has one file, and each operator one block, always in this order: checks, schema, fake, default
kernel, gradient if there is one, public function. The default kernel is the eager definition of
:mod:`skn.ops.reference` and serves every device. Device kernels only register over it, so a machine without a compiler
and a GPU still runs everything. :mod:`skn.ops.backends` says which kernel serves.

The fake and the default kernel share one function that checks shapes, dtypes and devices; the native kernels repeat the
checks with the same messages. All failures are ``RuntimeError`` and leave the state unchanged.
"""

from skn.ops import areas, digests, encoder, ffn, kendall, permutations, statistics
from skn.ops.areas import auroc
from skn.ops.checks import register_cuda
from skn.ops.digests import digest
from skn.ops.encoder import encode, pack, pack_int8
from skn.ops.ffn import ffn_masked, ffn_pruned
from skn.ops.kendall import kendall_tau
from skn.ops.permutations import permuted_hits
from skn.ops.statistics import accumulate_hits, accumulate_moments, pool_tokens

__all__ = [
    "accumulate_hits",
    "accumulate_moments",
    "auroc",
    "digest",
    "encode",
    "ffn_masked",
    "ffn_pruned",
    "kendall_tau",
    "pack",
    "pack_int8",
    "permuted_hits",
    "pool_tokens",
]

register_cuda(
    {
        **statistics.CHECKS,
        **encoder.CHECKS,
        **ffn.CHECKS,
        **kendall.CHECKS,
        **digests.CHECKS,
        **permutations.CHECKS,
        **areas.CHECKS,
    }
)
