// CUDA kernels of the statistics: checks, then a launch on torch's current stream. Only torch's stable C++ interface is
// used. The labels are checked on the device before any state changes; that waits for the stream.
#include <cuda_runtime_api.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <vector>

#include "../common.h"
#include "accumulate.h"

namespace skn {
namespace {

void check_cuda(const char* op, cudaError_t error) {
  check(error == cudaSuccess, op, ": CUDA says ", cudaGetErrorString(error));
}

cudaStream_t current_stream(const Tensor& tensor) {
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device(), &stream));
  return static_cast<cudaStream_t>(stream);
}

Element element_of(const Tensor& act) {
  switch (act.scalar_type()) {
    case ScalarType::Double: return Element::f64;
    case ScalarType::BFloat16: return Element::bf16;
    case ScalarType::Half: return Element::f16;
    default: return Element::f32;
  }
}

Input input(const Tensor& act) {
  return {act.const_data_ptr(), element_of(act), {act.stride(0), act.stride(1), act.stride(2)}};
}

template <typename T>
State<T> state(const Tensor& tensor) {
  return {static_cast<T*>(tensor.mutable_data_ptr()), {tensor.stride(0), tensor.stride(1), tensor.stride(2)}};
}

cuda::Labels checked_labels(const char* op, const Tensor& labels, int64_t classes, cudaStream_t stream) {
  const cuda::Labels out{static_cast<const int64_t*>(labels.const_data_ptr()), labels.stride(0), labels.size(0)};
  const std::vector<int64_t> two{2};
  Tensor found = torch::stable::new_empty(labels, two);
  int64_t* on_device = static_cast<int64_t*>(found.mutable_data_ptr());
  int64_t here[2];
  check_cuda(op, cuda::find_bad_label(out, classes, on_device, stream));
  check_cuda(op, cudaMemcpyAsync(here, on_device, sizeof here, cudaMemcpyDeviceToHost, stream));
  check_cuda(op, cudaStreamSynchronize(stream));
  check(here[0] == out.count, op, ": labels must lie in [0, ", classes, "), got ", here[1], " at example ", here[0]);
  return out;
}

void accumulate_moments(const Tensor& count, const Tensor& total, const Tensor& total_sq, const Tensor& act,
                        const Tensor& labels) {
  constexpr const char* op = "accumulate_moments";
  check_activations(op, act, "[B, P, F]");
  check(count.dim() == 1, op, ": count must be int64 [C], got ", describe(count));
  const int64_t classes = count.size(0), batch = act.size(0), positions = act.size(1), neurons = act.size(2);
  check_tensor(op, "count", count, act, ScalarType::Long, "[C]", {classes});
  check_tensor(op, "total", total, act, ScalarType::Double, "[C, P, F]", {classes, positions, neurons});
  check_tensor(op, "total_sq", total_sq, act, ScalarType::Double, "[C, P, F]", {classes, positions, neurons});
  check_tensor(op, "labels", labels, act, ScalarType::Long, "[B]", {batch});
  check_state(op, "count", count);
  check_state(op, "total", total);
  check_state(op, "total_sq", total_sq);

  const torch::stable::accelerator::DeviceGuard guard(act.get_device());
  const cudaStream_t stream = current_stream(act);
  const cuda::Labels of_batch = checked_labels(op, labels, classes, stream);
  check_cuda(op, cuda::accumulate_moments(input(act), of_batch, positions, neurons,
                                          static_cast<int64_t*>(count.mutable_data_ptr()), count.stride(0),
                                          state<double>(total), state<double>(total_sq), stream));
}

void accumulate_hits(const Tensor& hits, const Tensor& act, const Tensor& threshold, const Tensor& labels) {
  constexpr const char* op = "accumulate_hits";
  check_activations(op, act, "[B, P, F]");
  check(hits.dim() == 3, op, ": hits must be int64 [C, P, F], got ", describe(hits));
  const int64_t classes = hits.size(0), batch = act.size(0), positions = act.size(1), neurons = act.size(2);
  check_tensor(op, "hits", hits, act, ScalarType::Long, "[C, P, F]", {classes, positions, neurons});
  check_tensor(op, "threshold", threshold, act, ScalarType::Double, "[P, F]", {positions, neurons});
  check_tensor(op, "labels", labels, act, ScalarType::Long, "[B]", {batch});
  check_state(op, "hits", hits);

  const torch::stable::accelerator::DeviceGuard guard(act.get_device());
  const cudaStream_t stream = current_stream(act);
  const cuda::Labels of_batch = checked_labels(op, labels, classes, stream);
  check_cuda(op, cuda::accumulate_hits(input(act), of_batch, positions, neurons,
                                       static_cast<const double*>(threshold.const_data_ptr()), threshold.stride(0),
                                       threshold.stride(1), state<int64_t>(hits), stream));
}

}  // namespace
}  // namespace skn

STABLE_TORCH_LIBRARY_IMPL(skn, CUDA, m) {
  m.impl("accumulate_moments", TORCH_BOX(&skn::accumulate_moments));
  m.impl("accumulate_hits", TORCH_BOX(&skn::accumulate_hits));
}
