// The arrays that kernels of any device get: raw pointers, sizes and strides, nothing of torch.
#pragma once

#include <cstdint>

namespace skn {

// The stored type of an activation. Arithmetic happens in float32 or float64, to which every stored value converts
// exactly.
enum class Element { f32, f64, bf16, f16 };

// A strided [first, second, neuron] array; strides count elements and may be 0 for inputs.
struct Input {
  const void* data;
  Element element;
  int64_t stride[3];
};

template <typename T>
struct State {
  T* data;
  int64_t stride[3];
};

}  // namespace skn
