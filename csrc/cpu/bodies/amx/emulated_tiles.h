// The tile registers in plain C++, instruction by instruction as Intel's manual (volume 2) defines them, so that the
// tests can run the kernels on machines without AMX. Where the processor would raise an exception, the process ends.

namespace skn::SKN_ISA {
namespace {
namespace tiles {

struct State {
  bool configured;
  Config config;
  uint8_t tile[8][16][64];
};
thread_local State state = {};

inline void require(bool condition) {
  if (!condition) __builtin_trap();
}

inline bool used(int tile) {
  return state.configured && state.config.rows[tile] > 0 && state.config.row_bytes[tile] > 0;
}

inline void configure(const Config& config) {
  require(config.palette == 1 && config.start_row == 0);
  for (uint8_t byte : config.reserved) require(byte == 0);
  for (int i = 0; i < 16; ++i) {
    const int most_rows = i < 8 ? 16 : 0;
    require(config.rows[i] <= most_rows && config.row_bytes[i] <= 4 * most_rows);
    require((config.rows[i] == 0) == (config.row_bytes[i] == 0));
  }
  state = {};
  state.configured = true;
  state.config = config;
}

inline void release() { state = {}; }

template <int Tile>
void zero() {
  require(used(Tile));
  std::memset(state.tile[Tile], 0, sizeof state.tile[Tile]);
}

template <int Tile>
void load(const void* rows, int64_t stride) {
  zero<Tile>();
  for (int r = 0; r < state.config.rows[Tile]; ++r) {
    std::memcpy(state.tile[Tile][r], static_cast<const char*>(rows) + r * stride, state.config.row_bytes[Tile]);
  }
}

template <int Tile>
void store(void* rows, int64_t stride) {
  require(used(Tile));
  for (int r = 0; r < state.config.rows[Tile]; ++r) {
    std::memcpy(static_cast<char*>(rows) + r * stride, state.tile[Tile][r], state.config.row_bytes[Tile]);
  }
}

// Denormal numbers become zero, as inputs and as outputs, whatever the mode of the floating-point unit.
inline float flushed(float value) {
  return __builtin_fabsf(value) < std::numeric_limits<float>::min() ? __builtin_copysignf(0.f, value) : value;
}

inline float number(const uint8_t* bytes, int index) {
  uint16_t half;
  std::memcpy(&half, bytes + 2 * index, sizeof half);
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return flushed(value);
}

// Whether the tiles of a dot product fit each other.
inline bool fit(int sums, int a, int w) {
  const Config& config = state.config;
  return used(sums) && used(a) && used(w) && sums != a && sums != w && a != w && config.rows[sums] == config.rows[a] &&
         config.row_bytes[sums] == config.row_bytes[w] && config.row_bytes[a] == 4 * config.rows[w] &&
         config.row_bytes[w] % 4 == 0;
}

// The first numbers of the pairs are summed over k, and the second numbers are summed over k. Then the two sums are
// added, and their sum is added to the tile.
template <int Sums, int A, int W>
void dot() {
  const Config& config = state.config;
  require(fit(Sums, A, W));
  for (int m = 0; m < config.rows[Sums]; ++m) {
    for (int n = 0; n < config.row_bytes[Sums] / 4; ++n) {
      float sum[2] = {0, 0}, before;
      for (int k = 0; k < config.rows[W]; ++k) {
        for (int i = 0; i < 2; ++i) {
          const float a = number(state.tile[A][m], 2 * k + i), w = number(state.tile[W][k], 2 * n + i);
          sum[i] = flushed(__builtin_fmaf(a, w, sum[i]));
        }
      }
      std::memcpy(&before, state.tile[Sums][m] + 4 * n, sizeof before);
      const float after = flushed(flushed(before) + flushed(sum[0] + sum[1]));
      std::memcpy(state.tile[Sums][m] + 4 * n, &after, sizeof after);
    }
  }
}

// Unsigned bytes times signed bytes, summed in int32 without saturation.
template <int Sums, int A, int W>
void dot_bytes() {
  const Config& config = state.config;
  require(fit(Sums, A, W));
  for (int m = 0; m < config.rows[Sums]; ++m) {
    for (int n = 0; n < config.row_bytes[Sums] / 4; ++n) {
      int32_t sum;
      std::memcpy(&sum, state.tile[Sums][m] + 4 * n, sizeof sum);
      for (int k = 0; k < config.rows[W]; ++k) {
        for (int i = 0; i < 4; ++i) {
          sum += state.tile[A][m][4 * k + i] * static_cast<int8_t>(state.tile[W][k][4 * n + i]);
        }
      }
      std::memcpy(state.tile[Sums][m] + 4 * n, &sum, sizeof sum);
    }
  }
}

}  // namespace tiles
}  // namespace
}  // namespace skn::SKN_ISA
