// A block loads both weights into shared memory once and then takes 16 rows at a time. A warp owns groups of 32 columns,
// every eighth one. It multiplies its columns of x with w_in, and shared memory adds up what the warps found: a warp sums,
// activates and rounds eight neurons. Then each warp multiplies all activations with its columns of w_out.
//
// The order of columns within a group is free, as long as the rows and both weights have the same one. A thread takes
// eight columns side by side: 16 bytes of memory, and at once its part of two tiles of `a` and of four tiles of the sum
// (mma.h). So rows go from memory to the products and back without shared memory, and x is at hand as the residual. The
// next rows are on their way while the block computes these.
#include "ffn_pruned.h"

#include <cmath>

#include "ffn_weights.h"
#include "mma.h"

namespace skn::cuda {
namespace {

// What a thread has of 16 rows: of each of its groups eight columns, in the upper and the lower row.
template <int kGroups>
struct Rows {
  uint4 part[kGroups][2];
};

// The place of a thread in its block.
struct Place {
  int warp = threadIdx.x / kLanes, lane = threadIdx.x % kLanes, row = lane / 4;
  __device__ int group(int g) const { return g * kWarps + warp; }
  // Only the last group of a warp can be missing. To ask for no other lets the compiler mix the groups' instructions.
  template <int kGroups>
  __device__ bool has(int g, int groups) const { return g < kGroups - 1 || group(g) < groups; }
  __device__ int column(int g) const { return group(g) * kGroup + lane % 4 * 8; }
};

template <int kGroups>
__device__ void load_rows(const PrunedFfn& given, const Place& at, int64_t tile, Rows<kGroups>& x) {
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      x.part[g][half] = eight(given.x, given.rows, given.hidden, tile * kRows + at.row + 8 * half, at.column(g));
    }
  }
}

// x · w_inᵀ over the columns of this warp, into shared memory.
template <int kGroups, int kTiles>
__device__ void project_up(const Rows<kGroups>& x, const Place& at, int groups, const Shared& shared) {
  float sum[kTiles][4] = {};
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    if (!at.template has<kGroups>(g, groups)) break;
    const uint4 upper = x.part[g][0], lower = x.part[g][1];
    const uint32_t first[4] = {upper.x, lower.x, upper.y, lower.y}, second[4] = {upper.z, lower.z, upper.w, lower.w};
    uint2 of_first[kTiles], of_second[kTiles];
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      const uint4 weights = shared.up[(at.group(g) * kTiles + t) * kLanes + at.lane];
      of_first[t] = make_uint2(weights.x, weights.y);
      of_second[t] = make_uint2(weights.z, weights.w);
    }
    multiply(first, of_first, sum);
    multiply(second, of_second, sum);
  }
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    shared.partial[(t * kWarps + at.warp) * kLanes + at.lane] = make_float4(sum[t][0], sum[t][1], sum[t][2], sum[t][3]);
  }
}

__device__ float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f)); }

// Each of the first warps sums, activates and rounds a tile of neurons. A thread writes only where it alone has read.
template <int kTiles>
__device__ void activate(const Place& at, const Shared& shared) {
  if (at.warp >= kTiles) return;
  float4* const partial = shared.partial + at.warp * kWarps * kLanes + at.lane;
  float4 sum = partial[0];
#pragma unroll
  for (int w = 1; w < kWarps; ++w) {
    const float4 one = partial[w * kLanes];
    sum = make_float4(sum.x + one.x, sum.y + one.y, sum.z + one.z, sum.w + one.w);
  }
  const float low = shared.bias[8 * at.warp + at.lane % 4 * 2], high = shared.bias[8 * at.warp + at.lane % 4 * 2 + 1];
  const uint32_t upper = rounded(gelu(sum.x + low), gelu(sum.y + high));
  const uint32_t lower = rounded(gelu(sum.z + low), gelu(sum.w + high));
  partial[0] = make_float4(__uint_as_float(upper), __uint_as_float(lower), 0.0f, 0.0f);
}

// A sum of 16 rows: word t of eight columns has column 2t and 2t + 1 of the upper row, then of the lower row.
template <int kGroups>
using Sums = float[kGroups][4][4];

// The residual and the bias, with which the sums begin.
template <int kGroups>
__device__ void begin(const Rows<kGroups>& x, const uint4 (&b_out)[kGroups], Sums<kGroups>& sums) {
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
#pragma unroll
    for (int t = 0; t < 4; ++t) {
      const float2 bias = widened(word(b_out[g], t));
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float2 residual = widened(word(x.part[g][half], t));
        sums[g][t][2 * half] = residual.x + bias.x;
        sums[g][t][2 * half + 1] = residual.y + bias.y;
      }
    }
  }
}

