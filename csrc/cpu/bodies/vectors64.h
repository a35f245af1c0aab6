// Vectors of 64-bit lanes, for permuted_hits.
#include "simd.h"

namespace skn::SKN_ISA {
namespace {

constexpr int64_t kWide = kLanes / 2;

typedef double VD __attribute__((vector_size(kWide * 8)));
typedef uint64_t VU __attribute__((vector_size(kWide * 8)));

SKN_INLINE VD max(VD a, VD b) {
#if SKN_LEVEL >= 3
  return (VD)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif SKN_LEVEL >= 1
  return (VD)_mm256_max_pd((__m256d)a, (__m256d)b);
#else
  return a > b ? a : b;
#endif
}

SKN_INLINE VD magnitude(VD v) { return (VD)((VU)v & ~uint64_t{0} >> 1); }

}  // namespace
}  // namespace skn::SKN_ISA
