// The encoder: a group of sequences goes through all layers on one core, so hidden states stay on one core, and a core
// reads only the weights from outside of its caches.
#include "feed_forward.h"

#include "attention.h"
#include "chosen.h"

namespace skn::SKN_ISA {
namespace {

template <typename Numbers>
struct Scratch {
  typename Numbers::Stored *x, *q, *k, *v, *context, *act;
  Cuts<Numbers> x_cuts, act_cuts;
  float* y;
  char* attention;  // of each thread
};

template <typename Numbers>
Scratch<Numbers> cut(const EncodeArgs& args, char* memory) {
  using Stored = typename Numbers::Stored;
  const ScratchPlan plan = plan_scratch(args);
  const auto at = [memory](int64_t offset) { return reinterpret_cast<Stored*>(memory + offset); };
  return {at(plan.x),   at(plan.q),          at(plan.k),            at(plan.v),
          at(plan.context), at(plan.act), cuts_at<Numbers>(plan.x_cut, memory), cuts_at<Numbers>(plan.act_cut, memory),
          reinterpret_cast<float*>(memory + plan.y), memory + plan.attention};
}

// The plan's arrays have room for the form of the activations, or for a shorter one.
template <typename Attended>
AttentionScratch<Attended> attention_of(const EncodeArgs& args, char* memory) {
  const AttentionPlan plan = plan_attention(args);
  const auto at = [memory](int64_t offset) { return reinterpret_cast<Attended*>(memory + offset); };
  return {at(plan.queries), at(plan.keys), at(plan.values), reinterpret_cast<float*>(memory + plan.scores),
          at(plan.weights)};
}

template <typename Numbers>
class Group {
  using Stored = typename Numbers::Stored;

 public:
  Group(const EncodeArgs& args, const Scratch<Numbers>& scratch, int64_t first, int64_t last)
      : args_(args), s_(scratch), first_(first), last_(last), ld_(round_up(args.hidden, kPanel)) {
    const int64_t base = args.bounds[first];
    rows_ = args.bounds[last] - base;
    for (int64_t r = 0; r < rows_; ++r) {
      Stored* row = s_.x + r * ld_;
      std::memcpy(row, static_cast<const Stored*>(args.x) + (base + r) * args.hidden, args.hidden * sizeof(Stored));
      std::memset(row + args.hidden, 0, (ld_ - args.hidden) * sizeof(Stored));
    }
    std::memset(s_.context, 0, rows_ * ld_ * sizeof(Stored));
  }

  void run() {
    for (int64_t l = 0; l < args_.layers; ++l) {
      const EncoderLayer& layer = args_.layer[l];
      attention(layer, l + 1 == args_.layers);
      add_linear(layer.out);
      layer_norm(s_.y, ld_, rows_, args_.hidden, layer.attention_norm, args_.eps, s_.x);
      feed_forward(layer);
      layer_norm(s_.y, ld_, rows_, args_.hidden, layer.output_norm, args_.eps, s_.x);
    }
    write();
  }

 private:
  int64_t length(int64_t sequence) const { return args_.bounds[sequence + 1] - args_.bounds[sequence]; }

  // The number of a sequence's rows that are still computed. Keys and values keep all rows.
  int64_t kept(int64_t sequence) const { return trimmed_ ? std::max(args_.read, args_.tap) : length(sequence); }

  // Moves the rows that are needed after the last layer's keys and values to the front.
  void trim() {
    const int64_t keep = std::max(args_.read, args_.tap);
    int64_t from = 0, to = 0;
    for (int64_t i = first_; i < last_; ++i) {
      std::memmove(s_.x + to * ld_, s_.x + from * ld_, keep * ld_ * sizeof(Stored));
      from += length(i);
      to += keep;
    }
    rows_ = to;
    trimmed_ = true;
  }

  Rows<Numbers> rows_of(const Stored* x) const { return {x, ld_, rows_, args_.hidden, s_.x_cuts}; }

  template <typename Attended>
  void linear(const Linear& w, Rows<Numbers>& from, Attended* to) {
    from.times(args_.team, w, [&](int64_t row, int64_t column, const V* sums) {
      for (int j = 0; j < kVectors; ++j) {
        const int64_t c = column + j * kLanes;
        store(to + row * ld_ + c, sums[j] + load(w.bias + c));
      }
    });
  }

  // y = x + context · Wᵀ + b
  void add_linear(const Linear& w) {
    rows_of(s_.context).times(args_.team, w, [&](int64_t row, int64_t column, const V* sums) {
      for (int j = 0; j < kVectors; ++j) {
        const int64_t at = row * ld_ + column + j * kLanes;
        store(s_.y + at, sums[j] + load(w.bias + column + j * kLanes) + load(s_.x + at));
      }
    });
  }

  // The context of all rows. Queries, keys and values from products of bytes have the error of eight bits. Beside it, that
  // of bfloat16 does not show. An instruction for bfloat16 has twice as many products as one for float32.
  void attention(const EncoderLayer& layer, bool last) {
    const auto of_bytes = [](const Linear& w) { return w.form == Form::int8; };
    if constexpr (SKN_LEVEL >= 4) {
      if (of_bytes(layer.q) && of_bytes(layer.k) && of_bytes(layer.v)) return attention_in<Bf16>(layer, last);
    }
    attention_in<Stored>(layer, last);
  }

