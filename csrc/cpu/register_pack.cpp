// pack: a weight in panels.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "../behind_checks.h"
#include "weights.h"

namespace skn {
namespace {

// float32 → bfloat16, rounded to the nearest even. A NaN stays a NaN.
uint16_t round_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (value != value) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float widen_bf16(uint16_t value) {
  const uint32_t bits = static_cast<uint32_t>(value) << 16;
  float out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}

// Calls put(at, value) for every number of the weight. `at` is its place in panels whose rows hold `Pair` values of k
// for each column, `Parts` times over.
template <int64_t Pair, int64_t Parts, typename T, typename Put>
void over_panels(const Tensor& weight, const Put& put) {
  // A panel is filled kBlock values of k at a time. The lines of memory that they fill then stay in the cache until each
  // of the panel's columns has written its part of them.
  constexpr int64_t kBlock = 16 * Pair, kTask = 1 << 14;
  const T* source = static_cast<const T*>(weight.const_data_ptr());
  const int64_t n = weight.size(0), k = weight.size(1), row_stride = weight.stride(0), stride = weight.stride(1);
  const int64_t depth = round_up(k, Pair), grain = std::max<int64_t>(1, kTask / std::max<int64_t>(1, depth * kPanel));
  torch::stable::parallel_for(0, panels(n), grain, [&](int64_t first, int64_t last) {
    for (int64_t p = first; p < last; ++p) {
      const int64_t columns = std::min(kPanel, n - p * kPanel);
      for (int64_t begin = 0; begin < k; begin += kBlock) {
        const int64_t end = std::min(k, begin + kBlock);
        for (int64_t column = 0; column < columns; ++column) {
          const T* const row = source + (p * kPanel + column) * row_stride;
          for (int64_t i = begin; i < end; ++i) {
            put(((p * depth + i / Pair * Pair) * Parts) * kPanel + column * Pair + i % Pair, row[i * stride]);
          }
        }
      }
    }
  });
}

Form form_named(const std::string& name, const Tensor& weight) {
  const bool wide = weight.scalar_type() == ScalarType::Float;
  for (Form form : {Form::f32, Form::bf16, Form::bf16x3, Form::int8}) {
    if (name == form_name(form) && (form == Form::int8 || wide == (form != Form::bf16))) return form;
  }
  check(false, "pack: form must be ", wide ? "'float32', 'bf16x3' or 'int8'" : "'bfloat16' or 'int8'", " for a weight of ",
        dtype_name(weight.scalar_type()), ", got '", name, "'");
  return Form::f32;
}

inline float widen(float value) { return value; }
inline float widen(uint16_t value) { return widen_bf16(value); }

// The parts of a packed weight of the form int8.
class Bytes {
 public:
  Bytes(char* target, int64_t n, int64_t k) : target_(target), n_(n), k_(k), parts_(packed_bytes(n, k)) {}

  // Calls put(row) for every row of the weight, an output column of the product.
  template <typename Put>
  void over_rows(const Put& put) const {
    torch::stable::parallel_for(0, panels(n_), 8, [&](int64_t first, int64_t last) {
      for (int64_t row = first * kPanel; row < std::min(n_, last * kPanel); ++row) put(row);
    });
  }

  // Puts whole multiples byte(i) of a scale, −127 … 127, into a row.
  template <typename ByteAt>
  void put(int64_t row, float scale, const ByteAt& byte) const {
    char* panel = target_ + row / kPanel * packed_depth(Form::int8, k_) * kPanel + row % kPanel * 4;
    for (int64_t i = 0; i < k_; ++i) {
      panel[i / 4 * kPanel * 4 + i % 4] = byte(i);
      numbers(parts_.sums)[i / kSlice * panels(n_) * kPanel + row] += byte(i);
    }
    numbers(parts_.scale)[row] = scale;
  }

  // The numbers of the last column fill the rest of a vector.
  template <typename NumberAt>
  void read_columns(const NumberAt& shift, const NumberAt& factor, bool rotated) const {
    numbers(parts_.rotated)[0] = rotated ? 1.f : 0.f;
    for (int64_t i = 0; i < panels(k_) * kPanel; ++i) {
      numbers(parts_.shift)[i] = shift(std::min(i, k_ - 1));
      numbers(parts_.factor)[i] = factor(std::min(i, k_ - 1));
    }
  }

 private:
  float* numbers(int64_t at) const { return reinterpret_cast<float*>(target_ + at); }

