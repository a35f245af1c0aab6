// Shared by the registrations of several operators.
#pragma once

#include "arrays.h"
#include "common.h"

namespace skn {

// The number of elements for one thread before a second thread is worth its cost.
constexpr int64_t kGrain = 32768;

inline Element element_of(const Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case ScalarType::Double: return Element::f64;
    case ScalarType::BFloat16: return Element::bf16;
    case ScalarType::Half: return Element::f16;
    default: return Element::f32;
  }
}

}  // namespace skn
