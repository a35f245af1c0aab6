// The feed-forward sublayer of a block of rows, a slice of neurons at a time, so that the down-projection reads the
// activations of a slice while they are in the cache. LayerNorm is here, too.
#include "widened.h"

#include "rotated.h"
#include "plain.h"

namespace skn::SKN_ISA {
namespace {

// How a form stores activations, the numbers that its products read, and how these are stored a second time.
struct Float32 {
  using Stored = float;
  using Operand = float;
  using Part = float;
};
struct Bfloat16 {
  using Stored = Bf16;
  using Operand = Bf16;
  using Part = Wide<Bf16>;
};
struct Bf16x3 {
  using Stored = float;
  using Operand = Split;
  using Part = Split;
};

template <typename Operand>
constexpr int64_t kPair = std::is_same_v<Operand, float> ? 1 : 2;

template <typename Operand>
SKN_INLINE int64_t padded_depth(int64_t k) {
  return round_up(k, kPair<Operand>);
}

// Calls task(first, n) for the parts of [0, n): for each part in one of the threads of `team`, or for all at once.
template <typename Task>
void share(Team* team, int64_t n, const Task& task) {
  if (team == nullptr) return task(0, n);
  team->share(n, &task, [](const void* context, int64_t part) {
#if SKN_LEVEL >= 5
    const TileSession session;
#endif
    (*static_cast<const Task*>(context))(part, 1);
  });
}

// Memory for rows of activations in the forms that some products read.
template <typename Numbers>
struct Cuts {
  typename Numbers::Part* parts;
  void* bytes;  // Byte, or Wide<Byte>
  RowScale* scales;
  float* mixed;
};

template <typename Numbers>
Cuts<Numbers> cuts_at(const CutPlan& plan, char* memory) {
  return {reinterpret_cast<typename Numbers::Part*>(memory + plan.parts), memory + plan.bytes,
          reinterpret_cast<RowScale*>(memory + plan.scales), reinterpret_cast<float*>(memory + plan.mixed)};
}

// Rows of activations [rows, columns], `ld` apart. They are cut in two, widened or rounded to bytes when the first product
// needs them in that form.
template <typename Numbers>
class Rows {
  using Stored = typename Numbers::Stored;
  using Operand = typename Numbers::Operand;

 public:
  Rows(const Stored* x, int64_t ld, int64_t rows, int64_t columns, const Cuts<Numbers>& cuts)
      : x_(x), ld_(ld), rows_(rows), columns_(columns), cuts_(cuts) {}

  // Calls epilogue(row, column, x · Wᵀ) for `panels` panels of the weight from the column `first` on. Of the weight's depth,
  // the product takes as many numbers as a row has columns, from `k` on.
  template <typename Epilogue>
  void times(const Linear& w, int64_t first, int64_t panels, int64_t k, const Epilogue& epilogue) {
    prepare(w, k);
    if (w.form == Form::int8) return times_bytes(w, first, panels, k, epilogue);
    if constexpr (std::is_same_v<Stored, Operand>) {
      if (w.plain) {
        return times_plain(w, first, panels, k, epilogue);
      }
    }
    const int64_t stride = padded_depth<Operand>(w.k) * kPanel;
    const Operand* packed = static_cast<const Operand*>(w.weight) + first / kPanel * stride + k * kPanel;
    const int64_t depth = padded_depth<Operand>(columns_);
    if constexpr (std::is_same_v<Operand, Split>) {
      gemm(cuts_.parts, ld_, rows_, packed, stride, panels, depth, epilogue);
    } else {
      if constexpr (kWidens<Operand>) {
        if (widens<Operand>(rows_, columns_)) {
          return wide_gemm(cuts_.parts, ld_, rows_, packed, stride, panels, depth, epilogue);
        }
      }
      gemm(x_, ld_, rows_, packed, stride, panels, depth, epilogue);
    }
  }

