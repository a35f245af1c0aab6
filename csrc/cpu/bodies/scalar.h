// Exact conversions of stored activations, written so that the compiler vectorises them with the instructions that
// every machine of the architecture has.

namespace skn::SKN_ISA {

// Distinct types for the two 16-bit formats. Both are only read, never written.
struct BFloat16 {
  uint16_t bits;
};
struct Half {
  uint16_t bits;
};

inline float from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline uint32_t to_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float widen(float value) { return value; }
inline double widen(double value) { return value; }
inline float widen(BFloat16 value) { return from_bits(static_cast<uint32_t>(value.bits) << 16); }

inline float widen(Half value) {
  // Three interpretations of the same bits, selected without a branch. No step touches a float32 subnormal, so the
  // result is right in flush-to-zero mode, too.
  constexpr uint32_t kMinNormal = 0x38800000u;  // 2^-14, the smallest normal half, as float32
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(value.bits & 0x7fffu) << 13;
  const uint32_t normal = magnitude + (112u << 23);  // exponent bias 15 -> 127
  const uint32_t subnormal = to_bits(from_bits(magnitude + kMinNormal) - from_bits(kMinNormal));
  const uint32_t special = magnitude | 0x7f800000u;  // infinity and NaN
  uint32_t bits = magnitude < (1u << 23) ? subnormal : normal;
  bits = magnitude >= (31u << 23) ? special : bits;
  return from_bits(sign | bits);
}

// The type for arithmetic: float64 for float64, float32 for every narrower type.
template <typename Stored>
using Wide = std::conditional_t<std::is_same_v<Stored, double>, double, float>;

// `n` neighbouring neurons as a contiguous row of wide values: the memory itself if it is one already, otherwise a
// converted copy in `buffer`.
template <typename Stored>
inline const Wide<Stored>* load_row(const Stored* source, int64_t stride, int64_t n, Wide<Stored>* buffer) {
  if (stride == 1) {
    if constexpr (std::is_same_v<Stored, Wide<Stored>>) {
      return source;
    } else {
      for (int64_t i = 0; i < n; ++i) buffer[i] = widen(source[i]);
      return buffer;
    }
  }
  for (int64_t i = 0; i < n; ++i) buffer[i] = widen(source[i * stride]);
  return buffer;
}

// Calls `body` with a null pointer of the stored type. This is the one switch from a run-time element to a template.
template <typename Body>
inline void dispatch(Element element, const Body& body) {
  switch (element) {
    case Element::f32: return body(static_cast<const float*>(nullptr));
    case Element::f64: return body(static_cast<const double*>(nullptr));
    case Element::bf16: return body(static_cast<const BFloat16*>(nullptr));
    case Element::f16: return body(static_cast<const Half*>(nullptr));
  }
}

}  // namespace skn::SKN_ISA
