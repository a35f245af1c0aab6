// kendall_tau by bit matrices of pairs, compiled once for each instruction set.
//
// A pair j < i of a column is one bit, v_j > v_i. If two columns' bits differ, the pair is discordant, unless it is
// tied in one of them: one xor, one and, one popcount for 64 pairs (512 with AVX-512). docs/kernels.md has the full
// description.
#include "aligned.h"
#include "kendall_keys.h"
#include "pair_bits.h"

namespace skn::SKN_ISA {
namespace {

// Words of a bit matrix that are built and counted together: 2 KiB a column, kTogether columns in the first-level
// cache.
constexpr int64_t kChunk = 256;
// Bit matrices that share one reading of the fixed columns' bits.
constexpr int kTogether = 8;
// One vector more than a chunk, so that the matrices fall into different sets of the cache.
constexpr int64_t kChunkPitch = kChunk + 8;

int64_t pitch_of(int64_t n) { return (n + 63) / 64 * 64; }

// The place of a word in a bit matrix: word column and row.
struct Place {
  int64_t column = 0, row = 1;

  // The number of this word column's rows in the next `words` words.
  int64_t rows(int64_t n, int64_t words) const { return std::min(words, n - row); }
  void advance(int64_t n, int64_t rows) {
    row += rows;
    if (row == n) row = 64 * ++column + 1;
  }
  bool inside(int64_t n) const { return row < n; }
};

// Writes the next `words` words of a bit matrix, fewer at its end, and returns the place after them. Bits of no pair (j
// ≥ i) are arbitrary, because the fixed columns hide them.
template <typename T>
Place build(const T* keys, int64_t n, Place place, int64_t words, uint64_t* out) {
  while (words > 0 && place.inside(n)) {
    const int64_t rows = place.rows(n, words);
    greater_bits(keys + 64 * place.column, keys + place.row, rows, out);
    place.advance(n, rows);
    out += rows;
    words -= rows;
  }
  return place;
}

template <typename T>
void reverse(const T* keys, int64_t n, T* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = ~keys[i];
}

// Hides the bits j ≥ i of the first rows of a word column.
void clear_diagonal(uint64_t* matrix, int64_t n) {
  int64_t start = 0;
  for (int64_t first = 1; first < n; first += 64) {
    const int64_t rows = n - first;
    for (int64_t r = 0; r < std::min<int64_t>(63, rows); ++r) matrix[start + r] &= (uint64_t{2} << r) - 1;
    start += rows;
  }
}

template <typename Stored>
void prepare(const KendallArgs& args, int64_t first, int64_t last) {
  const int64_t n = args.n, words = kendall_words(n), pitch = pitch_of(n);
  const Array<Key<Stored>> keys(pitch), reversed(pitch);
  const Array<GroupTable> table(1);
  for (int64_t a = first; a < last; ++a) {
    uint64_t* greater = reinterpret_cast<uint64_t*>(args.prepared + a * kendall_bits_bytes(n));
    uint64_t* valid = greater + words;
    load_columns<Stored>(args.fixed, n, a, 1, pitch, keys);
    reverse<Key<Stored>>(keys, n, reversed);
    std::fill_n(greater, 2 * words, uint64_t{0});
    build<Key<Stored>>(keys, n, {}, words, greater);
    build<Key<Stored>>(reversed, n, {}, words, valid);
    for (int64_t k = 0; k < words; ++k) valid[k] |= greater[k];
    clear_diagonal(valid, n);

    int64_t ties[3] = {};
    const bool nan = has_nan<Key<Stored>>(keys, n);
    if (!nan && group_sizes<Key<Stored>>(keys, n, *table) < n) {
      for (int64_t i = 0; i < n; ++i) add_group(table[0].size[i], ties);
    }
    set_facts(args.fixed_facts, a, n, nan, ties);
  }
}

// A bit matrix that is still to be built.
struct Matrix {
  const void* keys;
  bool wide;  // int64 and not int32
};

Place build(const Matrix& matrix, int64_t n, Place place, int64_t words, uint64_t* out) {
  if (matrix.wide) return build(static_cast<const int64_t*>(matrix.keys), n, place, words, out);
  return build(static_cast<const int32_t*>(matrix.keys), n, place, words, out);
}

// Adds, for C matrices, the valid pairs that differ from a fixed column. The sums stay in registers.
template <int C>
void add_differing(const uint64_t* __restrict bits, const uint64_t* __restrict greater,
                   const uint64_t* __restrict valid, int64_t words, int64_t* __restrict out, int64_t stride) {
  int64_t sum[C] = {};
  for (int64_t k = 0; k < words; ++k) {
    for (int c = 0; c < C; ++c) sum[c] += ones((bits[c * kChunkPitch + k] ^ greater[k]) & valid[k]);
  }
  for (int c = 0; c < C; ++c) out[c * stride] += sum[c];
}

// The matrices of one unit of columns, and the result for each column.
class Unit {
 public:
  explicit Unit(const KendallArgs& args)
      : args_(args),
        pitch_(pitch_of(args.n)),
        keys_(kKendallUnit * pitch_),
        reversed_(kKendallUnit * pitch_),
        narrow_(args.column.element == Element::f64 ? kKendallUnit * pitch_ : 0),
        bits_(kTogether * kChunkPitch),
        differing_(2 * kKendallUnit * args.fixed.count),
        table_(1) {}

