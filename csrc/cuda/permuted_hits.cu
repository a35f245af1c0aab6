// A thread owns a group and counts a few labellings at once. Neighbouring threads read neighbouring words, and all
// threads of a warp the same word of a mask. The first launch judges the true labelling, the second one the others.
#include "permuted_hits.h"

#include "scalar.h"

namespace skn::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kAtOnce = 8;  // labellings for which a word is read once
constexpr int kBlocks = 4;    // of an SM at least, so that registers leave room for them
constexpr int64_t kMostRows = 65535;  // of a grid

SKN_HD int bits_set(uint64_t word) {
#ifdef __CUDA_ARCH__
  return __popcll(word);
#else
  return __builtin_popcountll(word);
#endif
}

// |a·hp − b·hn| without a fused multiply-add, so that a tie is a tie on every device.
SKN_HD double difference_of(const Contrast& contrast, int hits, int others) {
#ifdef __CUDA_ARCH__
  return fabs(__dsub_rn(__dmul_rn(contrast.a, hits), __dmul_rn(contrast.b, others)));
#else
  return std::fabs(contrast.a * hits - contrast.b * others);
#endif
}

// One over the spread of a column; 0 for a constant column.
SKN_HD double scale_of(int64_t ones, int64_t examples) {
  const double n = static_cast<double>(examples), k = static_cast<double>(ones);
  return ones == 0 || ones == examples ? 0.0 : 1.0 / sqrt(k * (n - k) / (n * (n - 1.0)));
}

template <int kCount>
struct Judged {
  double value[2][kCount];  // statistic and excess of each labelling
};

// Adds, for each labelling from m on, the hits of a column in a side. Behind the last labelling, the last one again.
template <int kCount>
__device__ void count_side(const Permuted& given, const uint64_t* column, int64_t m, int64_t side, int* hits) {
  const uint64_t* mask[kCount];
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const int64_t labelling = m + i < given.labellings ? m + i : given.labellings - 1;
    mask[i] = given.masks + (labelling * given.sides + side) * given.width;
    hits[i] = 0;
  }
  for (int64_t w = 0; w < given.width; ++w) {
    const uint64_t word = column[w * given.positions * given.groups];
#pragma unroll
    for (int i = 0; i < kCount; ++i) hits[i] += bits_set(word & mask[i][w]);
  }
}

// Raises the values to those of a column.
template <int kCount>
__device__ void judge_column(const Permuted& given, const uint64_t* column, int64_t m, Judged<kCount>& best) {
  int ones = 0;
  for (int64_t w = 0; w < given.width; ++w) ones += bits_set(column[w * given.positions * given.groups]);
  const double scale = scale_of(ones, given.examples);
  for (int64_t k = 0; k < given.contrasts; ++k) {
    const Contrast contrast = given.contrast[k];
    int hits[kCount], others[kCount];
    count_side<kCount>(given, column, m, contrast.positive, hits);
    if (contrast.negative >= 0) count_side<kCount>(given, column, m, contrast.negative, others);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const double difference = difference_of(contrast, hits[i], contrast.negative < 0 ? ones : others[i]);
      best.value[0][i] = fmax(best.value[0][i], difference * contrast.unit * scale);
      best.value[1][i] = fmax(best.value[1][i], difference * contrast.weight);
    }
  }
}

// Joins the values of a group over the runs: value e goes to joined[e * pitch].
template <int kCount>
__device__ void judge_group(const Permuted& given, int64_t g, int64_t m, double* joined, int pitch) {
  for (int64_t r = 0; r < given.runs; ++r) {
    Judged<kCount> best{};
    for (int64_t p = 0; p < given.positions; ++p) {
      judge_column(given, given.words + (r * given.width * given.positions + p) * given.groups + g, m, best);
    }
    const bool last = r == given.runs - 1;
#pragma unroll
    for (int e = 0; e < 2 * kCount; ++e) {
      double here = best.value[e / kCount][e % kCount];
      if (r > 0) here = given.lowest ? fmin(joined[e * pitch], here) : joined[e * pitch] + here;
      joined[e * pitch] = last && !given.lowest ? here / static_cast<double>(given.runs) : here;
    }
  }
}

