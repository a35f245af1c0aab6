// One pass makes the bit matrices of the few columns of y. Then a warp takes kNeurons columns of x from shared memory,
// makes their words by ballots, one word at a time, and each of its lanes counts them against a column of y. The bits
// of x never reach memory.
#include "kendall_tau.h"

#include <utility>

#include "bits.h"

namespace skn::cuda {
namespace {

constexpr int kWarp = 32;
constexpr int kNeurons = 4;          // columns of x of a warp: each word of y is read once for all of them
constexpr int kMaxWarps = 8;
constexpr int kMaxShared = 96 << 10; // two blocks an SM on sm_90, one on sm_80
constexpr int kThreads = 256;
constexpr unsigned kAll = 0xffffffffu;

template <typename Value>
struct Columns {
  const Value* data;
  int64_t row, column;
  __device__ Value at(int64_t i, int64_t c) const { return data[i * row + c * column]; }
};

// Of columns of y that lie together among all of them: one row for each column of x.
struct Sums {
  int64_t* data;
  int64_t row;
  __device__ int64_t& at(int64_t c, int64_t a) const { return data[c * row + a]; }
};

template <typename Value>
__device__ Word ballot_word(bool valid, Value earlier, Value here) {
  const uint32_t greater = __ballot_sync(kAll, valid && earlier > here);
  const uint32_t less = __ballot_sync(kAll, valid && earlier < here);
  return {greater, greater | less};
}

// Integers, so the order of the additions does not matter.
__device__ void add_ties(const Ties& ties, unsigned long long* sums) {
  if (ties.found == 0) return;
  for (int which = 0; which < 3; ++which) atomicAdd(sums + which, static_cast<unsigned long long>(tie_sum(ties, which)));
}

// words[row and word][q + 1]. In the last column every pair is untied, so counting a column of x against it gives the
// number of the column's own untied pairs. A block takes one row, a warp one column at a time.
template <typename Value>
__global__ void attribute_words(Columns<Value> y, int64_t q, Word* words, unsigned long long* ties_y) {
  const int64_t i = blockIdx.x + 1;
  const int lane = threadIdx.x % kWarp;
  const int64_t row = words_before_row(i), length = words_of_row(i);
  for (int64_t a = threadIdx.x / kWarp; a <= q; a += kThreads / kWarp) {
    int found = 0;
    for (int64_t w = 0; w < length; ++w) {
      const int64_t j = w * kWarp + lane;
      const bool valid = j < i;
      const uint32_t pairs = __ballot_sync(kAll, valid);
      const Word word = a < q ? ballot_word(valid, y.at(valid ? j : 0, a), y.at(i, a)) : Word{0, pairs};
      found += bits_set(pairs & ~word.untied);
      if (lane == 0) words[(row + w) * (q + 1) + a] = word;
    }
    Ties ties;
    add_row(found, ties);
    if (lane == 0 && a < q) add_ties(ties, ties_y + 3 * a);
  }
}

// kLanes lanes count one column of x against as many columns of y, so 32 / kLanes columns of x are counted at once.
template <typename Value, int kLanes>
__global__ void count_words(Columns<Value> x, int64_t n, int64_t p, int64_t q, const Word* words, Sums sums,
                            int64_t* ties_x) {
  constexpr int kAtOnce = kWarp / kLanes, kSteps = kNeurons / kAtOnce;
  extern __shared__ double raw[];
  Value* shared = reinterpret_cast<Value*>(raw);
  const int warps = blockDim.x / kWarp, warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int columns = warps * kNeurons;
  const int pitch = static_cast<int>(n) | 1;  // odd, so that neighbouring columns fall into different banks
  const int64_t first = static_cast<int64_t>(blockIdx.x) * columns;
  for (int64_t e = threadIdx.x; e < n * columns; e += blockDim.x) {
    const int64_t i = e / columns, c = e % columns;
    shared[c * pitch + i] = first + c < p ? x.at(i, first + c) : Value{0};
  }
  __syncthreads();

  const Value* mine = shared + warp * kNeurons * pitch;
  const int group = lane / kLanes;
  const int64_t a = static_cast<int64_t>(blockIdx.y) * kLanes + lane % kLanes;
  const int64_t read = a <= q ? a : q;
  int untied[kSteps] = {}, discordant[kSteps] = {};
  Ties ties[kSteps];  // those of x, in the lanes that count against the last column
  const Word* word_of_y = words + read;
  for (int i = 1; i < n; ++i) {
    int before[kSteps];
#pragma unroll
    for (int step = 0; step < kSteps; ++step) before[step] = untied[step];
    for (int start = 0; start < i; start += kWarp, word_of_y += q + 1) {
      const Word y = *word_of_y;
      const int j = start + lane;
      const bool valid = j < i;
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        Word chosen{};
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k) {
          const Value* column = mine + (step * kAtOnce + k) * pitch;
          const Word word = ballot_word(valid, column[valid ? j : 0], column[i]);
          if (k == group) chosen = word;
        }
        count_pairs(chosen, y, untied[step], discordant[step]);
      }
    }
#pragma unroll
    for (int step = 0; step < kSteps; ++step) add_row(i - (untied[step] - before[step]), ties[step]);
  }
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    const int64_t c = first + warp * kNeurons + step * kAtOnce + group;
    if (c >= p) continue;
    if (a < q) sums.at(c, a) = untied[step] - 2 * discordant[step];
    for (int which = 0; which < 3 && a == q; ++which) ties_x[3 * c + which] = tie_sum(ties[step], which);
  }
}

