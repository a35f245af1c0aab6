#pragma once

#include <initializer_list>

#include "chosen.h"
#include "scratch.h"
#include "team.h"

namespace skn {

// A group of sequences that goes through the layers together has about this many rows: enough to pay for reading the
// weights, and few enough that the hidden states stay in the second-level cache.
constexpr int64_t kGroupRows = 192;

// With at most this many rows for each thread, the threads share the columns of products instead of the sequences.
constexpr int64_t kFewRows = 16;

// One encoder layer. `scale` [F] and `shift` [F] or [B, F] are the mask, padded to whole panels; null for none.
struct EncoderLayer {
  Linear q, k, v, out, up, down;
  LayerNorm attention_norm, output_norm;
  const float* scale;
  const float* shift;
  int64_t shift_stride;  // between examples; 0 where all share one
  Chosen chosen;
  void* tap;  // [B, tap, F] activations as the down-projection reads them; null for none
};

struct EncodeArgs {
  Form form;  // of the activations, and of the weights that are not int8
  const EncoderLayer* layer;
  int64_t layers;
  int64_t hidden;
  int64_t heads;
  float eps;
  const void* x;          // [T, hidden] contiguous
  const int64_t* bounds;  // of the sequences: B + 1 rows of x
  const int64_t* group;   // of the groups: sequences
  int64_t read;           // rows of each sequence that the result holds; 0 for all
  int64_t tap;            // rows of each sequence that are tapped
  int64_t longest_group;  // rows
  int64_t longest_sequence;
  Team* team;             // shares the columns of a product and the heads of attention; null where a thread works alone
  int64_t threads;        // of the team; 1 without one
  void* out;              // [B · read, hidden] or [T, hidden] contiguous
};

// The number of queries of one head that are computed together.
constexpr int64_t kQueries = 48;

// The layout of a thread's memory.
struct ScratchPlan {
  int64_t x, q, k, v, context, act;
  CutPlan x_cut, act_cut;
  int64_t y, attention, bytes;
};

// The layout of the memory of one head's attention.
struct AttentionPlan {
  int64_t queries, keys, values, scores, weights, bytes;
};

inline AttentionPlan plan_attention(const EncodeArgs& args) {
  const int64_t size = stored_size(args.form), keys = round_up(args.longest_sequence, kPanel);
  const int64_t head = round_up(args.hidden / args.heads, kPanel);
  AttentionPlan plan;
  Offsets offsets;
  plan.queries = offsets.take(kQueries * head * size);
  plan.keys = offsets.take(keys * head * size);
  plan.values = offsets.take(keys * head * size);
  plan.scores = offsets.take(kQueries * keys * 4);
  plan.weights = offsets.take(kQueries * keys * size);
  plan.bytes = offsets.end;
  return plan;
}

inline ScratchPlan plan_scratch(const EncodeArgs& args) {
  const int64_t size = stored_size(args.form), ld = round_up(args.hidden, kPanel);
  const int64_t hidden = args.longest_group * ld;
  ScratchPlan plan;
  Offsets offsets;
  for (int64_t* array : {&plan.x, &plan.q, &plan.k, &plan.v, &plan.context}) *array = offsets.take(hidden * size);
  plan.act = offsets.take(args.longest_group * kSlice * size);
  plan.x_cut = plan_cut(offsets, args.form, args.longest_group, ld);
  plan.act_cut = plan_cut(offsets, args.form, args.longest_group, kSlice);
  plan.y = offsets.take(hidden * 4);
  plan.attention = offsets.take(args.threads * plan_attention(args).bytes);
  plan.bytes = offsets.end;
  return plan;
}

// Takes the groups [first, last) of sequences through all layers. `scratch` belongs to the calling thread.
using EncodeKernel = void(const EncodeArgs& args, int64_t first, int64_t last, void* scratch);

}  // namespace skn
