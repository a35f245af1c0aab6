// Chosen neurons of a layer, as the kernels get them.
#pragma once

#include <cstdint>

namespace skn {

// Neurons whose activations each row takes from elsewhere, or which are recorded.
struct Chosen {
  const int64_t* neuron;  // [count], rising
  int64_t count;          // 0 for none
  const void* values;     // [V, count] activations; null where none are taken
  const int64_t* source;  // of each row of the call: the row of `values` that it takes, or -1 where it keeps its own
  void* recorded;         // [rows, count]; null where none are recorded
};

}  // namespace skn
