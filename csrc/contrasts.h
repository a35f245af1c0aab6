// A contrast of two label sets, for kernels of any device.
#pragma once

#include <cstdint>

namespace skn {

// Equal statistics of two columns may differ in their last bits, because each is divided by the spread of its own column. A
// statistic that falls short by less than this share reaches the other one.
constexpr double kReaches = 1.0 - 1e-12;

struct Contrast {
  int64_t positive, negative;  // sides; a negative one of −1 is "all other examples"
  double a, b, weight, unit;
};

}  // namespace skn
