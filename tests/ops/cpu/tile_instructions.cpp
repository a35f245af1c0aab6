// The functions of tiles.h and the compiler's own intrinsics, side by side: both must be the same instructions.
#include "../../../csrc/cpu/bodies/before.h"
#define SKN_ISA amx
#include "../../../csrc/cpu/target.h"
#include "../../../csrc/cpu/bodies/simd.h"
#include "../../../csrc/cpu/bodies/amx/tiles.h"

namespace tiles = skn::amx::tiles;

extern "C" void ours(const tiles::Config* config, void* memory, long stride) {
  tiles::configure(*config);
  tiles::zero<3>();
  tiles::load<4>(memory, stride);
  tiles::load<6>(memory, stride);
  tiles::dot<3, 4, 6>();
  tiles::dot<2, 7, 5>();
  tiles::dot_bytes<1, 6, 4>();
  tiles::store<3>(memory, stride);
  tiles::release();
}

extern "C" __attribute__((target("amx-tile,amx-bf16,amx-int8"))) void intrinsics(const tiles::Config* config, void* memory,
                                                                        long stride) {
  _tile_loadconfig(config);
  _tile_zero(3);
  _tile_loadd(4, memory, stride);
  _tile_loadd(6, memory, stride);
  _tile_dpbf16ps(3, 4, 6);
  _tile_dpbf16ps(2, 7, 5);
  _tile_dpbusd(1, 6, 4);
  _tile_stored(3, memory, stride);
  _tile_release();
}

#include "../../../csrc/cpu/target_end.h"