  template <typename Attended>
  void attention_in(const EncoderLayer& layer, bool last) {
    const auto in_place = [](Stored* array) { return reinterpret_cast<Attended*>(array); };
    Rows<Numbers> x = rows_of(s_.x);
    linear(layer.k, x, in_place(s_.k));
    linear(layer.v, x, in_place(s_.v));
    if (last && args_.read > 0) {
      trim();
      x = rows_of(s_.x);
    }
    linear(layer.q, x, in_place(s_.q));
    share_heads([&](int64_t head, char* memory) {
      attend_head(head, attention_of<Attended>(args_, memory), in_place(s_.q), in_place(s_.k), in_place(s_.v));
    });
  }

  // Calls task(head, memory) for the heads of all sequences, in as many parts as there are threads, each with its own memory.
  template <typename Task>
  void share_heads(const Task& task) {
    const int64_t heads = (last_ - first_) * args_.heads;
    share(args_.team, args_.threads, [&](int64_t begin, int64_t count) {
      for (int64_t thread = begin; thread < begin + count; ++thread) {
        char* const memory = s_.attention + thread * plan_attention(args_).bytes;
        const int64_t stop = heads * (thread + 1) / args_.threads;
        for (int64_t i = heads * thread / args_.threads; i < stop; ++i) task(i, memory);
      }
    });
  }

  template <typename Attended>
  void attend_head(int64_t at, const AttentionScratch<Attended>& memory, const Attended* queries, const Attended* keys,
                   const Attended* values) {
    const int64_t i = at / args_.heads, sequence = first_ + i, d = args_.hidden / args_.heads;
    const int64_t key = args_.bounds[sequence] - args_.bounds[first_], query = trimmed_ ? i * kept(sequence) : key;
    const int64_t head = at % args_.heads * d, k = key * ld_ + head, q = query * ld_ + head;
    attend(queries + q, kept(sequence), keys + k, values + k, length(sequence), d, ld_, memory, s_.context + q);
  }

  void feed_forward(const EncoderLayer& layer) {
    const int64_t* example = layer.shift_stride != 0 ? example_of_rows() : nullptr;
    const FeedForward<Numbers> ffn{layer.up,    layer.down, layer.scale, layer.shift, layer.shift_stride, example,
                                   s_.x,        ld_,        rows_,       true,        s_.act,             s_.y,
                                   s_.x_cuts,   s_.act_cuts, args_.team};
    run_feed_forward(ffn, [&](int64_t f, int64_t neurons) {
      if (layer.chosen.count > 0) exchange(layer.chosen, f, neurons);
      if (layer.tap != nullptr) tap(layer, f, neurons);
    });
  }

  void exchange(const Chosen& chosen, int64_t f, int64_t neurons) {
    const ChosenOfSlice<Stored> slice(chosen, f, neurons);
    Stored* act = s_.act;
    for (int64_t i = first_; i < last_; ++i) {
      for (int64_t r = 0; r < kept(i); ++r, act += kSlice) slice.exchange(args_.bounds[i] + r, act);
    }
  }

  void tap(const EncoderLayer& layer, int64_t f, int64_t neurons) {
    int64_t row = 0;
    for (int64_t i = first_; i < last_; ++i) {
      for (int64_t t = 0; t < args_.tap; ++t) {
        Stored* target = static_cast<Stored*>(layer.tap) + (i * args_.tap + t) * layer.up.n + f;
        std::memcpy(target, s_.act + (row + t) * kSlice, neurons * sizeof(Stored));
      }
      row += kept(i);
    }
  }

  // The example of each row, in the memory of the keys, which is free while activations are computed.
  const int64_t* example_of_rows() {
    int64_t* example = reinterpret_cast<int64_t*>(s_.k);
    int64_t row = 0;
    for (int64_t i = first_; i < last_; ++i) {
      for (int64_t r = 0; r < kept(i); ++r) example[row++] = i;
    }
    return example;
  }

  void write() {
    Stored* out = static_cast<Stored*>(args_.out);
    int64_t row = 0, target = args_.read > 0 ? first_ * args_.read : args_.bounds[first_];
    for (int64_t i = first_; i < last_; ++i) {
      const int64_t rows = args_.read > 0 ? args_.read : length(i);
      for (int64_t r = 0; r < rows; ++r) {
        std::memcpy(out + (target + r) * args_.hidden, s_.x + (row + r) * ld_, args_.hidden * sizeof(Stored));
      }
      row += kept(i);
      target += rows;
    }
  }

  const EncodeArgs& args_;
  const Scratch<Numbers>& s_;
  const int64_t first_, last_, ld_;
  int64_t rows_;
  bool trimmed_ = false;
};

template <typename Numbers>
void run(const EncodeArgs& args, int64_t first, int64_t last, void* memory) {
  const Scratch<Numbers> scratch = cut<Numbers>(args, static_cast<char*>(memory));
  for (int64_t g = first; g < last; ++g) Group<Numbers>(args, scratch, args.group[g], args.group[g + 1]).run();
}

}  // namespace

void encode(const EncodeArgs& args, int64_t first, int64_t last, void* scratch) {
#if SKN_LEVEL >= 5
  const TileSession session;
#endif
  if (args.form == Form::f32) return run<Float32>(args, first, last, scratch);
  if (args.form == Form::bf16) return run<Bfloat16>(args, first, last, scratch);
  run<Bf16x3>(args, first, last, scratch);
}

}  // namespace skn::SKN_ISA
