// The layout of a thread's memory: offsets in bytes, each on a cache line.
#pragma once

#include "linear.h"

namespace skn {

struct Offsets {
  int64_t end = 0;

  int64_t take(int64_t bytes) {
    const int64_t begin = end;
    end += round_up(bytes, 64);
    return begin;
  }
};

// Rows of activations a second time, in the forms that some products read.
struct CutPlan {
  int64_t parts;  // float32: numbers cut in two of bf16x3, or bfloat16 widened
  int64_t bytes;  // int8, whatever the form of the activations: bytes, or bytes widened to 16 bits
  int64_t scales;
  int64_t mixed;  // float32, of one row
};

inline CutPlan plan_cut(Offsets& offsets, Form form, int64_t rows, int64_t ld) {
  CutPlan plan;
  plan.parts = offsets.take(form == Form::f32 ? 0 : rows * ld * 4);
  plan.bytes = offsets.take(rows * ld * 2);
  plan.scales = offsets.take(rows * 2 * sizeof(float));
  plan.mixed = offsets.take(ld * sizeof(float));
  return plan;
}

}  // namespace skn
