// The integer part of Kendall's tau-b of every column of x [n, p] with every column of y [n, q], free of torch.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#define SKN_EXPORT extern "C" __attribute__((visibility("default")))

// Bytes of device memory that skn_concordance wants as workspace; 0 where n is beyond the bit kernel.
SKN_EXPORT int64_t skn_concordance_workspace(int64_t n, int64_t q, int32_t wide);

// sums[c * q + a] = concordant minus discordant pairs of x[:, c] and y[:, a]; ties_x [p, 3] and ties_y [q, 3] = the sums of
// t(t-1)/2, t(t-1)(t-2) and t(t-1)(2t+5) over groups of t equal values of a column. n >= 2. `wide`: float64, otherwise
// float32. Strides count elements. What a column with a NaN gets means nothing. Returns a cudaError_t; everything is queued
// on `stream`.
SKN_EXPORT int32_t skn_concordance(const void* x, const void* y, int32_t wide, int64_t n, int64_t p, int64_t q,
                                   int64_t x_row, int64_t x_column, int64_t y_row, int64_t y_column, int64_t* sums,
                                   int64_t* ties_x, int64_t* ties_y, void* workspace, cudaStream_t stream);

SKN_EXPORT const char* skn_cuda_error(int32_t error);
