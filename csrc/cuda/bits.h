// Dominance as bits. Row i of a column's bit matrix has bit j < i for each example before i. Rows are packed without
// gaps. The contribution of pairs to Kendall's tau is then a population count of words, 32 pairs at a time.
#pragma once

#include <cstdint>

#include "scalar.h"

namespace skn::cuda {

// Bit j of `greater` is value_j > value_i; bit j of `untied` is greater or less. The comparisons are of floating-point
// values, so -0 ties with 0, and a pair with a NaN ties.
struct Word {
  uint32_t greater;
  uint32_t untied;
};

SKN_HD int64_t words_of_row(int64_t i) { return (i + 31) / 32; }

// Words of all rows before row i: each 32 rows need one word more.
SKN_HD int64_t words_before_row(int64_t i) {
  if (i < 1) return 0;
  const int64_t full = (i - 1) / 32, rest = (i - 1) % 32;
  return 16 * full * (full + 1) + rest * (full + 1);
}

SKN_HD int bits_set(uint32_t word) {
#ifdef __CUDA_ARCH__
  return __popc(word);
#else
  return __builtin_popcount(word);
#endif
}

// Adds the pairs tied in neither column, and the pairs among them that the columns order differently.
SKN_HD void count_pairs(const Word& x, const Word& y, int& untied, int& discordant) {
  const uint32_t both = x.untied & y.untied;
  untied += bits_set(both);
  discordant += bits_set(both & (x.greater ^ y.greater));
}

// The three sums over groups of t equal values from which the variance of tau follows. They are computed from the
// number of equal values that each row finds before it: the rows of a group find 0, 1, ..., t - 1, so sum(found) =
// t(t-1)/2 and sum(found (found - 1)) = t(t-1)(t-2)/3. Both are sums over rows, so rows can be added in any order.
struct Ties {
  int64_t found = 0;
  int64_t ordered = 0;  // found (found - 1)
};

SKN_HD void add_row(int64_t found, Ties& ties) {
  ties.found += found;
  ties.ordered += found * (found - 1);
}

// t(t-1)/2, t(t-1)(t-2) and t(t-1)(2t+5) = 2 t(t-1)(t-2) + 9 t(t-1), summed over groups.
SKN_HD int64_t tie_sum(const Ties& ties, int which) {
  if (which == 0) return ties.found;
  return which == 1 ? 3 * ties.ordered : 6 * ties.ordered + 18 * ties.found;
}

// The sign of (x_j - x_i)(y_j - y_i), or 0 if either pair is tied.
template <typename Value>
SKN_HD int concordance_of_pair(Value xi, Value xj, Value yi, Value yj) {
  return ((xj > xi) - (xj < xi)) * ((yj > yi) - (yj < yi));
}

}  // namespace skn::cuda
