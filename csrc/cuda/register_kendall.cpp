// kendall_tau on CUDA: checks, memory and the launch. It uses only torch's stable C++ interface, and never waits.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <tuple>
#include <vector>

#include "../behind_checks.h"
#include "../kendall.h"
#include "kendall_tau.h"
#include "launch.h"

namespace skn {
namespace {

constexpr int64_t kWordsLimit = int64_t{1} << 28;  // bytes of words of y in memory at once

std::tuple<Tensor, Tensor, Tensor, Tensor> kendall_tau(const Tensor& x, const Tensor& y) {
  check_kendall(x, y);
  const int64_t n = x.size(0), p = x.size(1), q = y.size(1);
  const std::vector<int64_t> pairs{p, q}, x_sums{p, 3}, y_sums{q, 3};

  const OnDevice here(x);
  // Values are only compared within a column, so a wider type for all columns changes nothing.
  const bool wide = x.scalar_type() == ScalarType::Double || y.scalar_type() == ScalarType::Double;
  const ScalarType dtype = wide ? ScalarType::Double : ScalarType::Float;
  const Tensor xs = torch::stable::to(x, dtype), ys = torch::stable::to(y, dtype);
  const auto columns = [](const Tensor& tensor) {
    return cuda::KendallColumns{tensor.const_data_ptr(), {tensor.stride(0), tensor.stride(1)}, tensor.size(1)};
  };

  Tensor tau = torch::stable::new_empty(x, pairs, ScalarType::Double);
  Tensor concordance = torch::stable::new_empty(x, pairs, ScalarType::Long);
  Tensor ties_x = torch::stable::new_empty(x, x_sums, ScalarType::Long);
  Tensor ties_y = torch::stable::new_empty(x, y_sums, ScalarType::Long);
  const cuda::KendallPlan plan = cuda::plan_kendall(wide, n, p, q, kWordsLimit);
  Tensor workspace = torch::stable::new_empty(x, std::vector<int64_t>{plan.bytes}, ScalarType::Byte);
  const cuda::KendallResult result{
      static_cast<double*>(tau.mutable_data_ptr()), static_cast<int64_t*>(concordance.mutable_data_ptr()),
      static_cast<int64_t*>(ties_x.mutable_data_ptr()), static_cast<int64_t*>(ties_y.mutable_data_ptr())};
  check_cuda("kendall_tau", cuda::kendall_tau(wide, n, columns(xs), columns(ys), plan, workspace.mutable_data_ptr(),
                                              result, here.stream));
  return {tau, concordance, ties_x, ties_y};
}

}  // namespace
}  // namespace skn

STABLE_TORCH_LIBRARY_IMPL(skn, CUDA, m) { SKN_KERNEL(m, "kendall_tau", skn::kendall_tau); }
