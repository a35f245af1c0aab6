#pragma once

#include "chosen.h"
#include "scratch.h"

namespace skn {

// Rows of a block of work.
constexpr int64_t kFfnRows = 192;

// LayerNorm(x + act · W_outᵀ + b) with `norm`, act · W_outᵀ + b without; act = gelu(x · W_inᵀ + b) ∘ scale + shift.
struct FfnArgs {
  Form form;  // of the activations, and of the weights that are not int8
  Linear up, down;
  LayerNorm norm;      // null weight for none, and then without residual
  float eps;
  const float* scale;  // [F] padded to whole panels; null for no mask
  const float* shift;
  int64_t shift_stride;
  const int64_t* example;  // [rows]; null where all share one shift
  Chosen chosen;           // they take activations after the mask; none for no such neurons
  const void* x;           // [rows, H] contiguous
  int64_t rows;
  int64_t block_rows;
  void* out;  // [rows, H] contiguous
};

struct FfnPlan {
  int64_t x, act, y;
  CutPlan x_cut, act_cut;
  int64_t bytes;
};

inline FfnPlan plan_ffn(const FfnArgs& args) {
  const int64_t size = stored_size(args.form), ld = round_up(args.up.k, kPanel);
  FfnPlan plan;
  Offsets offsets;
  plan.x = offsets.take(args.block_rows * ld * size);
  plan.act = offsets.take(args.block_rows * kSlice * size);
  plan.y = offsets.take(args.block_rows * ld * 4);
  plan.x_cut = plan_cut(offsets, args.form, args.block_rows, ld);
  plan.act_cut = plan_cut(offsets, args.form, args.block_rows, kSlice);
  plan.bytes = offsets.end;
  return plan;
}

// Computes the blocks [first, last) of rows. `scratch` belongs to the calling thread.
using FfnKernel = void(const FfnArgs& args, int64_t first, int64_t last, void* scratch);

}  // namespace skn
