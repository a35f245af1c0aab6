// From here to ../end_target.h, code is compiled for AVX-512 as of Ice Lake and Zen 4.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512cd,avx512bw,avx512dq,avx512vl,avx512vbmi2,avx512vnni,avx512vpopcntdq,avx2,fma,f16c,bmi,bmi2,popcnt"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512cd,avx512bw,avx512dq,avx512vl,avx512vbmi2,avx512vnni,avx512vpopcntdq,avx2,fma,f16c,bmi,bmi2,popcnt,prefer-vector-width=512")
#endif
#define SKN_ISA avx512
#define SKN_TARGET
#define SKN_LEVEL 2
