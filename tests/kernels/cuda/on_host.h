// Runs CUDA kernels on the host, to test what threads do together where there is no device: a thread of the operating
// system for each thread of a block, blocks one after the other, ballots and barriers as meetings of a warp or a block.
// It shows neither races that a device alone has nor speed. tests/support/on_host.py rewrites launches to `launch`.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cmath>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#undef __shared__
#define __shared__ static
#undef __global__
#define __global__
#undef __device__
#define __device__
#undef __host__
#define __host__
#undef __forceinline__
#define __forceinline__ inline
#undef __launch_bounds__
#define __launch_bounds__(...)
#define cudaGetLastError() cudaSuccess
#define cudaFuncSetAttribute(...) cudaSuccess
#define cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, ...) (*(blocks) = 1, cudaSuccess)
// A null pointer is refused even for no bytes: what CUDA does with it is not promised.
#define cudaMemsetAsync(target, value, bytes, stream) \
  ((target) == nullptr ? cudaErrorInvalidValue : (std::memset(target, value, bytes), cudaSuccess))
#define cudaMemcpyAsync(target, source, bytes, kind, stream) (std::memcpy(target, source, bytes), cudaSuccess)
#define cudaGetErrorString(error) ((error) == cudaSuccess ? "none" : "invalid value")

struct Warp {
  std::barrier<> meet{32};
  std::atomic<unsigned> bits[3] = {};  // of a ballot, of the next one, and of the one before, which may still be read
  const void* shown[32];               // by each lane to the others
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

// Calls `use` with a function that gives what a lane of this warp shows. All lanes take part.
template <typename Value, typename Use>
void with_warp(const Value& mine, const Use& use) {
  Warp& warp = block->warps[threadIdx.x / 32];
  warp.shown[threadIdx.x % 32] = &mine;
  warp.meet.arrive_and_wait();
  use([&](int lane) -> const Value& { return *static_cast<const Value*>(warp.shown[lane]); });
  warp.meet.arrive_and_wait();  // all have read
}

inline float __shfl_xor_sync(unsigned, float value, int mask) {
  float other = 0.0f;
  with_warp(value, [&](const auto& of_lane) { other = of_lane(threadIdx.x % 32 ^ mask); });
  return other;
}

inline void atomicAdd(unsigned long long* target, unsigned long long value) {
  __atomic_fetch_add(target, value, __ATOMIC_RELAXED);
}

inline void atomicMax(unsigned long long* target, unsigned long long value) {
  const std::atomic_ref<unsigned long long> shared(*target);
  unsigned long long before = shared;
  while (before < value && !shared.compare_exchange_weak(before, value)) {}
}

inline void atomicMin(unsigned long long* target, unsigned long long value) {
  const std::atomic_ref<unsigned long long> shared(*target);
  unsigned long long before = shared;
  while (value < before && !shared.compare_exchange_weak(before, value)) {}
}

inline long long __double_as_longlong(double value) {
  long long bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float rsqrtf(float value) { return 1.0f / std::sqrt(value); }

template <typename Kernel>
void launch(const Kernel& kernel, dim3 grid, dim3 threads, size_t shared = 0, cudaStream_t = nullptr) {
  const size_t own = (shared + sizeof(double) - 1) / sizeof(double);
  const std::vector<double> fence(64, 1.25);
  dynamic_shared.assign(own, 0.0);
  dynamic_shared.insert(dynamic_shared.end(), fence.begin(), fence.end());
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
  if (!std::equal(fence.begin(), fence.end(), dynamic_shared.begin() + own)) {
    throw std::runtime_error("a kernel wrote beyond its shared memory");
  }
}
