// The hits of columns, a word of 64 examples at a time: and, popcount, addition. For AVX-512 and for the baseline.
//
// A piece is a word. count_nibbles.h has the same functions for AVX2.
namespace skn::SKN_ISA {
namespace {

using Piece = uint64_t;
constexpr int64_t kPieces = 1;   // of a word
constexpr int64_t kRows = 4;     // labellings that are counted at once
constexpr int64_t kColumns = 1;  // columns of a group that are counted at once
constexpr int64_t kBlock = 32;   // labellings whose greatest values stay in the first-level cache

// One word of kPermutedUnit groups.
inline void spread_word(const uint64_t* words, Piece* pieces) { std::copy_n(words, kPermutedUnit, pieces); }

// kRows masks: pieces [width, kRows].
inline void together(const uint64_t* const* mask, int64_t width, Piece* pieces) {
  for (int64_t w = 0; w < width; ++w) {
    for (int64_t i = 0; i < kRows; ++i) pieces[w * kRows + i] = mask[i][w];
  }
}

// A number below 2⁵², exactly: its bits become the lowest of the number 2⁵².
SKN_INLINE VD as_double(VU v) { return (VD)(v | uint64_t{0x4330000000000000}) - 0x1p52; }

#if SKN_LEVEL >= 3

constexpr int64_t kTogether = int64_t{1} << 30;

SKN_INLINE VU ones(VU word) { return (VU)_mm512_popcnt_epi64((__m512i)word); }
SKN_INLINE VU sum(VU counts) { return counts; }

#else

// Bytes count their own bits, and are summed at the end: a byte holds the counts of 31 words.
constexpr int64_t kTogether = 31;

SKN_INLINE VU ones(VU word) {
  word -= word >> 1 & 0x5555555555555555;
  word = (word & 0x3333333333333333) + (word >> 2 & 0x3333333333333333);
  return (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0f;
}
SKN_INLINE VU sum(VU counts) {
  counts = (counts & 0x00ff00ff00ff00ff) + (counts >> 8 & 0x00ff00ff00ff00ff);
  counts += counts >> 16;
  counts += counts >> 32;
  return counts & 0xffff;
}

#endif

// The part of a tile whose sums stay in registers: labellings × vectors.
constexpr int64_t kDown = SKN_LEVEL >= 3 ? 4 : 2;
constexpr int64_t kAcross = SKN_LEVEL >= 3 ? 4 : 2;

// Counts the words [first, last) of kDown masks and kAcross vectors of columns.
template <bool kAdd>
SKN_INLINE void count_tile(const Piece* words, const Piece* masks, int64_t first, int64_t last, double* hits) {
  VU counts[kDown][kAcross] = {};
  for (int64_t w = first; w < last; ++w) {
    VU word[kAcross];
    for (int64_t v = 0; v < kAcross; ++v) word[v] = read<VU>(words + w * kPermutedUnit + v * kWide);
    for (int64_t i = 0; i < kDown; ++i) {
      for (int64_t v = 0; v < kAcross; ++v) counts[i][v] += ones(word[v] & masks[w * kRows + i]);
    }
  }
  for (int64_t i = 0; i < kDown; ++i) {
    for (int64_t v = 0; v < kAcross; ++v) {
      double* const here = hits + i * kPermutedUnit + v * kWide;
      const VD found = as_double(sum(counts[i][v]));
      write(here, kAdd ? read<VD>(here) + found : found);
    }
  }
}

// hits [kRows, kPermutedUnit]: in how many examples of each of the masks [width, kRows] the column of each group is on.
inline void count_bits(const Piece* words, int64_t, const Piece* masks, int64_t width, double* hits) {
  for (int64_t i = 0; i < kRows; i += kDown) {
    for (int64_t g = 0; g < kPermutedUnit; g += kAcross * kWide) {
      double* const here = hits + i * kPermutedUnit + g;
      int64_t done = std::min(width, kTogether);
      count_tile<false>(words + g, masks + i, 0, done, here);
      for (; done < width; done += kTogether) {
        count_tile<true>(words + g, masks + i, done, std::min(width, done + kTogether), here);
      }
    }
  }
}

}  // namespace
}  // namespace skn::SKN_ISA
