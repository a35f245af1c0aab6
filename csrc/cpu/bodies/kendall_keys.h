// Integer keys for the columns of kendall_tau in the same order as the values, and the groups of equal values in a
// column.
#include "scalar.h"

namespace skn::SKN_ISA {
namespace {

// Integer keys compare as the values do, with −0 equal to 0. No mode of the floating-point unit, such as
// denormals-are-zero, can change a comparison of integers.
template <typename Stored>
using Key = std::conditional_t<std::is_same_v<Stored, double>, int64_t, int32_t>;

inline int32_t key_of(float value) {
  const int32_t bits = static_cast<int32_t>(to_bits(value));
  const int32_t key = bits ^ ((bits >> 31) & 0x7fffffff);
  return key + (key == -1);  // −0 would be −1
}

inline int64_t key_of(double value) {
  int64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const int64_t key = bits ^ ((bits >> 63) & 0x7fffffffffffffff);
  return key + (key == -1);
}

inline double value_of(int64_t key) {
  const int64_t bits = key ^ ((key >> 63) & 0x7fffffffffffffff);
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// All bit patterns beyond the infinities are NaNs.
inline bool is_nan(int32_t key) { return (key ^ (key >> 31)) > 0x7f800000; }
inline bool is_nan(int64_t key) { return (key ^ (key >> 63)) > 0x7ff0000000000000; }

template <typename T>
bool has_nan(const T* keys, int64_t n) {
  bool found = false;
  for (int64_t i = 0; i < n; ++i) found |= is_nan(keys[i]);
  return found;
}

template <typename Stored>
void load_column(const Stored* source, int64_t stride, int64_t n, Key<Stored>* keys) {
  if (stride == 1) {
    for (int64_t i = 0; i < n; ++i) keys[i] = key_of(widen(source[i]));
  } else {
    for (int64_t i = 0; i < n; ++i) keys[i] = key_of(widen(source[i * stride]));
  }
}

// Transposes a square of rows × columns inside the first-level cache, so that memory is read row by row.
template <typename Stored>
void load_square(const Stored* source, const int64_t* stride, int64_t rows, int64_t columns, int64_t pitch,
                 Key<Stored>* keys) {
  Key<Stored> square[kKendallUnit][kKendallUnit];
  Wide<Stored> buffer[kKendallUnit];
  for (int64_t r = 0; r < rows; ++r) {
    const Wide<Stored>* row = load_row(source + r * stride[0], stride[1], columns, buffer);
    for (int64_t c = 0; c < columns; ++c) square[r][c] = key_of(row[c]);
  }
  for (int64_t c = 0; c < columns; ++c) {
    for (int64_t r = 0; r < rows; ++r) keys[c * pitch + r] = square[r][c];
  }
}

// Writes the columns [first, first + count), count at most kKendallUnit, one after the other with a distance of `pitch`
// keys.
template <typename Stored>
void load_columns(const Columns& from, int64_t n, int64_t first, int64_t count, int64_t pitch, Key<Stored>* keys) {
  const Stored* source = static_cast<const Stored*>(from.data) + first * from.stride[1];
  if (count == 1 || from.stride[0] == 1) {
    for (int64_t c = 0; c < count; ++c) {
      load_column(source + c * from.stride[1], from.stride[0], n, keys + c * pitch);
    }
    return;
  }
  for (int64_t i = 0; i < n; i += kKendallUnit) {
    load_square(source + i * from.stride[0], from.stride, std::min(kKendallUnit, n - i), count, pitch, keys + i);
  }
}

// The memory of a group_sizes call. 16-bit indices keep it small. It serves up to kKendallMaxBits rows.
struct GroupTable {
  uint16_t slot[4 * kKendallMaxBits];
  uint16_t hash[kKendallMaxBits];
  uint16_t size[kKendallMaxBits];
  uint16_t row[kKendallMaxBits];
};

inline uint32_t hash(int32_t key, uint32_t factor) { return static_cast<uint32_t>(key) * factor; }
inline uint32_t hash(int64_t key, uint32_t factor) {
  return static_cast<uint32_t>(static_cast<uint64_t>(key) * (0x9e3779b97f4a7c15 + (uint64_t{factor} << 20)) >> 32);
}

// One round over `rows` rows. First, each row writes its number into the slot of its key, and the last row to write
// wins. Then each row reads its slot: if it finds a row with an equal key, it counts for that row; if it finds a row
// with another key, it was crowded out. Neither step branches on data, and no slot needs to be cleared. Returns the
// number of rows crowded out, which table.row lists.
template <bool First, typename T>
int64_t group_round(const T* keys, int64_t rows, int shift, uint32_t factor, GroupTable& table) {
  const auto row_at = [&](int64_t k) { return First ? static_cast<uint16_t>(k) : table.row[k]; };
  for (int64_t k = 0; k < rows; ++k) {
    table.hash[k] = static_cast<uint16_t>(hash(keys[row_at(k)], factor) >> shift);
  }
  for (int64_t k = 0; k < rows; ++k) table.slot[table.hash[k]] = row_at(k);
  int64_t crowded = 0;
  for (int64_t k = 0; k < rows; ++k) {
    const uint16_t i = row_at(k), winner = table.slot[table.hash[k]];
    const bool same = keys[winner] == keys[i];
    table.size[winner] = static_cast<uint16_t>(table.size[winner] + same);
    table.row[crowded] = i;
    crowded += !same;
  }
  return crowded;
}

// Counts the different values of a column. table.size[i] becomes the size of the group that row i represents, or 0 if
// another row represents row i. Equal keys share a slot in every round, so a group is never split. Every round settles
// at least one group.
template <typename T>
int64_t group_sizes(const T* keys, int64_t n, GroupTable& table) {
  int shift = 32;
  while ((int64_t{1} << (32 - shift)) < 4 * n) --shift;
  std::fill_n(table.size, n, uint16_t{0});
  uint32_t factor = 0x9e3779b1u;
  int64_t rows = group_round<true>(keys, n, shift, factor, table);
  while (rows > 0) {
    factor = factor * 0x85ebca6bu + 2;  // stays odd
    rows = group_round<false>(keys, rows, shift, factor, table);
  }
  int64_t groups = 0;
  for (int64_t i = 0; i < n; ++i) groups += table.size[i] != 0;
  return groups;
}

// scipy's three sums over groups of t equal values.
inline void add_group(int64_t t, int64_t* ties) {
  ties[0] += t * (t - 1) / 2;
  ties[1] += t * (t - 1) * (t - 2);
  ties[2] += t * (t - 1) * (2 * t + 5);
}

// Sets the facts of one column after its ties are counted.
inline void set_facts(const ColumnFacts& facts, int64_t column, int64_t n, bool nan, const int64_t* ties) {
  const int64_t untied = n * (n - 1) / 2 - ties[0];
  std::copy(ties, ties + 3, facts.ties + 3 * column);
  facts.root[column] = nan || untied == 0 ? std::numeric_limits<double>::quiet_NaN()
                                          : std::sqrt(static_cast<double>(untied));
}

// Writes concordance and tau of one column with one fixed column. Tau follows scipy's order of operations.
inline void write_pair(const KendallArgs& args, int64_t column, int64_t fixed, int64_t concordance) {
  const double root = args.column_facts.root[column], fixed_root = args.fixed_facts.root[fixed];
  const bool undefined = root != root || fixed_root != fixed_root;
  const double sum = undefined ? 0.0 : static_cast<double>(concordance);
  const double tau = args.fixed_root_first ? sum / fixed_root / root : sum / root / fixed_root;
  const int64_t at = column * args.stride[0] + fixed * args.stride[1];
  args.concordance[at] = undefined ? 0 : concordance;
  args.tau[at] = tau > 1.0 ? 1.0 : tau < -1.0 ? -1.0 : tau;
}

}  // namespace
}  // namespace skn::SKN_ISA
