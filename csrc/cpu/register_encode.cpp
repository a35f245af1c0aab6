// pack and encode: checks, padded copies of the small vectors, groups of sequences, and the split over threads.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "../common.h"
#include "kernels.h"

namespace skn {
namespace {

// Tensors of a layer in the list `weights`: q, k, v, out, norm, up, down, norm, each a weight and a bias.
constexpr size_t kLayerTensors = 16;

Element element_of(const char* op, const char* name, const Tensor& tensor) {
  const ScalarType dtype = tensor.scalar_type();
  check(dtype == ScalarType::Float || dtype == ScalarType::BFloat16, op, ": ", name,
        " must be float32 or bfloat16, got ", describe(tensor));
  return dtype == ScalarType::BFloat16 ? Element::bf16 : Element::f32;
}

Tensor pack(const Tensor& weight) {
  constexpr const char* op = "pack";
  const Element element = element_of(op, "weight", weight);
  check(weight.dim() == 2, op, ": weight must be [N, K], got ", describe(weight));
  const int64_t n = weight.size(0), k = weight.size(1), depth = packed_depth(element, k);
  const int64_t pair = element == Element::bf16 ? 2 : 1;
  std::vector<int64_t> sizes{panels(n), depth / pair, kPanel};
  if (pair == 2) sizes.push_back(2);
  Tensor out = torch::stable::new_zeros(weight, sizes);
  const auto copy = [&](const auto* source, auto* target) {
    torch::stable::parallel_for(0, panels(n), 8, [&](int64_t first, int64_t last) {
      for (int64_t row = first * kPanel; row < std::min(n, last * kPanel); ++row) {
        auto* column = target + row / kPanel * depth * kPanel + row % kPanel * pair;
        for (int64_t i = 0; i < k; ++i) {
          column[i / pair * kPanel * pair + i % pair] = source[row * weight.stride(0) + i * weight.stride(1)];
        }
      }
    });
  };
  if (pair == 2) {
    copy(static_cast<const uint16_t*>(weight.const_data_ptr()), static_cast<uint16_t*>(out.mutable_data_ptr()));
  } else {
    copy(static_cast<const float*>(weight.const_data_ptr()), static_cast<float*>(out.mutable_data_ptr()));
  }
  return out;
}

// Small vectors as float32, padded with zeros to whole panels.
class Padded {
 public:
  // One row, or `rows` rows one after the other, each padded; `stride` between them.
  const float* add(const Tensor& tensor) {
    const int64_t rows = tensor.dim() == 2 ? tensor.size(0) : 1, n = tensor.size(tensor.dim() - 1);
    auto copy = std::make_unique<float[]>(rows * round_up(n, kPanel));
    const int64_t row_stride = tensor.dim() == 2 ? tensor.stride(0) : 0, stride = tensor.stride(tensor.dim() - 1);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < n; ++i) copy[r * round_up(n, kPanel) + i] = value(tensor, r * row_stride + i * stride);
    }
    kept_.push_back(std::move(copy));
    return kept_.back().get();
  }

 private:
  static float value(const Tensor& tensor, int64_t at) {
    if (tensor.scalar_type() == ScalarType::Float) return static_cast<const float*>(tensor.const_data_ptr())[at];
    const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(tensor.const_data_ptr())[at]) << 16;
    float out;
    std::memcpy(&out, &bits, sizeof out);
    return out;
  }

  std::vector<std::unique_ptr<float[]>> kept_;
};

class Layers {
 public:
  Layers(const char* op, const Tensor& x, const std::vector<Tensor>& weights, const std::vector<Tensor>& masks,
         int64_t examples)
      : op_(op), x_(x), element_(element_of(op, "hidden", x)) {
    check(!weights.empty() && weights.size() % kLayerTensors == 0, op, ": weights must hold ", kLayerTensors,
          " tensors a layer, got ", weights.size());
    const size_t layers = weights.size() / kLayerTensors;
    check(masks.empty() || masks.size() == 2 * layers, op, ": masks must be empty or hold scale and shift of ", layers,
          " layers, got ", masks.size(), " tensors");
    for (size_t l = 0; l < layers; ++l) {
      const Tensor* w = &weights[l * kLayerTensors];
      const int64_t hidden = x.size(1), width = w[11].dim() == 1 ? w[11].size(0) : 0;
      EncoderLayer layer{linear(w, hidden, hidden),      linear(w + 2, hidden, hidden), linear(w + 4, hidden, hidden),
                         linear(w + 6, hidden, hidden),  linear(w + 10, width, hidden), linear(w + 12, hidden, width),
                         norm(w + 8, hidden),            norm(w + 14, hidden),          nullptr,
                         nullptr,                        0,                             nullptr};
      if (!masks.empty() && masks[2 * l].size(0) > 0) mask(layer, masks[2 * l], masks[2 * l + 1], examples);
      layers_.push_back(layer);
    }
  }

  std::vector<EncoderLayer>& all() { return layers_; }
  Element element() const { return element_; }

 private:
  Linear linear(const Tensor* w, int64_t n, int64_t k) {
    const bool paired = element_ == Element::bf16;
    std::vector<int64_t> sizes{panels(n), packed_depth(element_, k) / (paired ? 2 : 1), kPanel};
    if (paired) sizes.push_back(2);
    const bool same = w->scalar_type() == x_.scalar_type() && w->dim() == static_cast<int64_t>(sizes.size()) &&
                      std::equal(sizes.begin(), sizes.end(), w->sizes().begin()) && contiguous(*w);
    check(same, op_, ": a weight [", n, ", ", k, "] must be packed by skn.ops.pack as ", dtype_name(x_.scalar_type()),
          ' ', list(sizes), ", got ", describe(*w));
    return {w->const_data_ptr(), vector(w[1], n), n, k};
  }

