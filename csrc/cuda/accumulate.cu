// A thread owns one neuron at some positions and goes through the batch in chunks, each sorted by class in shared
// memory. There are no atomics, every activation is read once whatever the number of classes, and float64 sums grow in
// the order of the batch, so they have the same bits as the CPU's.
#include "accumulate.h"
#include "scalar.h"

namespace skn::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kChunk = 256;
constexpr int kInFlight = 8;  // independent loads before their first use

struct Chunk {
  int64_t unsorted[kChunk];
  int64_t label[kChunk];
  int example[kChunk];  // within the chunk
};

// Fills the chunk. Every thread of the block takes part.
__device__ int sort_chunk(const Labels& labels, int64_t first, Chunk& chunk) {
  const int64_t left = labels.count - first;
  const int size = static_cast<int>(left < kChunk ? left : kChunk);
  __syncthreads();  // the previous chunk has been read by all
  for (int i = threadIdx.x; i < size; i += kThreads) chunk.unsorted[i] = labels.data[(first + i) * labels.stride];
  __syncthreads();
  for (int i = threadIdx.x; i < size; i += kThreads) {
    const int rank = stable_rank(chunk.unsorted, size, i);
    chunk.label[rank] = chunk.unsorted[i];
    chunk.example[rank] = i;
  }
  __syncthreads();
  return size;
}

// Where the examples of classes [0, classes) begin and end in a sorted chunk. Other labels count nowhere.
struct Counted {
  int begin, end;
};

__device__ Counted counted(const Chunk& chunk, int size, int64_t classes) {
  int begin = 0, end = size;
  while (begin < size && chunk.label[begin] < 0) ++begin;
  while (end > begin && chunk.label[end - 1] >= classes) --end;
  return {begin, end};
}

__device__ int end_of_class(const Chunk& chunk, int size, int begin) {
  int end = begin + 1;
  while (end < size && chunk.label[end] == chunk.label[begin]) ++end;
  return end;
}

// Calls `use` with the activations of examples [begin, end) of the chunk, in order.
template <typename Stored, typename Use>
__device__ void for_each(const Stored* column, int64_t stride, const Chunk& chunk, int begin, int end, const Use& use) {
  for (int k = begin; k < end; k += kInFlight) {
    Stored value[kInFlight];
#pragma unroll
    for (int r = 0; r < kInFlight; ++r) {
      if (k + r < end) value[r] = column[chunk.example[k + r] * stride];
    }
#pragma unroll
    for (int r = 0; r < kInFlight; ++r) {
      if (k + r < end) use(widen(value[r]));
    }
  }
}

template <typename Stored>
__global__ void __launch_bounds__(kThreads)
    moments_kernel(Input act, Labels labels, int64_t classes, int64_t positions, int64_t neurons, int64_t* count,
                   int64_t count_stride, State<double> total, State<double> total_sq) {
  __shared__ Chunk chunk;
  const int64_t f = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  for (int64_t first = 0; first < labels.count; first += kChunk) {
    const Counted of = counted(chunk, sort_chunk(labels, first, chunk), classes);
    if (blockIdx.x == 0 && blockIdx.y == 0) {
      for (int k = of.begin + threadIdx.x; k < of.end; k += kThreads) {
        if (k > of.begin && chunk.label[k - 1] == chunk.label[k]) continue;
        count[chunk.label[k] * count_stride] += end_of_class(chunk, of.end, k) - k;
      }
    }
    if (f >= neurons) continue;
    for (int64_t p = blockIdx.y; p < positions; p += gridDim.y) {
      const Stored* column =
          static_cast<const Stored*>(act.data) + first * act.stride[0] + p * act.stride[1] + f * act.stride[2];
      for (int begin = of.begin, end; begin < of.end; begin = end) {
        end = end_of_class(chunk, of.end, begin);
        const int64_t c = chunk.label[begin];
        double& sum = total.data[c * total.stride[0] + p * total.stride[1] + f * total.stride[2]];
        double& sum_sq = total_sq.data[c * total_sq.stride[0] + p * total_sq.stride[1] + f * total_sq.stride[2]];
        double s = sum, q = sum_sq;
        for_each(column, act.stride[0], chunk, begin, end, [&](double value) { add_moments(value, s, q); });
        sum = s;
        sum_sq = q;
      }
    }
  }
}

