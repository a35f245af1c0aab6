// csrc/cuda/launch.h where kernels run on the host: no device and no stream.
#pragma once

#include <cuda_runtime_api.h>

#include "../common.h"

// As in a capture, where nobody waits for the device.
#define cudaStreamIsCapturing(stream, status) (*(status) = cudaStreamCaptureStatusActive, cudaSuccess)

namespace skn {

inline void check_cuda(const char* op, cudaError_t error) { check(error == cudaSuccess, op, ": CUDA says ", static_cast<int>(error)); }

// Few multiprocessors, so that a block takes several tiles. Shared memory is that of an H100.
inline int attribute(const char*, cudaDeviceAttr which, int) {
  return which == cudaDevAttrMultiProcessorCount ? 2 : 227 << 10;
}

struct OnDevice {
  explicit OnDevice(const Tensor&) {}
  cudaStream_t stream = nullptr;
};

}  // namespace skn
