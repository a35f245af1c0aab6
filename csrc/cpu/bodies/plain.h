// C = A · Wᵀ for few rows of A and W as it is stored, [N, K]. Rows of A and rows of W are both read along K, so a sum is a
// vector, whose lanes are added at the end. With few rows, reading W takes the time, and packing W would read it once more.

namespace skn::SKN_ISA {
namespace {

constexpr int kPlainColumns = 4;  // of a tile: rows of W
#if SKN_LEVEL >= 3
constexpr int kPlainRows = 6;
#else
constexpr int kPlainRows = 2;
#endif
constexpr int kChunkRows = 8 * kPlainRows;  // rows of A that share the reading of a panel's columns

SKN_INLINE V read_step(const float* source) { return read<V>(source); }
SKN_INLINE VI read_step(const Bf16* source) { return read<VI>(source); }
SKN_INLINE V add_step(V x, V w, V acc) { return fma(x, w, acc); }
SKN_INLINE V add_step(VI x, VI w, V acc) { return dot_pairs(x, w, acc); }

template <typename Operand>
constexpr int64_t kStep = kLanes * 4 / static_cast<int64_t>(sizeof(Operand));

// The first two, or the last two, numbers of each four of `a` and `b`, one of `a` beside one of `b`.
SKN_INLINE V mixed(V a, V b, bool last) {
#if SKN_LEVEL >= 1
  return last ? SKN_PAIRS(unpackhi, (Lanes)a, (Lanes)b) : SKN_PAIRS(unpacklo, (Lanes)a, (Lanes)b);
#else
  return last ? (V)SKN_SHUFFLE((Units)a, (Units)b, 2, 6, 3, 7) : (V)SKN_SHUFFLE((Units)a, (Units)b, 0, 4, 1, 5);
#endif
}

// The same, two of `a` beside two of `b`.
SKN_INLINE V joined(V a, V b, bool last) {
#if SKN_LEVEL >= 1
  return last ? SKN_PAIRS(shuffle, (Lanes)a, (Lanes)b, 0xee) : SKN_PAIRS(shuffle, (Lanes)a, (Lanes)b, 0x44);
#else
  return last ? (V)SKN_SHUFFLE((Units)a, (Units)b, 2, 3, 6, 7) : (V)SKN_SHUFFLE((Units)a, (Units)b, 0, 1, 4, 5);
#endif
}

// Writes the sums of the lanes of four vectors.
SKN_INLINE void sum_four(V a, V b, V c, V d, float* target) {
  typedef float Quad __attribute__((vector_size(16)));
  const V ab = mixed(a, b, false) + mixed(a, b, true), cd = mixed(c, d, false) + mixed(c, d, true);
  const V fours = joined(ab, cd, false) + joined(ab, cd, true);
#if SKN_LEVEL >= 3
  const __m256 half = _mm512_castps512_ps256((Lanes)fours) + _mm512_extractf32x8_ps((Lanes)fours, 1);
#elif SKN_LEVEL >= 1
  const __m256 half = (Lanes)fours;
#endif
#if SKN_LEVEL >= 1
  write(target, (Quad)_mm256_castps256_ps128(half) + (Quad)_mm256_extractf128_ps(half, 1));
#else
  write(target, fours);
#endif
}

// Four rows of W, and their last numbers beyond whole steps, followed by zeros.
template <typename Operand>
struct PlainColumns {
  const Operand* row[kPlainColumns];
  Operand rest[kPlainColumns][kStep<Operand>];

  // The rows `w`, `ldw` apart, the last of them again and again beyond `n` rows.
  void take(const Operand* w, int64_t ldw, int64_t n, int64_t depth) {
    const int64_t whole = depth / kStep<Operand> * kStep<Operand>;
    for (int j = 0; j < kPlainColumns; ++j) {
      row[j] = w + std::min<int64_t>(j, n - 1) * ldw;
      if (whole == depth) continue;
      std::memset(rest[j], 0, sizeof rest[j]);
      std::memcpy(rest[j], row[j] + whole, (depth - whole) * sizeof(Operand));
    }
  }
};

// Widens whole steps of pairs: of each step the first numbers of the pairs, and then the second, as dot_pairs adds them.
inline void widen_steps(const Bf16* x, int64_t n, float* wide) {
  const VI high = VI{} + static_cast<int32_t>(0xffff0000u);
  for (int64_t k = 0; k < n; k += kStep<Bf16>) {
    const VI pairs = read<VI>(x + k);
    write(wide + k, pairs << 16);
    write(wide + k + kLanes, pairs & high);
  }
}

// Four rows of W, widened.
struct WidePlainColumns : PlainColumns<float> {
  alignas(64) float wide[kPlainColumns][kDeepest];

