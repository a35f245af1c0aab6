// pack: a weight in panels.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <vector>

#include "weights.h"

namespace skn {

Tensor pack(const Tensor& weight) {
  constexpr const char* op = "pack";
  const Element element = element_of(op, "weight", weight);
  check(weight.dim() == 2, op, ": weight must be [N, K], got ", describe(weight));
  const int64_t n = weight.size(0), k = weight.size(1), depth = packed_depth(element, k);
  const int64_t pair = element == Element::bf16 ? 2 : 1;
  std::vector<int64_t> sizes{panels(n), depth / pair, kPanel};
  if (pair == 2) sizes.push_back(2);
  Tensor out = torch::stable::new_zeros(weight, sizes);
  const auto copy = [&](const auto* source, auto* target) {
    torch::stable::parallel_for(0, panels(n), 8, [&](int64_t first, int64_t last) {
      for (int64_t row = first * kPanel; row < std::min(n, last * kPanel); ++row) {
        auto* column = target + row / kPanel * depth * kPanel + row % kPanel * pair;
        for (int64_t i = 0; i < k; ++i) {
          column[i / pair * kPanel * pair + i % pair] = source[row * weight.stride(0) + i * weight.stride(1)];
        }
      }
    });
  };
  if (pair == 2) {
    copy(static_cast<const uint16_t*>(weight.const_data_ptr()), static_cast<uint16_t*>(out.mutable_data_ptr()));
  } else {
    copy(static_cast<const float*>(weight.const_data_ptr()), static_cast<float*>(out.mutable_data_ptr()));
  }
  return out;
}

}  // namespace skn

STABLE_TORCH_LIBRARY_IMPL(skn, CPU, m) { m.impl("pack", TORCH_BOX(&skn::pack)); }
