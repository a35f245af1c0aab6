// The one step of kendall_tau with code for each instruction set: bit j of out[r] is set if keys[j] > pivots[r], j <
// 64. The count of a word's bits is here, too.
namespace skn::SKN_ISA {
namespace {

#if SKN_LEVEL >= 3

// The keys stay in registers for all rows. The masks are joined in mask registers, which is faster than a round trip
// through general registers.
inline void greater_bits(const int32_t* keys, const int32_t* pivots, int64_t rows, uint64_t* out) {
  const __m512i a = _mm512_loadu_si512(keys), b = _mm512_loadu_si512(keys + 16);
  const __m512i c = _mm512_loadu_si512(keys + 32), d = _mm512_loadu_si512(keys + 48);
  for (int64_t r = 0; r < rows; ++r) {
    const __m512i pivot = _mm512_set1_epi32(pivots[r]);
    const __mmask32 low = _mm512_kunpackw(_mm512_cmpgt_epi32_mask(b, pivot), _mm512_cmpgt_epi32_mask(a, pivot));
    const __mmask32 high = _mm512_kunpackw(_mm512_cmpgt_epi32_mask(d, pivot), _mm512_cmpgt_epi32_mask(c, pivot));
    out[r] = _cvtmask64_u64(_mm512_kunpackd(high, low));
  }
}

inline void greater_bits(const int64_t* keys, const int64_t* pivots, int64_t rows, uint64_t* out) {
  __m512i key[8];
  for (int v = 0; v < 8; ++v) key[v] = _mm512_loadu_si512(keys + 8 * v);
  for (int64_t r = 0; r < rows; ++r) {
    const __m512i pivot = _mm512_set1_epi64(pivots[r]);
    __mmask16 half[4];
    for (int v = 0; v < 4; ++v) {
      half[v] = _mm512_kunpackb(_mm512_cmpgt_epi64_mask(key[2 * v + 1], pivot),
                                _mm512_cmpgt_epi64_mask(key[2 * v], pivot));
    }
    out[r] = _cvtmask64_u64(_mm512_kunpackd(_mm512_kunpackw(half[3], half[2]), _mm512_kunpackw(half[1], half[0])));
  }
}

// GCC turns a loop over this function into vpopcntq.
inline int64_t ones(uint64_t word) { return __builtin_popcountll(word); }

#elif SKN_LEVEL >= 1

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

#else

template <typename T>
inline void greater_bits(const T* keys, const T* pivots, int64_t rows, uint64_t* out) {
  for (int64_t r = 0; r < rows; ++r) {
    uint64_t word = 0;
    for (int j = 0; j < 64; ++j) word |= static_cast<uint64_t>(keys[j] > pivots[r]) << j;
    out[r] = word;
  }
}

inline int64_t ones(uint64_t word) {
#if defined(__x86_64__)
  // Without a popcount instruction the builtin is a function call. This code vectorises.
  word -= word >> 1 & 0x5555555555555555;
  word = (word & 0x3333333333333333) + (word >> 2 & 0x3333333333333333);
  word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0f;
  word += word >> 8;
  word += word >> 16;
  word += word >> 32;
  return static_cast<int64_t>(word & 0x7f);
#else
  return __builtin_popcountll(word);
#endif
}

#endif

}  // namespace
}  // namespace skn::SKN_ISA
