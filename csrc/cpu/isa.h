// The instruction set of the kernels. It is found once, from cpuid, from the register state that the system saves and,
// for AMX, from the system's permission. SKN_ISA and limit_isa() may only lower it.
#pragma once

namespace skn {

// Each level has everything of the levels before it.
//   avx2         AVX2, FMA, F16C, BMI1/2, POPCNT: Haswell, Zen
//   avx_vnni     dot products of bytes: Alder Lake, Zen 5. Processors with AVX-512 may lack the instruction in this form
//   avx512       F, CD, BW, DQ, VL, VBMI2, VNNI, VPOPCNTDQ: Ice Lake, Zen 4
//   avx512_bf16  dot products of bfloat16: Sapphire Rapids, Zen 4
//   amx          tiles of bfloat16 and of bytes: Sapphire Rapids
enum class Isa { baseline, avx2, avx_vnni, avx512, avx512_bf16, amx };

// The highest level that this processor and system allow.
Isa machine_isa();

// The level in use.
Isa current_isa();

// Whether this processor and system allow a level.
bool machine_has(Isa isa);

const char* isa_name(Isa isa);

}  // namespace skn

// For Python, which calls them through ctypes.
#pragma GCC visibility push(default)
extern "C" {
const char* skn_isa();          // the level in use
const char* skn_machine_isa();  // the highest level of the machine
// Sets the level in use, up to what SKN_ISA and the machine allow. Returns 0 if there is no such level or it is above
// that limit. Not for use while kernels run.
int skn_limit_isa(const char* name);
int skn_allows_isa(const char* name);  // whether SKN_ISA and the machine allow a level
// The level of the kernel that serves an operator now; null for an operator without kernels here.
const char* skn_kernel_isa(const char* op);
}
#pragma GCC visibility pop
