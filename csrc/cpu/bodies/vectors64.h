// Vectors of 64-bit lanes, for permuted_hits.
namespace skn::SKN_ISA {
namespace {

#define SKN_INLINE inline __attribute__((always_inline))

#if SKN_LEVEL >= 3
constexpr int64_t kWide = 8;
#elif SKN_LEVEL >= 1
constexpr int64_t kWide = 4;
#else
constexpr int64_t kWide = 2;
#endif

typedef double VD __attribute__((vector_size(kWide * 8)));
typedef uint64_t VU __attribute__((vector_size(kWide * 8)));

SKN_INLINE VD load(const double* source) {
  VD v;
  std::memcpy(&v, source, sizeof v);
  return v;
}

SKN_INLINE VU load(const uint64_t* source) {
  VU v;
  std::memcpy(&v, source, sizeof v);
  return v;
}

SKN_INLINE void store(double* target, VD v) { std::memcpy(target, &v, sizeof v); }

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
