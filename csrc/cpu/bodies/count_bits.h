// The hits of columns: popcounts of words under masks. And the vectors of 64-bit lanes that permuted_hits needs.
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

// A number below 2⁵², exactly: its bits become the lowest of the number 2⁵².
SKN_INLINE VD as_double(VU v) { return (VD)(v | uint64_t{0x4330000000000000}) - 0x1p52; }

// Without an instruction that counts the bits of 64-bit lanes, bytes count their own, and are summed at the end: a byte
// holds the counts of 31 words.
#if SKN_LEVEL >= 3

constexpr int64_t kTogether = int64_t{1} << 30;

SKN_INLINE VU ones(VU word) { return (VU)_mm512_popcnt_epi64((__m512i)word); }
SKN_INLINE VU add(VU a, VU b) { return a + b; }
SKN_INLINE VU sum(VU counts) { return counts; }

#elif SKN_LEVEL >= 1

constexpr int64_t kTogether = 31;

SKN_INLINE VU ones(VU word) {
  const __m256i of_nibble = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                             0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i low = _mm256_set1_epi8(15);
  const __m256i first = _mm256_and_si256((__m256i)word, low);
  const __m256i second = _mm256_and_si256(_mm256_srli_epi16((__m256i)word, 4), low);
  return (VU)_mm256_add_epi8(_mm256_shuffle_epi8(of_nibble, first), _mm256_shuffle_epi8(of_nibble, second));
}
SKN_INLINE VU add(VU a, VU b) { return (VU)_mm256_add_epi8((__m256i)a, (__m256i)b); }
SKN_INLINE VU sum(VU counts) { return (VU)_mm256_sad_epu8((__m256i)counts, _mm256_setzero_si256()); }

#else

constexpr int64_t kTogether = 31;

SKN_INLINE VU ones(VU word) {
  word -= word >> 1 & 0x5555555555555555;
  word = (word & 0x3333333333333333) + (word >> 2 & 0x3333333333333333);
  return (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0f;
}
SKN_INLINE VU add(VU a, VU b) { return a + b; }  // no byte carries
SKN_INLINE VU sum(VU counts) {
  counts = (counts & 0x00ff00ff00ff00ff) + (counts >> 8 & 0x00ff00ff00ff00ff);
  counts += counts >> 16;
  counts += counts >> 32;
  return counts & 0xffff;
}

#endif

// Labellings that are counted at once, and the part of a tile whose sums stay in registers: labellings × vectors.
constexpr int64_t kRows = 4;
constexpr int64_t kDown = SKN_LEVEL >= 3 ? 4 : 2;
constexpr int64_t kAcross = SKN_LEVEL >= 3 ? 4 : 2;

// Counts the words [first, last) of kDown masks and kAcross vectors of columns. Words have rows of kPermutedUnit.
template <bool kAdd>
SKN_INLINE void count_tile(const uint64_t* words, const uint64_t* const* mask, int64_t first, int64_t last, double* hits) {
  VU counts[kDown][kAcross] = {};
  for (int64_t w = first; w < last; ++w) {
    VU word[kAcross];
    for (int64_t v = 0; v < kAcross; ++v) word[v] = load(words + w * kPermutedUnit + v * kWide);
    for (int64_t i = 0; i < kDown; ++i) {
      for (int64_t v = 0; v < kAcross; ++v) counts[i][v] = add(counts[i][v], ones(word[v] & mask[i][w]));
    }
  }
  for (int64_t i = 0; i < kDown; ++i) {
    for (int64_t v = 0; v < kAcross; ++v) {
      double* const here = hits + i * kPermutedUnit + v * kWide;
      const VD found = as_double(sum(counts[i][v]));
      store(here, kAdd ? load(here) + found : found);
    }
  }
}

// hits [kRows, kPermutedUnit]: in how many examples of each mask each column is on.
inline void count_bits(const uint64_t* words, const uint64_t* const* mask, int64_t width, double* hits) {
  for (int64_t i = 0; i < kRows; i += kDown) {
    for (int64_t g = 0; g < kPermutedUnit; g += kAcross * kWide) {
      double* const here = hits + i * kPermutedUnit + g;
      int64_t done = std::min(width, kTogether);
      count_tile<false>(words + g, mask + i, 0, done, here);
      for (; done < width; done += kTogether) {
        count_tile<true>(words + g, mask + i, done, std::min(width, done + kTogether), here);
      }
    }
  }
}

}  // namespace
}  // namespace skn::SKN_ISA
