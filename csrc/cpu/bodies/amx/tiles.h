// The eight tile registers of AMX, 16 rows of 64 bytes each, with one function for each instruction.
//
// The functions are in assembly, because GCC 12's intrinsics take only a literal as a tile's number, and declare too
// little of the memory that they read: 8 of the 64 bytes of a configuration, and no memory at all when a tile is
// loaded. So the compiler could move an earlier store behind the load.

namespace skn::SKN_ISA {
namespace {
namespace tiles {

// The 64 bytes that ldtilecfg reads. An unused tile has 0 rows of 0 bytes.
struct alignas(64) Config {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};  // of the tiles 0 … 7; the rest is reserved
  uint8_t rows[16] = {};
};
static_assert(sizeof(Config) == 64);

}  // namespace tiles
}  // namespace
}  // namespace skn::SKN_ISA

#if defined(SKN_EMULATE)
#include "emulated_tiles.h"
#else

namespace skn::SKN_ISA {
namespace {
namespace tiles {

// Also sets every tile to zero. This function and the following ones act on the calling thread.
SKN_INLINE void configure(const Config& config) { __asm__ volatile("ldtilecfg %0" : : "m"(config)); }

SKN_INLINE void release() { __asm__ volatile("tilerelease"); }

template <int Tile>
SKN_INLINE void zero() {
  __asm__ volatile("tilezero %%tmm%c0" : : "i"(Tile));
}

// Rows `stride` bytes apart.
template <int Tile>
SKN_INLINE void load(const void* rows, int64_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(rows), "r"(stride), "i"(Tile) : "memory");
}

template <int Tile>
SKN_INLINE void store(void* rows, int64_t stride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(rows), "r"(stride), "i"(Tile) : "memory");
}

// Sums [m][n] += A [m][k pairs] · W [k pairs][n][pair]: bfloat16 into float32.
template <int Sums, int A, int W>
SKN_INLINE void dot() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sums), "i"(A), "i"(W));
}

// Sums [m][n] += A [m][k fours] · W [k fours][n][four]: unsigned bytes of A, signed bytes of W, into int32.
template <int Sums, int A, int W>
SKN_INLINE void dot_bytes() {
  __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sums), "i"(A), "i"(W));
}

}  // namespace tiles
}  // namespace
}  // namespace skn::SKN_ISA

#endif