  char* target_;
  int64_t n_, k_;
  PackedBytes parts_;
};

// Rounds each row of the weight to whole multiples of the greatest magnitude over 127.
template <typename T>
void pack_bytes(const Tensor& weight, const Bytes& target) {
  const T* source = static_cast<const T*>(weight.const_data_ptr());
  const int64_t k = weight.size(1), row_stride = weight.stride(0), stride = weight.stride(1);
  target.over_rows([&](int64_t row) {
    const auto number = [&](int64_t i) { return widen(source[row * row_stride + i * stride]); };
    float greatest = 0;
    for (int64_t i = 0; i < k; ++i) greatest = std::max(greatest, std::fabs(number(i)));
    float scale = greatest / 127.f;
    for (int64_t i = 0; i < k; ++i) scale += number(i) - number(i);  // a NaN where a number is not finite
    target.put(row, scale, [&](int64_t i) {
      return static_cast<signed char>(scale > 0 ? std::nearbyint(number(i) / scale) : 0.f);
    });
  });
  const auto constant = [](float value) { return [value](int64_t) { return value; }; };
  target.read_columns(constant(0.f), constant(1.f), false);
}

Tensor pack_int8(const Tensor& number, const Tensor& scale, const Tensor& columns, bool rotated) {
  const bool right = number.scalar_type() == ScalarType::Char && number.dim() == 2 &&
                     scale.scalar_type() == ScalarType::Float && scale.dim() == 1 && scale.size(0) == number.size(0) &&
                     columns.scalar_type() == ScalarType::Float && columns.dim() == 2 && columns.size(0) == 2 &&
                     columns.size(1) == number.size(1);
  check(right, "pack_int8: expected int8 [N, K], a scale float32 [N] and columns float32 [2, K], got ", describe(number),
        ", ", describe(scale), " and ", describe(columns));
  const int64_t n = number.size(0), k = number.size(1);
  Tensor out = torch::stable::new_zeros(number, packed_sizes(Form::int8, n, k), ScalarType::Char);
  const Bytes target(static_cast<char*>(out.mutable_data_ptr()), n, k);
  const signed char* source = static_cast<const signed char*>(number.const_data_ptr());
  const float* scales = static_cast<const float*>(scale.const_data_ptr());
  const int64_t row_stride = number.stride(0), stride = number.stride(1), scale_stride = scale.stride(0);
  target.over_rows([&](int64_t row) {
    target.put(row, scales[row * scale_stride], [&](int64_t i) { return source[row * row_stride + i * stride]; });
  });
  const float* read = static_cast<const float*>(columns.const_data_ptr());
  const int64_t part_stride = columns.stride(0), column_stride = columns.stride(1);
  const auto of = [=](int64_t part) {
    return [=](int64_t i) { return read[part * part_stride + i * column_stride]; };
  };
  target.read_columns(of(0), of(1), rotated);
  return out;
}

Tensor pack_as(const Tensor& weight, std::string form) {
  check_dtype("pack", "weight", weight);
  check(weight.dim() == 2, "pack: weight must be [N, K], got ", describe(weight));
  return pack(weight, form_named(form, weight));
}

}  // namespace

Tensor pack(const Tensor& weight, Form form) {
  const std::vector<int64_t> sizes = packed_sizes(form, weight.size(0), weight.size(1));
  Tensor out = torch::stable::new_zeros(weight, sizes, packed_dtype(form));
  if (form == Form::int8) {
    const Bytes target(static_cast<char*>(out.mutable_data_ptr()), weight.size(0), weight.size(1));
    weight.scalar_type() == ScalarType::Float ? pack_bytes<float>(weight, target) : pack_bytes<uint16_t>(weight, target);
    return out;
  }
  if (form == Form::f32) {
    float* target = static_cast<float*>(out.mutable_data_ptr());
    over_panels<1, 1, float>(weight, [target](int64_t at, float value) { target[at] = value; });
    return out;
  }
  uint16_t* target = static_cast<uint16_t*>(out.mutable_data_ptr());
  if (form == Form::bf16) {
    over_panels<2, 1, uint16_t>(weight, [target](int64_t at, uint16_t value) { target[at] = value; });
    return out;
  }
  over_panels<2, 2, float>(weight, [target](int64_t at, float value) {
    const uint16_t high = round_bf16(value);
    target[at] = high;
    target[at + 2 * kPanel] = round_bf16(value - widen_bf16(high));
  });
  return out;
}

}  // namespace skn

STABLE_TORCH_LIBRARY_IMPL(skn, CPU, m) {
  SKN_KERNEL(m, "pack", skn::pack_as);
  SKN_KERNEL(m, "pack_int8", skn::pack_int8);
}
