// How the CPU's statistics split their work: a batch by class, an array into tiles of neurons.
//
// Like every header that bodies/ include, this one is free of torch. Otherwise the linker could share a copy of torch's
// inline functions that was compiled for a wider instruction set with the rest of the process.
#pragma once

#include <cstdint>

namespace skn {

// The unit of parallel work is one tile: this many neighbouring neurons at one position. The counters of a tile and a
// few rows of activations fit into the first-level cache, whatever the number of classes.
constexpr int64_t kTile = 512;

inline int64_t tiles_per_row(int64_t neurons) { return (neurons + kTile - 1) / kTile; }

// The examples of a batch, grouped by class and in the order of the batch within a class. Only classes in the batch are
// listed, so a batch of 32 costs the same with 2 classes and with 150.
struct Groups {
  const int64_t* example;  // example indices
  const int64_t* begin;    // count + 1 bounds into `example`
  const int64_t* label;    // the class of each group
  int64_t count;
};

}  // namespace skn
