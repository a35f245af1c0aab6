// A product of tiles that a warp computes together, in the layout of mma.m16n8k16 of the PTX ISA. Lane 4r + q holds
//
//     of a [16, 16]:   row r of columns 2q, 2q + 1;  row r + 8 of them;  both rows of columns 2q + 8, 2q + 9
//     of b [16, 8]:    rows 2q, 2q + 1 of column r;  rows 2q + 8, 2q + 9 of it
//     of sum [16, 8]:  row r of columns 2q, 2q + 1;  row r + 8 of them
//
// The tests replace this file by one for the host, where a warp is 32 threads of the system.
#pragma once

#include <cstdint>

namespace skn::cuda {

// sum += a · b for each tile, bfloat16 in, float32 out.
template <int kTiles>
__device__ __forceinline__ void multiply(const uint32_t (&a)[4], const uint2 (&b)[kTiles], float (&sum)[kTiles][4]) {
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[t][0]), "+f"(sum[t][1]), "+f"(sum[t][2]), "+f"(sum[t][3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[t].x), "r"(b[t].y));
  }
}

}  // namespace skn::cuda