  template <typename Stored>
  void run(int64_t first, int64_t count) {
    Key<Stored>* const keys = reinterpret_cast<Key<Stored>*>(static_cast<int64_t*>(keys_));
    load_columns<Stored>(args_.column, args_.n, first, count, pitch_, keys);
    matrices_ = 0;
    for (int64_t c = 0; c < count; ++c) add_column(keys + c * pitch_, c, first + c);
    count_differing();
    for (int64_t c = 0; c < count; ++c) write_column(c, first + c);
  }

 private:
  // A column without ties needs one matrix. A column with ties also needs the matrix of the reversed order. The pairs
  // that differ from y in the reversed matrix are the concordant pairs and some of the tied pairs. The pairs that
  // differ in the plain matrix are the discordant pairs and as many of the tied pairs. The difference of the two counts
  // is the concordance.
  template <typename T>
  void add_column(const T* keys, int64_t c, int64_t column) {
    const int64_t n = args_.n;
    int64_t ties[3] = {};
    begin_[c] = matrices_;
    const bool nan = has_nan(keys, n);
    bool tied = false;
    const Matrix matrix = nan ? Matrix{} : shortest(keys, c, tied);
    if (tied) {
      for (int64_t i = 0; i < n; ++i) add_group(table_[0].size[i], ties);
    }
    set_facts(args_.column_facts, column, n, nan, ties);
    const double root = args_.column_facts.root[column];
    if (root == root) {
      matrix_[matrices_++] = matrix;
      if (tied) matrix_[matrices_++] = reversed(matrix, c);
    }
    begin_[c + 1] = matrices_;
  }

  Matrix shortest(const int32_t* keys, int64_t, bool& tied) {
    tied = group_sizes(keys, args_.n, *table_) < args_.n;
    return {keys, false};
  }

  // Rounding to float32 keeps the order, but it can make different values equal. If it does not, which is nearly always
  // the case, comparisons of 32 bits suffice.
  Matrix shortest(const int64_t* keys, int64_t c, bool& tied) {
    const int64_t n = args_.n;
    int32_t* const narrow = narrow_ + c * pitch_;
    for (int64_t i = 0; i < n; ++i) narrow[i] = key_of(static_cast<float>(value_of(keys[i])));
    const int64_t narrow_groups = group_sizes(narrow, n, *table_);
    if (narrow_groups == n) return {narrow, false};
    const int64_t groups = group_sizes(keys, n, *table_);
    tied = groups < n;
    if (groups == narrow_groups) return {narrow, false};
    return {keys, true};
  }

