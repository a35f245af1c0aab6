#pragma once

#include "linear.h"

namespace skn {

// Rows of a block of work.
constexpr int64_t kFfnRows = 192;

// LayerNorm(x + act · W_outᵀ + b) with `norm`, act · W_outᵀ + b without; act = gelu(x · W_inᵀ + b) ∘ scale + shift.
struct FfnArgs {
  Form form;
  Linear up, down;
  LayerNorm norm;      // null weight for none, and then without residual
  float eps;
  const float* scale;  // [F] padded to whole panels; null for no mask
  const float* shift;
  int64_t shift_stride;
  const int64_t* example;  // [rows]; null where all share one shift
  const void* x;           // [rows, H] contiguous
  int64_t rows;
  int64_t block_rows;
  void* out;  // [rows, H] contiguous
};

struct FfnPlan {
  int64_t x, act, x_parts, act_parts, y, bytes;
};

inline FfnPlan plan_ffn(const FfnArgs& args) {
  const int64_t size = stored_size(args.form), ld = round_up(args.up.k, kPanel);
  const int64_t parts = args.form == Form::bf16x3 ? size : 0;
  FfnPlan plan;
  plan.x = 0;
  plan.act = plan.x + round_up(args.block_rows * ld * size, 64);
  plan.x_parts = plan.act + round_up(args.block_rows * kSlice * size, 64);
  plan.act_parts = plan.x_parts + round_up(args.block_rows * ld * parts, 64);
  plan.y = plan.act_parts + round_up(args.block_rows * kSlice * parts, 64);
  plan.bytes = plan.y + round_up(args.block_rows * ld * 4, 64);
  return plan;
}

// Computes the blocks [first, last) of rows. `scratch` belongs to the calling thread.
using FfnKernel = void(const FfnArgs& args, int64_t first, int64_t last, void* scratch);

}  // namespace skn
