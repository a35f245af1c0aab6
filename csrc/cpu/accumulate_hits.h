#pragma once

#include "../arrays.h"
#include "statistics_work.h"

namespace skn {

struct HitsArgs {
  Input act;  // [B, P, F]
  Groups groups;
  int64_t positions;
  int64_t neurons;
  const double* threshold;  // [P, F]
  int64_t threshold_stride[2];
  State<int64_t> hits;  // [C, P, F]
};

// Adds the batch to the tiles [first, last) of `hits`, numbered as in accumulate_moments.
using HitsKernel = void(const HitsArgs& args, int64_t first, int64_t last);

}  // namespace skn
