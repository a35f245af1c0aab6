// permuted_hits, compiled once for each instruction set.
//
// The lanes of a vector are neighbouring groups. One and and one popcount make hits of a word of 64 examples.
// docs/kernels.md has the full description.
#include "aligned.h"
#include "count_bits.h"

namespace skn::SKN_ISA {
namespace {

constexpr int64_t kGroups = kPermutedUnit;
// Labellings whose greatest values stay in the first-level cache while the positions go by.
constexpr int64_t kBlock = 32;

// Of each labelling and group: statistic and excess.
struct Found {
  alignas(64) double value[2][kBlock][kGroups];

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
        words_(args.runs * args.positions * args.width * kGroups),
        columns_(args.runs * args.positions),
        hits_(args.sides * kRows * kGroups),
        every_(args.width),
        found_(2) {
    std::memset(static_cast<void*>(every_), 0xff, args.width * sizeof(uint64_t));
  }

  void run(int64_t first, double* greatest) {
    first_ = first;
    count_ = std::min(kGroups, args_.groups - first);
    gather();
    for (int64_t m = 0; m < args_.labellings; m += kBlock) {
      const int64_t labellings = std::min(kBlock, args_.labellings - m);
      const Found& joined = judge(m, labellings);
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
    for (int64_t column = 0; column < args_.runs * positions; ++column) {
      const int64_t r = column / positions, p = column % positions;
      uint64_t* const here = words_ + column * width * kGroups;
      for (int64_t w = 0; w < width; ++w) {
        const uint64_t* const from = args_.words + ((r * width + w) * positions + p) * args_.groups + first_;
        std::copy_n(from, count_, here + w * kGroups);
        std::fill(here + w * kGroups + count_, here + (w + 1) * kGroups, uint64_t{0});
      }
      const uint64_t* const mask[kRows] = {every_, every_, every_, every_};
      count_bits(here, mask, width, hits_);
      add_facts(columns_[column]);
    }
  }

  void add_facts(Columns& columns) {
    const double n = static_cast<double>(args_.examples);
    for (int64_t g = 0; g < kGroups; ++g) {
      const double ones = hits_[g];
      // The products are exact, so a column ties with its complement.
      const double spread = std::sqrt(ones * (n - ones) / (n * (n - 1.0)));
      columns.ones[g] = ones;
      columns.scale[g] = ones == 0.0 || ones == n ? 0.0 : 1.0 / spread;
    }
  }

  // The joined values of the labellings from m on.
  const Found& judge(int64_t m, int64_t labellings) {
    Found& joined = found_[0];
    for (int64_t r = 0; r < args_.runs; ++r) {
      Found& best = found_[r == 0 ? 0 : 1];
      best.clear();
      for (int64_t p = 0; p < args_.positions; ++p) judge_columns(r * args_.positions + p, m, labellings, best);
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

  void judge_columns(int64_t column, int64_t m, int64_t labellings, Found& best) {
    const int64_t width = args_.width, sides = args_.sides;
    const uint64_t* const words = words_ + column * width * kGroups;
    for (int64_t row = 0; row < labellings; row += kRows) {
      for (int64_t s = 0; s < sides; ++s) {
        const uint64_t* mask[kRows];
        for (int64_t i = 0; i < kRows; ++i) {  // behind the last labelling, the last one again
          mask[i] = args_.masks + (std::min(m + row + i, args_.labellings - 1) * sides + s) * width;
        }
        count_bits(words, mask, width, hits_ + s * kRows * kGroups);
      }
      raise(columns_[column], row, best);
    }
  }

  // Raises the values of kRows labellings to those of the counted columns.
  void raise(const Columns& columns, int64_t row, Found& best) {
    const Contrast* const contrast = args_.contrast;
    const int64_t contrasts = args_.contrasts;
    for (int64_t i = 0; i < kRows; ++i) {
      for (int64_t g = 0; g < kGroups; g += kWide) {
        const VD scale = load(columns.scale + g), ones = load(columns.ones + g);
        VD statistic = load(best.value[0][row + i] + g), excess = load(best.value[1][row + i] + g);
        for (int64_t k = 0; k < contrasts; ++k) {
          const Contrast& c = contrast[k];
          const VD hits = load(hits_ + (c.positive * kRows + i) * kGroups + g);
          const VD other = c.negative < 0 ? ones : load(hits_ + (c.negative * kRows + i) * kGroups + g);
          const VD difference = magnitude(hits * c.a - other * c.b);
          statistic = max(statistic, difference * c.unit * scale);
          excess = max(excess, difference * c.weight);
        }
        store(best.value[0][row + i] + g, statistic);
        store(best.value[1][row + i] + g, excess);
      }
    }
  }

  // The values of labelling 0.
  void keep_own(const Found& joined) {
    for (int64_t which = 0; which < 2; ++which) {
      std::copy_n(joined.value[which][0], count_, args_.own + which * args_.groups + first_);
    }
    for (int64_t g = 0; g < kGroups; ++g) own_[g] = joined.value[0][0][g] * kReaches;
    std::fill_n(reached_, kGroups, int64_t{0});
  }

  void compare(const Found& joined, int64_t m, int64_t labellings, double* greatest) {
    for (int64_t i = m == 0 ? 1 : 0; i < labellings; ++i) {
      for (int64_t g = 0; g < kGroups; ++g) reached_[g] += joined.value[0][i][g] >= own_[g];
      for (int64_t which = 0; which < 2; ++which) {
        double& most = greatest[which * (args_.labellings - 1) + m + i - 1];
        most = std::max(most, highest(joined.value[which][i]));
      }
    }
  }

  static double highest(const double* value) {
    VD most = load(value);
    for (int64_t g = kWide; g < kGroups; g += kWide) most = max(most, load(value + g));
    double found = most[0];
    for (int64_t i = 1; i < kWide; ++i) found = most[i] > found ? most[i] : found;
    return found;
  }

  const PermutedArgs& args_;
  const Array<uint64_t> words_;  // [run and position, width, kGroups]
  const Array<Columns> columns_;
  const Array<double> hits_;  // [sides, kRows, kGroups]
  const Array<uint64_t> every_;
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
