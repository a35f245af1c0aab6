// The feed-forward sublayer of a block of rows, a slice of neurons at a time, so that the down-projection reads the
// activations of a slice while they are in the cache. LayerNorm is here, too.
#include "gemm.h"

namespace skn::SKN_ISA {
namespace {

// How a form stores activations, and the numbers that its products read.
struct Float32 {
  using Stored = float;
  using Operand = float;
};
struct Bfloat16 {
  using Stored = Bf16;
  using Operand = Bf16;
};
struct Bf16x3 {
  using Stored = float;
  using Operand = Split;
};

template <typename Operand>
constexpr int64_t kPair = std::is_same_v<Operand, float> ? 1 : 2;

template <typename Operand>
SKN_INLINE int64_t padded_depth(int64_t k) {
  return round_up(k, kPair<Operand>);
}

// The first `columns` of rows of activations in the form that the products read: as stored, or cut in two in `parts`.
template <typename Numbers>
const typename Numbers::Operand* operand(const typename Numbers::Stored* x, int64_t ld, int64_t rows, int64_t columns,
                                      typename Numbers::Operand* parts) {
  if constexpr (std::is_same_v<typename Numbers::Stored, typename Numbers::Operand>) {
    return x;
  } else {
    for (int64_t r = 0; r < rows; ++r) split(x + r * ld, ld, round_up(columns, kPanel), parts + r * ld);
    return parts;
  }
}

// LayerNorm of float32 rows `y` into `out`, with columns beyond `n` zero. It takes two passes, the mean first, because
// a sum of squares cancels if the mean is large.
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

template <typename Numbers>
struct FeedForward {
  using Stored = typename Numbers::Stored;
  using Operand = typename Numbers::Operand;

  Linear up, down;
  const float* scale;  // [F], null for no mask
  const float* shift;
  int64_t shift_stride;
  const int64_t* example;  // of each row; null where all rows share one shift
  const Stored* x;         // [rows, ld], zero beyond the hidden size
  int64_t ld;
  int64_t rows;
  bool residual;       // add x
  Stored* act;         // [rows, kSlice]: the activations of a slice
  float* y;            // [rows, ld]: the result
  Operand* x_parts;    // as x, for a form that cuts in two
  Operand* act_parts;  // as act
};

template <typename Numbers>
void activate(const FeedForward<Numbers>& ffn, const typename Numbers::Operand* x, int64_t f, int64_t neurons) {
  using Operand = typename Numbers::Operand;
  const int64_t depth = padded_depth<Operand>(ffn.up.k);
  const Operand* packed = static_cast<const Operand*>(ffn.up.weight) + f / kPanel * depth * kPanel;
  gemm(x, ffn.ld, ffn.rows, packed, depth * kPanel, panels(neurons), depth,
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

// y = [x +] act(x · W_inᵀ + b) · W_outᵀ + b. `each(f, neurons)` is called with every slice of activations.
template <typename Numbers, typename Each>
void run_feed_forward(const FeedForward<Numbers>& ffn, const Each& each) {
  using Operand = typename Numbers::Operand;
  const Operand* x = operand<Numbers>(ffn.x, ffn.ld, ffn.rows, ffn.up.k, ffn.x_parts);
  const Operand* down = static_cast<const Operand*>(ffn.down.weight);
  const int64_t stride = padded_depth<Operand>(ffn.down.k) * kPanel;
  for (int64_t f = 0; f < ffn.up.n; f += kSlice) {
    const int64_t neurons = std::min(kSlice, ffn.up.n - f);
    activate(ffn, x, f, neurons);
    each(f, neurons);
    const Operand* act = operand<Numbers>(ffn.act, kSlice, ffn.rows, neurons, ffn.act_parts);
    gemm(act, kSlice, ffn.rows, down + f * kPanel, stride, panels(ffn.down.n), padded_depth<Operand>(neurons),
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
