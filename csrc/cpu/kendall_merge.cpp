// kendall_tau for long columns: Knight, "A computer method for calculating Kendall's tau with ungrouped data", JASA
// 1966. After sorting by one column, a pair is discordant if a merge sort by the other column exchanges it: n log n
// steps.
#include <algorithm>
#include <numeric>
#include <vector>

#include "bodies/before.h"

#define SKN_ISA baseline
#include "target.h"
#include "bodies/kendall_keys.h"
#include "target_end.h"

namespace skn {
namespace {

using baseline::add_group;
using baseline::Key;

// A column's rows in order of rising values, and the beginnings of its groups of equal values.
struct Order {
  std::vector<int64_t> row;
  std::vector<int64_t> begin;  // one bound more than there are groups
  bool nan;
};

template <typename Stored>
Order order_of(const Columns& columns, int64_t n, int64_t column) {
  std::vector<Key<Stored>> keys(n);
  baseline::load_columns<Stored>(columns, n, column, 1, n, keys.data());
  Order order{std::vector<int64_t>(n), {}, baseline::has_nan(keys.data(), n)};
  std::iota(order.row.begin(), order.row.end(), int64_t{0});
  std::sort(order.row.begin(), order.row.end(), [&](int64_t a, int64_t b) { return keys[a] < keys[b]; });
  for (int64_t k = 0; k < n; ++k) {
    if (k == 0 || keys[order.row[k]] != keys[order.row[k - 1]]) order.begin.push_back(k);
  }
  order.begin.push_back(n);
  return order;
}

Order order_of(const Columns& columns, int64_t n, int64_t column) {
  Order order;
  baseline::dispatch(columns.element, [&](auto* stored) {
    order = order_of<std::remove_cv_t<std::remove_pointer_t<decltype(stored)>>>(columns, n, column);
  });
  return order;
}

void set_facts(const ColumnFacts& facts, int64_t column, int64_t n, const Order& order) {
  int64_t ties[3] = {};
  for (size_t g = 0; g + 1 < order.begin.size() && !order.nan; ++g) add_group(order.begin[g + 1] - order.begin[g], ties);
  baseline::set_facts(facts, column, n, order.nan, ties);
}

// Sorts `values` and returns how many pairs were in falling order. `spare` has the same length.
int64_t sort_exchanges(std::vector<int32_t>& values, std::vector<int32_t>& spare) {
  const int64_t n = static_cast<int64_t>(values.size());
  int64_t exchanges = 0;
  for (int64_t width = 1; width < n; width *= 2) {
    for (int64_t begin = 0; begin < n; begin += 2 * width) {
      const int64_t middle = std::min(n, begin + width), end = std::min(n, begin + 2 * width);
      int64_t left = begin, right = middle;
      for (int64_t k = begin; k < end; ++k) {
        const bool take_right = left == middle || (right < end && values[right] < values[left]);
        exchanges += take_right ? middle - left : 0;
        spare[k] = take_right ? values[right++] : values[left++];
      }
    }
    values.swap(spare);
  }
  return exchanges;
}

int64_t tied_pairs(const std::vector<int32_t>& sorted, int64_t begin, int64_t end) {
  int64_t pairs = 0, same = 0;
  for (int64_t k = begin + 1; k < end; ++k) {
    same = sorted[k] == sorted[k - 1] ? same + 1 : 0;
    pairs += same;
  }
  return pairs;
}

}  // namespace

void kendall_merge_prepare(const KendallArgs& args, int64_t first, int64_t last) {
  for (int64_t a = first; a < last; ++a) {
    const Order order = order_of(args.fixed, args.n, a);
    int32_t* const rank = reinterpret_cast<int32_t*>(args.prepared + a * kendall_ranks_bytes(args.n));
    for (size_t g = 0; g + 1 < order.begin.size(); ++g) {
      for (int64_t k = order.begin[g]; k < order.begin[g + 1]; ++k) rank[order.row[k]] = static_cast<int32_t>(g);
    }
    set_facts(args.fixed_facts, a, args.n, order);
  }
}

void kendall_merge(const KendallArgs& args, int64_t first, int64_t last) {
  const int64_t n = args.n, pairs = n * (n - 1) / 2;
  std::vector<int32_t> rank(n), spare(n);
  const int64_t end = std::min(args.column.count, last * kKendallUnit);
  for (int64_t c = first * kKendallUnit; c < end; ++c) {
    const Order order = order_of(args.column, n, c);
    set_facts(args.column_facts, c, n, order);
    for (int64_t a = 0; a < args.fixed.count; ++a) {
      const int32_t* fixed = reinterpret_cast<const int32_t*>(args.prepared + a * kendall_ranks_bytes(n));
      for (int64_t k = 0; k < n; ++k) rank[k] = fixed[order.row[k]];
      int64_t joint = 0;  // pairs tied in both columns
      for (size_t g = 0; g + 1 < order.begin.size(); ++g) {
        if (order.begin[g + 1] - order.begin[g] < 2) continue;
        std::sort(rank.begin() + order.begin[g], rank.begin() + order.begin[g + 1]);
        joint += tied_pairs(rank, order.begin[g], order.begin[g + 1]);
      }
      const int64_t tied = args.column_facts.ties[3 * c] + args.fixed_facts.ties[3 * a] - joint;
      const int64_t discordant = sort_exchanges(rank, spare);
      baseline::write_pair(args, c, a, pairs - tied - 2 * discordant);
    }
  }
}

}  // namespace skn
