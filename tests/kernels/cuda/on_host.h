// Runs CUDA kernels on the host, to test what threads do together where there is no device: a thread of the operating
// system for each thread of a block, blocks one after the other, ballots and barriers as meetings of a warp or a block.
// It shows neither races that a device alone has nor speed. tests/support/on_host.py rewrites launches to `launch`.
#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <barrier>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#undef __shared__
#define __shared__ static
#undef __global__
#define __global__
#undef __device__
#define __device__
#undef __launch_bounds__
#define __launch_bounds__(...)
#define cudaGetLastError() cudaSuccess
#define cudaFuncSetAttribute(...) cudaSuccess
// A null pointer is refused even for no bytes: what CUDA does with it is not promised.
#define cudaMemsetAsync(target, value, bytes, stream) \
  ((target) == nullptr ? cudaErrorInvalidValue : (std::memset(target, value, bytes), cudaSuccess))
#define cudaMemcpyAsync(target, source, bytes, kind, stream) (std::memcpy(target, source, bytes), cudaSuccess)
#define cudaGetErrorString(error) ((error) == cudaSuccess ? "none" : "invalid value")

struct Warp {
  std::barrier<> meet{32};
  std::atomic<unsigned> bits[3] = {};  // of a ballot, of the next one, and of the one before, which may still be read
};

struct Block {
  explicit Block(unsigned threads) : meet(threads), warps(threads / 32) {}
  std::barrier<> meet;
  std::vector<Warp> warps;
};

inline thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;
inline thread_local unsigned ballots;  // that this thread has cast
inline Block* block;
inline std::vector<double> dynamic_shared;

inline void __syncthreads() { block->meet.arrive_and_wait(); }

inline unsigned __ballot_sync(unsigned, bool vote) {
  Warp& warp = block->warps[threadIdx.x / 32];
  std::atomic<unsigned>& bits = warp.bits[ballots % 3];
  ++ballots;
  if (threadIdx.x % 32 == 0) warp.bits[ballots % 3] = 0;  // every thread has read it: all have cast the last ballot since
  if (vote) bits |= 1u << threadIdx.x % 32;
  warp.meet.arrive_and_wait();
  return bits;
}

inline void atomicAdd(unsigned long long* target, unsigned long long value) {
  __atomic_fetch_add(target, value, __ATOMIC_RELAXED);
}

inline void atomicMax(unsigned long long* target, unsigned long long value) {
  const std::atomic_ref<unsigned long long> shared(*target);
  unsigned long long before = shared;
  while (before < value && !shared.compare_exchange_weak(before, value)) {}
}

inline long long __double_as_longlong(double value) {
  long long bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

template <typename Kernel>
void launch(const Kernel& kernel, dim3 grid, dim3 threads, size_t shared = 0, cudaStream_t = nullptr) {
  dynamic_shared.assign(shared / sizeof(double) + 1, 0.0);
  Block here(threads.x);
  block = &here;
  std::barrier<> done(threads.x);
  const auto run = [&](unsigned i) {  // the same threads for every block, because a new one costs more than its work
    threadIdx = dim3(i);
    blockDim = threads;
    gridDim = grid;
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = dim3(x, y);
        kernel();
        done.arrive_and_wait();
      }
    }
  };
  std::vector<std::thread> running;
  for (unsigned i = 0; i < threads.x; ++i) running.emplace_back(run, i);
  for (std::thread& one : running) one.join();
}
