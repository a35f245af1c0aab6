// encode: checks, groups of sequences, and the split over threads.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "../behind_checks.h"
#include "../common.h"
#include "chosen_neurons.h"
#include "kernels.h"
#include "weights.h"

namespace skn {
namespace {

// The parts of a layer in the list `weights`, with a weight and a bias of each. In Python they are LAYER_PARTS.
enum Part { kQ, kK, kV, kOut, kAttentionNorm, kUp, kDown, kOutputNorm, kParts };
constexpr size_t kLayerTensors = 2 * kParts;

// The tensors of one layer.
struct LayerTensors {
  const Tensor* first;
  const Tensor& weight(Part part) const { return first[2 * part]; }
  const Tensor& bias(Part part) const { return first[2 * part + 1]; }
};

class Layers {
 public:
  Layers(const char* op, const Tensor& x, const std::vector<Tensor>& weights, const std::vector<Tensor>& masks,
         int64_t examples)
      : op_(op), weights_(op, "hidden", x, packed_among(weights)) {
    const size_t layers = weights.size() / kLayerTensors;
    check(masks.empty() || masks.size() == 2 * layers, op, ": masks must be empty or hold scale and shift of ", layers,
          " layers, got ", masks.size(), " tensors");
    for (size_t l = 0; l < layers; ++l) {
      const LayerTensors of{&weights[l * kLayerTensors]};
      const int64_t hidden = x.size(1), width = of.bias(kUp).dim() == 1 ? of.bias(kUp).size(0) : 0;
      const auto linear = [&](Part part, int64_t n, int64_t k) {
        return weights_.linear(of.weight(part), of.bias(part), n, k);
      };
      const auto norm = [&](Part part) { return weights_.norm(of.weight(part), of.bias(part), hidden); };
      EncoderLayer layer{};
      layer.q = linear(kQ, hidden, hidden);
      layer.k = linear(kK, hidden, hidden);
      layer.v = linear(kV, hidden, hidden);
      layer.out = linear(kOut, hidden, hidden);
      layer.attention_norm = norm(kAttentionNorm);
      layer.up = linear(kUp, width, hidden);
      layer.down = linear(kDown, hidden, width);
      layer.output_norm = norm(kOutputNorm);
      if (!masks.empty() && masks[2 * l].size(0) > 0) mask(layer, masks[2 * l], masks[2 * l + 1], examples);
      layers_.push_back(layer);
    }
  }

  // Adds the chosen neurons of each layer. `values` are what they take, or null where they are recorded.
  void choose(ChosenNeurons& chosen, const std::vector<Tensor>& neurons, const std::vector<Tensor>* values) {
    check_count("neurons", neurons);
    if (values != nullptr) check_count("values", *values);
    for (size_t l = 0; l < layers_.size(); ++l) {
      layers_[l].chosen = chosen.of(neurons[l], values != nullptr ? &(*values)[l] : nullptr, layers_[l].up.n);
    }
  }

  std::vector<EncoderLayer>& all() { return layers_; }
  Form form() const { return weights_.form(); }

 private:
  static std::vector<const Tensor*> packed_among(const std::vector<Tensor>& weights) {
    std::vector<const Tensor*> packed;
    for (size_t at = 0; at < weights.size(); at += kLayerTensors) {
      for (Part part : {kQ, kK, kV, kOut, kUp, kDown}) packed.push_back(&weights[at + 2 * part]);
    }
    return packed;
  }

  void check_count(const char* name, const std::vector<Tensor>& tensors) const {
    check(tensors.size() == layers_.size(), op_, ": ", name, " must hold ", layers_.size(),
          " tensors, one a layer, got ", tensors.size());
  }

  void mask(EncoderLayer& layer, const Tensor& scale, const Tensor& shift, int64_t examples) {
    const Mask mask = weights_.mask(scale, shift, layer.up.n, examples);
    layer.scale = mask.scale;
    layer.shift = mask.shift;
    layer.shift_stride = mask.shift_stride;
  }

