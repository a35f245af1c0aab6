// permuted_hits on CUDA: checks, memory and the launch. It uses only torch's stable C++ interface.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <tuple>
#include <vector>

#include "../behind_checks.h"
#include "../permutations.h"
#include "launch.h"
#include "permuted_hits.h"

namespace skn {
namespace {

Tensor dense(const Tensor& tensor) { return tensor.is_contiguous() ? tensor : torch::stable::contiguous(tensor); }

const uint64_t* words_of(const Tensor& tensor) { return static_cast<const uint64_t*>(tensor.const_data_ptr()); }

std::tuple<Tensor, Tensor, Tensor> permuted_hits(const Tensor& words, const Tensor& masks, const Tensor& sides,
                                                 const Tensor& terms, int64_t examples, bool lowest) {
  check_permuted(words, masks, sides, terms, examples);
  const std::vector<Contrast> contrasts = read_contrasts(sides, terms, masks.size(1));
  const OnDevice here(words);
  const int64_t groups = words.size(3), others = masks.size(0) - 1, count = sides.size(0);
  const auto empty = [&](const std::vector<int64_t>& sizes, ScalarType dtype) {
    return torch::stable::new_empty(words, sizes, dtype);
  };
  Tensor own = empty({2, groups}, ScalarType::Double), greatest = empty({2, others}, ScalarType::Double);
  Tensor reached = empty({groups}, ScalarType::Long);
  Tensor memory = empty({count, static_cast<int64_t>(sizeof(Contrast))}, ScalarType::Byte);

  const Tensor dense_words = dense(words), dense_masks = dense(masks);
  cuda::Permuted given{};
  given.words = words_of(dense_words);
  given.masks = words_of(dense_masks);
  given.contrast = static_cast<Contrast*>(memory.mutable_data_ptr());
  given.runs = words.size(0);
  given.width = words.size(1);
  given.positions = words.size(2);
  given.groups = groups;
  given.labellings = masks.size(0);
  given.sides = masks.size(1);
  given.contrasts = count;
  given.examples = examples;
  given.lowest = lowest;
  given.own = static_cast<double*>(own.mutable_data_ptr());
  given.reached = static_cast<int64_t*>(reached.mutable_data_ptr());
  given.greatest = static_cast<double*>(greatest.mutable_data_ptr());
  check_cuda("permuted_hits", cuda::permuted_hits(given, contrasts.data(), here.stream));
  return {own, reached, greatest};
}

}  // namespace
}  // namespace skn

STABLE_TORCH_LIBRARY_IMPL(skn, CUDA, m) { SKN_KERNEL(m, "permuted_hits", skn::permuted_hits); }
