// The kernels of every operator. A kernel takes an argument structure and a range of units of work. Its caller splits
// the work over threads.
#pragma once

#include "accumulate_hits.h"
#include "accumulate_moments.h"
#include "auroc.h"
#include "digest.h"
#include "encode.h"
#include "ffn.h"
#include "isa.h"
#include "kendall_tau.h"
#include "permuted_hits.h"
#include "pool_tokens.h"

namespace skn {

template <typename Kernel>
struct Choice {
  Isa isa;
  Kernel* kernel;
};

// One kernel for each instruction set for which the body was compiled, highest first. The last one is the baseline's.
extern const Choice<MomentsKernel> kMoments[];
extern const Choice<HitsKernel> kHits[];
extern const Choice<PoolKernel> kPool[];
extern const Choice<AurocKernel> kAuroc[];
extern const Choice<DigestKernel> kDigest[];
extern const Choice<EncodeKernel> kEncode[];
extern const Choice<FfnKernel> kFfn[];
extern const Choice<KendallPrepare> kKendallPrepare[];
extern const Choice<KendallKernel> kKendall[];
extern const Choice<PermutedKernel> kPermuted[];

// The kernel of the highest level that is not above `limit`.
template <typename Kernel>
const Choice<Kernel>& choose(const Choice<Kernel>* kernels, Isa limit) {
  while (kernels->isa > limit || !machine_has(kernels->isa)) ++kernels;
  return *kernels;
}

}  // namespace skn
