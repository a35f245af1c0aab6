// CUDA kernels of the statistics: checks, then a launch on torch's current stream. The file uses only torch's stable
// C++ interface. Labels are checked before any state changes. A check on the device waits for the stream, so there is none
// while the stream is captured: then a label out of range counts nowhere.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <vector>

#include "../behind_checks.h"
#include "../statistics.h"
#include "accumulate.h"
#include "launch.h"

namespace skn {
namespace {

void check_label(const char* op, int64_t label, int64_t classes, int64_t example) {
  check(label >= 0 && label < classes, op, ": labels must lie in [0, ", classes, "), got ", label, " at example ", example);
}

cuda::Labels view(const Tensor& labels) {
  return {static_cast<const int64_t*>(labels.const_data_ptr()), labels.stride(0), labels.size(0)};
}

bool is_captured(const char* op, cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check_cuda(op, cudaStreamIsCapturing(stream, &status));
  return status == cudaStreamCaptureStatusActive;
}

// The labels on the device of `act`, in range. Labels on the CPU are checked there and sent, without waiting. For other
// labels the function waits for the stream, if it is not captured.
Tensor checked_labels(const char* op, const Tensor& labels, int64_t classes, const Tensor& act, cudaStream_t stream) {
  if (labels.is_cpu()) {
    const cuda::Labels source = view(labels);
    std::vector<int64_t> label(source.count);
    for (int64_t i = 0; i < source.count; ++i) {
      label[i] = source.data[i * source.stride];
      check_label(op, label[i], classes, i);
    }
    Tensor there = torch::stable::new_empty(act, std::vector<int64_t>{source.count}, ScalarType::Long);
    if (label.empty()) return there;  // no memory on either side, and CUDA may refuse a null pointer
    // From pageable memory, which the call has read when it returns.
    check_cuda(op, cudaMemcpyAsync(there.mutable_data_ptr(), label.data(), label.size() * sizeof(int64_t),
                                   cudaMemcpyHostToDevice, stream));
    return there;
  }
  if (is_captured(op, stream)) return labels;
  Tensor found = torch::stable::new_empty(labels, std::vector<int64_t>{2});
  int64_t* on_device = static_cast<int64_t*>(found.mutable_data_ptr());
  int64_t here[2];
  check_cuda(op, cuda::find_bad_label(view(labels), classes, on_device, stream));
  check_cuda(op, cudaMemcpyAsync(here, on_device, sizeof here, cudaMemcpyDeviceToHost, stream));
  check_cuda(op, cudaStreamSynchronize(stream));
  if (here[0] < labels.size(0)) check_label(op, here[1], classes, here[0]);
  return labels;
}

void accumulate_moments(const Tensor& count, const Tensor& total, const Tensor& total_sq, const Tensor& act,
                        const Tensor& labels) {
  constexpr const char* op = "accumulate_moments";
  check_moments(op, count, total, total_sq, act, labels);
  const int64_t classes = count.size(0), positions = act.size(1), neurons = act.size(2);

  const OnDevice here(act);
  const Tensor of_batch = checked_labels(op, labels, classes, act, here.stream);
  check_cuda(op, cuda::accumulate_moments(input(act), view(of_batch), classes, positions, neurons,
                                          static_cast<int64_t*>(count.mutable_data_ptr()), count.stride(0),
                                          state<double>(total), state<double>(total_sq), here.stream));
}

void accumulate_hits(const Tensor& hits, const Tensor& act, const Tensor& threshold, const Tensor& labels) {
  constexpr const char* op = "accumulate_hits";
  check_hits(op, hits, act, threshold, labels);
  const int64_t classes = hits.size(0), positions = act.size(1), neurons = act.size(2);

  const OnDevice here(act);
  const Tensor of_batch = checked_labels(op, labels, classes, act, here.stream);
  check_cuda(op, cuda::accumulate_hits(input(act), view(of_batch), classes, positions, neurons,
                                       static_cast<const double*>(threshold.const_data_ptr()), threshold.stride(0),
                                       threshold.stride(1), state<int64_t>(hits), here.stream));
}

}  // namespace
}  // namespace skn

STABLE_TORCH_LIBRARY_IMPL(skn, CUDA, m) {
  SKN_KERNEL(m, "accumulate_moments", skn::accumulate_moments);
  SKN_KERNEL(m, "accumulate_hits", skn::accumulate_hits);
}