  // The same, with the panels shared by a team. A column is computed alike, whichever thread computes it.
  template <typename Epilogue>
  void times(Team* team, const Linear& w, int64_t first, int64_t panels, int64_t k, const Epilogue& epilogue) {
    prepare(w, k);  // for all threads
    ahead_ = team == nullptr ? 1 : team->threads();
    share(team, panels, [&](int64_t begin, int64_t count) {
      const int64_t shift = begin * kPanel;
      times(w, first + shift, count, k,
            [&](int64_t row, int64_t column, const V* sums) { epilogue(row, shift + column, sums); });
    });
  }

  template <typename Epilogue>
  void times(Team* team, const Linear& w, const Epilogue& epilogue) {
    times(team, w, 0, panels(w.n), 0, epilogue);
  }

 private:
  // Writes the rows in the form that the product with a weight reads.
  void prepare(const Linear& w, int64_t k) {
    if (w.form == Form::int8) {
      const Reading read = reading_of(w, k);
      if (same(read, rounded_)) return;
      widens<Byte>(rows_, columns_) ? round_to<Wide<Byte>>(read) : round_to<Byte>(read);
      rounded_ = read;
    } else if (const Cut wanted = w.plain ? Cut::plain : Cut::packed; cut_ != wanted) {
      cut_ = wanted;
      cut(w.plain);
    }
  }

  void cut(bool plain) {
    const int64_t whole = round_up(columns_, kPanel);
    if constexpr (std::is_same_v<Operand, Split>) {
      for (int64_t r = 0; r < rows_; ++r) split(x_ + r * ld_, ld_, whole, cuts_.parts + r * ld_);
    } else if constexpr (kWidens<Operand>) {
      if (!widens<Operand>(rows_, columns_)) return;
      for (int64_t r = 0; r < rows_; ++r) (plain ? widen_steps : widen)(x_ + r * ld_, whole, cuts_.parts + r * ld_);
    }
  }

  template <typename Epilogue>
  void times_plain(const Linear& w, int64_t first, int64_t panels, int64_t k, const Epilogue& epilogue) {
    const Operand* row = static_cast<const Operand*>(w.weight) + first * w.k + k;
    const int64_t n = w.n - first;
    if constexpr (kWidens<Operand>) {
      if (widens<Operand>(rows_, columns_)) {
        WidePlainColumns columns;
        const int64_t deep = round_up(columns_, kStep<Operand>);
        return plain_gemm(columns, cuts_.parts, ld_, rows_, row, w.k, n, panels, columns_, deep, ahead_, epilogue);
      }
    }
    PlainColumns<Operand> columns;
    plain_gemm(columns, x_, ld_, rows_, row, w.k, n, panels, columns_, columns_, ahead_, epilogue);
  }

  template <typename Rounded>
  void round_to(const Reading& read) {
    Rounded* bytes = static_cast<Rounded*>(cuts_.bytes);
    for (int64_t r = 0; r < rows_; ++r) {
      cuts_.scales[r] = quantize_for(read, x_ + r * ld_, columns_, cuts_.mixed, bytes + r * ld_);
    }
  }

  template <typename Epilogue>
  void times_bytes(const Linear& w, int64_t first, int64_t panels, int64_t k, const Epilogue& epilogue) {
    const auto multiplied = [&](const auto* bytes) {
      gemm_bytes(bytes, cuts_.scales, ld_, rows_, w, first, panels, k, columns_, epilogue);
    };
    widens<Byte>(rows_, columns_) ? multiplied(static_cast<const Wide<Byte>*>(cuts_.bytes))
                                  : multiplied(static_cast<const Byte*>(cuts_.bytes));
  }

  // Whether two weights read a row alike, as queries, keys and values do.
  bool same(const Reading& a, const Reading& b) const {
    const auto equal = [this](const float* x, const float* y) {
      return x == y || std::memcmp(x, y, columns_ * sizeof *x) == 0;
    };
    return b.shift != nullptr && a.rotated == b.rotated && equal(a.shift, b.shift) && equal(a.factor, b.factor);
  }

