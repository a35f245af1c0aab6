// digest, compiled once for each instruction set.
#include "simd.h"

namespace skn::SKN_ISA {
namespace {

constexpr int64_t kWords = kLanes / 2;
typedef uint64_t VW __attribute__((vector_size(kWords * 8)));

// The product of the lower halves of each word. Compilers multiply whole words, with several times the instructions.
SKN_INLINE VW multiply_halves(VW a, VW b) {
#if SKN_LEVEL >= 3
  return (VW)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif SKN_LEVEL >= 1
  return (VW)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
  return (VW)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
  return (a & 0xffffffff) * (b & 0xffffffff);
#endif
}

// digest_step for each word.
SKN_INLINE VW step(VW digest, VW word) {
  const VW both = digest ^ word, high = both >> 32, factor = VW{} + kDigestFactor;
  return multiply_halves(both ^ high, factor) + (multiply_halves(high, factor) << 32);
}

SKN_INLINE void add_row(const char* row, VW* lane) {
  for (int64_t i = 0; i < kDigestRow / kWords; ++i) lane[i] = step(lane[i], read<VW>(row + i * sizeof(VW)));
}

uint64_t of_block(const DigestBlock& block) {
  constexpr int64_t kBytes = 8 * kDigestRow;
  uint64_t word[kDigestRow];
  for (int64_t i = 0; i < kDigestRow; ++i) word[i] = digest_step(0, i + 1);
  VW lane[kDigestRow / kWords];
  std::memcpy(lane, word, sizeof lane);
  const int64_t whole = block.bytes / kBytes * kBytes;
  for (int64_t at = 0; at < whole; at += kBytes) add_row(block.data + at, lane);
  if (whole < block.bytes) {
    char rest[kBytes] = {};
    std::memcpy(rest, block.data + whole, block.bytes - whole);
    add_row(rest, lane);
  }
  std::memcpy(word, lane, sizeof word);
  uint64_t digest = 0;
  for (int64_t i = 0; i < kDigestRow; ++i) digest = digest_step(digest, word[i]);
  return digest;
}

}  // namespace

void digest(const DigestArgs& args, int64_t first, int64_t last) {
  for (int64_t i = first; i < last; ++i) args.digest[i] = of_block(args.block[i]);
}

}  // namespace skn::SKN_ISA