// For any n: a block takes a column of x with one of y and goes through all pairs. Column q stands for x alone, column
// p for y alone. There the sum counts the untied pairs, and the pairs that are missing in a row are its ties.
template <typename Value>
__global__ void count_pairs_plainly(Columns<Value> x, Columns<Value> y, int64_t n, int64_t p, int64_t q, Sums sums,
                                    unsigned long long* ties_x, unsigned long long* ties_y) {
  __shared__ unsigned long long total;
  for (int64_t unit = blockIdx.x; unit < (p + 1) * (q + 1); unit += gridDim.x) {
    const int64_t c = unit / (q + 1), a = unit % (q + 1);
    if (c == p && a == q) continue;
    __syncthreads();
    if (threadIdx.x == 0) total = 0;
    __syncthreads();
    long long sum = 0;
    Ties ties;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
      const Value xi = c < p ? x.at(i, c) : y.at(i, a), yi = a < q ? y.at(i, a) : xi;
      long long of_row = 0;
      for (int64_t j = 0; j < i; ++j) {
        const Value xj = c < p ? x.at(j, c) : y.at(j, a), yj = a < q ? y.at(j, a) : xj;
        of_row += concordance_of_pair(xi, xj, yi, yj);
      }
      sum += of_row;
      add_row(i - of_row, ties);
    }
    if (c == p) add_ties(ties, ties_y + 3 * a);
    if (a == q) add_ties(ties, ties_x + 3 * c);
    atomicAdd(&total, static_cast<unsigned long long>(sum));
    __syncthreads();
    if (threadIdx.x == 0 && c < p && a < q) sums.at(c, a) = static_cast<int64_t>(total);
  }
}

int64_t shared_of_warp(int64_t n, int64_t size) { return kNeurons * (n | 1) * size; }

bool fits(int64_t n, int64_t size) { return shared_of_warp(n, size) <= kMaxShared; }

template <typename Value, int kLanes>
cudaError_t launch_words(const Columns<Value>& x, int64_t n, int64_t p, int64_t q, const Word* words, const Sums& sums,
                         int64_t* ties_x, cudaStream_t stream) {
  const int64_t of_warp = shared_of_warp(n, sizeof(Value));
  const int64_t warps = kMaxShared / of_warp < kMaxWarps ? kMaxShared / of_warp : kMaxWarps;
  const cudaError_t allowed =
      cudaFuncSetAttribute(count_words<Value, kLanes>, cudaFuncAttributeMaxDynamicSharedMemorySize, kMaxShared);
  if (allowed != cudaSuccess) return allowed;
  const int64_t columns = warps * kNeurons;
  const dim3 grid(static_cast<unsigned>((p + columns - 1) / columns), static_cast<unsigned>(q / kLanes + 1));
  count_words<Value, kLanes><<<grid, static_cast<unsigned>(warps * kWarp), static_cast<size_t>(warps * of_warp), stream>>>(
      x, n, p, q, words, sums, ties_x);
  return cudaGetLastError();
}

// The integers: concordance and the tie sums. The values of a column with a NaN have no meaning.
template <typename Value>
cudaError_t concordance(const Columns<Value>& x, const Columns<Value>& y, int64_t n, int64_t p, int64_t q,
                        const Sums& sums, int64_t* ties_x, int64_t* ties_y, Word* words, cudaStream_t stream) {
  const auto atomic = [](int64_t* ties) { return reinterpret_cast<unsigned long long*>(ties); };
  for (const auto& [ties, columns] : {std::pair{ties_x, p}, std::pair{ties_y, q}}) {
    if (columns == 0) continue;  // no memory, and CUDA may refuse a null pointer
    const cudaError_t cleared = cudaMemsetAsync(ties, 0, 3 * columns * sizeof(int64_t), stream);
    if (cleared != cudaSuccess) return cleared;
  }
  if (!fits(n, sizeof(Value))) {
    const int64_t units = (p + 1) * (q + 1);
    const unsigned blocks = static_cast<unsigned>(units < (1 << 30) ? units : 1 << 30);
    count_pairs_plainly<<<blocks, kThreads, 0, stream>>>(x, y, n, p, q, sums, atomic(ties_x), atomic(ties_y));
    return cudaGetLastError();
  }
  attribute_words<<<static_cast<unsigned>(n - 1), kThreads, 0, stream>>>(y, q, words, atomic(ties_y));
  const cudaError_t launched = cudaGetLastError();
  if (launched != cudaSuccess || p == 0) return launched;
  return q < 16 ? launch_words<Value, 16>(x, n, p, q, words, sums, ties_x, stream)
                : launch_words<Value, 32>(x, n, p, q, words, sums, ties_x, stream);
}

