#pragma once

#include "../arrays.h"
#include "statistics_work.h"

namespace skn {

struct MomentsArgs {
  Input act;  // [B, P, F]
  Groups groups;
  int64_t positions;
  int64_t neurons;
  State<double> total;     // [C, P, F]
  State<double> total_sq;  // [C, P, F]
};

// Adds the batch to the tiles [first, last) of `total` and `total_sq`, where tile i is neurons
// [512 (i mod n), …) of position i / n and n = tiles_per_row(neurons).
using MomentsKernel = void(const MomentsArgs& args, int64_t first, int64_t last);

}  // namespace skn
