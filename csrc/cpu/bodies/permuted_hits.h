// permuted_hits, compiled once for each instruction set.
//
// The lanes of a vector are neighbouring groups. count_words.h and count_nibbles.h count, this file judges the counts.
// docs/kernels.md has the full description.
#include "aligned.h"
#include "vectors64.h"
#if SKN_LEVEL == 1 || SKN_LEVEL == 2
#include "count_nibbles.h"
#else
#include "count_words.h"
#endif

namespace skn::SKN_ISA {
namespace {

constexpr int64_t kGroups = kPermutedUnit;

// Of each labelling of a block and each group: statistic and excess.
struct Found {
  alignas(64) double value[kBlock][2][kGroups];

  void clear() { std::memset(value, 0, sizeof value); }
  void add(const Found& other) {
    each([](double a, double b) { return a + b; }, other);
  }
  void lower(const Found& other) {
    each([](double a, double b) { return b < a ? b : a; }, other);
  }
  void divide(double by) {
    double* const mine = value[0][0];
    for (int64_t i = 0; i < 2 * kBlock * kGroups; ++i) mine[i] /= by;
  }

 private:
  template <typename Join>
  void each(const Join& join, const Found& other) {
    double* const mine = value[0][0];
    const double* const its = other.value[0][0];
    for (int64_t i = 0; i < 2 * kBlock * kGroups; ++i) mine[i] = join(mine[i], its[i]);
  }
};

// The facts of 32 columns, one of each group, that no labelling changes.
struct Columns {
  alignas(64) double ones[kGroups];
  alignas(64) double scale[kGroups];  // one over the spread; 0 for a constant column
};

class Unit {
 public:
  explicit Unit(const PermutedArgs& args)
      : args_(args),
        of_mask_(args.width * kPieces),
        pieces_(args.runs * args.positions * of_mask_ * kGroups),
        masks_(kBlock * args.sides * of_mask_),
        columns_(args.runs * args.positions),
        hits_(args.sides * kColumns * kRows * kGroups),
        found_(2) {}

  void run(int64_t first, double* greatest) {
    first_ = first;
    count_ = std::min(kGroups, args_.groups - first);
    gather();
    for (int64_t m = 0; m < args_.labellings; m += kBlock) {
      const int64_t labellings = std::min(kBlock, args_.labellings - m);
      spread_masks(m, labellings);
      const Found& joined = judge(labellings);
      if (m == 0) keep_own(joined);
      compare(joined, m, labellings, greatest);
    }
    std::copy_n(reached_, count_, args_.reached + first);
  }

 private:
  // Copies the unit's words to one place, where rows do not compete for the same lines of the cache. Lanes without a
  // group stay 0, like a constant column.
  void gather() {
    const int64_t width = args_.width, positions = args_.positions;
    alignas(64) uint64_t row[kGroups] = {};
    for (int64_t column = 0; column < args_.runs * positions; ++column) {
      const int64_t r = column / positions, p = column % positions;
      int64_t ones[kGroups] = {};
      for (int64_t w = 0; w < width; ++w) {
        std::copy_n(args_.words + ((r * width + w) * positions + p) * args_.groups + first_, count_, row);
        for (int64_t g = 0; g < count_; ++g) ones[g] += __builtin_popcountll(row[g]);
        spread_word(row, pieces_ + (column * of_mask_ + w * kPieces) * kGroups);
      }
      add_facts(ones, columns_[column]);
    }
  }

  void add_facts(const int64_t* counted, Columns& columns) {
    const double n = static_cast<double>(args_.examples);
    for (int64_t g = 0; g < kGroups; ++g) {
      const double ones = static_cast<double>(counted[g]);
      // The products are exact, so a column ties with its complement.
      const double spread = std::sqrt(ones * (n - ones) / (n * (n - 1.0)));
      columns.ones[g] = ones;
      columns.scale[g] = ones == 0.0 || ones == n ? 0.0 : 1.0 / spread;
    }
  }

  // Behind the last labelling, the last one again.
  void spread_masks(int64_t m, int64_t labellings) {
    for (int64_t row = 0; row < labellings; row += kRows) {
      for (int64_t s = 0; s < args_.sides; ++s) {
        const uint64_t* mask[kRows];
        for (int64_t i = 0; i < kRows; ++i) {
          mask[i] = args_.masks + ((m + std::min(row + i, labellings - 1)) * args_.sides + s) * args_.width;
        }
        together(mask, args_.width, masks_of(row, s));
      }
    }
  }

  // Those of kRows labellings from `row` on.
  Piece* masks_of(int64_t row, int64_t side) const { return masks_ + (row * args_.sides + side * kRows) * of_mask_; }

