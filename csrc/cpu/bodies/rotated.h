// Rows of activations as a rotated weight of bytes reads them. A wide column makes the steps of its whole row coarse, so
// columns are mixed before they are rounded: with Hadamard's matrix, which is orthogonal and takes additions alone. The
// weight holds its own columns in the same mixture, so the product stays the same.
//
// A block has 16, 32, 64 or 128 columns, as groups of 16 lanes. A column is mixed with its neighbours in a four, and with the
// same four of the other groups: no order of the lanes differs between instruction sets. A row is as many blocks of 128 as it
// has, smaller ones behind them, and up to 15 columns that stay as they are.
#include "quantized.h"

namespace skn::SKN_ISA {
namespace {

constexpr int64_t kMixedGroup = 16;  // columns
constexpr int kMixedGroups = 8;      // of the largest block

// The lanes of each four in another order: each beside its neighbour, or both pairs exchanged.
SKN_INLINE V exchanged(V v, bool pairs) {
#if SKN_LEVEL >= 1
  return pairs ? SKN_PAIRS(shuffle, (Lanes)v, (Lanes)v, 0x4e) : SKN_PAIRS(shuffle, (Lanes)v, (Lanes)v, 0xb1);
#else
  return pairs ? (V)SKN_SHUFFLE((Units)v, (Units)v, 2, 3, 0, 1) : (V)SKN_SHUFFLE((Units)v, (Units)v, 1, 0, 3, 2);
#endif
}

// a + b, a − b for the neighbours of each four, and then for its pairs.
SKN_INLINE V mixed_fours(V v) {
  constexpr float kSigns[2][16] = {{1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1},
                                   {1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1}};
  v = fma(v, load(kSigns[0]), exchanged(v, false));
  return fma(v, load(kSigns[1]), exchanged(v, true));
}

template <int Groups, typename Stored>
SKN_INLINE void mix_block(const Stored* x, int64_t from, const Reading& read, float* mixed, Seen& seen) {
  // One over the square root of the columns that are mixed with each other.
  const V norm = set1(Groups == 8 ? .17677669529663687f : Groups == 4 ? .25f : Groups == 2 ? .35355339059327373f : .5f);
  for (int64_t j = from; j < from + kMixedGroup; j += kLanes) {
    V v[Groups];
    for (int g = 0; g < Groups; ++g) v[g] = mixed_fours(read(load(x + j + g * kMixedGroup), j + g * kMixedGroup));
    for (int half = 1; half < Groups; half *= 2) {
      for (int g = 0; g < Groups; ++g) {
        if (g & half) continue;
        const V a = v[g], b = v[g | half];
        v[g] = a + b;
        v[g | half] = a - b;
      }
    }
    seen.check(v[0]);  // the sum of all groups: a number of the row that is not finite is in it
    for (int g = 0; g < Groups; ++g) {
      v[g] *= norm;
      seen.range(v[g]);
      store(mixed + j + g * kMixedGroup, v[g]);
    }
  }
}

// The blocks of `Groups` groups and the smaller ones from the column `from` on. Returns the first column that is left.
template <int Groups, typename Stored>
SKN_INLINE int64_t mix_blocks(const Stored* x, int64_t from, int64_t n, const Reading& read, float* mixed, Seen& seen) {
  for (; from + Groups * kMixedGroup <= n; from += Groups * kMixedGroup) mix_block<Groups>(x, from, read, mixed, seen);
  if constexpr (Groups > 1) return mix_blocks<Groups / 2>(x, from, n, read, mixed, seen);
  return from;
}

// The first `n` numbers of a row as the weight reads them, and mixed.
template <typename Stored>
Seen mix(const Stored* x, int64_t n, const Reading& read, float* mixed) {
  Seen seen = nothing_seen();
  int64_t from = mix_blocks<kMixedGroups>(x, 0, n, read, mixed, seen);
  for (; from < n; from += kLanes) {
    float rest[kLanes];
    store(rest, read(load_rest(x, from, n), from));
    std::copy_n(rest, std::min<int64_t>(kLanes, n - from), mixed + from);
    const V numbers = load_rest(mixed, from, n);
    seen.range(numbers);
    seen.check(numbers);
  }
  return seen;
}

struct AsItIs {
  V operator()(V v, int64_t) const { return v; }
};

// quantize, for a weight that may be rotated. `mixed` has room for a row.
template <typename Stored, typename Target>
RowScale quantize_for(const Reading& read, const Stored* x, int64_t n, float* mixed, Target* bytes) {
  if (!read.rotated) return quantize(x, n, read, bytes);
  const Seen seen = mix(x, n, read, mixed);
  return round_row(mixed, n, AsItIs{}, seen, bytes);
}

}  // namespace
}  // namespace skn::SKN_ISA
