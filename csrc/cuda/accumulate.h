// The statistics of given activations on CUDA, free of torch: pointers, strides in elements, a stream. Every function
// returns the result of its launch.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../arrays.h"

namespace skn::cuda {

struct Labels {
  const int64_t* data;
  int64_t stride;
  int64_t count;
};

// Writes the index of the first label outside of [0, classes), or labels.count, to found[0], and that label to
// found[1].
cudaError_t find_bad_label(const Labels& labels, int64_t classes, int64_t* found, cudaStream_t stream);

// A label outside of [0, classes) counts nowhere. `count` [C] with its stride; act [B, P, F]; the states [C, P, F].
cudaError_t accumulate_moments(const Input& act, const Labels& labels, int64_t classes, int64_t positions,
                               int64_t neurons, int64_t* count, int64_t count_stride, const State<double>& total,
                               const State<double>& total_sq, cudaStream_t stream);

cudaError_t accumulate_hits(const Input& act, const Labels& labels, int64_t classes, int64_t positions,
                            int64_t neurons, const double* threshold, int64_t threshold_p, int64_t threshold_f,
                            const State<int64_t>& hits, cudaStream_t stream);

}  // namespace skn::cuda
