// digest on the CPU: the cut into blocks, and the split over threads.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <vector>

#include "../behind_checks.h"
#include "kernels.h"

namespace skn {
namespace {

int64_t bytes_of(const Tensor& tensor) { return tensor.numel() * static_cast<int64_t>(tensor.element_size()); }

Tensor digest(const std::vector<Tensor>& tensors) {
  constexpr int64_t kBytes = 8 * kDigestBlock;
  std::vector<Tensor> dense;
  std::vector<DigestBlock> blocks;
  std::vector<int64_t> starts;  // of the blocks, in bytes, as if the tensors lay one after the other
  int64_t total = 0;
  for (const Tensor& tensor : tensors) {
    dense.push_back(tensor.is_contiguous() ? tensor : torch::stable::contiguous(tensor));
    const char* data = static_cast<const char*>(dense.back().const_data_ptr());
    const int64_t bytes = bytes_of(tensor);
    for (int64_t at = 0; at < bytes; at += kBytes) {
      blocks.push_back({data + at, std::min(kBytes, bytes - at)});
      starts.push_back(total + at);
    }
    total += bytes;
  }

  std::vector<uint64_t> digests(blocks.size());
  const DigestArgs args{blocks.data(), digests.data()};
  DigestKernel* const kernel = choose(kDigest, current_isa()).kernel;
  const auto first_from = [&](int64_t at) { return std::lower_bound(starts.begin(), starts.end(), at) - starts.begin(); };
  // Bytes are split, not blocks, so that each thread reads as many.
  torch::stable::parallel_for(0, total, kBytes, [&](int64_t begin, int64_t end) {
    kernel(args, first_from(begin), first_from(end));
  });

  const std::vector<int64_t> sizes{static_cast<int64_t>(tensors.size())};
  Tensor out = torch::stable::new_empty(tensors[0], sizes, ScalarType::Long);
  int64_t* result = static_cast<int64_t*>(out.mutable_data_ptr());
  const uint64_t* next = digests.data();
  for (size_t i = 0; i < tensors.size(); ++i) {
    const int64_t bytes = bytes_of(tensors[i]);
    uint64_t whole = bytes;
    for (int64_t at = 0; at < bytes; at += kBytes) whole = digest_step(whole, *next++);
    result[i] = static_cast<int64_t>(whole);
  }
  return out;
}

}  // namespace
}  // namespace skn

STABLE_TORCH_LIBRARY_IMPL(skn, CPU, m) { SKN_KERNEL(m, "digest", skn::digest); }
