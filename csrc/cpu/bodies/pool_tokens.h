// pool_tokens, compiled once for each instruction set: plain C++ that the compiler vectorises.
#include "scalar.h"

namespace skn::SKN_ISA {
namespace {

template <typename Value>
void add_row(const Value* __restrict row, int64_t n, double* __restrict sum) {
  for (int64_t f = 0; f < n; ++f) sum[f] += row[f];
}

// A NaN replaces any maximum and no value replaces a NaN, so a NaN stays.
template <typename Value>
void max_row(const Value* __restrict row, int64_t n, Value* __restrict best) {
  for (int64_t f = 0; f < n; ++f) {
    const Value value = row[f];
    best[f] = ((value > best[f]) | (value != value)) ? value : best[f];
  }
}

template <typename Stored>
void run(const PoolArgs& args, int64_t first, int64_t last) {
  using Value = Wide<Stored>;
  double sum[kTile];
  Value buffer[kTile];
  const int64_t* stride = args.act.stride;
  const int64_t per_row = tiles_per_row(args.neurons);

  for (int64_t tile = first; tile < last; ++tile) {
    const int64_t b = tile / per_row;
    const int64_t f = (tile % per_row) * kTile;
    const int64_t n = std::min(kTile, args.neurons - f);
    const int64_t length = args.length[b];
    Value* out = static_cast<Value*>(args.out) + b * args.neurons + f;
    if (length == 0) {
      std::fill_n(out, n, Value{0});
      continue;
    }
    const Stored* act = static_cast<const Stored*>(args.act.data) + b * stride[0] + args.offset[b] * stride[1] +
                        f * stride[2];
    if (args.reduce == Reduce::mean) {
      std::fill_n(sum, n, 0.0);
      for (int64_t s = 0; s < length; ++s) add_row(load_row(act + s * stride[1], stride[2], n, buffer), n, sum);
      const double divisor = static_cast<double>(length);
      for (int64_t i = 0; i < n; ++i) out[i] = static_cast<Value>(sum[i] / divisor);
    } else {
      std::fill_n(out, n, -std::numeric_limits<Value>::infinity());
      for (int64_t s = 0; s < length; ++s) max_row(load_row(act + s * stride[1], stride[2], n, buffer), n, out);
    }
  }
}

}  // namespace

void pool_tokens(const PoolArgs& args, int64_t first, int64_t last) {
  dispatch(args.act.element, [&](auto* stored) {
    run<std::remove_cv_t<std::remove_pointer_t<decltype(stored)>>>(args, first, last);
  });
}

}  // namespace skn::SKN_ISA
