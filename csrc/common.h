// Checks that the kernels of every device share. They repeat the checks of skn/ops/ with the same messages. A caller of
// torch.ops.skn.* reaches these kernels without Python, and a wrong shape would make a kernel write outside of its
// memory. Each failure is a std::runtime_error, which becomes RuntimeError in Python.
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace skn {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <typename... Parts>
inline void check(bool condition, const Parts&... parts) {
  if (condition) return;
  std::ostringstream message;
  (message << ... << parts);
  throw std::runtime_error(message.str());
}

inline const char* dtype_name(ScalarType dtype) {
  switch (dtype) {
    case ScalarType::Float: return "float32";
    case ScalarType::Double: return "float64";
    case ScalarType::BFloat16: return "bfloat16";
    case ScalarType::Half: return "float16";
    case ScalarType::Long: return "int64";
    case ScalarType::Int: return "int32";
    case ScalarType::Char: return "int8";
    default: return "another dtype";
  }
}

// Sizes and tensors, as a message shows them. They become text only when a check fails: a call of encode checks two hundred
// tensors, and texts of them all took a fifth of a millisecond.
template <typename Sizes>
struct List {
  const Sizes& sizes;
};

template <typename Sizes>
inline List<Sizes> list(const Sizes& sizes) {
  return {sizes};
}

template <typename Sizes>
std::ostream& operator<<(std::ostream& out, const List<Sizes>& list) {
  out << '[';
  const char* separator = "";
  for (int64_t size : list.sizes) {
    out << separator << size;
    separator = ", ";
  }
  return out << ']';
}

struct Description {
  const Tensor& tensor;
};

inline Description describe(const Tensor& tensor) { return {tensor}; }

inline std::ostream& operator<<(std::ostream& out, const Description& described) {
  return out << dtype_name(described.tensor.scalar_type()) << ' ' << list(described.tensor.sizes());
}

// Checks that a tensor has one of the four floating-point types of activations, and the right number of axes.
inline void check_floating(const char* op, const char* name, const Tensor& tensor, const char* axes, int64_t rank) {
  const ScalarType dtype = tensor.scalar_type();
  const bool floating = dtype == ScalarType::Float || dtype == ScalarType::Double ||
                        dtype == ScalarType::BFloat16 || dtype == ScalarType::Half;
  check(floating && tensor.dim() == rank, op, ": ", name, " must be float32, bfloat16, float16 or float64 ", axes,
        ", got ", describe(tensor));
}

inline void check_activations(const char* op, const Tensor& act, const char* axes) {
  check_floating(op, "act", act, axes, 3);
}

inline void check_tensor(const char* op, const char* name, const Tensor& tensor, const Tensor& act, ScalarType dtype,
                         const char* axes, std::initializer_list<int64_t> sizes) {
  bool same = tensor.scalar_type() == dtype && tensor.dim() == static_cast<int64_t>(sizes.size());
  if (same) same = std::equal(sizes.begin(), sizes.end(), tensor.sizes().begin());
  check(same, op, ": ", name, " must be ", dtype_name(dtype), ' ', axes, " = ", list(sizes), ", got ",
        describe(tensor));
  check(tensor.device() == act.device(), op, ": ", name, " must be on the device of act");
}

// A state that is written element by element must not hold the same element twice.
inline void check_state(const char* op, const char* name, const Tensor& state) {
  for (int64_t d = 0; d < state.dim(); ++d) {
    check(state.size(d) < 2 || state.stride(d) != 0, op, ": ", name,
          " must not be expanded, because it is updated in place");
  }
}

}  // namespace skn
