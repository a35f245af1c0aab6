// The feed-forward sublayer of a block of rows, a slice of neurons at a time: the activations of a slice are consumed by
// the down-projection while they are in the cache. And LayerNorm.
#include "gemm.h"

namespace skn::SKN_ISA {
namespace {

template <typename Stored>
constexpr int64_t kPair = sizeof(Stored) == 2 ? 2 : 1;

template <typename Stored>
SKN_INLINE int64_t padded_depth(int64_t k) {
  return round_up(k, kPair<Stored>);
}

// LayerNorm of float32 rows `y` into `out`, columns beyond `n` zero. Two passes: the mean first, because a sum of
// squares cancels where the mean is large.
template <typename Stored>
void layer_norm(const float* y, int64_t ld, int64_t rows, int64_t n, const LayerNorm& norm, float eps, Stored* out) {
  const int64_t whole = n / kLanes * kLanes;
  const float inverse_n = 1.f / static_cast<float>(n);
  for (int64_t r = 0; r < rows; ++r, y += ld, out += ld) {
    V total = {};
    for (int64_t j = 0; j < whole; j += kLanes) total += load(y + j);
    float mean = sum(total);
    for (int64_t j = whole; j < n; ++j) mean += y[j];
    mean *= inverse_n;
    V squares = {};
    for (int64_t j = 0; j < whole; j += kLanes) {
      const V d = load(y + j) - set1(mean);
      squares = fma(d, d, squares);
    }
    float variance = sum(squares);
    for (int64_t j = whole; j < n; ++j) variance += (y[j] - mean) * (y[j] - mean);
    const V inverse = set1(1.f / std::sqrt(variance * inverse_n + eps));
    for (int64_t j = 0; j < ld; j += kLanes) {  // weight and bias are zero beyond n
      store(out + j, fma((load(y + j) - set1(mean)) * inverse, load(norm.weight + j), load(norm.bias + j)));
    }
  }
}

template <typename Stored>
struct FeedForward {
  Linear up, down;
  const float* scale;  // [F], null for no mask
  const float* shift;
  int64_t shift_stride;
  const int64_t* example;  // of each row; null where all rows share one shift
  const Stored* x;         // [rows, ld], zero beyond the hidden size
  int64_t ld;
  int64_t rows;
  bool residual;  // add x
  Stored* act;    // [rows, kSlice]: the activations of a slice
  float* y;       // [rows, ld]: the result
};

template <typename Stored>
void activate(const FeedForward<Stored>& ffn, int64_t f, int64_t neurons) {
  const int64_t depth = padded_depth<Stored>(ffn.up.k);
  const Stored* packed = static_cast<const Stored*>(ffn.up.weight) + f / kPanel * depth * kPanel;
  gemm(ffn.x, ffn.ld, ffn.rows, packed, depth * kPanel, panels(neurons), depth,
       [&](int64_t row, int64_t column, const V* sums) {
         const float* shift = ffn.shift + (ffn.example != nullptr ? ffn.example[row] * ffn.shift_stride : 0);
         for (int j = 0; j < kVectors; ++j) {
           const int64_t c = f + column + j * kLanes;
           V value = gelu(sums[j] + load(ffn.up.bias + c));
           if (ffn.scale != nullptr) value = value * load(ffn.scale + c) + load(shift + c);
           store(ffn.act + row * kSlice + column + j * kLanes, value);
         }
       });
}

// y = [x +] act(x · W_inᵀ + b) · W_outᵀ + b; `each(f, neurons)` sees every slice of activations.
template <typename Stored, typename Each>
void run_feed_forward(const FeedForward<Stored>& ffn, const Each& each) {
  const Stored* down = static_cast<const Stored*>(ffn.down.weight);
  const int64_t stride = padded_depth<Stored>(ffn.down.k) * kPanel;
  for (int64_t f = 0; f < ffn.up.n; f += kSlice) {
    const int64_t neurons = std::min(kSlice, ffn.up.n - f);
    activate(ffn, f, neurons);
    each(f, neurons);
    gemm(ffn.act, kSlice, ffn.rows, down + f * kPanel, stride, panels(ffn.down.n), padded_depth<Stored>(neurons),
         [&](int64_t row, int64_t column, const V* sums) {
           for (int j = 0; j < kVectors; ++j) {
             const int64_t c = column + j * kLanes, at = row * ffn.ld + c;
             V before = f == 0 ? load(ffn.down.bias + c) : load(ffn.y + at);
             if (f == 0 && ffn.residual) before += load(ffn.x + at);
             store(ffn.y + at, sums[j] + before);
           }
         });
  }
}

}  // namespace
}  // namespace skn::SKN_ISA
