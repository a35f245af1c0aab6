// accumulate_moments, compiled once for each instruction set: plain C++ that the compiler vectorises.
#include "scalar.h"

namespace skn::SKN_ISA {
namespace {

// The number of examples taken together. A running sum is loaded and stored once for all of them.
constexpr int kRows = 4;

// One neuron's sums still grow example by example, so blocking and threads do not change a bit of the result.
template <int Rows, typename Value>
void add_rows(const Value* const* rows, int64_t n, double* __restrict total, double* __restrict total_sq) {
  const Value* row[Rows];
  std::copy(rows, rows + Rows, row);
  for (int64_t f = 0; f < n; ++f) {
    double sum = total[f];
    double sum_sq = total_sq[f];
    for (int r = 0; r < Rows; ++r) {
      const double value = row[r][f];
      sum += value;
      sum_sq += value * value;
    }
    total[f] = sum;
    total_sq[f] = sum_sq;
  }
}

void load(const double* source, int64_t stride, int64_t n, double* tile) {
  if (stride == 1) {
    std::copy(source, source + n, tile);
  } else {
    for (int64_t f = 0; f < n; ++f) tile[f] = source[f * stride];
  }
}

void store(const double* tile, int64_t stride, int64_t n, double* target) {
  if (stride == 1) {
    std::copy(tile, tile + n, target);
  } else {
    for (int64_t f = 0; f < n; ++f) target[f * stride] = tile[f];
  }
}

template <typename Stored>
void run(const MomentsArgs& args, int64_t first, int64_t last) {
  using Value = Wide<Stored>;
  double total[kTile];
  double total_sq[kTile];
  Value buffer[kRows][kTile];
  const int64_t* stride = args.act.stride;
  const int64_t per_row = tiles_per_row(args.neurons);

  for (int64_t tile = first; tile < last; ++tile) {
    const int64_t p = tile / per_row;
    const int64_t f = (tile % per_row) * kTile;
    const int64_t n = std::min(kTile, args.neurons - f);
    const Stored* act = static_cast<const Stored*>(args.act.data) + p * stride[1] + f * stride[2];

    for (int64_t g = 0; g < args.groups.count; ++g) {
      const int64_t c = args.groups.label[g];
      const auto at = [&](const State<double>& s) {
        return s.data + c * s.stride[0] + p * s.stride[1] + f * s.stride[2];
      };
      load(at(args.total), args.total.stride[2], n, total);
      load(at(args.total_sq), args.total_sq.stride[2], n, total_sq);

      const int64_t end = args.groups.begin[g + 1];
      for (int64_t k = args.groups.begin[g]; k < end; k += kRows) {
        const int rows = static_cast<int>(std::min<int64_t>(kRows, end - k));
        const Value* row[kRows];
        for (int r = 0; r < rows; ++r) {
          row[r] = load_row(act + args.groups.example[k + r] * stride[0], stride[2], n, buffer[r]);
        }
        if (rows == kRows) {
          add_rows<kRows>(row, n, total, total_sq);
        } else {
          for (int r = 0; r < rows; ++r) add_rows<1>(row + r, n, total, total_sq);
        }
      }
      store(total, args.total.stride[2], n, at(args.total));
      store(total_sq, args.total_sq.stride[2], n, at(args.total_sq));
    }
  }
}

}  // namespace

void accumulate_moments(const MomentsArgs& args, int64_t first, int64_t last) {
  dispatch(args.act.element, [&](auto* stored) {
    run<std::remove_cv_t<std::remove_pointer_t<decltype(stored)>>>(args, first, last);
  });
}

}  // namespace skn::SKN_ISA
