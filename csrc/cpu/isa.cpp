#include "isa.h"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace skn {
namespace {

constexpr Isa kLevels[] = {Isa::baseline, Isa::avx2, Isa::avx_vnni, Isa::avx512, Isa::avx512_bf16, Isa::amx};

#if defined(__x86_64__)

bool has(uint32_t value, std::initializer_list<int> bits) {
  for (int bit : bits) {
    if (!(value >> bit & 1)) return false;
  }
  return true;
}

// XCR0: the registers that the system saves when it switches threads. In bytes, because the mnemonic needs a compiler
// flag.
uint32_t saved_state() {
  uint32_t low, high;
  __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

// Tiles have 8 KiB of state. Linux provides it only on request, once for a process.
bool tiles_permitted() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

bool has_avx_vnni() {
#if defined(SKN_EMULATE)
  return true;
#else
  uint32_t a, b, c, d;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && has(a, {4});
#endif
}

Isa detect() {
  uint32_t a, b, c, d, b7, c7, d7, a71 = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return Isa::baseline;
  // FMA, POPCNT, OSXSAVE, AVX, F16C
  if (!has(c, {12, 23, 27, 28, 29})) return Isa::baseline;
  const uint32_t state = saved_state();
  uint32_t subleaves;
  if (!__get_cpuid_count(7, 0, &subleaves, &b7, &c7, &d7)) return Isa::baseline;
  // BMI1, AVX2, BMI2; xmm and ymm
  if (!has(b7, {3, 5, 8}) || !has(state, {1, 2})) return Isa::baseline;
#if defined(SKN_EMULATE)
  return Isa::amx;  // a build of the tests: every level above AVX2 in AVX2
#endif
  // F, DQ, CD, BW, VL; VBMI2, VNNI, VPOPCNTDQ; opmask and both halves of zmm
  if (!has(b7, {16, 17, 28, 30, 31}) || !has(c7, {6, 11, 14}) || !has(state, {5, 6, 7})) {
    return has_avx_vnni() ? Isa::avx_vnni : Isa::avx2;
  }
  if (subleaves >= 1) __get_cpuid_count(7, 1, &a71, &b, &c, &d);
  if (!has(a71, {5})) return Isa::avx512;
  // AMX-BF16, AMX-TILE, AMX-INT8; tile configuration and data
  if (!has(d7, {22, 24, 25}) || !has(state, {17, 18}) || !tiles_permitted()) return Isa::avx512_bf16;
  return Isa::amx;
}

#else

bool has_avx_vnni() { return false; }

Isa detect() { return Isa::baseline; }

#endif

bool parse(const char* name, Isa& isa) {
  for (Isa level : kLevels) {
    if (std::strcmp(name, isa_name(level)) == 0) {
      isa = level;
      return true;
    }
  }
  return false;
}

// The highest level that the machine has and SKN_ISA allows. Python refuses an unknown name in SKN_ISA, because it can
// report it.
Isa allowed_isa() {
  static const Isa allowed = [] {
    Isa wanted;
    const char* name = std::getenv("SKN_ISA");
    const Isa machine = machine_isa();
    if (name == nullptr || !parse(name, wanted) || wanted >= machine) return machine;
    return machine_has(wanted) ? wanted : Isa::avx2;
  }();
  return allowed;
}

std::atomic<Isa>& level() {
  static std::atomic<Isa> current{allowed_isa()};
  return current;
}

}  // namespace

Isa machine_isa() {
  static const Isa found = detect();
  return found;
}

bool machine_has(Isa isa) {
  static const bool avx_vnni = has_avx_vnni();
  return isa <= machine_isa() && (isa != Isa::avx_vnni || avx_vnni);
}

Isa current_isa() { return level().load(std::memory_order_relaxed); }

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::baseline: return "baseline";
    case Isa::avx2: return "avx2";
    case Isa::avx_vnni: return "avx_vnni";
    case Isa::avx512: return "avx512";
    case Isa::avx512_bf16: return "avx512_bf16";
    case Isa::amx: return "amx";
  }
  return "baseline";
}

}  // namespace skn

const char* skn_isa() { return skn::isa_name(skn::current_isa()); }

const char* skn_machine_isa() { return skn::isa_name(skn::machine_isa()); }

int skn_allows_isa(const char* name) {
  skn::Isa wanted;
  return skn::parse(name, wanted) && wanted <= skn::allowed_isa() && skn::machine_has(wanted);
}

int skn_limit_isa(const char* name) {
  skn::Isa wanted;
  if (!skn_allows_isa(name) || !skn::parse(name, wanted)) return 0;
  skn::level().store(wanted, std::memory_order_relaxed);
  return 1;
}
