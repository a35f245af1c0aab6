// Before every kernel that torch calls, skn checks that all tensors have their memory. Sharding and offloading free a
// tensor's storage and keep its sizes, and a kernel that read the tensor would crash the process.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <utility>
#include <vector>

#include "common.h"

namespace skn {

inline void check_memory(const char* op, const Tensor& tensor) {
  if (tensor.numel() == 0) return;
  int64_t last = tensor.storage_offset(), bytes = 0;
  for (int64_t d = 0; d < tensor.dim(); ++d) last += (tensor.size(d) - 1) * tensor.stride(d);
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_storage_size(tensor.get(), &bytes));
  check((last + 1) * static_cast<int64_t>(tensor.element_size()) <= bytes, op, ": the memory of a tensor ",
        describe(tensor), " was freed");
}

inline void check_memory(const char* op, const std::vector<Tensor>& tensors) {
  for (const Tensor& tensor : tensors) check_memory(op, tensor);
}

template <typename Given>
void check_memory(const char* op, const std::optional<Given>& given) {
  if (given.has_value()) check_memory(op, *given);
}

template <typename Other>
void check_memory(const char*, const Other&) {}

// A kernel after the check of its tensors' memory. The operator's name is known once the operator is registered.
template <auto kernel>
struct BehindChecks;

template <typename Result, typename... Arguments, Result (*kernel)(Arguments...)>
struct BehindChecks<kernel> {
  static inline const char* op = "";
  static Result call(Arguments... arguments) {
    (check_memory(op, arguments), ...);
    return kernel(std::forward<Arguments>(arguments)...);
  }
};

// Registers `kernel` for the operator `name` of `library`. Kernels are registered here in no other way.
#define SKN_KERNEL(library, name, kernel)  \
  skn::BehindChecks<&kernel>::op = name;   \
  library.impl(name, TORCH_BOX(&skn::BehindChecks<&kernel>::call))

}  // namespace skn
