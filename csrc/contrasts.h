// A contrast of two label sets, for kernels of any device.
#pragma once

#include <cstdint>

namespace skn {

struct Contrast {
  int64_t positive, negative;  // sides; a negative one of −1 is "all other examples"
  double a, b, weight, unit;
};

}  // namespace skn
