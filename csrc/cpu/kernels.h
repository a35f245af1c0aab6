// The one table of the CPU: which kernels an operator has. A kernel takes an argument structure and a range of units
// of work; who calls it splits the work over threads.
#pragma once

#include "accumulate_hits.h"
#include "accumulate_moments.h"
#include "encode.h"
#include "ffn.h"
#include "isa.h"
#include "kendall_tau.h"
#include "pool_tokens.h"

#if defined(__x86_64__)
#define SKN_WIDE(isa, name) {Isa::isa, isa::name},
#else
#define SKN_WIDE(isa, name)
#endif

namespace skn {

inline constexpr Choice<MomentsKernel> kMoments[] = {
    SKN_WIDE(avx512, accumulate_moments) SKN_WIDE(avx2, accumulate_moments){Isa::baseline, baseline::accumulate_moments}};

inline constexpr Choice<HitsKernel> kHits[] = {
    SKN_WIDE(avx512, accumulate_hits) SKN_WIDE(avx2, accumulate_hits){Isa::baseline, baseline::accumulate_hits}};

inline constexpr Choice<PoolKernel> kPool[] = {
    SKN_WIDE(avx512, pool_tokens) SKN_WIDE(avx2, pool_tokens){Isa::baseline, baseline::pool_tokens}};

inline constexpr Choice<EncodeKernel> kEncode[] = {
    SKN_WIDE(avx512, encode) SKN_WIDE(avx2, encode){Isa::baseline, baseline::encode}};

// bfloat16 and bf16x3
inline constexpr Choice<EncodeKernel> kEncodeBf16[] = {
    SKN_WIDE(amx, encode) SKN_WIDE(avx512_bf16, encode) SKN_WIDE(avx512, encode)
    SKN_WIDE(avx2, encode){Isa::baseline, baseline::encode}};

inline constexpr Choice<FfnKernel> kFfn[] = {
    SKN_WIDE(avx512, ffn) SKN_WIDE(avx2, ffn){Isa::baseline, baseline::ffn}};

// bfloat16 and bf16x3
inline constexpr Choice<FfnKernel> kFfnBf16[] = {
    SKN_WIDE(amx, ffn) SKN_WIDE(avx512_bf16, ffn) SKN_WIDE(avx512, ffn)
    SKN_WIDE(avx2, ffn){Isa::baseline, baseline::ffn}};

inline constexpr Choice<KendallPrepare> kKendallPrepare[] = {
    SKN_WIDE(avx512, kendall_prepare) SKN_WIDE(avx2, kendall_prepare){Isa::baseline, baseline::kendall_prepare}};

inline constexpr Choice<KendallKernel> kKendall[] = {
    SKN_WIDE(avx512, kendall_tau) SKN_WIDE(avx2, kendall_tau){Isa::baseline, baseline::kendall_tau}};

}  // namespace skn