// Adds activations · w_outᵀ in the columns of this warp.
template <int kGroups, int kTiles>
__device__ void project_down(const Place& at, int groups, const Shared& shared, Sums<kGroups>& sums) {
#pragma unroll
  for (int step = 0; step < kTiles / 2; ++step) {
    const float4* const act = shared.partial + 2 * step * kWarps * kLanes + at.lane;
    const float4 low = act[0], high = act[kWarps * kLanes];
    const uint32_t a[4] = {__float_as_uint(low.x), __float_as_uint(low.y), __float_as_uint(high.x), __float_as_uint(high.y)};
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
      if (!at.template has<kGroups>(g, groups)) break;
      const uint4* const weights = shared.down + (at.group(g) * (kTiles / 2) + step) * 2 * kLanes + at.lane;
      const uint4 first = weights[0], second = weights[kLanes];
      const uint2 b[4] = {{first.x, first.y}, {first.z, first.w}, {second.x, second.y}, {second.z, second.w}};
      multiply(a, b, sums[g]);
    }
  }
}

// The sums of both rows over the whole block, from what each thread adds up. `shared` is [rows][warps].
__device__ float2 over_block(float2 own, const Place& at, float* shared) {
#pragma unroll
  for (int other = 1; other < 4; other *= 2) {
    own.x += __shfl_xor_sync(0xffffffffu, own.x, other);
    own.y += __shfl_xor_sync(0xffffffffu, own.y, other);
  }
  if (at.lane % 4 == 0) {
    shared[at.row * kWarps + at.warp] = own.x;
    shared[(at.row + 8) * kWarps + at.warp] = own.y;
  }
  __syncthreads();
  float2 total = make_float2(0.0f, 0.0f);
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    total.x += shared[at.row * kWarps + w];
    total.y += shared[(at.row + 8) * kWarps + w];
  }
  return total;
}

// Subtracts the mean, and returns the factors of both rows. The squares are of differences, because E[x²] − E[x]² would
// cancel.
template <int kGroups>
__device__ float2 centre(const PrunedFfn& given, const Place& at, const Shared& shared, Sums<kGroups>& sums) {
  const float share = 1.0f / static_cast<float>(given.hidden);
  float2 own = make_float2(0.0f, 0.0f);
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {  // beyond the last column there are zeros
#pragma unroll
    for (int t = 0; t < 4; ++t) {
      own.x += sums[g][t][0] + sums[g][t][1];
      own.y += sums[g][t][2] + sums[g][t][3];
    }
  }
  const float2 total = over_block(own, at, shared.sums);
  const float mean[2] = {total.x * share, total.y * share};
  float squares[2] = {};
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    const bool inside = at.column(g) < given.hidden;
#pragma unroll
    for (int e = 0; e < 16; ++e) {
      float& value = sums[g][e / 4][e % 4];
      value -= mean[e % 4 / 2];
      if (inside) squares[e % 4 / 2] += value * value;
    }
  }
  const float2 of_rows = over_block(make_float2(squares[0], squares[1]), at, shared.sums + kRows * kWarps);
  return make_float2(rsqrtf(of_rows.x * share + given.eps), rsqrtf(of_rows.y * share + given.eps));
}

// Scales, shifts, rounds and stores the rows.
template <int kGroups>
__device__ void store_rows(const PrunedFfn& given, const Place& at, int64_t tile, const uint4 (&weight)[kGroups],
                           const uint4 (&bias)[kGroups], float2 factor, const Sums<kGroups>& sums) {
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    if (at.column(g) >= given.hidden) break;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t row = tile * kRows + at.row + 8 * half;
      if (row >= given.rows) continue;
      const float scale = half ? factor.y : factor.x;
      uint32_t words[4];
#pragma unroll
      for (int t = 0; t < 4; ++t) {
        const float2 by = widened(word(weight[g], t)), plus = widened(word(bias[g], t));
        words[t] = rounded(sums[g][t][2 * half] * scale * by.x + plus.x, sums[g][t][2 * half + 1] * scale * by.y + plus.y);
      }
      uint4* const out = reinterpret_cast<uint4*>(static_cast<__nv_bfloat16*>(given.out) + row * given.hidden + at.column(g));
      *out = make_uint4(words[0], words[1], words[2], words[3]);
    }
  }
}

