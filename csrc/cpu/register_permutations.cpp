// permuted_hits on the CPU: checks, and the split over threads.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <mutex>
#include <tuple>
#include <vector>

#include "../behind_checks.h"
#include "../elements.h"
#include "../permutations.h"
#include "kernels.h"

namespace skn {
namespace {

Tensor dense(const Tensor& tensor) { return tensor.is_contiguous() ? tensor : torch::stable::contiguous(tensor); }

const uint64_t* words_of(const Tensor& tensor) { return static_cast<const uint64_t*>(tensor.const_data_ptr()); }

std::tuple<Tensor, Tensor, Tensor> permuted_hits(const Tensor& words, const Tensor& masks, const Tensor& sides,
                                                 const Tensor& terms, int64_t examples, bool lowest) {
  check_permuted(words, masks, sides, terms, examples);
  const std::vector<Contrast> contrasts = read_contrasts(sides, terms, masks.size(1));
  const int64_t groups = words.size(3), others = masks.size(0) - 1;
  const std::vector<int64_t> own_sizes{2, groups}, reached_sizes{groups}, greatest_sizes{2, others};
  Tensor own = torch::stable::new_empty(words, own_sizes, ScalarType::Double);
  Tensor reached = torch::stable::new_empty(words, reached_sizes, ScalarType::Long);
  Tensor greatest = torch::stable::new_empty(words, greatest_sizes, ScalarType::Double);
  double* const most = static_cast<double*>(greatest.mutable_data_ptr());
  std::fill_n(most, 2 * others, 0.0);

  const Tensor dense_words = dense(words), dense_masks = dense(masks);
  PermutedArgs args{};
  args.words = words_of(dense_words);
  args.masks = words_of(dense_masks);
  args.contrast = contrasts.data();
  args.runs = words.size(0);
  args.width = words.size(1);
  args.positions = words.size(2);
  args.groups = groups;
  args.labellings = masks.size(0);
  args.sides = masks.size(1);
  args.contrasts = static_cast<int64_t>(contrasts.size());
  args.examples = examples;
  args.lowest = lowest;
  args.own = static_cast<double*>(own.mutable_data_ptr());
  args.reached = static_cast<int64_t*>(reached.mutable_data_ptr());

  PermutedKernel* const kernel = choose(kPermuted, current_isa()).kernel;
  const int64_t units = (groups + kPermutedUnit - 1) / kPermutedUnit;
  const int64_t of_unit = args.runs * args.width * args.positions * kPermutedUnit * args.labellings * args.sides;
  std::mutex joining;
  torch::stable::parallel_for(0, units, std::max<int64_t>(1, kGrain / of_unit), [&](int64_t first, int64_t last) {
    std::vector<double> mine(2 * others, 0.0);
    kernel(args, first, last, mine.data());
    const std::lock_guard<std::mutex> lock(joining);
    for (int64_t i = 0; i < 2 * others; ++i) most[i] = std::max(most[i], mine[i]);
  });
  return {own, reached, greatest};
}

}  // namespace
}  // namespace skn

STABLE_TORCH_LIBRARY_IMPL(skn, CPU, m) { SKN_KERNEL(m, "permuted_hits", skn::permuted_hits); }
