// What registration.cpp hands to a CPU kernel: raw pointers, sizes and strides, nothing of torch. Kernel files
// stay free of torch headers so that a copy compiled for a wider instruction set cannot leak such code into
// inline functions that the linker shares with the rest of the process.
#pragma once

#include <cstdint>

namespace skn {

// How an activation is stored. Arithmetic happens in float32 or float64, to which every value converts exactly.
enum class Element { f32, f64, bf16, f16 };

// The unit of parallel work is one tile: this many neighbouring neurons at one position. The counters of a tile
// and a few rows of activations fit the first-level cache, whatever the number of classes.
constexpr int64_t kTile = 512;

// A strided [first, second, neuron] array; strides count elements and may be 0 for inputs.
struct Input {
  const void* data;
  Element element;
  int64_t stride[3];
};

template <typename T>
struct State {
  T* data;
  int64_t stride[3];
};

// The examples of a batch, grouped by class and in the order of the batch within a class. Only classes that
// occur are listed, so a batch of 32 costs the same with 2 classes and with 150.
struct Groups {
  const int64_t* example;  // example indices
  const int64_t* begin;    // count + 1 bounds into `example`
  const int64_t* label;    // the class of each group
  int64_t count;
};

inline int64_t tiles_per_row(int64_t neurons) { return (neurons + kTile - 1) / kTile; }

}  // namespace skn