  const char* op_;
  Weights weights_;
  std::vector<EncoderLayer> layers_;
};

// Groups the sequences into groups of about equal size. The number of groups is a multiple of the threads.
std::vector<int64_t> groups_of(const std::vector<int64_t>& bounds, int64_t threads) {
  const int64_t sequences = static_cast<int64_t>(bounds.size()) - 1, rows = bounds.back();
  const int64_t wanted = std::max<int64_t>(1, round_up((rows + kGroupRows - 1) / kGroupRows, threads));
  std::vector<int64_t> group{0};
  for (int64_t i = 1; i < sequences; ++i) {
    const int64_t done = static_cast<int64_t>(group.size());
    if (bounds[i] * wanted >= rows * done && done < wanted) group.push_back(i);
  }
  group.push_back(sequences);
  return group;
}

std::vector<Tensor> encode(const Tensor& hidden, const Tensor& bounds, std::vector<Tensor> weights,
                           std::vector<Tensor> masks, int64_t heads, double eps, int64_t read, int64_t tap,
                           std::optional<std::vector<Tensor>> neurons, std::optional<std::vector<Tensor>> values,
                           std::optional<Tensor> source) {
  constexpr const char* op = "encode";
  check(hidden.dim() == 2, op, ": hidden must be [T, H], got ", describe(hidden));
  check(bounds.scalar_type() == ScalarType::Long && bounds.dim() == 1 && bounds.size(0) >= 1, op,
        ": bounds must be int64 [B + 1], got ", describe(bounds));
  check(heads > 0 && hidden.size(1) % heads == 0, op, ": ", heads, " heads do not divide ", hidden.size(1));
  check(read >= 0 && tap >= 0, op, ": read and tap must not be negative");
  std::vector<int64_t> bound(bounds.size(0));
  for (size_t i = 0; i < bound.size(); ++i) {
    bound[i] = static_cast<const int64_t*>(bounds.const_data_ptr())[static_cast<int64_t>(i) * bounds.stride(0)];
  }
  const int64_t sequences = static_cast<int64_t>(bound.size()) - 1;
  check(bound.front() == 0 && bound.back() == hidden.size(0), op, ": bounds must go from 0 to ", hidden.size(0));
  int64_t longest = 0;
  for (int64_t i = 0; i < sequences; ++i) {
    const int64_t length = bound[i + 1] - bound[i];
    check(length > 0 && length >= read && length >= tap, op, ": sequence ", i, " has ", length,
          " rows, fewer than 1, read or tap");
    longest = std::max(longest, length);
  }
  check(!weights.empty() && weights.size() % kLayerTensors == 0, op, ": weights must hold ", kLayerTensors,
        " tensors a layer, got ", weights.size());
  const bool given = values.has_value();
  check(given == source.has_value() && (neurons.has_value() || !given), op,
        ": values and source go together, and with neurons");
  const bool recording = neurons.has_value() && !given;
  check(!recording || read == 0, op, ": every row is recorded, so read must be 0, got ", read);
  Layers layers(op, hidden, weights, masks, sequences);
  ChosenNeurons chosen(op, hidden, hidden.size(0), given ? &*source : nullptr);
  if (neurons.has_value()) layers.choose(chosen, *neurons, given ? &*values : nullptr);
  const Tensor x = torch::stable::contiguous(hidden);
  std::vector<Tensor> out{torch::stable::new_empty(x, {read > 0 ? sequences * read : x.size(0), x.size(1)})};
  for (EncoderLayer& layer : layers.all()) {
    if (tap == 0) break;
    out.push_back(torch::stable::new_empty(x, {sequences, tap, layer.up.n}));
    layer.tap = out.back().mutable_data_ptr();
  }
  for (EncoderLayer& layer : layers.all()) {
    if (!recording) break;
    out.push_back(torch::stable::new_empty(x, {x.size(0), layer.chosen.count}));
    layer.chosen.recorded = out.back().mutable_data_ptr();
  }
  if (sequences == 0) return out;

  // With few rows, the time goes into reading weights, so the threads share the reading: each computes some columns of a
  // product.
  const int64_t available = std::max<int64_t>(1, torch::stable::get_num_threads());
  const bool few = available > 1 && (sequences < available || x.size(0) <= available * kFewRows);
  const int64_t threads = few ? available : 1;
  const std::vector<int64_t> group = groups_of(bound, few ? 1 : available);
  int64_t longest_group = 0;
  for (size_t g = 0; g + 1 < group.size(); ++g) {
    longest_group = std::max(longest_group, bound[group[g + 1]] - bound[group[g]]);
  }
  Team team(threads);
  const EncodeArgs args{layers.form(), layers.all().data(), static_cast<int64_t>(layers.all().size()), x.size(1),
                        heads, static_cast<float>(eps), x.const_data_ptr(), bound.data(), group.data(), read, tap,
                        longest_group, longest, few ? &team : nullptr, threads, out[0].mutable_data_ptr()};
  const int64_t bytes = plan_scratch(args).bytes;
  EncodeKernel* const kernel = choose(kEncode, current_isa()).kernel;
  const int64_t groups = static_cast<int64_t>(group.size()) - 1;
  if (few) {
    void* const scratch = thread_scratch(bytes);
    torch::stable::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
      team.join([&] { kernel(args, 0, groups, scratch); });
    });
    return out;
  }
  torch::stable::parallel_for(0, groups, 1, [&](int64_t first, int64_t last) {
    kernel(args, first, last, thread_scratch(bytes));
  });
  return out;
}

}  // namespace
}  // namespace skn

STABLE_TORCH_LIBRARY_IMPL(skn, CPU, m) {
  SKN_KERNEL(m, "encode", skn::encode);
}
