// The checks and inputs of the statistics on every device.
#pragma once

#include "arrays.h"
#include "common.h"
#include "elements.h"

namespace skn {

inline Input input(const Tensor& act) {
  return {act.const_data_ptr(), element_of(act), {act.stride(0), act.stride(1), act.stride(2)}};
}

template <typename T>
inline State<T> state(const Tensor& tensor) {
  return {static_cast<T*>(tensor.mutable_data_ptr()), {tensor.stride(0), tensor.stride(1), tensor.stride(2)}};
}

// Labels may stay on the CPU.
inline void check_label_tensor(const char* op, const Tensor& labels, const Tensor& act, int64_t batch) {
  check_tensor(op, "labels", labels, labels.is_cpu() ? labels : act, ScalarType::Long, "[B]", {batch});
}

inline void check_moments(const char* op, const Tensor& count, const Tensor& total, const Tensor& total_sq,
                          const Tensor& act, const Tensor& labels) {
  check_activations(op, act, "[B, P, F]");
  check(count.dim() == 1, op, ": count must be int64 [C], got ", describe(count));
  const int64_t classes = count.size(0), batch = act.size(0), positions = act.size(1), neurons = act.size(2);
  check_tensor(op, "count", count, act, ScalarType::Long, "[C]", {classes});
  check_tensor(op, "total", total, act, ScalarType::Double, "[C, P, F]", {classes, positions, neurons});
  check_tensor(op, "total_sq", total_sq, act, ScalarType::Double, "[C, P, F]", {classes, positions, neurons});
  check_label_tensor(op, labels, act, batch);
  check_state(op, "count", count);
  check_state(op, "total", total);
  check_state(op, "total_sq", total_sq);
}

inline void check_hits(const char* op, const Tensor& hits, const Tensor& act, const Tensor& threshold,
                       const Tensor& labels) {
  check_activations(op, act, "[B, P, F]");
  check(hits.dim() == 3, op, ": hits must be int64 [C, P, F], got ", describe(hits));
  const int64_t classes = hits.size(0), batch = act.size(0), positions = act.size(1), neurons = act.size(2);
  check_tensor(op, "hits", hits, act, ScalarType::Long, "[C, P, F]", {classes, positions, neurons});
  check_tensor(op, "threshold", threshold, act, ScalarType::Double, "[P, F]", {positions, neurons});
  check_label_tensor(op, labels, act, batch);
  check_state(op, "hits", hits);
}

}  // namespace skn
