// accumulate_hits, compiled once for each instruction set: plain C++ that the compiler vectorises.
#include "scalar.h"

namespace skn::SKN_ISA {
namespace {

constexpr int kRows = 4;

// With a counter as wide as the counted values, one vector comparison feeds one vector addition. A 32-bit counter is
// added to the 64-bit state and cleared long before it could overflow.
template <typename Value>
using Counter = std::conditional_t<std::is_same_v<Value, double>, int64_t, int32_t>;
constexpr int64_t kFlush = int64_t{1} << 30;

// A float32 value exceeds a float64 threshold iff it exceeds the threshold rounded toward minus infinity. Rounding to
// nearest can give a number above the threshold (a threshold beyond the largest float32 even becomes +inf). Then the
// result is the next float32 below. NaN stays NaN, and nothing exceeds NaN.
void round_down(double threshold, float& out) {
  float nearest = static_cast<float>(threshold);
  if (static_cast<double>(nearest) > threshold) {
    nearest = std::nextafter(nearest, -std::numeric_limits<float>::infinity());
  }
  out = nearest;
}

void round_down(double threshold, double& out) { out = threshold; }

template <int Rows, typename Value>
void count_rows(const Value* const* rows, const Value* __restrict threshold, int64_t n,
                Counter<Value>* __restrict count) {
  const Value* row[Rows];
  std::copy(rows, rows + Rows, row);
  for (int64_t f = 0; f < n; ++f) {
    Counter<Value> sum = count[f];
    for (int r = 0; r < Rows; ++r) sum += row[r][f] > threshold[f];
    count[f] = sum;
  }
}

template <typename Stored>
void run(const HitsArgs& args, int64_t first, int64_t last) {
  using Value = Wide<Stored>;
  Value threshold[kTile];
  Counter<Value> count[kTile];
  Value buffer[kRows][kTile];
  const int64_t* stride = args.act.stride;
  const int64_t per_row = tiles_per_row(args.neurons);

  for (int64_t tile = first; tile < last; ++tile) {
    const int64_t p = tile / per_row;
    const int64_t f = (tile % per_row) * kTile;
    const int64_t n = std::min(kTile, args.neurons - f);
    const Stored* act = static_cast<const Stored*>(args.act.data) + p * stride[1] + f * stride[2];
    const double* exact = args.threshold + p * args.threshold_stride[0] + f * args.threshold_stride[1];
    for (int64_t i = 0; i < n; ++i) round_down(exact[i * args.threshold_stride[1]], threshold[i]);

    for (int64_t g = 0; g < args.groups.count; ++g) {
      const State<int64_t>& state = args.hits;
      int64_t* hits = state.data + args.groups.label[g] * state.stride[0] + p * state.stride[1] + f * state.stride[2];
      const int64_t end = args.groups.begin[g + 1];
      for (int64_t start = args.groups.begin[g]; start < end; start += kFlush) {
        const int64_t stop = std::min(end, start + kFlush);
        std::fill_n(count, n, Counter<Value>{0});
        for (int64_t k = start; k < stop; k += kRows) {
          const int rows = static_cast<int>(std::min<int64_t>(kRows, stop - k));
          const Value* row[kRows];
          for (int r = 0; r < rows; ++r) {
            row[r] = load_row(act + args.groups.example[k + r] * stride[0], stride[2], n, buffer[r]);
          }
          if (rows == kRows) {
            count_rows<kRows>(row, threshold, n, count);
          } else {
            for (int r = 0; r < rows; ++r) count_rows<1>(row + r, threshold, n, count);
          }
        }
        for (int64_t i = 0; i < n; ++i) hits[i * state.stride[2]] += count[i];
      }
    }
  }
}

}  // namespace

void accumulate_hits(const HitsArgs& args, int64_t first, int64_t last) {
  dispatch(args.act.element, [&](auto* stored) {
    run<std::remove_cv_t<std::remove_pointer_t<decltype(stored)>>>(args, first, last);
  });
}

}  // namespace skn::SKN_ISA
