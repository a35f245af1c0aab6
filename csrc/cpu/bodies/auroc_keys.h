// Unsigned keys for the columns of auroc in the order of the values, with −0 equal to 0.
#include "scalar.h"

namespace skn::SKN_ISA {
namespace {

// The key of a stored type, and the largest magnitude that is no NaN.
template <typename Stored>
struct Format;
template <>
struct Format<float> {
  using Key = uint32_t;
  static constexpr Key kInfinity = 0x7f800000;
};
template <>
struct Format<double> {
  using Key = uint64_t;
  static constexpr Key kInfinity = 0x7ff0000000000000;
};
template <>
struct Format<BFloat16> {
  using Key = uint16_t;
  static constexpr Key kInfinity = 0x7f80;
};
template <>
struct Format<Half> {
  using Key = uint16_t;
  static constexpr Key kInfinity = 0x7c00;
};

template <typename Stored>
using Key = typename Format<Stored>::Key;

template <typename Stored>
constexpr Key<Stored> kSign = Key<Stored>(Key<Stored>(1) << (8 * sizeof(Stored) - 1));

// All NaNs have this key, which no number has: the largest number's, +∞, is below, and the smallest, −∞, above 0.
constexpr int kNan = 0;

// No mode of the floating-point unit, such as denormals-are-zero, can change a comparison of integers.
template <typename Stored>
inline Key<Stored> key_of(Stored value) {
  Key<Stored> bits;
  std::memcpy(&bits, &value, sizeof bits);
  const Key<Stored> magnitude = bits & Key<Stored>(~kSign<Stored>);
  const Key<Stored> negative = kSign<Stored> - magnitude, positive = kSign<Stored> + magnitude;
  const Key<Stored> key = bits & kSign<Stored> ? negative : positive;
  return magnitude > Format<Stored>::kInfinity ? Key<Stored>(kNan) : key;
}

// Transposes a square of rows × columns inside the first-level cache, so that memory is read row by row.
template <typename Stored>
void load_square(const Stored* source, const int64_t* stride, int64_t rows, int64_t columns, int64_t pitch,
                 Key<Stored>* keys) {
  constexpr int64_t kSide = 64 / sizeof(Stored);
  Key<Stored> square[kSide][kSide];
  for (int64_t r = 0; r < rows; ++r) {
    const Stored* row = source + r * stride[0];
    if (stride[1] == 1) {
      for (int64_t c = 0; c < columns; ++c) square[r][c] = key_of(row[c]);
    } else {
      for (int64_t c = 0; c < columns; ++c) square[r][c] = key_of(row[c * stride[1]]);
    }
  }
  for (int64_t c = 0; c < columns; ++c) {
    for (int64_t r = 0; r < rows; ++r) keys[c * pitch + r] = square[r][c];
  }
}

// Writes the keys of `columns` columns, at most a cache line of them, one after the other with a distance of `pitch`.
template <typename Stored>
void load_columns(const Stored* source, const int64_t* stride, int64_t n, int64_t columns, int64_t pitch,
                  Key<Stored>* keys) {
  constexpr int64_t kSide = 64 / sizeof(Stored);
  if (stride[0] == 1) {
    for (int64_t c = 0; c < columns; ++c) {
      for (int64_t i = 0; i < n; ++i) keys[c * pitch + i] = key_of(source[c * stride[1] + i]);
    }
    return;
  }
  for (int64_t i = 0; i < n; i += kSide) {
    load_square(source + i * stride[0], stride, std::min(kSide, n - i), columns, pitch, keys + i);
  }
}

}  // namespace
}  // namespace skn::SKN_ISA
