// The product of ../gemm.h on tiles, for bfloat16, for numbers cut in two and for bytes: 32 rows × 32 columns in four
// tiles of sums, which reach the epilogue through a buffer. A is read in place. The two halves of a panel are tiles of
// 16 columns.
//
// Whatever the sizes of A and W, the product reads no other memory and copies nothing:
//   depth  The rest of the depth after multiples of a tile's depth has two tiles of its own, A's with shorter and W's with
//          fewer rows.
//   rows   The last tiles begin 16 rows before the end, so some rows are computed twice and handed on once. With fewer
//          than 16 rows, the tiles have that many rows.
#include "tiles.h"

namespace skn::SKN_ISA {
namespace {

constexpr int64_t kTileRows = 16;

// A group is what a dot product takes of a column at once, 4 bytes: a pair of bfloat16 or four bytes. A tile of W has 16
// groups of the depth for 16 columns.
template <typename Operand>
constexpr int64_t kGroup = std::is_same_v<Operand, Byte> ? 4 : 2;
template <typename Operand>
constexpr int64_t kTileDepth = kTileRows * kGroup<Operand>;

// Sums 0 and 1 are the columns of the upper rows, sums 2 and 3 the columns of the lower rows.
constexpr int kA = 4, kW = 5, kRestA = 6, kRestW = 7;

struct TileShape {
  int64_t rows, rest;  // `rest` in groups
};
// The configuration of the calling thread's tiles. A new configuration costs more than some products of attention.
thread_local TileShape configured = {0, 0};

// A session around everything that a thread computes on tiles. At its end the tiles are released, and the system need
// not save them. A session within a session releases the tiles of both.
class TileSession {
 public:
  TileSession() { configured = {0, 0}; }
  ~TileSession() {
    tiles::release();
    configured = {0, 0};
  }
};

inline void configure(int64_t rows, int64_t rest) {
  if (configured.rows == rows && (rest == 0 || configured.rest == rest)) return;
  configured = {rows, rest};
  tiles::Config config;
  const auto set = [&config](int tile, int64_t height, int64_t bytes) {
    config.rows[tile] = static_cast<uint8_t>(height);
    config.row_bytes[tile] = static_cast<uint16_t>(bytes);
  };
  for (int sums = 0; sums < 4; ++sums) set(sums, rows, 64);
  set(kA, rows, 64);
  set(kW, kTileRows, 64);
  if (rest > 0) {
    set(kRestA, rows, 4 * rest);
    set(kRestW, rest, 64);
  }
  tiles::configure(config);
}

template <int Sums, int A, int W, typename Number>
SKN_INLINE void dot() {
  if constexpr (std::is_same_v<Number, Byte>) {
    tiles::dot_bytes<Sums, A, W>();
  } else {
    tiles::dot<Sums, A, W>();
  }
}

// Sums += A · W over the depth of the tiles A and W. The distances of rows are in bytes.
template <int A, int W, bool Lower, typename Number>
SKN_INLINE void multiply(const Number* upper, const Number* lower, int64_t a_stride, const Number* w, int64_t w_stride) {
  const Number* right = w + kGroup<Number> * kTileRows;  // groups of 16 columns
  tiles::load<A>(upper, a_stride);
  tiles::load<W>(w, w_stride);
  dot<0, A, W, Number>();
  tiles::load<W>(right, w_stride);
  dot<1, A, W, Number>();
  if constexpr (Lower) {
    tiles::load<A>(lower, a_stride);
    dot<3, A, W, Number>();
    tiles::load<W>(w, w_stride);
    dot<2, A, W, Number>();
  }
}

template <int A, int W, bool Lower>
SKN_INLINE void multiply_from(int64_t k, const Byte* upper, const Byte* lower, int64_t lda, const Byte* panel) {
  multiply<A, W, Lower>(upper + k, lower + k, lda, panel + k * kPanel, 4 * kPanel);
}

template <int A, int W, bool Lower>
SKN_INLINE void multiply_from(int64_t k, const Bf16* upper, const Bf16* lower, int64_t lda, const Bf16* panel) {
  multiply<A, W, Lower>(upper + k, lower + k, 2 * lda, panel + k * kPanel, 4 * kPanel);
}

// high · high + low · high + high · low. Split says where the parts are.
template <int A, int W, bool Lower>
SKN_INLINE void multiply_from(int64_t k, const Split* upper, const Split* lower, int64_t lda, const Split* panel) {
  const auto parts = [](const Split* numbers) { return reinterpret_cast<const Bf16*>(numbers); };
  const Bf16 *x = parts(upper) + k, *y = parts(lower) + k;
  const Bf16 *high = parts(panel + k * kPanel), *low = high + 2 * kPanel;
  multiply<A, W, Lower>(x, y, 4 * lda, high, 8 * kPanel);
  multiply<A, W, Lower>(x + lda, y + lda, 4 * lda, high, 8 * kPanel);
  multiply<A, W, Lower>(x, y, 4 * lda, low, 8 * kPanel);
}

// The type of one sum.
template <typename Operand>
using Scalar = std::conditional_t<std::is_same_v<Operand, Byte>, int32_t, float>;

// 16 rows of sums [rows][kPanel] or, with Lower, 32 rows.
template <bool Lower, typename Operand>
__attribute__((noinline)) void block(const Operand* upper, const Operand* lower, int64_t lda, const Operand* panel,
                                     int64_t depth, Scalar<Operand>* sums) {
  tiles::zero<0>();
  tiles::zero<1>();
  if constexpr (Lower) {
    tiles::zero<2>();
    tiles::zero<3>();
  }
  constexpr int64_t step = kTileDepth<Operand>;
  int64_t k = 0;
  for (; k + step <= depth; k += step) multiply_from<kA, kW, Lower>(k, upper, lower, lda, panel);
  if (k < depth) multiply_from<kRestA, kRestW, Lower>(k, upper, lower, lda, panel);
  constexpr int64_t stride = kPanel * 4, half = kPanel / 2;
  tiles::store<0>(sums, stride);
  tiles::store<1>(sums + half, stride);
  if constexpr (Lower) {
    tiles::store<2>(sums + kTileRows * kPanel, stride);
    tiles::store<3>(sums + kTileRows * kPanel + half, stride);
  }
}

// Hands on the rows [first, last) of a panel. `sums` points at the first of these rows.
template <typename Sum, typename Epilogue>
SKN_INLINE void hand_on(int64_t first, int64_t last, int64_t column, const Sum* sums, const Epilogue& epilogue) {
  using Vector = std::conditional_t<std::is_same_v<Sum, float>, V, VI>;
  for (int64_t row = first; row < last; ++row, sums += kPanel) {
    Vector v[kVectors];
    for (int j = 0; j < kVectors; ++j) v[j] = read<Vector>(sums + j * kLanes);
    epilogue(row, column, v);
  }
}

template <typename Operand, typename Epilogue>
void gemm_on_tiles(const Operand* a, int64_t lda, int64_t rows, const Operand* packed, int64_t stride, int64_t panels,
                   int64_t depth, const Epilogue& epilogue) {
  const int64_t height = std::min(rows, kTileRows);
  configure(height, depth % kTileDepth<Operand> / kGroup<Operand>);
  alignas(64) Scalar<Operand> sums[2 * kTileRows * kPanel];
  for (int64_t p = 0; p < panels; ++p) {
    const Operand* panel = packed + p * stride;
    for (int64_t row = 0; row < rows; row += 2 * kTileRows) {
      const int64_t next = row + kTileRows;
      const int64_t upper = std::min(row, rows - height), lower = std::min(next, rows - height);
      if (next < rows) {
        block<true>(a + upper * lda, a + lower * lda, lda, panel, depth, sums);
        hand_on(next, std::min(next + kTileRows, rows), p * kPanel, sums + (kTileRows + next - lower) * kPanel,
                epilogue);
      } else {
        block<false>(a + upper * lda, a, lda, panel, depth, sums);
      }
      hand_on(row, std::min(next, rows), p * kPanel, sums + (row - upper) * kPanel, epilogue);
    }
  }
}

template <typename Epilogue>
void gemm(const Bf16* a, int64_t lda, int64_t rows, const Bf16* packed, int64_t stride, int64_t panels, int64_t depth,
          const Epilogue& epilogue) {
  gemm_on_tiles(a, lda, rows, packed, stride, panels, depth, epilogue);
}

template <typename Epilogue>
void gemm(const Byte* a, int64_t lda, int64_t rows, const Byte* packed, int64_t stride, int64_t panels, int64_t depth,
          const Epilogue& epilogue) {
  gemm_on_tiles(a, lda, rows, packed, stride, panels, depth, epilogue);
}

template <typename Epilogue>
void gemm(const Split* a, int64_t lda, int64_t rows, const Split* packed, int64_t stride, int64_t panels, int64_t depth,
          const Epilogue& epilogue) {
  gemm_on_tiles(a, lda, rows, packed, stride, panels, depth, epilogue);
}

}  // namespace
}  // namespace skn::SKN_ISA