  Matrix reversed(const Matrix& matrix, int64_t c) {
    int64_t* const out = reversed_ + c * pitch_;
    if (matrix.wide) {
      reverse(static_cast<const int64_t*>(matrix.keys), args_.n, out);
    } else {
      reverse(static_cast<const int32_t*>(matrix.keys), args_.n, reinterpret_cast<int32_t*>(out));
    }
    return {out, matrix.wide};
  }

  // Chunk by chunk, so that a chunk of the fixed columns comes from the second-level cache for all of the unit's
  // matrices except the first, and the matrices never leave the first-level cache.
  void count_differing() {
    const int64_t words = kendall_words(args_.n);
    std::fill_n(static_cast<int64_t*>(differing_), matrices_ * args_.fixed.count, int64_t{0});
    Place place;
    for (int64_t start = 0; start < words; start += kChunk) {
      const int64_t chunk = std::min(kChunk, words - start);
      Place next = place;
      for (int64_t m = 0; m < matrices_; m += kTogether) {
        const int64_t together = std::min<int64_t>(kTogether, matrices_ - m);
        for (int64_t t = 0; t < together; ++t) {
          next = build(matrix_[m + t], args_.n, place, chunk, bits_ + t * kChunkPitch);
        }
        count_chunk(m, together, start, chunk);
      }
      place = next;
    }
  }

  void count_chunk(int64_t m, int64_t together, int64_t start, int64_t chunk) {
    const int64_t stride = args_.fixed.count, all = kendall_words(args_.n);
    for (int64_t a = 0; a < stride; ++a) {
      const uint64_t* greater = reinterpret_cast<const uint64_t*>(args_.prepared) + 2 * all * a + start;
      int64_t* out = differing_ + m * stride + a;
      if (together == kTogether) {
        add_differing<kTogether>(bits_, greater, greater + all, chunk, out, stride);
        continue;
      }
      for (int64_t t = 0; t < together; ++t) {
        add_differing<1>(bits_ + t * kChunkPitch, greater, greater + all, chunk, out + t * stride, stride);
      }
    }
  }

  void write_column(int64_t c, int64_t column) {
    const int64_t stride = args_.fixed.count, pairs = args_.n * (args_.n - 1) / 2;
    const int64_t matrices = begin_[c + 1] - begin_[c];
    const int64_t* const here = differing_ + begin_[c] * stride;
    for (int64_t a = 0; a < stride; ++a) {
      int64_t concordance = 0;
      if (matrices == 1) concordance = pairs - args_.fixed_facts.ties[3 * a] - 2 * here[a];
      if (matrices == 2) concordance = here[stride + a] - here[a];
      write_pair(args_, column, a, concordance);
    }
  }

  const KendallArgs& args_;
  const int64_t pitch_;
  const Array<int64_t> keys_, reversed_;
  const Array<int32_t> narrow_;
  const Array<uint64_t> bits_;
  const Array<int64_t> differing_;
  const Array<GroupTable> table_;
  Matrix matrix_[2 * kKendallUnit];
  int64_t begin_[kKendallUnit + 1];  // each column's matrices
  int64_t matrices_ = 0;
};

}  // namespace

void kendall_prepare(const KendallArgs& args, int64_t first, int64_t last) {
  dispatch(args.fixed.element, [&](auto* stored) {
    prepare<std::remove_cv_t<std::remove_pointer_t<decltype(stored)>>>(args, first, last);
  });
}

void kendall_tau(const KendallArgs& args, int64_t first, int64_t last) {
  Unit unit(args);
  dispatch(args.column.element, [&](auto* stored) {
    for (int64_t u = first; u < last; ++u) {
      const int64_t column = u * kKendallUnit, count = std::min(kKendallUnit, args.column.count - column);
      unit.run<std::remove_cv_t<std::remove_pointer_t<decltype(stored)>>>(column, count);
    }
  });
}

}  // namespace skn::SKN_ISA
