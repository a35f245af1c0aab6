// C = A · Wᵀ for instruction sets that have no product of an operand. Where bfloat16 has none, its numbers become float32;
// where bytes have none, they become 16 bits. `gemm` does so in every tile. With many rows it pays to do so once: for the
// rows of A before the first panel, and for a panel of W before its first tile. The sums are the same to the bit.
#include "gemm.h"

namespace skn::SKN_ISA {
namespace {

// Bytes as pairs of 16 bits: of each four the first and the third, and then the second and the fourth.
struct Short {
  int16_t bits;
};

// What the numbers of an operand become; the operand itself where there is a product of it.
template <typename Operand>
struct Widened {
  using Type = Operand;
};
#if SKN_LEVEL < 4
template <>
struct Widened<Bf16> {
  using Type = float;
};
#endif
#if SKN_LEVEL < 2
template <>
struct Widened<Byte> {
  using Type = Short;
};
#endif

template <typename Operand>
using Wide = typename Widened<Operand>::Type;

// The deepest panel that is widened: 128 KiB of float32, a part of the second-level cache.
constexpr int64_t kDeepest = 1024;

template <typename Operand>
constexpr bool kWidens = !std::is_same_v<Wide<Operand>, Operand>;

// Whether a product of so many rows is worth it.
template <typename Operand>
bool widens(int64_t rows, int64_t depth) {
  return kWidens<Operand> && rows >= 4 * kRows && depth <= kDeepest;
}

// `n` numbers, a multiple of the vector.
inline void widen(const Bf16* x, int64_t n, float* wide) {
  for (int64_t j = 0; j < n; j += kLanes) store(wide + j, load(x + j));
}

inline void widen_panel(const Bf16* panel, int64_t depth, float* wide) {
  const VI high = VI{} + static_cast<int32_t>(0xffff0000u);
  for (int64_t k = 0; k < depth; k += 2) {
    for (int64_t c = 0; c < kPanel; c += kLanes) {
      const VI pairs = read<VI>(panel + k * kPanel + 2 * c);
      write(wide + k * kPanel + c, pairs << 16);
      write(wide + (k + 1) * kPanel + c, pairs & high);
    }
  }
}

#if SKN_LEVEL < 2
inline void widen_panel(const Byte* panel, int64_t depth, Short* wide) {
  typedef int16_t VS __attribute__((vector_size(kLanes * 4)));
  for (int64_t k = 0; k < depth; k += 4) {
    for (int64_t c = 0; c < kPanel; c += kLanes) {
      const VS fours = read<VS>(panel + k * kPanel + 4 * c);
      write(wide + k * kPanel + 2 * c, fours << 8 >> 8);
      write(wide + (k + 2) * kPanel + 2 * c, fours >> 8);
    }
  }
}

template <>
struct SumsOf<Short> {
  using Type = VI;
};

SKN_INLINE VI add_shorts(VI x, VI w, VI acc) { return acc + dot_shorts(x, w); }

template <int Rows>
SKN_INLINE void multiply(Tile<Rows, Short>& acc, const Short* a, int64_t lda, const Short* panel, int64_t depth) {
  for (int64_t k = 0; k < depth; k += 2) {
    add_units<add_shorts>(acc, a + k, lda, panel + k * kPanel);
  }
}
#endif

// As gemm, with rows that were widened before.
template <typename Operand, typename Epilogue>
__attribute__((noinline)) void wide_gemm(const Wide<Operand>* a, int64_t lda, int64_t rows, const Operand* packed,
                                         int64_t stride, int64_t panels, int64_t depth, const Epilogue& epilogue) {
  alignas(64) Wide<Operand> panel[kDeepest * kPanel];
  for (int64_t p = 0; p < panels; ++p) {
    widen_panel(packed + p * stride, depth, panel);
    gemm(a, lda, rows, panel, 0, 1, depth,
         [&](int64_t row, int64_t, const auto* sums) { epilogue(row, p * kPanel, sums); });
  }
}

}  // namespace
}  // namespace skn::SKN_ISA
