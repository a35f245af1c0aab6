// The list of kernels. The build defines SKN_LEVELS_body(X, ...) for this file, from BODIES in setup.py, as X(isa, ...)
// for every instruction set for which the body is compiled, highest first.
#include "kernels.h"

#include <cstring>

#define SKN_DECLARE(isa, Kernel, name) \
  namespace isa {                      \
  Kernel name;                         \
  }
#define SKN_CHOICE(isa, Kernel, name) {Isa::isa, isa::name},

// `list` holds the functions that `name` in a body became at each level.
#define SKN_KERNELS(list, body, Kernel, name)        \
  SKN_LEVELS_##body(SKN_DECLARE, Kernel, name)       \
  const Choice<Kernel> list[] = {SKN_LEVELS_##body(SKN_CHOICE, Kernel, name)};

namespace skn {

SKN_KERNELS(kMoments, accumulate_moments, MomentsKernel, accumulate_moments)
SKN_KERNELS(kHits, accumulate_hits, HitsKernel, accumulate_hits)
SKN_KERNELS(kPool, pool_tokens, PoolKernel, pool_tokens)
SKN_KERNELS(kAuroc, auroc, AurocKernel, auroc)
SKN_KERNELS(kDigest, digest, DigestKernel, digest)
SKN_KERNELS(kEncode, encode, EncodeKernel, encode)
SKN_KERNELS(kFfn, ffn, FfnKernel, ffn)
SKN_KERNELS(kKendallPrepare, kendall_tau, KendallPrepare, kendall_prepare)
SKN_KERNELS(kKendall, kendall_tau, KendallKernel, kendall_tau)
SKN_KERNELS(kPermuted, permuted_hits, PermutedKernel, permuted_hits)

}  // namespace skn

const char* skn_kernel_isa(const char* op) {
  using namespace skn;
  const Isa limit = current_isa();
  const auto is = [op](const char* name) { return std::strcmp(op, name) == 0; };
  if (is("accumulate_moments")) return isa_name(choose(kMoments, limit).isa);
  if (is("accumulate_hits")) return isa_name(choose(kHits, limit).isa);
  if (is("pool_tokens")) return isa_name(choose(kPool, limit).isa);
  if (is("auroc")) return isa_name(choose(kAuroc, limit).isa);
  if (is("digest")) return isa_name(choose(kDigest, limit).isa);
  if (is("encode")) return isa_name(choose(kEncode, limit).isa);
  if (is("ffn_pruned") || is("ffn_masked")) return isa_name(choose(kFfn, limit).isa);
  if (is("pack") || is("pack_int8")) return isa_name(Isa::baseline);
  if (is("kendall_tau")) return isa_name(choose(kKendall, limit).isa);
  if (is("permuted_hits")) return isa_name(choose(kPermuted, limit).isa);
  return nullptr;
}
