// out[r] has bit j set where keys[j] > pivots[r], j < 64. The keys stay in registers for all rows; masks are joined in
// mask registers, which is faster than a round trip through general ones.
namespace skn::SKN_ISA {
namespace {

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

// GCC makes vpopcntq of a loop over this one.
inline int64_t ones(uint64_t word) { return __builtin_popcountll(word); }

}  // namespace
}  // namespace skn::SKN_ISA
