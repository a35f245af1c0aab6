// The checks and preparations of operators with matrix products: packed weights, small vectors as float32 padded to
// whole panels, masks, and memory for each thread.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "../common.h"
#include "linear.h"

namespace skn {

inline void check_dtype(const char* op, const char* name, const Tensor& tensor) {
  const ScalarType dtype = tensor.scalar_type();
  check(dtype == ScalarType::Float || dtype == ScalarType::BFloat16, op, ": ", name,
        " must be float32 or bfloat16, got ", describe(tensor));
}

inline const char* form_name(Form form) {
  switch (form) {
    case Form::f32: return "float32";
    case Form::bf16: return "bfloat16";
    case Form::bf16x3: return "bf16x3";
    case Form::int8: return "int8";
  }
  return "";
}

// The form of the activations, and of the weights that are not int8. With float32 activations, the packed weights decide it.
inline Form form_of(const char* op, const char* name, const Tensor& x, const std::vector<const Tensor*>& weights) {
  check_dtype(op, name, x);
  if (x.scalar_type() == ScalarType::BFloat16) return Form::bf16;
  const auto is_split = [](const Tensor* weight) { return weight->scalar_type() == ScalarType::BFloat16; };
  return std::any_of(weights.begin(), weights.end(), is_split) ? Form::bf16x3 : Form::f32;
}

inline ScalarType packed_dtype(Form form) {
  switch (form) {
    case Form::f32: return ScalarType::Float;
    case Form::int8: return ScalarType::Char;
    default: return ScalarType::BFloat16;
  }
}

// The sizes of a packed weight [n, k].
inline std::vector<int64_t> packed_sizes(Form form, int64_t n, int64_t k) {
  if (form == Form::f32) return {panels(n), k, kPanel};
  if (form == Form::int8) return {packed_bytes(n, k).size};
  const int64_t pairs = packed_depth(form, k) / 2;
  if (form == Form::bf16) return {panels(n), pairs, kPanel, 2};
  return {panels(n), pairs, 2, kPanel, 2};
}

// Small vectors as float32, padded with zeros to whole panels.
class Padded {
 public:
  // Adds one row, or `rows` rows one after the other, each padded. `stride` is the distance between the rows.
  const float* add(const Tensor& tensor) {
    const int64_t rows = tensor.dim() == 2 ? tensor.size(0) : 1, n = tensor.size(tensor.dim() - 1);
    auto copy = std::make_unique<float[]>(rows * round_up(n, kPanel));
    const int64_t row_stride = tensor.dim() == 2 ? tensor.stride(0) : 0, stride = tensor.stride(tensor.dim() - 1);
    // Each question about a tensor is a call into torch, so none is asked inside of the loops.
    const bool wide = tensor.scalar_type() == ScalarType::Float;
    const void* const data = tensor.const_data_ptr();
    for (int64_t r = 0; r < rows; ++r) {
      float* const row = copy.get() + r * round_up(n, kPanel);
      wide ? widen(static_cast<const float*>(data) + r * row_stride, stride, n, row)
           : widen(static_cast<const uint16_t*>(data) + r * row_stride, stride, n, row);
    }
    kept_.push_back(std::move(copy));
    return kept_.back().get();
  }

 private:
  static float widen(float value) { return value; }
  static float widen(uint16_t bfloat16) {
    const uint32_t bits = static_cast<uint32_t>(bfloat16) << 16;
    float out;
    std::memcpy(&out, &bits, sizeof out);
    return out;
  }

  template <typename T>
  static void widen(const T* source, int64_t stride, int64_t n, float* row) {
    if (stride == 1) {  // the compiler makes vectors of this loop
      for (int64_t i = 0; i < n; ++i) row[i] = widen(source[i]);
    } else {
      for (int64_t i = 0; i < n; ++i) row[i] = widen(source[i * stride]);
    }
  }

