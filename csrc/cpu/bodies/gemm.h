// C = A · Wᵀ in tiles that live in registers. W is packed in panels of kPanel output columns: for float32 [k][column],
// for bfloat16 [k / 2][column][k mod 2], the layout of a dot product of pairs; for numbers cut in two
// [k / 2][high, low][column][k mod 2]; for bytes [k / 4][column][k mod 4]. Columns beyond N and the rest of a pair or of a
// four are zero.
#include "simd.h"

namespace skn::SKN_ISA {
namespace {

constexpr int kVectors = kPanel / kLanes;  // of one row of a tile

// Rows of a tile: as many as fit beside registers for a row of the panel and one value of A.
#if SKN_LEVEL >= 3
constexpr int kRows = 12;
#elif SKN_LEVEL >= 1
constexpr int kRows = 3;
#else
constexpr int kRows = 1;
#endif

// The type in which the products of an operand are summed.
template <typename Operand>
struct SumsOf {
  using Type = V;
};
template <>
struct SumsOf<Byte> {
  using Type = VI;
};

template <int Rows, typename Operand>
struct Tile {
  typename SumsOf<Operand>::Type v[Rows][kVectors];
};

template <int Rows>
SKN_INLINE void multiply(Tile<Rows, float>& acc, const float* a, int64_t lda, const float* panel, int64_t depth) {
  for (int64_t k = 0; k < depth; ++k) {
    V w[kVectors];
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) w[j] = read<V>(panel + k * kPanel + j * kLanes);
#pragma GCC unroll 12
    for (int r = 0; r < Rows; ++r) {
      const V x = set1(a[r * lda + k]);
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j) acc.v[r][j] = fma(x, w[j], acc.v[r][j]);
    }
  }
}

// acc += the dot products of pairs of bfloat16. Without the instruction, these are two products in float32, each exact
// before its sum.
SKN_INLINE V dot_pairs(VI x, VI w, V acc) {
#if SKN_LEVEL >= 4
  return (V)_mm512_dpbf16_ps((__m512)acc, (__m512bh)x, (__m512bh)w);
#else
  const VI high = VI{} + static_cast<int32_t>(0xffff0000u);
  acc = fma((V)(x << 16), (V)(w << 16), acc);
  return fma((V)(x & high), (V)(w & high), acc);
#endif
}

// acc += the units at `a`, one of each row, times a row of units of the panel. A unit has four bytes: two numbers or four.
// kDot(x, w, sum) is sum + x · w. It is no lambda, because GCC 12 warns of lambdas that return a vector.
template <auto kDot, int Rows, typename Operand, typename Number>
SKN_INLINE void add_units(Tile<Rows, Operand>& acc, const Number* a, int64_t lda, const Number* row) {
  constexpr int kUnit = 4 / sizeof(Number);
  VI w[kVectors];
#pragma GCC unroll 8
  for (int j = 0; j < kVectors; ++j) w[j] = read<VI>(row + kUnit * j * kLanes);
#pragma GCC unroll 12
  for (int r = 0; r < Rows; ++r) {
    int32_t unit;
    std::memcpy(&unit, a + r * lda, sizeof unit);
    const VI x = VI{} + unit;
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) acc.v[r][j] = kDot(x, w[j], acc.v[r][j]);
  }
}

template <int Rows, typename Operand>
SKN_INLINE void add_pairs(Tile<Rows, Operand>& acc, const Bf16* a, int64_t lda, const Bf16* row) {
  add_units<dot_pairs>(acc, a, lda, row);
}

template <int Rows>
SKN_INLINE void multiply(Tile<Rows, Bf16>& acc, const Bf16* a, int64_t lda, const Bf16* panel, int64_t depth) {
  for (int64_t k = 0; k < depth; k += 2) add_pairs(acc, a + k, lda, panel + k * kPanel);
}

// high · high + low · high + high · low. low · low, at most 2⁻¹⁶ of the product, is left out.
template <int Rows>
SKN_INLINE void multiply(Tile<Rows, Split>& acc, const Split* a, int64_t lda, const Split* panel, int64_t depth) {
  const Bf16 *high = reinterpret_cast<const Bf16*>(a), *low = high + lda;
  for (int64_t k = 0; k < depth; k += 2) {
    const Bf16* row = reinterpret_cast<const Bf16*>(panel + k * kPanel);
    add_pairs(acc, high + k, 2 * lda, row);
    add_pairs(acc, low + k, 2 * lda, row);
    add_pairs(acc, high + k, 2 * lda, row + 2 * kPanel);
  }
}