  const Stored* x_;
  int64_t ld_, rows_, columns_;
  Cuts<Numbers> cuts_;
  int64_t ahead_ = 1;  // panels from one of this thread to its next
  enum class Cut { none, packed, plain } cut_ = Cut::none;  // how the parts lie
  Reading rounded_ = {};  // of the bytes; null before the first
};

// The sum of term(number) over a row. Four sums side by side, because each addition waits for the one before.
template <typename Term>
SKN_INLINE float sum_of_row(const float* row, int64_t n, const Term& term) {
  V part[4] = {};
  int64_t j = 0;
  for (; j + 4 * kLanes <= n; j += 4 * kLanes) {
    for (int p = 0; p < 4; ++p) part[p] += term(load(row + j + p * kLanes));
  }
  for (; j + kLanes <= n; j += kLanes) part[0] += term(load(row + j));
  float total = sum((part[0] + part[1]) + (part[2] + part[3]));
  for (; j < n; ++j) total += term(row[j]);
  return total;
}

// LayerNorm of float32 rows `y` into `out`, with columns beyond `n` zero. It takes two passes, the mean first, because
// a sum of squares cancels if the mean is large.
template <typename Stored>
void layer_norm(const float* y, int64_t ld, int64_t rows, int64_t n, const LayerNorm& norm, float eps, Stored* out) {
  const float inverse_n = 1.f / static_cast<float>(n);
  for (int64_t r = 0; r < rows; ++r, y += ld, out += ld) {
    const float mean = inverse_n * sum_of_row(y, n, [](auto v) { return v; });
    const float variance = inverse_n * sum_of_row(y, n, [mean](auto v) { return (v - mean) * (v - mean); });
    const V inverse = set1(1.f / std::sqrt(variance + eps));
    for (int64_t j = 0; j < ld; j += kLanes) {  // weight and bias are zero beyond n
      store(out + j, fma((load(y + j) - set1(mean)) * inverse, load(norm.weight + j), load(norm.bias + j)));
    }
  }
}

template <typename Numbers>
struct FeedForward {
  using Stored = typename Numbers::Stored;

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
  Cuts<Numbers> x_cuts, act_cuts;
  Team* team;          // null for one thread
};

template <typename Numbers>
void activate(const FeedForward<Numbers>& ffn, Rows<Numbers>& x, int64_t f, int64_t neurons) {
  const bool coarse = std::is_same_v<typename Numbers::Stored, Bf16> || ffn.down.form == Form::int8;
  x.times(ffn.team, ffn.up, f, panels(neurons), 0, [&](int64_t row, int64_t column, const V* sums) {
    const float* shift = ffn.shift + (ffn.example != nullptr ? ffn.example[row] * ffn.shift_stride : 0);
    for (int j = 0; j < kVectors; ++j) {
      const int64_t c = f + column + j * kLanes;
      const V before = sums[j] + load(ffn.up.bias + c);
      V value = coarse ? short_gelu(before) : gelu(before);
      if (ffn.scale != nullptr) value = value * load(ffn.scale + c) + load(shift + c);
      store(ffn.act + row * kSlice + column + j * kLanes, value);
    }
  });
}

// y = [x +] act(x · W_inᵀ + b) · W_outᵀ + b. `each(f, neurons)` is called with every slice of activations.
template <typename Numbers, typename Each>
void run_feed_forward(const FeedForward<Numbers>& ffn, const Each& each) {
  Rows<Numbers> x(ffn.x, ffn.ld, ffn.rows, ffn.up.k, ffn.x_cuts);
  for (int64_t f = 0; f < ffn.up.n; f += kSlice) {
    const int64_t neurons = std::min(kSlice, ffn.up.n - f);
    activate(ffn, x, f, neurons);
    each(f, neurons);
    Rows<Numbers> act(ffn.act, kSlice, ffn.rows, neurons, ffn.act_cuts);
    act.times(ffn.team, ffn.down, 0, panels(ffn.down.n), f, [&](int64_t row, int64_t column, const V* sums) {
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
