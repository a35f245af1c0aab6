// The shared memory of a block of ffn_pruned: both weights, as the products read them, and buffers.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <cstring>

#include "ffn_pruned.h"

namespace skn::cuda {

constexpr int kLanes = 32;
constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kLanes;
constexpr int kRows = 16;   // of a tile: a thread has parts of row lane / 4 and of the row eight below it
constexpr int kGroup = 32;  // columns

// Shared memory of a block. A tile of neurons is eight of them.
struct Shared {
  uint4* up;        // [groups][tiles][lanes]: columns 8q … 8q + 7 of w_in for neuron r of the tile, in lane 4r + q
  uint4* down;      // [groups][tiles / 2][2][lanes]: 16 neurons of w_out for two tiles of the sum
  float4* partial;  // [tiles][warps][lanes]: sums of a warp's own columns; then the activations, in place of warp 0
  float* bias;      // [8 · tiles]
  float* sums;      // [2][rows][warps], for mean and variance
};

constexpr int64_t shared_bytes(int64_t groups, int64_t tiles) {
  return (2 * groups * tiles * kLanes) * 16 + tiles * kWarps * kLanes * 16 + 8 * tiles * 4 + 2 * kRows * kWarps * 4;
}

__device__ inline Shared shared_of(uint4* raw, int groups, int tiles) {
  Shared shared;
  shared.up = raw;
  shared.down = shared.up + groups * tiles * kLanes;
  shared.partial = reinterpret_cast<float4*>(shared.down + groups * tiles * kLanes);
  shared.bias = reinterpret_cast<float*>(shared.partial + tiles * kWarps * kLanes);
  shared.sums = shared.bias + 8 * tiles;
  return shared;
}

// Two numbers of bfloat16 in a word, the first one in its low half.
__device__ inline float2 widened(uint32_t word) {
  __nv_bfloat162 pair;
  memcpy(&pair, &word, sizeof pair);
  return __bfloat1622float2(pair);
}

__device__ inline uint32_t rounded(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  uint32_t word;
  memcpy(&word, &pair, sizeof word);
  return word;
}

__device__ inline uint32_t word(const uint4& words, int i) {
  return i == 0 ? words.x : i == 1 ? words.y : i == 2 ? words.z : words.w;
}

// Eight numbers of row `row`, from `column` on; zeros beyond the matrix.
__device__ inline uint4 eight(const void* matrix, int64_t rows, int hidden, int64_t row, int column) {
  if (row >= rows || column >= hidden) return make_uint4(0, 0, 0, 0);
  return *reinterpret_cast<const uint4*>(static_cast<const __nv_bfloat16*>(matrix) + row * hidden + column);
}

// Number i of each of two rows, side by side.
__device__ inline uint32_t beside(const uint4& first, const uint4& second, int i) {
  const uint32_t a = word(first, i / 2), b = word(second, i / 2);
  return i % 2 ? (a >> 16) | (b & 0xffff0000u) : (a & 0xffffu) | (b << 16);
}

template <int kTiles>
__device__ void load_up(const PrunedFfn& given, int groups, uint4* up) {
#pragma unroll 8
  for (int i = threadIdx.x; i < groups * kTiles * kLanes; i += kThreads) {
    const int lane = i % kLanes, tile = i / kLanes % kTiles, group = i / (kLanes * kTiles);
    up[i] = eight(given.w_in, given.neurons, given.hidden, 8 * tile + lane / 4, group * kGroup + lane % 4 * 8);
  }
}

// Column 8Q + 2t + e of a group is column 2Q + e of tile t of the sum. A thread transposes four neurons of eight columns.
template <int kTiles>
__device__ void load_down(const PrunedFfn& given, int groups, uint4* down) {
  constexpr int kUnits = kTiles / 2 * 4;  // of a lane's four neurons
#pragma unroll 2
  for (int i = threadIdx.x; i < groups * kUnits * 4; i += kThreads) {
    const int quarter = i % 4, unit = i / 4 % kUnits, group = i / 4 / kUnits;
    const int step = unit / 4, q = unit % 4, neuron = 16 * step + 2 * q;
    uint4 rows[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      rows[k] = eight(given.w_out, given.neurons, given.hidden, neuron + k % 2 + k / 2 * 8, group * kGroup + quarter * 8);
    }
    uint4* const there = down + (group * (kTiles / 2) + step) * 2 * kLanes;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const int pair = k / 2, e = k % 2, even = 4 * pair + e, odd = even + 2;
      there[pair * kLanes + (2 * quarter + e) * 4 + q] = make_uint4(
          beside(rows[0], rows[1], even), beside(rows[2], rows[3], even), beside(rows[0], rows[1], odd), beside(rows[2], rows[3], odd));
    }
  }
}

}  // namespace skn::cuda
