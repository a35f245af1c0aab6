// The product of bytes at one instruction set, SKN_ISA, against plain int32 sums, at sizes that are multiples of
// nothing. A and W end, or begin, where memory that must not be touched does. Prints how many products were right. The
// first wrong sum ends the program with an error.
#include <cstdio>
#include <random>
#include <vector>

#include "../../../csrc/cpu/bodies/before.h"
#include "../../../csrc/cpu/target.h"
#include "../../../csrc/cpu/bodies/gemm.h"
#include "guarded.h"

namespace skn::SKN_ISA {
namespace {

void product(int64_t rows, int64_t panels, int64_t depth, int64_t lda, bool at_end, std::mt19937& random) {
  const int64_t bytes = (rows - 1) * lda + depth;
  const Guarded a_memory(bytes, at_end), w_memory(panels * depth * kPanel, at_end);
  uint8_t* a = reinterpret_cast<uint8_t*>(a_memory.begin());
  int8_t* w = reinterpret_cast<int8_t*>(w_memory.begin());
  // Half of the bytes are at the ends of their range, where sums of two products leave 16 bits.
  for (int64_t i = 0; i < bytes; ++i) a[i] = random() % 2 ? 255 : random() % 256;
  for (int64_t i = 0; i < panels * depth * kPanel; ++i) {
    w[i] = random() % 2 ? 127 - 254 * (random() % 2) : random() % 255 - 127;
  }

  std::vector<int> seen(rows * panels);
  gemm(reinterpret_cast<const Byte*>(a), lda, rows, reinterpret_cast<const Byte*>(w), depth * kPanel, panels, depth,
       [&](int64_t row, int64_t column, const VI* sums) {
         ++seen.at(row * panels + column / kPanel);
         for (int64_t c = 0; c < kPanel; ++c) {
           int32_t exact = 0;
           for (int64_t k = 0; k < depth; ++k) {
             exact += a[row * lda + k] * w[column * depth + (k / 4 * kPanel + c) * 4 + k % 4];
           }
           require(sums[c / kLanes][c % kLanes] == exact, "a sum is wrong");
         }
       });
  for (int times : seen) require(times == 1, "a row was not handed on once");
}

}  // namespace
}  // namespace skn::SKN_ISA

int main() {
  using namespace skn::SKN_ISA;
  std::mt19937 random(0);
  int products = 0;
#if SKN_LEVEL >= 5
  const TileSession session;
#endif
  for (bool at_end : {false, true}) {
    for (int64_t rows : {1, 2, 3, 11, 12, 13, 15, 16, 17, 31, 32, 33, 49, 70}) {
      for (int64_t panels : {1, 3}) {
        for (int64_t depth : {4, 60, 64, 68, 124, 128, 212}) {
          for (int64_t more : {0, 5}) {
            product(rows, panels, depth, depth + more, at_end, random);
            ++products;
          }
        }
      }
    }
  }
  std::printf("%d\n", products);
}

#include "../../../csrc/cpu/target_end.h"
