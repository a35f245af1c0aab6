#pragma once

#include "../arrays.h"

namespace skn {

struct AurocArgs {
  const void* values;
  Element element;
  int64_t stride[2];     // of examples and of columns, in elements; may be 0
  int64_t n;             // examples
  int64_t columns;
  const uint16_t* label;
  const int64_t* count;  // of each class's examples
  int64_t classes;
  double* area;          // [classes, columns]
  int64_t* nan;          // [columns]
};

// Labels are stored in 16 bits.
constexpr int64_t kAurocMaxClasses = int64_t{1} << 16;

// Twice the count of pairs, below 2 n², fits int64.
constexpr int64_t kAurocMaxExamples = (int64_t{1} << 31) - 1;

constexpr int64_t element_size(Element element) {
  return element == Element::f64 ? 8 : element == Element::f32 ? 4 : 2;
}

// The number of columns in one unit of work: a cache line of a row.
constexpr int64_t auroc_unit(Element element) { return 64 / element_size(element); }

// Writes the results of the units of columns [first, last).
using AurocKernel = void(const AurocArgs& args, int64_t first, int64_t last);

}  // namespace skn