#if SKN_LEVEL < 2
// The dot products of pairs of 16 bits.
template <typename Pairs>
SKN_INLINE VI dot_shorts(Pairs x, Pairs w) {
#if SKN_LEVEL >= 1
  return (VI)_mm256_madd_epi16((__m256i)x, (__m256i)w);
#elif defined(__SSE2__)
  return (VI)_mm_madd_epi16((__m128i)x, (__m128i)w);
#else
  const VI a = (VI)x, b = (VI)w;
  return (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16);
#endif
}
#endif

// acc += the dot products of four unsigned bytes x and four signed bytes w. Without the instruction, the even bytes and the
// odd bytes become pairs of 16 bits, whose products and sums are exact. The instruction vpmaddubsw would saturate.
SKN_INLINE VI dot_fours(VI x, VI w, VI acc) {
#if SKN_LEVEL >= 2 && defined(SKN_EMULATE)
  return emulated::dot_fours(acc, x, w);
#elif SKN_LEVEL >= 2
  // In assembly, because GCC 12 writes every sum of the intrinsic to the stack and reads it back.
#if SKN_LEVEL >= 3
  __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(w));
#else
  __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(x), "x"(w));  // of AVX-VNNI, not of AVX-512
#endif
  return acc;
#else
  typedef int16_t VS __attribute__((vector_size(kLanes * 4)));
  typedef uint16_t VU __attribute__((vector_size(kLanes * 4)));
  const VS even = (VS)((VU)x & 255), odd = (VS)((VU)x >> 8);
  acc += dot_shorts(even, (VS)((VU)w << 8) >> 8);
  return acc + dot_shorts(odd, (VS)w >> 8);
#endif
}

template <int Rows>
SKN_INLINE void multiply(Tile<Rows, Byte>& acc, const Byte* a, int64_t lda, const Byte* panel, int64_t depth) {
  for (int64_t k = 0; k < depth; k += 4) {
    add_units<dot_fours>(acc, a + k, lda, panel + k * kPanel);
  }
}

template <int Rows, typename Operand, typename Epilogue>
__attribute__((noinline)) void tile(const Operand* a, int64_t lda, const Operand* panel, int64_t depth, int64_t row,
                                    int64_t column, const Epilogue& epilogue) {
  Tile<Rows, Operand> acc = {};
  multiply<Rows>(acc, a, lda, panel, depth);
#pragma GCC unroll 12
  for (int r = 0; r < Rows; ++r) epilogue(row + r, column, acc.v[r]);
}

template <int Rows, typename Operand, typename Epilogue>
SKN_INLINE void last_rows(int64_t rows, const Operand* a, int64_t lda, const Operand* panel, int64_t depth, int64_t row,
                          int64_t column, const Epilogue& epilogue) {
  if constexpr (Rows > 0) {
    if (rows == Rows) return tile<Rows>(a, lda, panel, depth, row, column, epilogue);
    last_rows<Rows - 1>(rows, a, lda, panel, depth, row, column, epilogue);
  }
}

// Calls epilogue(row, column, sums) for every row of A [rows, depth] and every panel of the packed W, whose columns
// begin at `column`. `stride` is the distance between two panels. `depth` is even for pairs, a multiple of four for bytes.
template <typename Operand, typename Epilogue>
void gemm(const Operand* a, int64_t lda, int64_t rows, const Operand* packed, int64_t stride, int64_t panels,
          int64_t depth, const Epilogue& epilogue) {
  for (int64_t p = 0; p < panels; ++p) {
    const Operand* panel = packed + p * stride;
    int64_t row = 0;
    for (; row + kRows <= rows; row += kRows) {
      tile<kRows>(a + row * lda, lda, panel, depth, row, p * kPanel, epilogue);
    }
    last_rows<kRows - 1>(rows - row, a + row * lda, lda, panel, depth, row, p * kPanel, epilogue);
  }
}

}  // namespace
}  // namespace skn::SKN_ISA

#if SKN_LEVEL >= 5
#include "amx/gemm.h"
#endif