  void take(const Bf16* w, int64_t ldw, int64_t n, int64_t depth) {
    PlainColumns<Bf16> narrow;
    narrow.take(w, ldw, n, depth);
    const int64_t whole = depth / kStep<Bf16> * kStep<Bf16>;
    for (int j = 0; j < kPlainColumns; ++j) {
      widen_steps(narrow.row[j], whole, wide[j]);
      if (whole < depth) widen_steps(narrow.rest[j], kStep<Bf16>, wide[j] + whole);
      row[j] = wide[j];
    }
  }
};

// Adds up `depth` numbers of `Rows` rows of A and of four rows of W. A is zero, or any finite number, beyond them.
template <int Rows, typename Operand>
__attribute__((noinline)) void plain_tile(const Operand* a, int64_t lda, const PlainColumns<Operand>& w, int64_t depth,
                                          float* sums) {
  V acc[Rows][kPlainColumns];
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kPlainColumns; ++c) acc[r][c] = V{};
  }
  const int64_t whole = depth / kStep<Operand> * kStep<Operand>;
  const Operand *w0 = w.row[0], *w1 = w.row[1], *w2 = w.row[2], *w3 = w.row[3];
  int64_t k = 0;
  for (int64_t end = whole;; end = depth) {  // whole steps, and then the rest
    for (; k < end; k += kStep<Operand>) {
      const auto x0 = read_step(w0 + k), x1 = read_step(w1 + k), x2 = read_step(w2 + k), x3 = read_step(w3 + k);
#pragma GCC unroll 6
      for (int r = 0; r < Rows; ++r) {
        const auto y = read_step(a + r * lda + k);
        acc[r][0] = add_step(y, x0, acc[r][0]);
        acc[r][1] = add_step(y, x1, acc[r][1]);
        acc[r][2] = add_step(y, x2, acc[r][2]);
        acc[r][3] = add_step(y, x3, acc[r][3]);
      }
    }
    if (k >= depth) break;
    w0 = w.rest[0] - whole, w1 = w.rest[1] - whole, w2 = w.rest[2] - whole, w3 = w.rest[3] - whole;
  }
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r) sum_four(acc[r][0], acc[r][1], acc[r][2], acc[r][3], sums + r * kPanel);
}

template <int Rows, typename Operand>
SKN_INLINE void last_plain_rows(int64_t rows, const Operand* a, int64_t lda, const PlainColumns<Operand>& w,
                                int64_t depth, float* sums) {
  if constexpr (Rows > 0) {
    if (rows == Rows) return plain_tile<Rows, Operand>(a, lda, w, depth, sums);
    last_plain_rows<Rows - 1, Operand>(rows, a, lda, w, depth, sums);
  }
}

// Asks for the lines of four rows of W, a share of them before each tile, so that they arrive while tiles are computed.
template <typename Operand>
SKN_INLINE void fetch(const Operand* w, int64_t ldw, int64_t depth, int64_t part, int64_t parts) {
  const int64_t bytes = depth * sizeof(Operand), from = bytes * part / parts / 64 * 64, to = bytes * (part + 1) / parts;
  for (int c = 0; c < kPlainColumns; ++c) {
    const char* row = reinterpret_cast<const char*>(w + c * ldw);
    for (int64_t byte = from; byte < to; byte += 64) __builtin_prefetch(row + byte, 0, 2);
  }
}

// Calls epilogue(row, column, sums) as gemm does. `w` is the first row of W that is read, and `n` is how many rows of W there
// are from there. The sums of columns beyond them are zero. `ahead` says how many panels lie between one panel and the next
// that this thread will probably read. `columns` reads rows of W in the form that A has, `deep` numbers of each.
template <typename Columns, typename Rows, typename Operand, typename Epilogue>
void plain_gemm(Columns& columns, const Rows* a, int64_t lda, int64_t rows, const Operand* w, int64_t ldw, int64_t n,
                int64_t panels, int64_t depth, int64_t deep, int64_t ahead, const Epilogue& epilogue) {
  alignas(64) float sums[kChunkRows][kPanel];
  for (int64_t p = 0; p < panels; ++p) {
    for (int64_t chunk = 0; chunk < rows; chunk += kChunkRows) {
      const int64_t count = std::min<int64_t>(kChunkRows, rows - chunk);
      for (int64_t c = 0; c < kPanel; c += kPlainColumns) {
        const int64_t first = p * kPanel + c, tiles = (count + kPlainRows - 1) / kPlainRows;
        columns.take(w + std::min(first, n - 1) * ldw, ldw, std::max<int64_t>(1, n - first), depth);
        const bool last = c + kPlainColumns == kPanel;
        const int64_t next = first + kPlainColumns + (last ? (ahead - 1) * kPanel : 0);
        const bool more = chunk == 0 && next + kPlainColumns <= n;
        for (int64_t t = 0, r = 0; r < count; ++t, r += kPlainRows) {
          if (more) fetch(w + next * ldw, ldw, depth, t, tiles);
          const Rows* from = a + (chunk + r) * lda;
          if (count - r >= kPlainRows) {
            plain_tile<kPlainRows, Rows>(from, lda, columns, deep, &sums[r][c]);
          } else {
            last_plain_rows<kPlainRows - 1, Rows>(count - r, from, lda, columns, deep, &sums[r][c]);
          }
        }
      }
      for (int64_t r = 0; r < count; ++r) {
        for (int64_t c = std::max<int64_t>(0, n - p * kPanel); c < kPanel; ++c) sums[r][c] = 0;
        V row[kVectors];
        for (int j = 0; j < kVectors; ++j) row[j] = load(sums[r] + j * kLanes);
        epilogue(chunk + r, p * kPanel, row);
      }
    }
  }
}

}  // namespace
}  // namespace skn::SKN_ISA
