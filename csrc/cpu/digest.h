#pragma once

#include <cstdint>

namespace skn {

// In words of 64 bits. In Python they are constants of skn/ops/reference_digest.py.
constexpr int64_t kDigestRow = 32;
constexpr int64_t kDigestBlock = 1024 * kDigestRow;
constexpr uint64_t kDigestFactor = 0x9e3779b1;  // odd, 32 bits

// Bytes of one tensor: a whole block, or the rest behind the whole blocks.
struct DigestBlock {
  const char* data;
  int64_t bytes;
};

struct DigestArgs {
  const DigestBlock* block;
  uint64_t* digest;  // of each block
};

// The digest of one word more. Different words give different digests, and so do different digests before.
constexpr uint64_t digest_step(uint64_t digest, uint64_t word) {
  const uint64_t both = digest ^ word;
  return (both ^ (both >> 32)) * kDigestFactor;
}

// Writes the digests of the blocks [first, last).
using DigestKernel = void(const DigestArgs& args, int64_t first, int64_t last);

}  // namespace skn
