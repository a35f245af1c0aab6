// auroc on the CPU: checks, the labels' classes, and the split over threads.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "../behind_checks.h"
#include "kernels.h"
#include "../elements.h"

namespace skn {
namespace {

void check_auroc(const Tensor& values, const Tensor& labels, int64_t classes) {
  constexpr const char* op = "auroc";
  check_floating(op, "values", values, "[N, K]", 2);
  const int64_t n = values.size(0);
  const bool fits = labels.scalar_type() == ScalarType::Long && labels.dim() == 1 && labels.size(0) == n;
  check(fits, op, ": labels must be int64 [N] = [", n, "], got ", describe(labels));
  check(labels.device() == values.device(), op, ": labels must be on the device of values");
  check(classes >= 1 && classes <= kAurocMaxClasses, op, ": classes must lie in [1, ", kAurocMaxClasses, "], got ",
        classes);
  check(n <= kAurocMaxExamples, op, ": N must be at most ", kAurocMaxExamples, ", got ", n);
}

std::tuple<Tensor, Tensor> auroc(const Tensor& values, const Tensor& labels, int64_t classes) {
  check_auroc(values, labels, classes);
  const int64_t n = values.size(0), columns = values.size(1);
  std::vector<uint16_t> label(n);
  std::vector<int64_t> count(classes);
  const int64_t* given = static_cast<const int64_t*>(labels.const_data_ptr());
  for (int64_t i = 0; i < n; ++i) {
    const int64_t own = given[i * labels.stride(0)];
    check(own >= 0 && own < classes, "auroc: labels must lie in [0, ", classes, "), got ", own, " at example ", i);
    label[i] = static_cast<uint16_t>(own);
    ++count[own];
  }

  const std::vector<int64_t> areas{classes, columns}, counts{columns};
  Tensor area = torch::stable::new_empty(values, areas, ScalarType::Double);
  Tensor nan = torch::stable::new_empty(values, counts, ScalarType::Long);
  const Element element = element_of(values);
  const AurocArgs args{values.const_data_ptr(),
                       element,
                       {values.stride(0), values.stride(1)},
                       n,
                       columns,
                       label.data(),
                       count.data(),
                       classes,
                       static_cast<double*>(area.mutable_data_ptr()),
                       static_cast<int64_t*>(nan.mutable_data_ptr())};
  AurocKernel* const kernel = choose(kAuroc, current_isa()).kernel;
  const int64_t unit = auroc_unit(element), units = (columns + unit - 1) / unit;
  torch::stable::parallel_for(0, units, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, n * unit)),
                              [&](int64_t first, int64_t last) { kernel(args, first, last); });
  return {area, nan};
}

}  // namespace
}  // namespace skn

STABLE_TORCH_LIBRARY_IMPL(skn, CPU, m) { SKN_KERNEL(m, "auroc", skn::auroc); }
