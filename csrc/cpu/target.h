// From here to target_end.h, code is compiled for the instruction set SKN_ISA. SKN_LEVEL is its number, for #if.
//
// A pragma sets it and not a compiler flag, because a flag would also reach the standard headers before it (see
// bodies/before.h).
#define SKN_NUMBER_baseline 0
#define SKN_NUMBER_avx2 1
#define SKN_NUMBER_avx_vnni 2
#define SKN_NUMBER_avx512 3
#define SKN_NUMBER_avx512_bf16 4
#define SKN_NUMBER_amx 5

#if defined(__clang__)
#define SKN_WIDE_VECTORS ""
#else
#define SKN_WIDE_VECTORS ",prefer-vector-width=512"
#endif

// Haswell and Zen; Ice Lake and Zen 4; and dot products of bfloat16. The instructions of AVX-VNNI and of AMX are assembly
// (bodies/gemm.h, bodies/amx/tiles.h), which needs no flag.
#define SKN_TARGET_avx2 "avx2,fma,f16c,bmi,bmi2,popcnt"
#define SKN_TARGET_avx_vnni SKN_TARGET_avx2
#if defined(SKN_EMULATE)
#define SKN_TARGET_avx512 SKN_TARGET_avx2
#define SKN_TARGET_avx512_bf16 SKN_TARGET_avx2
#else
#define SKN_TARGET_avx512 \
  "avx512f,avx512cd,avx512bw,avx512dq,avx512vl,avx512vbmi2,avx512vnni,avx512vpopcntdq," SKN_TARGET_avx2 SKN_WIDE_VECTORS
#define SKN_TARGET_avx512_bf16 "avx512bf16," SKN_TARGET_avx512
#endif
#define SKN_TARGET_amx SKN_TARGET_avx512_bf16

#define SKN_JOIN(prefix, isa) prefix##isa
#define SKN_OF(prefix, isa) SKN_JOIN(prefix, isa)
#define SKN_PRAGMA(...) _Pragma(#__VA_ARGS__)
#define SKN_EXPANDED(...) SKN_PRAGMA(__VA_ARGS__)

#define SKN_LEVEL SKN_OF(SKN_NUMBER_, SKN_ISA)
static_assert(SKN_LEVEL >= 0, "an instruction set that has a number above");

#if SKN_LEVEL > 0 && defined(__clang__)
SKN_EXPANDED(clang attribute push(__attribute__((target(SKN_OF(SKN_TARGET_, SKN_ISA)))), apply_to = function))
#elif SKN_LEVEL > 0
#pragma GCC push_options
SKN_EXPANDED(GCC target(SKN_OF(SKN_TARGET_, SKN_ISA)))
#endif

#if defined(SKN_EMULATE) && SKN_LEVEL > 1
#include "bodies/emulated_avx512.h"
#endif
