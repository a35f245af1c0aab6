// ffn_masked and ffn_pruned: one feed-forward sublayer, a block of rows at a time.
#include "feed_forward.h"

#include "chosen.h"

namespace skn::SKN_ISA {
namespace {

template <typename Stored>
void write_rows(const float* y, int64_t ld, int64_t rows, int64_t n, Stored* out) {
  for (int64_t r = 0; r < rows; ++r) {
    int64_t j = 0;
    for (; j + kLanes <= n; j += kLanes) store(out + r * n + j, load(y + r * ld + j));
    if (j == n) continue;
    Stored rest[kLanes];
    store(rest, load(y + r * ld + j));  // ld is a multiple of the vector, so this reads no foreign memory
    std::memcpy(out + r * n + j, rest, (n - j) * sizeof(Stored));
  }
}

template <typename Numbers>
void run(const FfnArgs& args, int64_t first, int64_t last, void* scratch) {
  using Stored = typename Numbers::Stored;
  char* const memory = static_cast<char*>(scratch);
  const FfnPlan plan = plan_ffn(args);
  const int64_t n = args.up.k, ld = round_up(n, kPanel);
  Stored* x = reinterpret_cast<Stored*>(memory + plan.x);
  Stored* act = reinterpret_cast<Stored*>(memory + plan.act);
  float* y = reinterpret_cast<float*>(memory + plan.y);
  const Cuts<Numbers> x_cuts = cuts_at<Numbers>(plan.x_cut, memory), act_cuts = cuts_at<Numbers>(plan.act_cut, memory);
  for (int64_t block = first; block < last; ++block) {
    const int64_t begin = block * args.block_rows, rows = std::min(args.block_rows, args.rows - begin);
    const Stored* source = static_cast<const Stored*>(args.x) + begin * n;
    if (ld != n) {
      for (int64_t r = 0; r < rows; ++r) {
        std::memcpy(x + r * ld, source + r * n, n * sizeof(Stored));
        std::memset(x + r * ld + n, 0, (ld - n) * sizeof(Stored));
      }
      source = x;
    }
    const int64_t* example = args.example != nullptr ? args.example + begin : nullptr;
    const FeedForward<Numbers> ffn{args.up, args.down, args.scale, args.shift, args.shift_stride, example,
                                source,  ld,        rows,       args.norm.weight != nullptr, act, y,
                                x_cuts, act_cuts, nullptr};
    run_feed_forward(ffn, [&](int64_t f, int64_t neurons) {
      if (args.chosen.count == 0) return;
      const ChosenOfSlice<Stored> slice(args.chosen, f, neurons);
      for (int64_t r = 0; r < rows; ++r) slice.exchange(begin + r, act + r * kSlice);
    });
    Stored* out = static_cast<Stored*>(args.out) + begin * n;
    if (args.norm.weight == nullptr) {
      write_rows(y, ld, rows, n, out);
    } else if (ld == n) {
      layer_norm(y, ld, rows, n, args.norm, args.eps, out);
    } else {
      layer_norm(y, ld, rows, n, args.norm, args.eps, x);
      for (int64_t r = 0; r < rows; ++r) std::memcpy(out + r * n, x + r * ld, n * sizeof(Stored));
    }
  }
}

}  // namespace

void ffn(const FfnArgs& args, int64_t first, int64_t last, void* scratch) {
#if SKN_LEVEL >= 5
  const TileSession session;
#endif
  if (args.form == Form::f32) return run<Float32>(args, first, last, scratch);
  if (args.form == Form::bf16) return run<Bfloat16>(args, first, last, scratch);
  run<Bf16x3>(args, first, last, scratch);
}

}  // namespace skn::SKN_ISA
