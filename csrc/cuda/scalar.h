// The computations of a single thread, as functions that run on host and device. The tests compile them for the host.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <cstdint>
#include <limits>

#define SKN_HD __host__ __device__ inline

namespace skn::cuda {

// Every stored type widens exactly: float64 stays float64, every narrower type becomes float32.
SKN_HD float widen(float value) { return value; }
SKN_HD double widen(double value) { return value; }
SKN_HD float widen(__half value) { return __half2float(value); }
SKN_HD float widen(__nv_bfloat16 value) { return __bfloat162float(value); }

// A float32 value exceeds a float64 threshold iff it exceeds the threshold rounded toward minus infinity. Rounding to
// nearest can give a number above the threshold (beyond the largest float32 even +inf). Then the result is the next
// float32 below.
SKN_HD void round_down(double threshold, float& out) {
  float nearest = static_cast<float>(threshold);
  if (static_cast<double>(nearest) > threshold) nearest = nextafterf(nearest, -HUGE_VALF);
  out = nearest;
}
SKN_HD void round_down(double threshold, double& out) { out = threshold; }

// Adds one example, without a fused multiply-add, so that the sums have the same bits as the CPU's.
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
