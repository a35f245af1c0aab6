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
//   int8       weights have eight bits, and each output column has a scale. A row of activations is rounded to eight bits
//              when a product reads the row. The row has a step and a lowest value of its own. Sums are int32
enum class Form { f32, bf16, bf16x3, int8 };

inline int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }
inline int64_t panels(int64_t n) { return (n + kPanel - 1) / kPanel; }
inline int64_t slices(int64_t k) { return (k + kSlice - 1) / kSlice; }
// Rows of a packed weight's panel. bfloat16 has pairs, int8 has fours.
inline int64_t packed_depth(Form form, int64_t k) {
  return round_up(k, form == Form::f32 ? 1 : form == Form::int8 ? 4 : 2);
}
// Bytes of an activation.
inline int64_t stored_size(Form form) { return form == Form::bf16 ? 2 : 4; }

// The bytes at which the parts of a packed weight of the form int8 begin.
struct PackedBytes {
  int64_t scale;   // float32 [panels(n) · kPanel], behind the panels
  int64_t sums;    // float32 [slices(k), panels(n) · kPanel]: the sum of a column's bytes over each slice of k
  int64_t shift;   // float32 [k] up to whole panels: the weight reads a number x of a row as (x − shift) · factor
  int64_t factor;   // as many
  int64_t rotated;  // float32 [kPanel], the first 1 if the weight mixes the columns of a row, else 0
  int64_t size;
};

inline PackedBytes packed_bytes(int64_t n, int64_t k) {
  const int64_t row = panels(n) * kPanel;
  const int64_t scale = row * packed_depth(Form::int8, k), sums = scale + 4 * row, shift = sums + 4 * row * slices(k);
  const int64_t factor = shift + 4 * panels(k) * kPanel, rotated = factor + factor - shift;
  return {scale, sums, shift, factor, rotated, rotated + 4 * kPanel};
}

// A linear layer: packed weight and bias, float32 and padded to whole panels. The weight is panels(n) panels of
//   f32     [k][kPanel]
//   bf16    [k / 2][kPanel][2]
//   bf16x3  [k / 2][2][kPanel][2], high parts and then low parts: as many bytes as f32
//   int8    [k / 4][kPanel][4], followed by what packed_bytes says
// A plain weight, of float32 or bfloat16, is [n][k] as a model stores it.
struct Linear {
  Form form;
  const void* weight;
  const float* bias;
  int64_t n;
  int64_t k;
  bool plain;
};

struct LayerNorm {
  const float* weight;
  const float* bias;
};

}  // namespace skn
