// The checks of permuted_hits on every device.
#pragma once

#include <cmath>
#include <vector>

#include "common.h"
#include "contrasts.h"

namespace skn {

// The eager definition counts in float32, which is exact up to here.
constexpr int64_t kPermutedMostExamples = int64_t{1} << 24;

inline void check_form(const char* name, const Tensor& tensor, ScalarType dtype, const char* axes, int64_t rank) {
  check(tensor.scalar_type() == dtype && tensor.dim() == rank, "permuted_hits: ", name, " must be ", dtype_name(dtype),
        ' ', axes, ", got ", describe(tensor));
}

inline void check_permuted(const Tensor& words, const Tensor& masks, const Tensor& sides, const Tensor& terms,
                           int64_t examples) {
  constexpr const char* op = "permuted_hits";
  check(examples >= 1 && examples <= kPermutedMostExamples, op, ": examples must lie in [1, ", kPermutedMostExamples,
        "], got ", examples);
  const int64_t width = (examples + 63) / 64;
  check_form("words", words, ScalarType::Long, "[R, W, P, G]", 4);
  check_form("masks", masks, ScalarType::Long, "[M, S, W]", 3);
  check_form("sides", sides, ScalarType::Long, "[K, 2]", 2);
  check_form("terms", terms, ScalarType::Double, "[K, 4]", 2);
  check(words.size(1) == width && masks.size(2) == width, op, ": words and masks must have W = ", width, " words for ",
        examples, " examples, got ", describe(words), " and ", describe(masks));
  check(words.size(0) >= 1 && words.size(2) >= 1, op, ": words must have at least one run and one position, got ",
        describe(words));
  check(masks.size(0) >= 1, op, ": masks must have at least one labelling, got ", describe(masks));
  check(sides.size(0) >= 1 && sides.size(1) == 2, op,
        ": sides must be int64 [K, 2] with at least one contrast, got ", describe(sides));
  check(terms.size(0) == sides.size(0) && terms.size(1) == 4, op, ": terms must be float64 [K, 4] = [", sides.size(0),
        ", 4], got ", describe(terms));
  check(masks.device() == words.device(), op, ": masks must be on the device of words");
  check(sides.is_cpu() && terms.is_cpu(), op, ": sides and terms must be on the CPU");
}

// Reads the contrasts, and refuses a side that is none of `count` and terms without a meaning.
inline std::vector<Contrast> read_contrasts(const Tensor& sides, const Tensor& terms, int64_t count) {
  std::vector<Contrast> contrasts;
  const int64_t* side = static_cast<const int64_t*>(sides.const_data_ptr());
  const double* term = static_cast<const double*>(terms.const_data_ptr());
  for (int64_t k = 0; k < sides.size(0); ++k) {
    const auto side_at = [&](int64_t i) { return side[k * sides.stride(0) + i * sides.stride(1)]; };
    const auto term_at = [&](int64_t i) { return term[k * terms.stride(0) + i * terms.stride(1)]; };
    contrasts.push_back({side_at(0), side_at(1), term_at(0), term_at(1), term_at(2), term_at(3)});
    const Contrast& made = contrasts.back();
    check(made.positive >= 0 && made.positive < count && made.negative >= -1 && made.negative < count,
          "permuted_hits: contrast ", k, " must have sides in [0, ", count, "), or -1 for the negative one, got ",
          made.positive, " and ", made.negative);
  }
  for (size_t k = 0; k < contrasts.size(); ++k) {
    const auto& [positive, negative, a, b, weight, unit] = contrasts[k];
    check(std::isfinite(a) && std::isfinite(b) && std::isfinite(weight) && std::isfinite(unit) && weight >= 0 &&
              unit >= 0,
          "permuted_hits: the terms of contrast ", k, " must be finite, the weight and the unit not negative");
  }
  return contrasts;
}

}  // namespace skn
