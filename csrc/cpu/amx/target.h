// From here to ../end_target.h, code is compiled for AVX-512 with bfloat16 dot products; tiles.h adds the instructions of
// AMX, which the assembler knows without a flag.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512cd,avx512bw,avx512dq,avx512vl,avx512vbmi2,avx512vnni,avx512vpopcntdq,avx512bf16,avx2,fma,f16c,bmi,bmi2,popcnt"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512cd,avx512bw,avx512dq,avx512vl,avx512vbmi2,avx512vnni,avx512vpopcntdq,avx512bf16,avx2,fma,f16c,bmi,bmi2,popcnt,prefer-vector-width=512")
#endif
#define SKN_ISA amx
#define SKN_TARGET
#define SKN_LEVEL 4
