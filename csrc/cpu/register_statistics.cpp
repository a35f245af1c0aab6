// CPU kernels of the statistics whose schemas skn/ops/statistics.py defines: checks, grouping by class, and the split
// over threads. The file uses only torch's stable C++ interface, so one binary serves every torch from 2.11 on.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "../behind_checks.h"
#include "kernels.h"
#include "../statistics.h"

namespace skn {
namespace {

std::vector<int64_t> values(const Tensor& tensor) {
  std::vector<int64_t> out(tensor.size(0));
  const int64_t* data = static_cast<const int64_t*>(tensor.const_data_ptr());
  const int64_t stride = tensor.stride(0);
  for (size_t i = 0; i < out.size(); ++i) out[i] = data[static_cast<int64_t>(i) * stride];
  return out;
}

// The batch by class. It refuses a label out of range before any state has changed.
class Batch {
 public:
  Batch(const char* op, const Tensor& labels, int64_t classes) : example_(labels.size(0)) {
    const std::vector<int64_t> label = values(labels);
    for (size_t i = 0; i < label.size(); ++i) {
      check(label[i] >= 0 && label[i] < classes, op, ": labels must lie in [0, ", classes, "), got ", label[i],
            " at example ", i);
    }
    std::iota(example_.begin(), example_.end(), int64_t{0});
    std::stable_sort(example_.begin(), example_.end(), [&](int64_t a, int64_t b) { return label[a] < label[b]; });
    for (size_t i = 0; i < example_.size(); ++i) {
      const int64_t here = label[example_[i]];
      if (label_.empty() || label_.back() != here) {
        label_.push_back(here);
        begin_.push_back(static_cast<int64_t>(i));
      }
    }
    begin_.push_back(static_cast<int64_t>(example_.size()));
  }

  Groups groups() const {
    return {example_.data(), begin_.data(), label_.data(), static_cast<int64_t>(label_.size())};
  }

 private:
  std::vector<int64_t> example_, begin_, label_;
};

// Runs `kernel(first, last)` over rows × tiles, where each tile reads `depth` rows of activations.
template <typename Kernel>
void over_tiles(int64_t rows, int64_t neurons, int64_t depth, const Kernel& kernel) {
  const int64_t tiles = rows * tiles_per_row(neurons);
  if (tiles == 0) return;
  const int64_t per_tile = std::max<int64_t>(1, std::min(neurons, kTile) * depth);
  torch::stable::parallel_for(0, tiles, std::max<int64_t>(1, kGrain / per_tile), kernel);
}

void accumulate_moments(const Tensor& count, const Tensor& total, const Tensor& total_sq, const Tensor& act,
                        const Tensor& labels) {
  constexpr const char* op = "accumulate_moments";
  check_moments(op, count, total, total_sq, act, labels);
  const int64_t classes = count.size(0), batch = act.size(0), positions = act.size(1), neurons = act.size(2);

  const Batch by_class(op, labels, classes);
  const Groups groups = by_class.groups();
  int64_t* counts = static_cast<int64_t*>(count.mutable_data_ptr());
  for (int64_t g = 0; g < groups.count; ++g) {
    counts[groups.label[g] * count.stride(0)] += groups.begin[g + 1] - groups.begin[g];
  }
  const MomentsArgs args{input(act), groups, positions, neurons, state<double>(total), state<double>(total_sq)};
  MomentsKernel* const kernel = choose(kMoments, current_isa()).kernel;
  over_tiles(positions, neurons, batch, [&](int64_t first, int64_t last) { kernel(args, first, last); });
}

void accumulate_hits(const Tensor& hits, const Tensor& act, const Tensor& threshold, const Tensor& labels) {
  constexpr const char* op = "accumulate_hits";
  check_hits(op, hits, act, threshold, labels);
  const int64_t classes = hits.size(0), batch = act.size(0), positions = act.size(1), neurons = act.size(2);

  const Batch by_class(op, labels, classes);
  const HitsArgs args{input(act),
                      by_class.groups(),
                      positions,
                      neurons,
                      static_cast<const double*>(threshold.const_data_ptr()),
                      {threshold.stride(0), threshold.stride(1)},
                      state<int64_t>(hits)};
  HitsKernel* const kernel = choose(kHits, current_isa()).kernel;
  over_tiles(positions, neurons, batch, [&](int64_t first, int64_t last) { kernel(args, first, last); });
}

Tensor pool_tokens(const Tensor& act, const Tensor& lengths, const Tensor& offset, std::string reduce) {
  constexpr const char* op = "pool_tokens";
  check_activations(op, act, "[B, S, F]");
  const int64_t batch = act.size(0), tokens = act.size(1), neurons = act.size(2);
  check_tensor(op, "lengths", lengths, act, ScalarType::Long, "[B]", {batch});
  check_tensor(op, "offset", offset, act, ScalarType::Long, "[B]", {batch});
  check(reduce == "mean" || reduce == "max", op, ": reduce must be 'mean' or 'max', got '", reduce, "'");

  const std::vector<int64_t> length = values(lengths), first_token = values(offset);
  int64_t read = 0;
  for (int64_t b = 0; b < batch; ++b) {
    // `length <= tokens - offset`, because `offset + length` could overflow.
    check(first_token[b] >= 0 && first_token[b] <= tokens && length[b] >= 0 && length[b] <= tokens - first_token[b],
          op, ": example ", b, " covers ", length[b], " tokens from ", first_token[b], " on, outside of ", tokens);
    read += length[b];
  }
  const bool wide = act.scalar_type() == ScalarType::Double;
  const std::vector<int64_t> sizes{batch, neurons};
  Tensor out = torch::stable::new_empty(act, sizes, wide ? ScalarType::Double : ScalarType::Float);
  const PoolArgs args{input(act), length.data(), first_token.data(), neurons,
                      reduce == "mean" ? Reduce::mean : Reduce::max, out.mutable_data_ptr()};
  PoolKernel* const kernel = choose(kPool, current_isa()).kernel;
  over_tiles(batch, neurons, batch == 0 ? 0 : read / batch,
             [&](int64_t first, int64_t last) { kernel(args, first, last); });
  return out;
}

}  // namespace
}  // namespace skn

STABLE_TORCH_LIBRARY_IMPL(skn, CPU, m) {
  SKN_KERNEL(m, "accumulate_moments", skn::accumulate_moments);
  SKN_KERNEL(m, "accumulate_hits", skn::accumulate_hits);
  SKN_KERNEL(m, "pool_tokens", skn::pool_tokens);
}
