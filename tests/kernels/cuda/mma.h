// csrc/cuda/mma.h where kernels run on the host: every lane shows its parts of a and b to its warp, and computes its own
// part of the sums from them, by the tables of the PTX ISA for mma.m16n8k16.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace skn::cuda {

inline float number(uint32_t pair, int which) {
  const uint32_t bits = which ? pair & 0xffff0000u : pair << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <int kTiles>
void multiply(const uint32_t (&a)[4], const uint2 (&b)[kTiles], float (&sum)[kTiles][4]) {
  struct Parts {
    uint32_t a[4];
    uint2 b[kTiles];
  } mine;
  std::memcpy(mine.a, a, sizeof mine.a);
  std::memcpy(mine.b, b, sizeof mine.b);
  const int r = threadIdx.x % 32 / 4, q = threadIdx.x % 4;
  with_warp(mine, [&](const auto& of_lane) {
    for (int t = 0; t < kTiles; ++t) {
      for (int i = 0; i < 4; ++i) {
        const int row = r + i / 2 * 8, column = 2 * q + i % 2;
        for (int k = 0; k < 16; ++k) {
          const int holder = k % 8 / 2;
          const Parts &left = of_lane(row % 8 * 4 + holder), &right = of_lane(column * 4 + holder);
          const uint32_t of_b = k < 8 ? right.b[t].x : right.b[t].y;
          sum[t][i] += number(left.a[row / 8 + k / 8 * 2], k % 2) * number(of_b, k % 2);
        }
      }
    }
  });
}

}  // namespace skn::cuda
