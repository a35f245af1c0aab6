// permuted_hits on CUDA, free of torch.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../contrasts.h"

namespace skn::cuda {

// Contiguous, on the device. `contrast` is memory for the contrasts, which permuted_hits fills.
struct Permuted {
  const uint64_t* words;  // [runs, width, positions, groups]
  const uint64_t* masks;  // [labellings, sides, width]
  Contrast* contrast;
  int64_t runs, width, positions, groups, labellings, sides, contrasts, examples;
  bool lowest;
  double* own;       // [2, groups]
  int64_t* reached;  // [groups]
  double* greatest;  // [2, labellings − 1]
};

// Everything is queued on `stream`. Returns the result of the launches.
cudaError_t permuted_hits(const Permuted& given, const Contrast* contrasts, cudaStream_t stream);

}  // namespace skn::cuda