__global__ void judge_own(Permuted given) {
  const int64_t g = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (g >= given.groups) return;
  double own[2];
  judge_group<1>(given, g, 0, own, 1);
  given.own[g] = own[0];
  given.own[given.groups + g] = own[1];
}

// The bits of numbers that are not negative have the order of the numbers.
__device__ void raise(double* target, double value) {
  const unsigned long long bits = __double_as_longlong(value);
  atomicMax(reinterpret_cast<unsigned long long*>(target), bits);
}

__global__ void __launch_bounds__(kThreads, kBlocks) judge_others(Permuted given) {
  __shared__ double most[2 * kAtOnce][kThreads];
  const int t = threadIdx.x;
  const int64_t g = static_cast<int64_t>(blockIdx.x) * kThreads + t, others = given.labellings - 1;
  const double own = g < given.groups ? given.own[g] * kReaches : 0.0;
  unsigned long long reached = 0;
  for (int64_t m = 1 + static_cast<int64_t>(blockIdx.y) * kAtOnce; m <= others; m += gridDim.y * kAtOnce) {
    if (g < given.groups) {
      judge_group<kAtOnce>(given, g, m, &most[0][t], kThreads);
    } else {
      for (int e = 0; e < 2 * kAtOnce; ++e) most[e][t] = 0.0;
    }
    for (int i = 0; i < kAtOnce; ++i) reached += m + i <= others && most[i][t] >= own;
    __syncthreads();
    for (int half = kThreads / 2; half > 0; half /= 2) {
      for (int e = 0; e < 2 * kAtOnce && t < half; ++e) most[e][t] = fmax(most[e][t], most[e][t + half]);
      __syncthreads();
    }
    if (t < 2 * kAtOnce && m + t % kAtOnce <= others) {
      raise(given.greatest + t / kAtOnce * others + m + t % kAtOnce - 1, most[t][0]);
    }
    __syncthreads();
  }
  if (g < given.groups) atomicAdd(reinterpret_cast<unsigned long long*>(given.reached + g), reached);
}

}  // namespace

cudaError_t permuted_hits(const Permuted& given, const Contrast* contrasts, cudaStream_t stream) {
  const int64_t others = given.labellings - 1;
  if (others > 0) {
    const cudaError_t cleared = cudaMemsetAsync(given.greatest, 0, 2 * others * sizeof(double), stream);
    if (cleared != cudaSuccess) return cleared;
  }
  if (given.groups == 0) return cudaSuccess;
  const cudaError_t cleared = cudaMemsetAsync(given.reached, 0, given.groups * sizeof(int64_t), stream);
  // From pageable memory: the call returns after the contrasts were read.
  const cudaError_t copied = cudaMemcpyAsync(given.contrast, contrasts, given.contrasts * sizeof(Contrast),
                                             cudaMemcpyHostToDevice, stream);
  if (cleared != cudaSuccess || copied != cudaSuccess) return cleared != cudaSuccess ? cleared : copied;

  const unsigned blocks = static_cast<unsigned>((given.groups + kThreads - 1) / kThreads);
  judge_own<<<blocks, kThreads, 0, stream>>>(given);
  const cudaError_t launched = cudaGetLastError();
  if (launched != cudaSuccess || others == 0) return launched;
  const int64_t rows = (others + kAtOnce - 1) / kAtOnce;
  const dim3 grid(blocks, static_cast<unsigned>(rows < kMostRows ? rows : kMostRows));
  judge_others<<<grid, kThreads, 0, stream>>>(given);
  return cudaGetLastError();
}

}  // namespace skn::cuda