  // The joined values of the labellings whose masks are spread.
  const Found& judge(int64_t labellings) {
    Found& joined = found_[0];
    for (int64_t r = 0; r < args_.runs; ++r) {
      Found& best = found_[r == 0 ? 0 : 1];
      best.clear();
      for (int64_t p = 0; p < args_.positions; p += kColumns) {
        judge_columns(r * args_.positions + p, std::min(kColumns, args_.positions - p), labellings, best);
      }
      if (r == 0) continue;
      if (args_.lowest) {
        joined.lower(best);
      } else {
        joined.add(best);
      }
    }
    if (!args_.lowest && args_.runs > 1) joined.divide(static_cast<double>(args_.runs));
    return joined;
  }

  // Judges `count` neighbouring columns of each group.
  void judge_columns(int64_t column, int64_t count, int64_t labellings, Found& best) {
    for (int64_t row = 0; row < labellings; row += kRows) {
      for (int64_t s = 0; s < args_.sides; ++s) {
        count_bits(pieces_ + column * of_mask_ * kGroups, count, masks_of(row, s), args_.width, hits_of(s, 0));
      }
      for (int64_t c = 0; c < count; ++c) raise(columns_[column + c], c, row, best);
    }
  }

  // Those of kRows labellings and kGroups groups.
  double* hits_of(int64_t side, int64_t column) const { return hits_ + (side * kColumns + column) * kRows * kGroups; }

  // Raises the values of kRows labellings to those of a column of each group, whose hits are in place c.
  void raise(const Columns& columns, int64_t c, int64_t row, Found& best) {
    for (int64_t k = 0; k < args_.contrasts; ++k) {
      const Contrast of = args_.contrast[k];  // a copy, which no store below can change
      const bool rest = of.negative < 0;
      const double* const hits = hits_of(of.positive, c);
      const double* const others = rest ? columns.ones : hits_of(of.negative, c);
      for (int64_t i = 0; i < kRows; ++i) {
        double* const statistics = best.value[row + i][0];
        double* const excesses = best.value[row + i][1];
        for (int64_t g = 0; g < kGroups; g += kWide) {
          const VD other = read<VD>(others + (rest ? 0 : i * kGroups) + g);
          const VD difference = magnitude(read<VD>(hits + i * kGroups + g) * of.a - other * of.b);
          write(statistics + g, max(read<VD>(statistics + g), difference * of.unit * read<VD>(columns.scale + g)));
          write(excesses + g, max(read<VD>(excesses + g), difference * of.weight));
        }
      }
    }
  }

  // The values of labelling 0.
  void keep_own(const Found& joined) {
    for (int64_t which = 0; which < 2; ++which) {
      std::copy_n(joined.value[0][which], count_, args_.own + which * args_.groups + first_);
    }
    for (int64_t g = 0; g < kGroups; ++g) own_[g] = joined.value[0][0][g] * kReaches;
    std::fill_n(reached_, kGroups, int64_t{0});
  }

  void compare(const Found& joined, int64_t m, int64_t labellings, double* greatest) {
    for (int64_t i = m == 0 ? 1 : 0; i < labellings; ++i) {
      for (int64_t g = 0; g < kGroups; ++g) reached_[g] += joined.value[i][0][g] >= own_[g];
      for (int64_t which = 0; which < 2; ++which) {
        double& most = greatest[which * (args_.labellings - 1) + m + i - 1];
        most = std::max(most, highest(joined.value[i][which]));
      }
    }
  }

  static double highest(const double* value) {
    VD most = read<VD>(value);
    for (int64_t g = kWide; g < kGroups; g += kWide) most = max(most, read<VD>(value + g));
    double found = most[0];
    for (int64_t i = 1; i < kWide; ++i) found = most[i] > found ? most[i] : found;
    return found;
  }

  const PermutedArgs& args_;
  const int64_t of_mask_;       // pieces of a mask, and of a column
  const Array<Piece> pieces_;   // [run and position, of_mask_, kGroups]
  const Array<Piece> masks_;    // [kBlock / kRows, sides, of_mask_, kRows]
  const Array<Columns> columns_;
  const Array<double> hits_;  // [sides, kColumns, kRows, kGroups]
  const Array<Found> found_;
  alignas(64) double own_[kGroups];
  alignas(64) int64_t reached_[kGroups];
  int64_t first_ = 0, count_ = 0;
};

}  // namespace

void permuted_hits(const PermutedArgs& args, int64_t first, int64_t last, double* greatest) {
  Unit unit(args);
  for (int64_t u = first; u < last; ++u) unit.run(u * kPermutedUnit, greatest);
}

}  // namespace skn::SKN_ISA
