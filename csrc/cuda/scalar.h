// What a single thread computes, as functions that run on host and device: the tests compile them for the host.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <cstdint>
#include <limits>

#define SKN_HD __host__ __device__ inline

namespace skn::cuda {

// Every stored type widens exactly: to float64 from float64, to float32 from everything narrower.
SKN_HD float widen(float value) { return value; }
SKN_HD double widen(double value) { return value; }
SKN_HD float widen(__half value) { return __half2float(value); }
SKN_HD float widen(__nv_bfloat16 value) { return __bfloat162float(value); }

// A float32 value exceeds a float64 threshold iff it exceeds the threshold rounded toward minus infinity. Nearest
// rounding can land above it (beyond the largest float32 even at +inf); then the next float32 down is the answer.
SKN_HD void round_down(double threshold, float& out) {
  float nearest = static_cast<float>(threshold);
  if (static_cast<double>(nearest) > threshold) nearest = nextafterf(nearest, -HUGE_VALF);
  out = nearest;
}
SKN_HD void round_down(double threshold, double& out) { out = threshold; }

// One example more, without a fused multiply-add: the sums have the bits of the CPU's.
SKN_HD void add_moments(double value, double& sum, double& sum_sq) {
#ifdef __CUDA_ARCH__
  sum = __dadd_rn(sum, value);
  sum_sq = __dadd_rn(sum_sq, __dmul_rn(value, value));
#else
  sum += value;
  sum_sq += value * value;
#endif
}

// The place of element i among `size` labels sorted stably: the examples of a class keep the order of the batch.
SKN_HD int stable_rank(const int64_t* label, int size, int i) {
  int rank = 0;
  for (int j = 0; j < size; ++j) rank += label[j] < label[i] || (label[j] == label[i] && j < i);
  return rank;
}

}  // namespace skn::cuda
