// Words of 64 bits through and, population count and addition, from the first-level cache: as vectors where the machine counts
// vectors, else one by one. roofline.py compiles it for the machine, and measures how many words a thread takes in a second.
#include <stddef.h>
#include <stdint.h>

enum { LANES = 8, ROWS = 4 };  // the size is a multiple of their product

#ifdef __AVX512VPOPCNTDQ__
#include <immintrin.h>

uint64_t count_words(const uint64_t* words, size_t size, uint64_t mask, size_t times) {
  __m512i total[ROWS] = {0};
  for (size_t t = 0; t < times; ++t) {
    const __m512i wide = _mm512_set1_epi64((long long)(mask + t));
    for (size_t i = 0; i < size; i += ROWS * LANES) {
      for (int r = 0; r < ROWS; ++r) {
        const __m512i kept = _mm512_and_si512(_mm512_loadu_si512(words + i + r * LANES), wide);
        total[r] = _mm512_add_epi64(total[r], _mm512_popcnt_epi64(kept));
      }
    }
  }
  uint64_t all = 0;
  for (int r = 0; r < ROWS; ++r) all += (uint64_t)_mm512_reduce_add_epi64(total[r]);
  return all;
}
#else
uint64_t count_words(const uint64_t* words, size_t size, uint64_t mask, size_t times) {
  uint64_t total[ROWS] = {0};
  for (size_t t = 0; t < times; ++t) {
    for (size_t i = 0; i < size; i += ROWS) {
      for (int r = 0; r < ROWS; ++r) total[r] += (uint64_t)__builtin_popcountll(words[i + r] & (mask + t));
    }
  }
  uint64_t all = 0;
  for (int r = 0; r < ROWS; ++r) all += total[r];
  return all;
}
#endif
