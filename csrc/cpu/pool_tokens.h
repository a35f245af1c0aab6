#pragma once

#include "../arrays.h"
#include "statistics_work.h"

namespace skn {

enum class Reduce { mean, max };

struct PoolArgs {
  Input act;  // [B, S, F]
  const int64_t* length;  // [B], contiguous
  const int64_t* offset;  // [B], contiguous
  int64_t neurons;
  Reduce reduce;
  void* out;  // [B, F] contiguous: double for f64 activations, else float
};

// Writes the tiles [first, last) of `out`, where tile i is neurons [512 (i mod n), …) of example i / n and
// n = tiles_per_row(neurons).
using PoolKernel = void(const PoolArgs& args, int64_t first, int64_t last);

}  // namespace skn