template <typename Stored>
__global__ void __launch_bounds__(kThreads)
    hits_kernel(Input act, Labels labels, int64_t classes, int64_t positions, int64_t neurons, const double* threshold,
                int64_t threshold_p, int64_t threshold_f, State<int64_t> hits) {
  using Value = decltype(widen(Stored{}));
  __shared__ Chunk chunk;
  const int64_t f = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  for (int64_t first = 0; first < labels.count; first += kChunk) {
    const Counted of = counted(chunk, sort_chunk(labels, first, chunk), classes);
    if (f >= neurons) continue;
    for (int64_t p = blockIdx.y; p < positions; p += gridDim.y) {
      const Stored* column =
          static_cast<const Stored*>(act.data) + first * act.stride[0] + p * act.stride[1] + f * act.stride[2];
      Value limit;
      round_down(threshold[p * threshold_p + f * threshold_f], limit);
      for (int begin = of.begin, end; begin < of.end; begin = end) {
        end = end_of_class(chunk, of.end, begin);
        int exceeding = 0;
        for_each(column, act.stride[0], chunk, begin, end, [&](Value value) { exceeding += value > limit; });
        hits.data[chunk.label[begin] * hits.stride[0] + p * hits.stride[1] + f * hits.stride[2]] += exceeding;
      }
    }
  }
}

__global__ void __launch_bounds__(kThreads) bad_label_kernel(Labels labels, int64_t classes, int64_t* found) {
  __shared__ unsigned long long lowest;
  if (threadIdx.x == 0) lowest = labels.count;
  __syncthreads();
  for (int64_t i = threadIdx.x; i < labels.count; i += kThreads) {
    const int64_t label = labels.data[i * labels.stride];
    if (label < 0 || label >= classes) {
      atomicMin(&lowest, static_cast<unsigned long long>(i));
      break;
    }
  }
  __syncthreads();
  if (threadIdx.x > 0) return;
  const int64_t first = static_cast<int64_t>(lowest);
  found[0] = first;
  found[1] = first < labels.count ? labels.data[first * labels.stride] : 0;
}

// At least one block, because a batch without neurons is counted, too. 65,535 is the limit of the second axis.
dim3 grid(int64_t positions, int64_t neurons) {
  const int64_t tiles = (neurons + kThreads - 1) / kThreads;
  const int64_t rows = positions < 65535 ? positions : 65535;
  return dim3(static_cast<unsigned>(tiles > 0 ? tiles : 1), static_cast<unsigned>(rows > 0 ? rows : 1));
}

template <typename Body>
void dispatch(Element element, const Body& body) {
  switch (element) {
    case Element::f32: return body(float{});
    case Element::f64: return body(double{});
    case Element::bf16: return body(__nv_bfloat16{});
    case Element::f16: return body(__half{});
  }
}

}  // namespace

cudaError_t find_bad_label(const Labels& labels, int64_t classes, int64_t* found, cudaStream_t stream) {
  bad_label_kernel<<<1, kThreads, 0, stream>>>(labels, classes, found);
  return cudaGetLastError();
}

cudaError_t accumulate_moments(const Input& act, const Labels& labels, int64_t classes, int64_t positions,
                               int64_t neurons, int64_t* count, int64_t count_stride, const State<double>& total,
                               const State<double>& total_sq, cudaStream_t stream) {
  dispatch(act.element, [&](auto stored) {
    moments_kernel<decltype(stored)><<<grid(positions, neurons), kThreads, 0, stream>>>(
        act, labels, classes, positions, neurons, count, count_stride, total, total_sq);
  });
  return cudaGetLastError();
}

cudaError_t accumulate_hits(const Input& act, const Labels& labels, int64_t classes, int64_t positions,
                            int64_t neurons, const double* threshold, int64_t threshold_p, int64_t threshold_f,
                            const State<int64_t>& hits, cudaStream_t stream) {
  dispatch(act.element, [&](auto stored) {
    hits_kernel<decltype(stored)><<<grid(positions, neurons), kThreads, 0, stream>>>(
        act, labels, classes, positions, neurons, threshold, threshold_p, threshold_f, hits);
  });
  return cudaGetLastError();
}

}  // namespace skn::cuda
