// out[r] has bit j set where keys[j] > pivots[r], j < 64.
namespace skn::SKN_ISA {
namespace {

inline void greater_bits(const int32_t* keys, const int32_t* pivots, int64_t rows, uint64_t* out) {
  for (int64_t r = 0; r < rows; ++r) {
    const __m256i pivot = _mm256_set1_epi32(pivots[r]);
    uint64_t word = 0;
    for (int j = 0; j < 64; j += 8) {
      const __m256i key = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(keys + j));
      const int bits = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(key, pivot)));
      word |= static_cast<uint64_t>(bits) << j;
    }
    out[r] = word;
  }
}

inline void greater_bits(const int64_t* keys, const int64_t* pivots, int64_t rows, uint64_t* out) {
  for (int64_t r = 0; r < rows; ++r) {
    const __m256i pivot = _mm256_set1_epi64x(pivots[r]);
    uint64_t word = 0;
    for (int j = 0; j < 64; j += 4) {
      const __m256i key = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(keys + j));
      const int bits = _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(key, pivot)));
      word |= static_cast<uint64_t>(bits) << j;
    }
    out[r] = word;
  }
}

inline int64_t ones(uint64_t word) { return __builtin_popcountll(word); }

}  // namespace
}  // namespace skn::SKN_ISA
