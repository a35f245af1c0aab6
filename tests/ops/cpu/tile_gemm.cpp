// The product on emulated tiles against float64, at sizes that are multiples of nothing. A and W end, or begin, where
// memory that must not be touched does, and what lies between A's rows is NaN. Prints the largest error of each form,
// over Σ|a·w|.
#include <cstdio>
#include <random>
#include <vector>

#include "../../../csrc/cpu/bodies/before.h"
#define SKN_ISA amx
#include "../../../csrc/cpu/target.h"
#include "../../../csrc/cpu/bodies/gemm.h"
#include "guarded.h"

namespace skn::amx {
namespace {

struct Shape {
  int64_t rows, panels, depth, lda;
};

Bf16 rounded(float value) {
  Bf16 many[kLanes];
  store(many, set1(value));
  return many[0];
}

float widened(Bf16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}

constexpr Bf16 kNaN = {0x7fc0};

// A NaN is the largest error.
double larger(double one, double other) { return one != one || other <= one ? one : other; }

// What a form stores for a number, and the number as float64 sums see it.
struct Plain {
  using Operand = Bf16;
  static constexpr int parts = 1;
  static void put(Bf16* at, int64_t, float value) { *at = rounded(value); }
  static double exact(float value) { return widened(rounded(value)); }
};
struct Cut {
  using Operand = Split;
  static constexpr int parts = 2;
  static void put(Bf16* at, int64_t to_low, float value) {
    at[0] = rounded(value);
    at[to_low] = rounded(value - widened(at[0]));
  }
  static double exact(float value) { return value; }
};

// The largest error of one product.
template <typename Kind>
double error(const Shape& s, bool at_end, std::mt19937& random) {
  using Operand = typename Kind::Operand;
  std::normal_distribution<float> normal;
  std::vector<float> a(s.rows * s.depth), w(s.panels * kPanel * s.depth);
  for (float& value : a) value = normal(random);
  for (float& value : w) value = normal(random);

  const int64_t row = Kind::parts * s.lda, numbers = (s.rows - 1) * row + (Kind::parts - 1) * s.lda + s.depth;
  const Guarded a_memory(numbers * 2, at_end), w_memory(s.panels * s.depth * kPanel * sizeof(Operand), at_end);
  Bf16* stored = reinterpret_cast<Bf16*>(a_memory.begin());
  std::fill(stored, stored + numbers, kNaN);
  for (int64_t r = 0; r < s.rows; ++r) {
    for (int64_t k = 0; k < s.depth; ++k) Kind::put(stored + r * row + k, s.lda, a[r * s.depth + k]);
  }
  Bf16* packed = reinterpret_cast<Bf16*>(w_memory.begin());
  for (int64_t c = 0; c < s.panels * kPanel; ++c) {
    for (int64_t k = 0; k < s.depth; ++k) {
      const int64_t panel = c / kPanel * s.depth * kPanel * Kind::parts;
      const int64_t at = panel + (k / 2 * Kind::parts * kPanel + c % kPanel) * 2 + k % 2;
      Kind::put(packed + at, 2 * kPanel, w[c * s.depth + k]);
    }
  }

  double worst = 0;
  std::vector<int> seen(s.rows * s.panels);
  gemm(reinterpret_cast<const Operand*>(stored), s.lda, s.rows, reinterpret_cast<const Operand*>(packed),
       s.depth * kPanel, s.panels, s.depth, [&](int64_t r, int64_t column, const V* sums) {
         ++seen.at(r * s.panels + column / kPanel);
         for (int64_t c = 0; c < kPanel; ++c) {
           double exact = 0, size = 0;
           for (int64_t k = 0; k < s.depth; ++k) {
             const double term = Kind::exact(a[r * s.depth + k]) * Kind::exact(w[(column + c) * s.depth + k]);
             exact += term;
             size += std::abs(term);
           }
           worst = larger(worst, std::abs(sums[c / kLanes][c % kLanes] - exact) / size);
         }
       });
  for (int times : seen) require(times == 1, "a row was not handed on once");
  return worst;
}

template <typename Kind>
double worst_error() {
  std::mt19937 random(0);
  double worst = 0;
  for (bool at_end : {false, true}) {
    const TileSession session;
    for (int64_t rows : {1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 49, 53, 64, 70}) {
      for (int64_t panels : {1, 3}) {
        for (int64_t depth : {2, 30, 32, 34, 62, 64, 106}) {
          for (int64_t more : {0, 6}) {
            worst = larger(worst, error<Kind>({rows, panels, depth, depth + more}, at_end, random));
          }
        }
      }
    }
  }
  require(!tiles::state.configured, "tiles were not given back");
  return worst;
}

}  // namespace
}  // namespace skn::amx

int main() {
  std::printf("bfloat16 %g\n", skn::amx::worst_error<skn::amx::Plain>());
  std::printf("bf16x3 %g\n", skn::amx::worst_error<skn::amx::Cut>());
}

#include "../../../csrc/cpu/target_end.h"
