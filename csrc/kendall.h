// The checks of kendall_tau on every device.
#pragma once

#include "common.h"

namespace skn {

// With more rows, scipy's tie sums of a constant column, about 2 n³, would not fit int64.
constexpr int64_t kKendallMaxRows = int64_t{1} << 20;

inline void check_kendall(const Tensor& x, const Tensor& y) {
  check_floating("kendall_tau", "x", x, "[n, p]", 2);
  check_floating("kendall_tau", "y", y, "[n, q]", 2);
  const int64_t n = x.size(0);
  check(y.size(0) == n, "kendall_tau: y must have the rows of x, ", n, ", got ", describe(y));
  check(y.device() == x.device(), "kendall_tau: y must be on the device of x");
  check(n >= 2 && n <= kKendallMaxRows, "kendall_tau: n must lie in [2, ", kKendallMaxRows, "], got ", n);
}

}  // namespace skn
