// The form int8. Of a row of activations, the weight reads x = (row − shift) · factor, with a shift and a factor for each
// column of the row. x is rounded to bytes 0 … 255: x ≈ step · byte + low, where each row has its own step and low. A column
// of the weight is W = scale · w, with bytes w of −127 … 127. So
//
//   Σ x · W = (step · Σ byte · w + low · Σ w) · scale
//
// The first sum is exact in int32. The packed weight holds the second sum, Σ w, and the shifts and factors.

namespace skn::SKN_ISA {
namespace {

struct RowScale {
  float step, low;
};

// How a weight reads the columns of a row.
struct Reading {
  const float *shift, *factor;
  bool rotated;  // whether it mixes them (rotated.h)

  V operator()(V v, int64_t column) const { return (v - load(shift + column)) * load(factor + column); }
};

inline Reading reading_of(const Linear& w, int64_t column) {
  const PackedBytes parts = packed_bytes(w.n, w.k);
  const char* packed = static_cast<const char*>(w.weight);
  const auto numbers = [packed](int64_t at) { return reinterpret_cast<const float*>(packed + at); };
  return {numbers(parts.shift) + column, numbers(parts.factor) + column, numbers(parts.rotated)[0] != 0};
}

SKN_INLINE void store_bytes(Byte* target, VI bytes) {
  typedef uint8_t VB __attribute__((vector_size(kLanes)));
  write(target, __builtin_convertvector(bytes, VB));
}

#if SKN_LEVEL < 2
SKN_INLINE void store_bytes(Short* target, VI bytes) {
#if SKN_LEVEL >= 1
  bytes = (VI)_mm256_shuffle_epi32((__m256i)bytes, 0xd8);  // of each four the first, third, second and fourth
#else
  bytes = SKN_SHUFFLE(bytes, bytes, 0, 2, 1, 3);
#endif
  write(target, __builtin_convertvector(bytes, VH));
}
#endif

// What was seen of a row, a vector at a time: its least and its greatest number, and a NaN for a number that is not finite.
struct Seen {
  V lowest, greatest, finite;

  SKN_INLINE void range(V v) {
    lowest = min(lowest, v);
    greatest = max(greatest, v);
  }
  SKN_INLINE void check(V v) { finite += v - v; }
};

SKN_INLINE Seen nothing_seen() {
  const V infinity = set1(std::numeric_limits<float>::infinity());
  return {infinity, -infinity, V{}};
}

// A vector of the numbers of a row from `from` on. Copies of the last number fill it.
template <typename Stored>
SKN_INLINE V load_rest(const Stored* x, int64_t from, int64_t n) {
  Stored rest[kLanes];
  for (int64_t j = 0; j < kLanes; ++j) rest[j] = x[std::min(from + j, n - 1)];
  return load(rest);
}

// Rounds the first `n` numbers of a row, all of which were seen, to bytes, followed by zeros up to whole fours. A number that
// is not finite makes the step a NaN, and with the step the whole row of a product.
template <typename Stored, typename Read, typename Target>
RowScale round_row(const Stored* x, int64_t n, const Read& read, const Seen& seen, Target* bytes) {
  const int64_t whole = n / kLanes * kLanes;
  const float low = -highest(-seen.lowest), range = highest(seen.greatest) - low;
  const V bottom = set1(low), inverse = set1(range > 0 ? 255.f / range : 0.f);
  const V magic = set1(12582912.f);  // 1.5 · 2²³: adding it rounds to an integer, which is then in the low bits
  // The difference comes first: in a row far from zero, low · inverse has no digits left for a byte.
  const auto bytes_of = [&](V v) { return (VI)((v - bottom) * inverse + magic) & 255; };
  for (int64_t j = 0; j < whole; j += kLanes) store_bytes(bytes + j, bytes_of(read(load(x + j), j)));
  if (whole < n) {
    int32_t last[kLanes];
    write(last, bytes_of(read(load_rest(x, whole, n), whole)));
    std::fill(last + (n - whole), last + kLanes, 0);
    Target target[kLanes];
    store_bytes(target, skn::SKN_ISA::read<VI>(last));
    std::memcpy(bytes + whole, target, (round_up(n, 4) - whole) * sizeof(Target));
  }
  return {range / 255.f + sum(seen.finite), low};
}

// Rounds the first `n` numbers of a row to bytes as the weight reads them, in the order in which they stand.
template <typename Stored, typename Target>
RowScale quantize(const Stored* x, int64_t n, const Reading& read, Target* bytes) {
  const int64_t whole = n / kLanes * kLanes;
  Seen seen = nothing_seen();
  const auto see = [&seen](V v) {
    seen.range(v);
    seen.check(v);
  };
  for (int64_t j = 0; j < whole; j += kLanes) see(read(load(x + j), j));
  if (whole < n) see(read(load_rest(x, whole, n), whole));
  return round_row(x, n, read, seen, bytes);
}

// Calls epilogue(row, column, x · Wᵀ) for all rows and for the columns [first, first + panels · kPanel) of the weight. Of
// the weight's depth, the product takes [k, k + depth): all of it, or one slice. `a` holds bytes, or bytes widened.
template <typename Rounded, typename Epilogue>
void gemm_bytes(const Rounded* a, const RowScale* row_scale, int64_t lda, int64_t rows, const Linear& w, int64_t first,
          int64_t panels, int64_t k, int64_t depth, const Epilogue& epilogue) {
  const PackedBytes parts = packed_bytes(w.n, w.k);
  const Byte* packed = static_cast<const Byte*>(w.weight);
  const auto numbers = [packed](int64_t at) { return reinterpret_cast<const float*>(packed + at); };
  const float *scale = numbers(parts.scale) + first, *sums = numbers(parts.sums) + first;
  const int64_t stride = round_up(w.k, 4) * kPanel, n = round_up(w.n, kPanel);
  const int64_t slice = k / kSlice, slices_taken = (depth + kSlice - 1) / kSlice;
  for (int64_t p = 0; p < panels; ++p, scale += kPanel, sums += kPanel) {
    V total[kVectors] = {}, wide[kVectors];
    for (int j = 0; j < kVectors; ++j) {
      wide[j] = load(scale + j * kLanes);
      for (int64_t s = slice; s < slice + slices_taken; ++s) total[j] += load(sums + s * n + j * kLanes);
    }
    const Byte* panel = packed + first * round_up(w.k, 4) + p * stride + k * kPanel;
    const auto scaled = [&](int64_t row, int64_t, const VI* products) {
      const V step = set1(row_scale[row].step), low = set1(row_scale[row].low);
      V values[kVectors];
      for (int j = 0; j < kVectors; ++j) {
        values[j] = fma(__builtin_convertvector(products[j], V), step, low * total[j]) * wide[j];
      }
      epilogue(row, p * kPanel, values);
    };
    if constexpr (std::is_same_v<Rounded, Byte>) {
      gemm(a, lda, rows, panel, stride, 1, round_up(depth, 4), scaled);
    } else {
      wide_gemm(a, lda, rows, panel, stride, 1, round_up(depth, 4), scaled);
    }
  }
}

}  // namespace
}  // namespace skn::SKN_ISA
