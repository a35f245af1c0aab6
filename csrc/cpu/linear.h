// Packed weights, as every kernel with a matrix product gets them.
#pragma once

#include <cstdint>

namespace skn {

// A packed weight is cut into panels of this many output columns, whatever the instruction set.
constexpr int64_t kPanel = 32;

// Neurons computed together. The down-projection reads their activations while they are in the cache.
constexpr int64_t kSlice = 16 * kPanel;

// The numbers from which the products of a linear layer are computed.
//   f32, bf16  activations and weights as they are stored
//   bf16x3     activations and weights are float32; each is cut into two bfloat16, x = high + low. Three of the four
//              products, all except low · low, are summed in float32
enum class Form { f32, bf16, bf16x3 };

inline int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }
inline int64_t panels(int64_t n) { return (n + kPanel - 1) / kPanel; }
// Rows of a packed weight's panel. bfloat16 has pairs.
inline int64_t packed_depth(Form form, int64_t k) { return form == Form::f32 ? k : round_up(k, 2); }
// Bytes of an activation.
inline int64_t stored_size(Form form) { return form == Form::bf16 ? 2 : 4; }

// A linear layer: packed weight and bias, float32 and padded to whole panels. The weight is panels(n) panels of
//   f32     [k][kPanel]
//   bf16    [k / 2][kPanel][2]
//   bf16x3  [k / 2][2][kPanel][2], high parts and then low parts: as many bytes as f32
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
