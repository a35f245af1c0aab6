// The checks of chosen neurons, and their tensors as kernels read them, kept until the call ends.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <vector>

#include "../common.h"
#include "chosen.h"

namespace skn {

class ChosenNeurons {
 public:
  // `x` has the type of the activations; `source` is null where activations are recorded.
  ChosenNeurons(const char* op, const Tensor& x, int64_t rows, const Tensor* source) : op_(op), dtype_(x.scalar_type()) {
    if (source == nullptr) return;
    check(source->scalar_type() == ScalarType::Long && source->dim() == 1 && source->size(0) == rows, op,
          ": source must be int64 [", rows, "], got ", describe(*source));
    source_ = static_cast<const int64_t*>(kept(*source));
    for (int64_t r = 0; r < rows; ++r) {
      lowest_ = source_[r] < source_[lowest_] ? r : lowest_;
      highest_ = source_[r] > source_[highest_] ? r : highest_;
    }
    rows_ = rows;
  }

  // The chosen neurons of a layer of `width` neurons. `values` are what they take, or null.
  Chosen of(const Tensor& neurons, const Tensor* values, int64_t width) {
    check(neurons.scalar_type() == ScalarType::Long && neurons.dim() == 1, op_, ": neurons must be int64 [K], got ",
          describe(neurons));
    Chosen chosen{};
    chosen.count = neurons.size(0);
    chosen.neuron = static_cast<const int64_t*>(kept(neurons));
    for (int64_t k = 0, above = 0; k < chosen.count; above = chosen.neuron[k++] + 1) {
      check(above <= chosen.neuron[k] && chosen.neuron[k] < width, op_, ": neurons must rise and lie in [0, ", width, ")");
    }
    if (values == nullptr) return chosen;
    check(values->scalar_type() == dtype_ && values->dim() == 2 && values->size(1) == chosen.count, op_,
          ": values must be ", dtype_name(dtype_), " [V, ", chosen.count, "], got ", describe(*values));
    chosen.values = kept(*values);
    chosen.source = source_;
    if (rows_ == 0 || chosen.count == 0) return chosen;
    for (int64_t row : {lowest_, highest_}) {
      check(-1 <= source_[row] && source_[row] < values->size(0), op_, ": source must lie in [-1, ", values->size(0),
            "), got ", source_[row], " at row ", row);
    }
    return chosen;
  }

 private:
  const void* kept(const Tensor& tensor) {
    kept_.push_back(torch::stable::contiguous(tensor));
    return kept_.back().const_data_ptr();
  }

  const char* op_;
  ScalarType dtype_;
  int64_t rows_ = 0, lowest_ = 0, highest_ = 0;  // rows, and those with the lowest and the highest source
  const int64_t* source_ = nullptr;
  std::vector<Tensor> kept_;
};

}  // namespace skn
