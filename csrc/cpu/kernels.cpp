#include "kernels.h"

#include <cstring>

const char* skn_kernel_isa(const char* op) {
  using namespace skn;
  const Isa limit = current_isa();
  const auto is = [op](const char* name) { return std::strcmp(op, name) == 0; };
  if (is("accumulate_moments")) return isa_name(choose(kMoments, limit).isa);
  if (is("accumulate_hits")) return isa_name(choose(kHits, limit).isa);
  if (is("pool_tokens")) return isa_name(choose(kPool, limit).isa);
  if (is("encode")) return isa_name(choose(kEncodeBf16, limit).isa);
  if (is("ffn_pruned") || is("ffn_masked")) return isa_name(choose(kFfnBf16, limit).isa);
  if (is("pack")) return isa_name(Isa::baseline);
  if (is("kendall_tau")) return isa_name(choose(kKendall, limit).isa);
  return nullptr;
}
