#pragma once

#include "../arrays.h"

namespace skn {

// The columns of a strided [n, columns] array; strides count elements and may be 0.
struct Columns {
  const void* data;
  Element element;
  int64_t stride[2];
  int64_t count;
};

// The facts that depend on one column alone.
struct ColumnFacts {
  int64_t* ties;  // [columns, 3] contiguous: sums over groups of t equal values, as in scipy
  double* root;   // [columns] √(pairs not tied in the column); NaN where tau is NaN: a NaN inside, or all values equal
};

// One side is prepared once. The kernel compares the other side with it column by column. Tau is symmetric, so the side
// with fewer columns is prepared, whichever argument of the operator it was.
struct KendallArgs {
  int64_t n;
  Columns column;  // the side that is worked through
  ColumnFacts column_facts;
  Columns fixed;  // the prepared side
  ColumnFacts fixed_facts;
  char* prepared;  // for each fixed column, as many bytes as the kernel's *_bytes(n)
  bool fixed_root_first;  // the fixed side is the operator's x, by whose root scipy divides first
  int64_t* concordance;   // both outputs by column and fixed column, with the strides below
  double* tau;
  int64_t stride[2];
};

// The number of columns in one unit of work: a cache line of float32.
constexpr int64_t kKendallUnit = 16;

// The largest n for bit matrices, whose work grows with n² / 64, a word at a time. For larger n, the merge sort is
// faster.
constexpr int64_t kKendallMaxBits = 4096;

// The words of a bit matrix of the pairs j < i. Word column w has the rows i > 64 w, and bit b of a word is j = 64 w +
// b. The matrix is padded to whole 512-bit vectors.
constexpr int64_t kendall_words(int64_t n) {
  const int64_t full = (n - 1) / 64;
  const int64_t words = (full + 1) * (n - 1) - 32 * full * (full + 1);
  return (words + 7) / 8 * 8;
}

// Two bit matrices: y_j > y_i, and y_j ≠ y_i.
constexpr int64_t kendall_bits_bytes(int64_t n) { return 2 * 8 * kendall_words(n); }

// Prepares the fixed columns [first, last).
using KendallPrepare = void(const KendallArgs& args, int64_t first, int64_t last);
// Compares the units of columns [first, last) with all fixed columns.
using KendallKernel = void(const KendallArgs& args, int64_t first, int64_t last);

// For any n: the dense ranks of each fixed column, for Knight's counting of exchanges by merge sort.
constexpr int64_t kendall_ranks_bytes(int64_t n) { return (4 * n + 63) / 64 * 64; }
KendallPrepare kendall_merge_prepare;
KendallKernel kendall_merge;

}  // namespace skn