// The root of each column's untied pairs. It is NaN, as tau will be, for a column that is constant or holds a NaN. A
// column with a NaN has no ties. CUDA rounds the float64 root correctly, as the definition does.
template <typename Value>
__global__ void column_roots(Columns<Value> x, int64_t n, int64_t count, int64_t* ties, double* root) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (c >= count) return;
  bool unordered = false;
#pragma unroll 8
  for (int64_t i = 0; i < n; ++i) {
    const Value value = x.at(i, c);
    unordered |= value != value;
  }
  for (int which = 0; which < 3 && unordered; ++which) ties[3 * c + which] = 0;
  const int64_t untied = n * (n - 1) / 2 - ties[3 * c];
  root[c] = unordered || untied == 0 ? nan("") : sqrt(static_cast<double>(untied));
}

// tau, in the definition's order of operations. A column without a root has no concordance either: for a constant
// column it is 0, and for a column with a NaN it becomes 0.
__global__ void quotients(int64_t p, int64_t q, const double* root_x, const double* root_y, int64_t* sums, double* tau) {
  const int64_t e = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (e >= p * q) return;
  const double quotient = static_cast<double>(sums[e]) / root_x[e / q] / root_y[e % q];
  if (quotient != quotient) sums[e] = 0;
  tau[e] = quotient < -1.0 ? -1.0 : quotient > 1.0 ? 1.0 : quotient;
}

unsigned blocks_of(int64_t threads) { return static_cast<unsigned>((threads + kThreads - 1) / kThreads); }

template <typename Value>
cudaError_t launch_roots(const Columns<Value>& x, int64_t n, int64_t count, int64_t* ties, double* root,
                         cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  column_roots<<<blocks_of(count), kThreads, 0, stream>>>(x, n, count, ties, root);
  return cudaGetLastError();
}

template <typename Value>
cudaError_t run(int64_t n, const KendallColumns& x, const KendallColumns& y, int64_t at_once, double* workspace,
                const KendallResult& result, cudaStream_t stream) {
  const int64_t p = x.count, q = y.count;
  const Columns<Value> xs{static_cast<const Value*>(x.data), x.stride[0], x.stride[1]};
  const Columns<Value> ys{static_cast<const Value*>(y.data), y.stride[0], y.stride[1]};
  double* const root_x = workspace;
  double* const root_y = root_x + p;
  Word* const words = reinterpret_cast<Word*>(root_y + q);
  int64_t first = 0;
  do {  // once even without a column of y, because the ties of x are needed
    const Columns<Value> part{ys.data + first * ys.column, ys.row, ys.column};
    const int64_t columns = at_once < q - first ? at_once : q - first;
    const cudaError_t counted = concordance(xs, part, n, p, columns, Sums{result.concordance + first, q}, result.ties_x,
                                            result.ties_y + 3 * first, words, stream);
    if (counted != cudaSuccess) return counted;
    first += at_once;
  } while (first < q);
  const cudaError_t of_x = launch_roots(xs, n, p, result.ties_x, root_x, stream);
  const cudaError_t of_y = launch_roots(ys, n, q, result.ties_y, root_y, stream);
  if (of_x != cudaSuccess || of_y != cudaSuccess || p * q == 0) return of_x != cudaSuccess ? of_x : of_y;
  quotients<<<blocks_of(p * q), kThreads, 0, stream>>>(p, q, root_x, root_y, result.concordance, result.tau);
  return cudaGetLastError();
}

}  // namespace

KendallPlan plan_kendall(bool wide, int64_t n, int64_t p, int64_t q, int64_t limit) {
  const int64_t roots = (p + q) * static_cast<int64_t>(sizeof(double));
  const int64_t all = q > 1 ? q : 1;
  if (!fits(n, wide ? sizeof(double) : sizeof(float))) return {all, roots};
  const int64_t of_column = words_before_row(n) * static_cast<int64_t>(sizeof(Word));
  const int64_t within = limit > of_column ? limit / of_column : 1;
  const int64_t columns = within < all ? within : all;
  return {columns, roots + of_column * (columns + 1)};
}

cudaError_t kendall_tau(bool wide, int64_t n, const KendallColumns& x, const KendallColumns& y, const KendallPlan& plan,
                        void* workspace, const KendallResult& result, cudaStream_t stream) {
  double* const memory = static_cast<double*>(workspace);
  return wide ? run<double>(n, x, y, plan.columns, memory, result, stream)
              : run<float>(n, x, y, plan.columns, memory, result, stream);
}

}  // namespace skn::cuda
