// out[r] has bit j set where keys[j] > pivots[r], j < 64: the one step of kendall_tau that needs intrinsics elsewhere.
namespace skn::SKN_ISA {
namespace {

template <typename T>
inline void greater_bits(const T* keys, const T* pivots, int64_t rows, uint64_t* out) {
  for (int64_t r = 0; r < rows; ++r) {
    uint64_t word = 0;
    for (int j = 0; j < 64; ++j) word |= static_cast<uint64_t>(keys[j] > pivots[r]) << j;
    out[r] = word;
  }
}

inline int64_t ones(uint64_t word) {
#if defined(__x86_64__)
  // Without a popcount instruction the builtin is a call; this one vectorises.
  word -= word >> 1 & 0x5555555555555555;
  word = (word & 0x3333333333333333) + (word >> 2 & 0x3333333333333333);
  word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0f;
  word += word >> 8;
  word += word >> 16;
  word += word >> 32;
  return static_cast<int64_t>(word & 0x7f);
#else
  return __builtin_popcountll(word);
#endif
}

}  // namespace
}  // namespace skn::SKN_ISA
