// Packed weights, as every kernel with a matrix product takes them.
#pragma once

#include "types.h"

namespace skn {

// A packed weight is cut into panels of this many output columns, whatever the instruction set.
constexpr int64_t kPanel = 32;

// Neurons computed together: their activations are consumed by the down-projection while they are in the cache.
constexpr int64_t kSlice = 16 * kPanel;
inline int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }
inline int64_t panels(int64_t n) { return (n + kPanel - 1) / kPanel; }
// Rows of a packed weight's panel: bfloat16 comes in pairs.
inline int64_t packed_depth(Element element, int64_t k) { return element == Element::bf16 ? round_up(k, 2) : k; }

// A linear layer: packed weight [panels(n)][packed_depth(k)][kPanel] and bias, float32 and padded to whole panels.
struct Linear {
  const void* weight;
  const float* bias;
  int64_t n;
  int64_t k;
};

struct LayerNorm {
  const float* weight;
  const float* bias;
};

}  // namespace skn