template <int kGroups, int kTiles>
__global__ void __launch_bounds__(kThreads) ffn_pruned_kernel(PrunedFfn given, int groups) {
  extern __shared__ uint4 raw[];
  const Shared shared = shared_of(raw, groups, kTiles);
  const Place at;
  const int64_t tiles = (given.rows + kRows - 1) / kRows;
  Rows<kGroups> x;
  load_rows(given, at, blockIdx.x, x);
  uint4 b_out[kGroups], weight[kGroups], bias[kGroups];
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    b_out[g] = eight(given.b_out, 1, given.hidden, 0, at.column(g));
    weight[g] = eight(given.ln_weight, 1, given.hidden, 0, at.column(g));
    bias[g] = eight(given.ln_bias, 1, given.hidden, 0, at.column(g));
  }
  load_up<kTiles>(given, groups, shared.up);
  load_down<kTiles>(given, groups, shared.down);
  for (int f = threadIdx.x; f < 8 * kTiles; f += kThreads) {
    shared.bias[f] = f < given.neurons ? __bfloat162float(static_cast<const __nv_bfloat16*>(given.b_in)[f]) : 0.0f;
  }
  __syncthreads();

  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    project_up<kGroups, kTiles>(x, at, groups, shared);
    Sums<kGroups> sums;
    begin(x, b_out, sums);
    load_rows(given, at, tile + gridDim.x, x);
    __syncthreads();
    activate<kTiles>(at, shared);
    __syncthreads();
    project_down<kGroups, kTiles>(at, groups, shared, sums);
    const float2 factor = centre(given, at, shared, sums);  // its barriers also end the reading of the activations
    store_rows(given, at, tile, weight, bias, factor, sums);
  }
}

constexpr int kMostHidden = 1024;

int groups_of(int64_t hidden) { return static_cast<int>((hidden + kGroup - 1) / kGroup); }

// Groups of a warp, at most.
int rounds_of(int64_t hidden) { return (groups_of(hidden) + kWarps - 1) / kWarps; }

// Tiles of neurons for which there are kernels. 64 neurons of more than 768 columns do not fit into the shared memory of
// an H100, and more than 32 of 768 columns not into that of an A100.
constexpr int kFewTiles = 4;
constexpr int most_tiles(int rounds) { return rounds < 4 ? 8 : 6; }

// As many blocks as the device holds at once, each of which loads the weights.
template <int kGroups, int kTiles>
cudaError_t run(const PrunedFfn& given, int multiprocessors, cudaStream_t stream) {
  const int groups = groups_of(given.hidden), bytes = static_cast<int>(shared_bytes(groups, kTiles));
  const cudaError_t allowed =
      cudaFuncSetAttribute(ffn_pruned_kernel<kGroups, kTiles>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (allowed != cudaSuccess) return allowed;
  int fit = 0;
  const cudaError_t asked =
      cudaOccupancyMaxActiveBlocksPerMultiprocessor(&fit, ffn_pruned_kernel<kGroups, kTiles>, kThreads, bytes);
  if (asked != cudaSuccess) return asked;
  const int64_t tiles = (given.rows + kRows - 1) / kRows, most = static_cast<int64_t>(multiprocessors) * fit;
  const unsigned blocks = static_cast<unsigned>(tiles < most ? tiles : most);
  ffn_pruned_kernel<kGroups, kTiles><<<blocks, kThreads, bytes, stream>>>(given, groups);
  return cudaGetLastError();
}

template <int kGroups>
cudaError_t run_groups(const PrunedFfn& given, int multiprocessors, cudaStream_t stream) {
  constexpr int kMost = most_tiles(kGroups);
  return given.neurons <= 8 * kFewTiles ? run<kGroups, kFewTiles>(given, multiprocessors, stream)
                                        : run<kGroups, kMost>(given, multiprocessors, stream);
}

}  // namespace

int64_t most_neurons(int64_t hidden, int64_t shared) {
  if (hidden < 1 || hidden > kMostHidden || hidden % 8 != 0) return 0;
  const int64_t groups = groups_of(hidden);
  for (const int64_t tiles : {most_tiles(rounds_of(hidden)), kFewTiles}) {
    if (shared_bytes(groups, tiles) <= shared) return 8 * tiles;
  }
  return 0;
}

cudaError_t ffn_pruned(const PrunedFfn& given, int multiprocessors, cudaStream_t stream) {
  if (given.rows == 0) return cudaSuccess;
  switch (rounds_of(given.hidden)) {
    case 1: return run_groups<1>(given, multiprocessors, stream);
    case 2: return run_groups<2>(given, multiprocessors, stream);
    case 3: return run_groups<3>(given, multiprocessors, stream);
    default: return run_groups<4>(given, multiprocessors, stream);
  }
}

}  // namespace skn::cuda