  std::vector<std::unique_ptr<float[]>> kept_;
};

// Packs the weight [N, K] of any strides into panels. bf16x3 is made of float32, int8 of either type, the other forms of
// their own type.
Tensor pack(const Tensor& weight, Form form);

struct Mask {
  const float* scale;
  const float* shift;
  int64_t shift_stride;
};

// The weights of one call. They are checked against its form and the type of `x`, and kept until the call ends.
class Weights {
 public:
  // `weights` are the packed weights. Each is int8, and the others have one form.
  Weights(const char* op, const char* name, const Tensor& x, const std::vector<const Tensor*>& weights)
      : op_(op), x_(x), form_(form_of(op, name, x, weights)) {}

  // The form of the activations, and of the weights that are not int8.
  Form form() const { return form_; }

  Linear linear(const Tensor& weight, const Tensor& bias, int64_t n, int64_t k) {
    const Form form = weight.scalar_type() == ScalarType::Char ? Form::int8 : form_;
    if (is_plain(weight, n, k)) return {form, weight.const_data_ptr(), vector(bias, n), n, k, true};
    const std::vector<int64_t> sizes = packed_sizes(form, n, k);
    const bool same = weight.scalar_type() == packed_dtype(form) && weight.dim() == static_cast<int64_t>(sizes.size()) &&
                      std::equal(sizes.begin(), sizes.end(), weight.sizes().begin()) && contiguous(weight);
    check(same, op_, ": a weight [", n, ", ", k, "] must be plain and contiguous, or packed by skn.ops.pack as ",
          form_name(form), ' ', list(sizes), ", got ", describe(weight));
    return {form, weight.const_data_ptr(), vector(bias, n), n, k, false};
  }

  LayerNorm norm(const Tensor& weight, const Tensor& bias, int64_t n) { return {vector(weight, n), vector(bias, n)}; }

  Mask mask(const Tensor& scale, const Tensor& shift, int64_t width, int64_t examples) {
    check(scale.scalar_type() == ScalarType::Float && scale.dim() == 1 && scale.size(0) == width, op_,
          ": a mask's scale must be float32 [", width, "], got ", describe(scale));
    check(shift.scalar_type() == ScalarType::Float && shift.dim() == 2 && shift.size(1) == width &&
              (shift.size(0) == 1 || shift.size(0) == examples),
          op_, ": a mask's shift must be float32 [1, ", width, "] or [", examples, ", ", width, "], got ",
          describe(shift));
    return {padded_.add(scale), padded_.add(shift), shift.size(0) == 1 ? 0 : round_up(width, kPanel)};
  }

 private:
  const float* vector(const Tensor& tensor, int64_t n) {
    check(tensor.scalar_type() == x_.scalar_type() && tensor.dim() == 1 && tensor.size(0) == n, op_, ": expected ",
          dtype_name(x_.scalar_type()), " [", n, "], got ", describe(tensor));
    return padded_.add(tensor);
  }

  // Whether the weight is as a model stores it, in the type of the activations.
  bool is_plain(const Tensor& weight, int64_t n, int64_t k) const {
    return weight.dim() == 2 && weight.scalar_type() == x_.scalar_type() && form_ != Form::bf16x3 && weight.size(0) == n &&
           weight.size(1) == k && contiguous(weight);
  }

  static bool contiguous(const Tensor& tensor) {
    int64_t expected = 1;
    for (int64_t d = tensor.dim() - 1; d >= 0; --d) {
      if (tensor.size(d) > 1 && tensor.stride(d) != expected) return false;
      expected *= tensor.size(d);
    }
    return true;
  }

  const char* op_;
  const Tensor& x_;
  Form form_;
  Padded padded_;
};

// The calling thread's memory for a kernel. It is kept, because fresh pages cost more than the computations in them.
inline void* thread_scratch(int64_t bytes) {
  struct Freed {
    void operator()(void* memory) const { std::free(memory); }
  };
  thread_local std::unique_ptr<void, Freed> memory;
  thread_local int64_t size = 0;
  if (bytes > size) {
    size = 0;
    memory.reset(std::aligned_alloc(64, round_up(bytes, 64)));
    check(memory != nullptr, "out of memory: ", bytes, " bytes a thread");
    size = bytes;
  }
  return memory.get();
}

}  // namespace skn
