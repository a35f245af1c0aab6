// Kendall's tau-b of every column of x [n, p] with every column of y [n, q] on CUDA, free of torch.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace skn::cuda {

// One side: `count` columns of n rows; strides count elements.
struct KendallColumns {
  const void* data;
  int64_t stride[2];
  int64_t count;
};

// Contiguous: tau and concordance [p, q], ties_x [p, 3] and ties_y [q, 3], as in skn.ops.kendall_tau.
struct KendallResult {
  double* tau;
  int64_t* concordance;
  int64_t* ties_x;
  int64_t* ties_y;
};

struct KendallPlan {
  int64_t columns;  // of y at once
  int64_t bytes;    // of device memory that kendall_tau wants as workspace
};

// `wide`: both sides are float64, otherwise float32. The words of the columns of y that are in memory at once stay
// within `limit` bytes, or belong to a single column.
KendallPlan plan_kendall(bool wide, int64_t n, int64_t p, int64_t q, int64_t limit);

// n >= 2. Everything is queued on `stream`. Returns the result of the launches.
cudaError_t kendall_tau(bool wide, int64_t n, const KendallColumns& x, const KendallColumns& y, const KendallPlan& plan,
                        void* workspace, const KendallResult& result, cudaStream_t stream);

}  // namespace skn::cuda