  LayerNorm norm(const Tensor* w, int64_t n) { return {vector(w[0], n), vector(w[1], n)}; }

  const float* vector(const Tensor& tensor, int64_t n) {
    check(tensor.scalar_type() == x_.scalar_type() && tensor.dim() == 1 && tensor.size(0) == n, op_, ": expected ",
          dtype_name(x_.scalar_type()), " [", n, "], got ", describe(tensor));
    return padded_.add(tensor);
  }

  void mask(EncoderLayer& layer, const Tensor& scale, const Tensor& shift, int64_t examples) {
    const int64_t width = layer.up.n;
    check(scale.scalar_type() == ScalarType::Float && scale.dim() == 1 && scale.size(0) == width, op_,
          ": a mask's scale must be float32 [", width, "], got ", describe(scale));
    check(shift.scalar_type() == ScalarType::Float && shift.dim() == 2 && shift.size(1) == width &&
              (shift.size(0) == 1 || shift.size(0) == examples),
          op_, ": a mask's shift must be float32 [1, ", width, "] or [", examples, ", ", width, "], got ",
          describe(shift));
    layer.scale = padded_.add(scale);
    layer.shift = padded_.add(shift);
    layer.shift_stride = shift.size(0) == 1 ? 0 : round_up(width, kPanel);
  }

  static bool contiguous(const Tensor& tensor) {
    int64_t expected = 1;
    for (int64_t d = tensor.dim() - 1; d >= 0; --d) {
      if (tensor.size(d) > 1 && tensor.stride(d) != expected) return false;
      expected *= tensor.size(d);
    }
    return true;
  }

  const char* op_;
  const Tensor& x_;
  Element element_;
  Padded padded_;
  std::vector<EncoderLayer> layers_;
};

// Sequences to groups of about equal size, as many as are a multiple of the threads.
std::vector<int64_t> groups_of(const std::vector<int64_t>& bounds) {
  const int64_t sequences = static_cast<int64_t>(bounds.size()) - 1, rows = bounds.back();
  const int64_t threads = std::max<int64_t>(1, torch::stable::get_num_threads());
  const int64_t wanted = std::max<int64_t>(1, round_up((rows + kGroupRows - 1) / kGroupRows, threads));
  std::vector<int64_t> group{0};
  for (int64_t i = 1; i < sequences; ++i) {
    const int64_t done = static_cast<int64_t>(group.size());
    if (bounds[i] * wanted >= rows * done && done < wanted) group.push_back(i);
  }
  group.push_back(sequences);
  return group;
}

// The calling thread's memory for a kernel. Kept, because fresh pages cost more than what is computed in them.
void* thread_scratch(int64_t bytes) {
  struct Freed {
    void operator()(void* memory) const { std::free(memory); }
  };
  thread_local std::unique_ptr<void, Freed> memory;
  thread_local int64_t size = 0;
  if (bytes > size) {
    size = 0;
    memory.reset(std::aligned_alloc(64, round_up(bytes, 64)));
    check(memory != nullptr, "encode: out of memory: ", bytes, " bytes a thread");
    size = bytes;
  }
  return memory.get();
}

EncodeKernel* kernel_for(Element element) {
  return element == Element::bf16 ? choose(kEncodeBf16, current_isa()).kernel : choose(kEncode, current_isa()).kernel;
}

std::vector<Tensor> encode(const Tensor& hidden, const Tensor& bounds, std::vector<Tensor> weights,
                           std::vector<Tensor> masks, int64_t heads, double eps, int64_t read, int64_t tap) {
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
  Layers layers(op, hidden, weights, masks, sequences);
  const Tensor x = torch::stable::contiguous(hidden);
  std::vector<Tensor> out{torch::stable::new_empty(x, {read > 0 ? sequences * read : x.size(0), x.size(1)})};
  for (EncoderLayer& layer : layers.all()) {
    if (tap == 0) break;
    out.push_back(torch::stable::new_empty(x, {sequences, tap, layer.up.n}));
    layer.tap = out.back().mutable_data_ptr();
  }
  if (sequences == 0) return out;

  const std::vector<int64_t> group = groups_of(bound);
  int64_t longest_group = 0;
  for (size_t g = 0; g + 1 < group.size(); ++g) {
    longest_group = std::max(longest_group, bound[group[g + 1]] - bound[group[g]]);
  }
  const EncodeArgs args{layers.element(), layers.all().data(), static_cast<int64_t>(layers.all().size()), x.size(1),
                        heads, static_cast<float>(eps), x.const_data_ptr(), bound.data(), group.data(), read, tap,
                        longest_group, longest, out[0].mutable_data_ptr()};
  const int64_t bytes = plan_scratch(args).bytes;
  EncodeKernel* const kernel = kernel_for(args.element);
  torch::stable::parallel_for(0, static_cast<int64_t>(group.size()) - 1, 1, [&](int64_t first, int64_t last) {
    kernel(args, first, last, thread_scratch(bytes));
  });
  return out;
}

}  // namespace
}  // namespace skn

STABLE_TORCH_LIBRARY_IMPL(skn, CPU, m) {
  m.impl("pack", TORCH_BOX(&skn::pack));
  m.impl("encode", TORCH_BOX(&skn::encode));
}
