// Softmax(q·kᵀ / √d)·v of one head of one sequence, a block of queries at a time.

namespace skn::SKN_ISA {
namespace {

template <typename Stored>
struct AttentionScratch {
  Stored* queries;  // [kQueries, padded depth]
  Stored* keys;    // packed [panels(S)][d][kPanel]
  Stored* values;  // packed [panels(d)][S][kPanel]
  float* scores;   // [kQueries, round_up(S, kPanel)]
  Stored* weights;  // as scores
};

// Four units of each of four rows become four units of each of four rows of a panel.
SKN_INLINE void transpose_units(const char* source, int64_t row_bytes, int32_t* panel) {
  const Units a = read<Units>(source), b = read<Units>(source + row_bytes);
  const Units c = read<Units>(source + 2 * row_bytes), d = read<Units>(source + 3 * row_bytes);
  const Units ab = SKN_SHUFFLE(a, b, 0, 4, 1, 5), cd = SKN_SHUFFLE(c, d, 0, 4, 1, 5);
  const Units ab2 = SKN_SHUFFLE(a, b, 2, 6, 3, 7), cd2 = SKN_SHUFFLE(c, d, 2, 6, 3, 7);
  write(panel, SKN_SHUFFLE(ab, cd, 0, 1, 4, 5));
  write(panel + kPanel, SKN_SHUFFLE(ab, cd, 2, 3, 6, 7));
  write(panel + 2 * kPanel, SKN_SHUFFLE(ab2, cd2, 0, 1, 4, 5));
  write(panel + 3 * kPanel, SKN_SHUFFLE(ab2, cd2, 2, 3, 6, 7));
}

// Rows of `source` [n, depth] become the columns of panels, as pack does it for a weight.
template <typename Stored>
void pack_rows(const Stored* source, int64_t ld, int64_t n, int64_t depth, Stored* packed) {
  constexpr int64_t pair = kPair<Stored>;
  const int64_t deep = padded_depth<Stored>(depth), whole = depth / (4 * pair) * (4 * pair);
  for (int64_t p = 0; p < panels(n); ++p) {
    Stored* panel = packed + p * deep * kPanel;
    const int64_t columns = std::min(kPanel, n - p * kPanel), fours = columns / 4 * 4;
    if (columns < kPanel || deep > depth) std::memset(panel, 0, deep * kPanel * sizeof(Stored));
    for (int64_t c = 0; c < fours; c += 4) {
      const Stored* rows = source + (p * kPanel + c) * ld;
      for (int64_t k = 0; k < whole; k += 4 * pair) {
        transpose_units(reinterpret_cast<const char*>(rows + k), ld * sizeof(Stored),
                        reinterpret_cast<int32_t*>(panel + k * kPanel) + c);
      }
    }
    for (int64_t c = 0; c < columns; ++c) {
      const Stored* row = source + (p * kPanel + c) * ld;
      for (int64_t k = c < fours ? whole : 0; k < depth; ++k) panel[(k / pair * kPanel + c) * pair + k % pair] = row[k];
    }
  }
}

// A row of a panel from a row of float32, or from the pairs of two rows of bfloat16.
SKN_INLINE void copy_units(const float* row, int64_t, float* panel) { std::memcpy(panel, row, kPanel * sizeof *row); }

SKN_INLINE void copy_units(const Bf16* row, int64_t ld, Bf16* panel) {
  for (int64_t c = 0; c < kPanel; c += kLanes) {
    const VI first = __builtin_convertvector(read<VH>(row + c), VI);
    const VI second = __builtin_convertvector(read<VH>(row + ld + c), VI);
    write(panel + 2 * c, first | second << 16);
  }
}

// Columns of `source` [depth, n] become the columns of panels.
template <typename Stored>
void pack_columns(const Stored* source, int64_t ld, int64_t depth, int64_t n, Stored* packed) {
  constexpr int64_t pair = kPair<Stored>;
  const int64_t deep = padded_depth<Stored>(depth);
  for (int64_t p = 0; p < panels(n); ++p) {
    Stored* panel = packed + p * deep * kPanel;
    const int64_t columns = std::min(kPanel, n - p * kPanel), whole = columns < kPanel ? 0 : depth / pair * pair;
    if (columns < kPanel || deep > depth) std::memset(panel, 0, deep * kPanel * sizeof(Stored));
    for (int64_t k = 0; k < whole; k += pair) copy_units(source + k * ld + p * kPanel, ld, panel + k * kPanel);
    for (int64_t k = whole; k < depth; ++k) {
      const Stored* row = source + k * ld + p * kPanel;
      Stored* target = panel + k / pair * kPanel * pair + k % pair;
      for (int64_t c = 0; c < columns; ++c) target[c * pair] = row[c];
    }
  }
}

// Rows [n, depth] followed by zeros up to `deep`.
template <typename Stored>
void pad_rows(const Stored* source, int64_t ld, int64_t n, int64_t depth, int64_t deep, Stored* padded) {
  for (int64_t r = 0; r < n; ++r) {
    std::memcpy(padded + r * deep, source + r * ld, depth * sizeof(Stored));
    std::memset(padded + r * deep + depth, 0, (deep - depth) * sizeof(Stored));
  }
}

// Turns `n` scores into weights that sum to 1, followed by zeros up to `padded`.
template <typename Stored>
void softmax(float* score, int64_t n, int64_t padded, Stored* weight) {
  for (int64_t j = n; j < padded; ++j) score[j] = -std::numeric_limits<float>::infinity();
  V best = set1(-std::numeric_limits<float>::infinity());
  for (int64_t j = 0; j < padded; j += kLanes) best = max(best, load(score + j));
  const V top = set1(highest(best));
  V total = {};
  for (int64_t j = 0; j < padded; j += kLanes) {
    const V scored = load(score + j);
    const V e = scored > set1(-std::numeric_limits<float>::infinity()) ? exp(scored - top) : V{};
    total += scored == scored ? e : scored;  // a NaN stays visible
    store(score + j, e);
  }
  const V inverse = set1(1.f / sum(total));
  for (int64_t j = 0; j < padded; j += kLanes) store(weight + j, load(score + j) * inverse);
}

// q [queries, d], k and v [S, d] and the result [queries, d] are columns of wider arrays, `ld` apart.
template <typename Stored, typename Result>
void attend(const Stored* q, int64_t queries, const Stored* k, const Stored* v, int64_t length, int64_t d, int64_t ld,
            const AttentionScratch<Stored>& scratch, Result* out) {
  const int64_t wide = round_up(length, kPanel);
  const int64_t head_depth = padded_depth<Stored>(d), key_depth = padded_depth<Stored>(length);
  pack_rows(k, ld, length, d, scratch.keys);
  pack_columns(v, ld, length, d, scratch.values);
  const V scale = set1(1.f / std::sqrt(static_cast<float>(d)));
  for (int64_t first = 0; first < queries; first += kQueries) {
    const int64_t rows = std::min(kQueries, queries - first);
    const Stored* block = q + first * ld;
    const bool whole = head_depth == d;
    // Columns after a head belong to another head or another sequence. Multiplied with the keys' zero, a NaN there
    // would stay a NaN.
    if (!whole) pad_rows(block, ld, rows, d, head_depth, scratch.queries);
    gemm(whole ? block : scratch.queries, whole ? ld : head_depth, rows, scratch.keys, head_depth * kPanel,
         panels(length), head_depth,
         [&](int64_t row, int64_t column, const V* sums) {
           float* target = scratch.scores + row * wide + column;
           for (int j = 0; j < kVectors; ++j) store(target + j * kLanes, sums[j] * scale);
         });
    for (int64_t row = 0; row < rows; ++row) {
      softmax(scratch.scores + row * wide, length, wide, scratch.weights + row * wide);
    }
    gemm(scratch.weights, wide, rows, scratch.values, key_depth * kPanel, panels(d), key_depth,
         [&](int64_t row, int64_t column, const V* sums) {
           Result* target = out + (first + row) * ld + column;
           if (column + kPanel <= d) {
             for (int j = 0; j < kVectors; ++j) store(target + j * kLanes, sums[j]);
             return;
           }
           Result whole[kPanel];  // the next head's columns begin within this panel
           for (int j = 0; j < kVectors; ++j) store(whole + j * kLanes, sums[j]);
           std::memcpy(target, whole, (d - column) * sizeof(Result));
         });
  }
}

}  // namespace
}  // namespace skn::SKN_ISA
