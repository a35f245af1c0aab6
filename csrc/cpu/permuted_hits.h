#pragma once

#include <cstdint>

#include "../contrasts.h"

namespace skn {

struct PermutedArgs {
  const uint64_t* words;  // [runs, width, positions, groups]
  const uint64_t* masks;  // [labellings, sides, width]
  const Contrast* contrast;
  int64_t runs, width, positions, groups, labellings, sides, contrasts, examples;
  bool lowest;
  double* own;       // [2, groups]
  int64_t* reached;  // [groups]
};

// The number of groups in one unit of work.
constexpr int64_t kPermutedUnit = 32;

// Judges the units of groups [first, last). Each value of `greatest` [2, labellings − 1] is raised to that of a group
// that is above it.
using PermutedKernel = void(const PermutedArgs& args, int64_t first, int64_t last, double* greatest);

}  // namespace skn
