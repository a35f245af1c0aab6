// Shared by the registrations on CUDA: the device and the stream of a call, what the device has, and errors in CUDA's words.
#pragma once

#include <cuda_runtime_api.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>

#include "../common.h"

namespace skn {

inline void check_cuda(const char* op, cudaError_t error) {
  check(error == cudaSuccess, op, ": CUDA says ", cudaGetErrorString(error));
}

inline int attribute(const char* op, cudaDeviceAttr which, int device) {
  int value = 0;
  check_cuda(op, cudaDeviceGetAttribute(&value, which, device));
  return value;
}

// While it lives, the device of a tensor is the current one; `stream` is torch's current stream there.
struct OnDevice {
  explicit OnDevice(const Tensor& tensor) : guard(tensor.get_device()) {
    void* current = nullptr;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device(), &current));
    stream = static_cast<cudaStream_t>(current);
  }

  torch::stable::accelerator::DeviceGuard guard;
  cudaStream_t stream = nullptr;
};

}  // namespace skn
