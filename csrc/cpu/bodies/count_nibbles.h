// The hits of columns, four examples at a time: one look-up and one addition for 32 groups. For AVX2, which has no
// popcount of vectors.
//
// A piece is the nibble of four examples, in a byte of its own. The nibble of a mask chooses a row of kHits, and the
// nibbles of the columns choose from the row: popcount(nibble & nibble of the mask). count_words.h has the same
// functions for AVX-512 and for the baseline.
namespace skn::SKN_ISA {
namespace {

using Piece = uint8_t;
constexpr int64_t kPieces = 16;  // of a word
constexpr int64_t kRows = 4;     // labellings that are counted at once
constexpr int64_t kColumns = 2;  // columns of a group that are counted at once
constexpr int64_t kBlock = 16;   // labellings whose greatest values stay in the first-level cache, beside the pieces

static_assert(kPermutedUnit == 32, "the groups of a unit fill a vector of bytes");
static_assert(kRows == 4, "the pieces of the labellings fill an uint32_t");

struct alignas(64) HitsOfNibbles {
  uint8_t row[16][16];  // mask, column
};

constexpr HitsOfNibbles hits_of_nibbles() {
  HitsOfNibbles hits{};
  for (int mask = 0; mask < 16; ++mask) {
    for (int column = 0; column < 16; ++column) {
      const int both = mask & column;
      hits.row[mask][column] = static_cast<uint8_t>((both & 1) + (both >> 1 & 1) + (both >> 2 & 1) + (both >> 3));
    }
  }
  return hits;
}

constexpr HitsOfNibbles kHits = hits_of_nibbles();

// One word of kPermutedUnit groups: pieces [kPieces, kPermutedUnit].
inline void spread_word(const uint64_t* words, Piece* pieces) {
  for (int64_t j = 0; j < kPieces; ++j) {
    for (int64_t g = 0; g < kPermutedUnit; ++g) {
      pieces[j * kPermutedUnit + g] = static_cast<Piece>(words[g] >> (4 * j) & 15);
    }
  }
}

// kRows masks: pieces [width · kPieces, kRows]. A piece is the place of its row in kHits, in bytes.
inline void together(const uint64_t* const* mask, int64_t width, Piece* pieces) {
  for (int64_t w = 0; w < width; ++w) {
    uint32_t four[kPieces] = {};
    for (int64_t i = 0; i < kRows; ++i) {
      const uint64_t word = mask[i][w];
      for (int64_t j = 0; j < kPieces; ++j) four[j] |= static_cast<uint32_t>(word >> (4 * j) & 15) << (8 * i + 4);
    }
    std::memcpy(pieces + w * sizeof four, four, sizeof four);
  }
}

SKN_INLINE __m256i row_of(uint8_t place) {
  return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(kHits.row[0] + place)));
}

// As many pieces of at most four hits as a byte and as 16 bits hold.
constexpr int64_t kInBytes = 63, kInShorts = 16383;

// The sums of 32 groups: 16 bits each, in their order.
struct Shorts {
  __m256i half[2];

  SKN_INLINE void add(__m256i bytes) {
    half[0] = _mm256_add_epi16(half[0], _mm256_cvtepu8_epi16(_mm256_castsi256_si128(bytes)));
    half[1] = _mm256_add_epi16(half[1], _mm256_cvtepu8_epi16(_mm256_extracti128_si256(bytes, 1)));
  }

  template <bool kAdd>
  SKN_INLINE void store_to(double* hits) const {
    alignas(32) uint16_t sums[kPermutedUnit];
    std::memcpy(sums, half, sizeof half);
    for (int64_t g = 0; g < kPermutedUnit; g += kWide) {
      const __m128i four = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(sums + g));
      const VD found = (VD)_mm256_cvtepi32_pd(_mm_cvtepu16_epi32(four));
      write(hits + g, kAdd ? read<VD>(hits + g) + found : found);
    }
  }
};

// Counts the pieces [first, last) of kRows masks and of kAcross columns, which lie `apart`. hits: see count_bits.
template <int64_t kAcross, bool kAdd>
SKN_INLINE void count_tile(const Piece* columns, int64_t apart, const Piece* masks, int64_t first, int64_t last,
                           double* hits) {
  Shorts sums[kRows][kAcross] = {};
  for (int64_t done = first; done < last; done += kInBytes) {
    __m256i bytes[kRows][kAcross] = {};
    const int64_t end = std::min(last, done + kInBytes);
    for (int64_t j = done; j < end; ++j) {
      __m256i nibbles[kAcross];
      for (int64_t c = 0; c < kAcross; ++c) nibbles[c] = read<__m256i>(columns + c * apart + j * kPermutedUnit);
      for (int64_t i = 0; i < kRows; ++i) {
        const __m256i row = row_of(masks[j * kRows + i]);
        for (int64_t c = 0; c < kAcross; ++c) {
          bytes[i][c] = _mm256_add_epi8(bytes[i][c], _mm256_shuffle_epi8(row, nibbles[c]));
        }
      }
    }
    for (int64_t i = 0; i < kRows; ++i) {
      for (int64_t c = 0; c < kAcross; ++c) sums[i][c].add(bytes[i][c]);
    }
  }
  for (int64_t c = 0; c < kAcross; ++c) {
    for (int64_t i = 0; i < kRows; ++i) sums[i][c].template store_to<kAdd>(hits + (c * kRows + i) * kPermutedUnit);
  }
}

template <int64_t kAcross>
inline void count_columns(const Piece* columns, const Piece* masks, int64_t width, double* hits) {
  const int64_t pieces = width * kPieces, apart = pieces * kPermutedUnit;
  int64_t done = std::min(pieces, kInShorts);
  count_tile<kAcross, false>(columns, apart, masks, 0, done, hits);
  for (; done < pieces; done += kInShorts) {
    count_tile<kAcross, true>(columns, apart, masks, done, std::min(pieces, done + kInShorts), hits);
  }
}

// hits [count, kRows, kPermutedUnit]: in how many examples of each of the masks [width · kPieces, kRows] the `count`
// columns of each group are on.
inline void count_bits(const Piece* columns, int64_t count, const Piece* masks, int64_t width, double* hits) {
  if (count == kColumns) {
    count_columns<kColumns>(columns, masks, width, hits);
  } else {
    count_columns<1>(columns, masks, width, hits);
  }
}

}  // namespace
}  // namespace skn::SKN_ISA
