// kendall_tau on the CPU: checks, the choice of the prepared side, and the split over threads.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <memory>
#include <new>
#include <tuple>
#include <vector>

#include "../behind_checks.h"
#include "kernels.h"
#include "../elements.h"
#include "../kendall.h"

namespace skn {
namespace {

// The most columns that are prepared together, and their bytes. Each such block costs the other side's columns one more
// preparation of their own, and must not fill the memory.
constexpr int64_t kBlockColumns = 128;
constexpr int64_t kBlockBytes = int64_t{256} << 20;

// The functions that serve columns of n rows.
struct Method {
  int64_t bytes;  // of a prepared column
  KendallPrepare* prepare;
  KendallKernel* kernel;
};

Method method_for(int64_t n) {
  if (n > kKendallMaxBits) return {kendall_ranks_bytes(n), kendall_merge_prepare, kendall_merge};
  const Isa isa = current_isa();
  return {kendall_bits_bytes(n), choose(kKendallPrepare, isa).kernel, choose(kKendall, isa).kernel};
}

struct Free {
  void operator()(char* block) const { ::operator delete(block, std::align_val_t{64}); }
};
using Block = std::unique_ptr<char, Free>;

Block allocate(int64_t bytes) { return Block(static_cast<char*>(::operator new(bytes, std::align_val_t{64}))); }

Columns columns_of(const Tensor& tensor) {
  return {tensor.const_data_ptr(), element_of(tensor), {tensor.stride(0), tensor.stride(1)}, tensor.size(1)};
}

Columns slice(Columns columns, int64_t first, int64_t count) {
  const int64_t size = columns.element == Element::f64 ? 8 : columns.element == Element::f32 ? 4 : 2;
  columns.data = static_cast<const char*>(columns.data) + first * columns.stride[1] * size;
  columns.count = count;
  return columns;
}

// Compares all columns of one side with the block of prepared columns of the other side.
void run_block(const Method& method, const KendallArgs& args) {
  const int64_t fixed = args.fixed.count, units = (args.column.count + kKendallUnit - 1) / kKendallUnit;
  torch::stable::parallel_for(0, fixed, std::max<int64_t>(1, kGrain / (args.n * args.n)),
                              [&](int64_t first, int64_t last) { method.prepare(args, first, last); });
  torch::stable::parallel_for(0, units, std::max<int64_t>(1, kGrain / (args.n * kKendallUnit)),
                              [&](int64_t first, int64_t last) { method.kernel(args, first, last); });
}

void run(KendallArgs args) {
  const KendallArgs all = args;
  const Method method = method_for(args.n);
  const int64_t most = std::clamp<int64_t>(kBlockBytes / method.bytes, 1, kBlockColumns);
  const int64_t block = std::min(most, all.fixed.count);
  const Block prepared = allocate(block * method.bytes);
  args.prepared = prepared.get();
  int64_t first = 0;
  do {  // once even without a fixed column, because the facts of the others are needed
    args.fixed = slice(all.fixed, first, std::min(most, all.fixed.count - first));
    args.fixed_facts = {all.fixed_facts.ties + 3 * first, all.fixed_facts.root + first};
    args.concordance = all.concordance + first * all.stride[1];
    args.tau = all.tau + first * all.stride[1];
    run_block(method, args);
    first += most;
  } while (first < all.fixed.count);
}

std::tuple<Tensor, Tensor, Tensor, Tensor> kendall_tau(const Tensor& x, const Tensor& y) {
  check_kendall(x, y);
  const int64_t n = x.size(0), p = x.size(1), q = y.size(1);

  const std::vector<int64_t> pairs{p, q}, x_sums{p, 3}, y_sums{q, 3};
  Tensor tau = torch::stable::new_empty(x, pairs, ScalarType::Double);
  Tensor concordance = torch::stable::new_empty(x, pairs, ScalarType::Long);
  Tensor ties_x = torch::stable::new_empty(x, x_sums, ScalarType::Long);
  Tensor ties_y = torch::stable::new_empty(x, y_sums, ScalarType::Long);

  std::vector<double> root_x(p), root_y(q);
  const ColumnFacts facts_x{static_cast<int64_t*>(ties_x.mutable_data_ptr()), root_x.data()};
  const ColumnFacts facts_y{static_cast<int64_t*>(ties_y.mutable_data_ptr()), root_y.data()};
  KendallArgs args{};
  args.n = n;
  args.concordance = static_cast<int64_t*>(concordance.mutable_data_ptr());
  args.tau = static_cast<double*>(tau.mutable_data_ptr());
  args.fixed_root_first = p < q;
  args.column = columns_of(p < q ? y : x);
  args.fixed = columns_of(p < q ? x : y);
  args.column_facts = p < q ? facts_y : facts_x;
  args.fixed_facts = p < q ? facts_x : facts_y;
  args.stride[0] = p < q ? 1 : q;
  args.stride[1] = p < q ? q : 1;
  run(args);
  return {tau, concordance, ties_x, ties_y};
}

}  // namespace
}  // namespace skn

STABLE_TORCH_LIBRARY_IMPL(skn, CPU, m) { SKN_KERNEL(m, "kendall_tau", skn::kendall_tau); }
