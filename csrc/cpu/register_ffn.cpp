// ffn_masked and ffn_pruned: checks, and the split of the rows over threads.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "../behind_checks.h"
#include "../common.h"
#include "chosen_neurons.h"
#include "kernels.h"
#include "weights.h"

namespace skn {
namespace {

// x [..., H] as rows.
int64_t rows_of(const char* op, const Tensor& x) {
  check(x.dim() >= 1, op, ": x must be [..., H], got ", describe(x));
  int64_t rows = 1;
  for (int64_t d = 0; d + 1 < x.dim(); ++d) rows *= x.size(d);
  return rows;
}

void run(FfnArgs& args) {
  // Each thread gets as many blocks as any other, and the blocks are about equal.
  const int64_t threads = std::max<int64_t>(1, torch::stable::get_num_threads());
  const int64_t wanted = std::max<int64_t>(1, round_up((args.rows + kFfnRows - 1) / kFfnRows, threads));
  args.block_rows = std::max<int64_t>(12, round_up((args.rows + wanted - 1) / wanted, 12));
  const int64_t blocks = (args.rows + args.block_rows - 1) / args.block_rows, bytes = plan_ffn(args).bytes;
  FfnKernel* const kernel = choose(kFfn, current_isa()).kernel;
  torch::stable::parallel_for(0, blocks, 1, [&](int64_t first, int64_t last) {
    kernel(args, first, last, thread_scratch(bytes));
  });
}

// Plain weights [N, K] are packed for this call alone. Gradients need plain weights.
Tensor packed(const char* op, const Tensor& weight) {
  if (weight.dim() != 2) return weight;
  check_dtype(op, "a weight", weight);
  return pack(weight, weight.scalar_type() == ScalarType::Float ? Form::f32 : Form::bf16);
}

FfnArgs arguments(const char* op, const Tensor& x, Weights& weights, const Tensor& w_in, const Tensor& b_in,
                  const Tensor& w_out, const Tensor& b_out) {
  const int64_t hidden = x.size(x.dim() - 1), width = b_in.dim() == 1 ? b_in.size(0) : 0;
  FfnArgs args{};
  args.form = weights.form();
  args.up = weights.linear(w_in, b_in, width, hidden);
  args.down = weights.linear(w_out, b_out, hidden, width);
  args.rows = rows_of(op, x);
  return args;
}

Tensor ffn_pruned(const Tensor& x, const Tensor& w_in, const Tensor& b_in, const Tensor& w_out, const Tensor& b_out,
                  const Tensor& ln_weight, const Tensor& ln_bias, double eps) {
  constexpr const char* op = "ffn_pruned";
  rows_of(op, x);
  const Tensor up = packed(op, w_in), down = packed(op, w_out);
  Weights weights(op, "x", x, {&up, &down});
  FfnArgs args = arguments(op, x, weights, up, b_in, down, b_out);
  args.norm = weights.norm(ln_weight, ln_bias, args.up.k);
  args.eps = static_cast<float>(eps);
  const Tensor source = torch::stable::contiguous(x);
  Tensor out = torch::stable::empty_like(source);
  args.x = source.const_data_ptr();
  args.out = out.mutable_data_ptr();
  run(args);
  return out;
}

Tensor ffn_masked(const Tensor& x, const Tensor& w_in, const Tensor& b_in, const Tensor& w_out, const Tensor& b_out,
                  const Tensor& scale, const Tensor& shift, const std::optional<Tensor>& neurons,
                  const std::optional<Tensor>& values, const std::optional<Tensor>& source) {
  constexpr const char* op = "ffn_masked";
  const int64_t rows = rows_of(op, x);
  const bool given = neurons.has_value();
  check(values.has_value() == given && source.has_value() == given, op, ": neurons, values and source go together");
  const int64_t examples = x.dim() > 1 ? x.size(0) : 1;
  const Tensor up = packed(op, w_in), down = packed(op, w_out);
  Weights weights(op, "x", x, {&up, &down});
  FfnArgs args = arguments(op, x, weights, up, b_in, down, b_out);
  const Mask mask = weights.mask(scale, shift, args.up.n, examples);
  args.scale = mask.scale;
  args.shift = mask.shift;
  args.shift_stride = mask.shift_stride;
  ChosenNeurons chosen(op, x, rows, given ? &*source : nullptr);
  if (given) args.chosen = chosen.of(*neurons, &*values, args.up.n);
  std::vector<int64_t> example;
  if (mask.shift_stride != 0) {
    for (int64_t r = 0; r < args.rows; ++r) example.push_back(r / (args.rows / examples));
    args.example = example.data();
  }
  const Tensor input = torch::stable::contiguous(x);
  Tensor out = torch::stable::empty_like(input);
  args.x = input.const_data_ptr();
  args.out = out.mutable_data_ptr();
  run(args);
  return out;
}

}  // namespace
}  // namespace skn

STABLE_TORCH_LIBRARY_IMPL(skn, CPU, m) {
  SKN_KERNEL(m, "ffn_pruned", skn::ffn_pruned);
  SKN_KERNEL(m, "ffn_masked", skn::ffn_masked);
}
