// ffn_pruned on CUDA where both weights fit into shared memory: checks and the launch. It uses only torch's stable C++
// interface, and never waits. Other shapes have other kernels, so the operator here has a name of its own, and
// kernels/ffn_resident.py chooses.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <vector>

#include "../behind_checks.h"
#include "ffn_pruned.h"
#include "launch.h"

namespace skn {
namespace {

constexpr const char* op = "ffn_pruned";

void check_like(const char* name, const Tensor& tensor, const Tensor& x, const std::vector<int64_t>& sizes) {
  bool same = tensor.scalar_type() == x.scalar_type() && tensor.dim() == static_cast<int64_t>(sizes.size());
  if (same) same = std::equal(sizes.begin(), sizes.end(), tensor.sizes().begin());
  check(same && tensor.device() == x.device(), op, ": ", name, " must be bfloat16 ", list(sizes),
        " on the device of x, got ", describe(tensor));
}

// The kernel reads 16 bytes at once.
Tensor aligned(const Tensor& tensor) {
  const Tensor dense = torch::stable::contiguous(tensor);
  return reinterpret_cast<uintptr_t>(dense.const_data_ptr()) % 16 == 0 ? dense : torch::stable::clone(dense);
}

int64_t neurons_on(int64_t hidden, int device) {
  return cuda::most_neurons(hidden, attribute(op, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
}

Tensor ffn_pruned(const Tensor& x, const Tensor& w_in, const Tensor& b_in, const Tensor& w_out, const Tensor& b_out,
                  const Tensor& ln_weight, const Tensor& ln_bias, double eps) {
  check(x.scalar_type() == ScalarType::BFloat16 && x.dim() >= 1, op, ": x must be bfloat16 [..., H], got ", describe(x));
  check(b_in.dim() == 1, op, ": b_in must be [F], got ", describe(b_in));
  const int64_t hidden = x.size(x.dim() - 1), neurons = b_in.size(0);
  check_like("w_in", w_in, x, {neurons, hidden});
  check_like("b_in", b_in, x, {neurons});
  check_like("w_out", w_out, x, {hidden, neurons});
  check_like("b_out", b_out, x, {hidden});
  check_like("ln_weight", ln_weight, x, {hidden});
  check_like("ln_bias", ln_bias, x, {hidden});
  const OnDevice here(x);
  const int64_t most = neurons_on(hidden, x.get_device());
  check(neurons >= 1 && neurons <= most, op, ": this kernel takes 1 to ", most, " neurons for H = ", hidden, ", got ", neurons);

  const Tensor rows = aligned(x), up = aligned(w_in), down = aligned(torch::stable::transpose(w_out, 0, 1));
  const Tensor of_up = aligned(b_in), of_down = aligned(b_out), weight = aligned(ln_weight), bias = aligned(ln_bias);
  Tensor out = torch::stable::empty_like(rows);
  cuda::PrunedFfn given{};
  given.x = rows.const_data_ptr();
  given.w_in = up.const_data_ptr();
  given.b_in = of_up.const_data_ptr();
  given.w_out = down.const_data_ptr();
  given.b_out = of_down.const_data_ptr();
  given.ln_weight = weight.const_data_ptr();
  given.ln_bias = bias.const_data_ptr();
  given.out = out.mutable_data_ptr();
  given.rows = x.numel() / hidden;
  given.hidden = static_cast<int>(hidden);
  given.neurons = static_cast<int>(neurons);
  given.eps = static_cast<float>(eps);
  const int multiprocessors = attribute(op, cudaDevAttrMultiProcessorCount, x.get_device());
  check_cuda(op, cuda::ffn_pruned(given, multiprocessors, here.stream));
  return out;
}

}  // namespace
}  // namespace skn

// The bound for the choice of a kernel.
extern "C" __attribute__((visibility("default"))) int64_t skn_resident_neurons(int64_t hidden, int device) {
  return skn::neurons_on(hidden, device);
}

STABLE_TORCH_LIBRARY_FRAGMENT(skn, m) {
  m.def(
      "ffn_pruned_resident(Tensor x, Tensor w_in, Tensor b_in, Tensor w_out, Tensor b_out, Tensor ln_weight, "
      "Tensor ln_bias, float eps) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(skn, CUDA, m) { SKN_KERNEL(m, "ffn_pruned_resident", skn::ffn_pruned); }
