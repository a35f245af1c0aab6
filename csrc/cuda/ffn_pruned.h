// ffn_pruned on CUDA for few neurons, free of torch: both weights stay in shared memory, and the rows pass by.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace skn::cuda {

// bfloat16, contiguous, on the device, at addresses that are multiples of 16.
struct PrunedFfn {
  const void* x;          // [rows, hidden]
  const void* w_in;       // [neurons, hidden]
  const void* b_in;       // [neurons]
  const void* w_out;      // [neurons, hidden], the transpose of what the operator takes
  const void* b_out;      // [hidden], like the next two
  const void* ln_weight;
  const void* ln_bias;
  void* out;              // [rows, hidden]
  int64_t rows;
  int hidden, neurons;
  float eps;
};

// The most neurons that the kernel takes if a block can have `shared` bytes of shared memory; 0 if it does not take this
// hidden size.
int64_t most_neurons(int64_t hidden, int64_t shared);

// For 1 to most_neurons neurons. Queued on `stream`. Returns the result of the launch.
cudaError_t ffn_pruned(const PrunedFfn& given, int multiprocessors, cudaStream_t stream);

}  // namespace skn::cuda
