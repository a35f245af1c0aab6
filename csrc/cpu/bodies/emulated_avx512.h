// What the bodies use of AVX-512 and of AVX-VNNI, in AVX2, so that the tests can run the kernels of every level on any
// machine with AVX2. Each function does what Intel's manual (volume 2) says of the intrinsic whose name it takes at the
// end. target.h includes this file in a build with -DSKN_EMULATE, and the levels above AVX2 are then compiled for AVX2.

namespace skn::SKN_ISA {
namespace {
namespace emulated {

#define SKN_EMULATED inline __attribute__((always_inline))

// The two halves of a register of AVX-512.
template <typename Number>
struct Halves {
  typedef Number Half __attribute__((vector_size(32)));
  typedef Number Whole __attribute__((vector_size(64)));
  Half low, high;

  SKN_EMULATED static Halves of(Whole v) {
    Halves halves;
    std::memcpy(&halves, &v, sizeof v);
    return halves;
  }

  SKN_EMULATED Whole joined() const {
    Whole v;
    std::memcpy(&v, this, sizeof v);
    return v;
  }
};

using Floats = Halves<float>;
using Doubles = Halves<double>;
using Integers = Halves<long long>;

typedef int32_t Int32x16 __attribute__((vector_size(64)));
typedef uint64_t Uint64x8 __attribute__((vector_size(64)));

SKN_EMULATED __m512 broadcast(float x) {
  const __m256 half = _mm256_set1_ps(x);
  return Floats{half, half}.joined();
}

SKN_EMULATED __m512i broadcast(int32_t x) { return (__m512i)(Int32x16{} + x); }

SKN_EMULATED __m512i broadcast(int64_t x) { return (__m512i)(Uint64x8{} + static_cast<uint64_t>(x)); }

SKN_EMULATED __m512i load(const void* source) {
  __m512i v;
  std::memcpy(&v, source, sizeof v);
  return v;
}

SKN_EMULATED __m512 fma(__m512 a, __m512 b, __m512 c) {
  const Floats x = Floats::of(a), y = Floats::of(b), z = Floats::of(c);
  return Floats{_mm256_fmadd_ps(x.low, y.low, z.low), _mm256_fmadd_ps(x.high, y.high, z.high)}.joined();
}

SKN_EMULATED __m512d max(__m512d a, __m512d b) {
  const Doubles x = Doubles::of(a), y = Doubles::of(b);
  return Doubles{_mm256_max_pd(x.low, y.low), _mm256_max_pd(x.high, y.high)}.joined();
}

SKN_EMULATED __m512i multiply_halves(__m512i a, __m512i b) {
  const Uint64x8 half = Uint64x8{} + 0xffffffff;
  return (__m512i)(((Uint64x8)a & half) * ((Uint64x8)b & half));
}

SKN_EMULATED __m512i ones(__m512i words) {
  Uint64x8 v = (Uint64x8)words;
  for (int i = 0; i < 8; ++i) v[i] = __builtin_popcountll(v[i]);
  return (__m512i)v;
}

// A bit for each lane.
SKN_EMULATED __mmask16 greater32(__m512i a, __m512i b) {
  const Integers x = Integers::of(a), y = Integers::of(b);
  const auto bits = [](__m256i of) { return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(of))); };
  return bits(_mm256_cmpgt_epi32(x.low, y.low)) | bits(_mm256_cmpgt_epi32(x.high, y.high)) << 8;
}

SKN_EMULATED __mmask8 greater64(__m512i a, __m512i b) {
  const Integers x = Integers::of(a), y = Integers::of(b);
  const auto bits = [](__m256i of) { return static_cast<uint32_t>(_mm256_movemask_pd(_mm256_castsi256_pd(of))); };
  return bits(_mm256_cmpgt_epi64(x.low, y.low)) | bits(_mm256_cmpgt_epi64(x.high, y.high)) << 4;
}

// The low `Bits` bits of b, and above them those of a.
template <int Bits>
SKN_EMULATED uint64_t unpack(uint64_t a, uint64_t b) {
  const uint64_t low = (uint64_t{1} << Bits) - 1;
  return (a & low) << Bits | (b & low);
}

SKN_EMULATED __m512 unpack_low(__m512 a, __m512 b) {
  const Floats x = Floats::of(a), y = Floats::of(b);
  return Floats{_mm256_unpacklo_ps(x.low, y.low), _mm256_unpacklo_ps(x.high, y.high)}.joined();
}

SKN_EMULATED __m512 unpack_high(__m512 a, __m512 b) {
  const Floats x = Floats::of(a), y = Floats::of(b);
  return Floats{_mm256_unpackhi_ps(x.low, y.low), _mm256_unpackhi_ps(x.high, y.high)}.joined();
}

template <int Which>
SKN_EMULATED __m512 shuffle(__m512 a, __m512 b) {
  const Floats x = Floats::of(a), y = Floats::of(b);
  return Floats{_mm256_shuffle_ps(x.low, y.low, Which), _mm256_shuffle_ps(x.high, y.high, Which)}.joined();
}

template <int Half>
SKN_EMULATED __m256 half(__m512 v) {
  return Half ? Floats::of(v).high : Floats::of(v).low;
}

// The instructions of bfloat16 take denormal numbers for zero, and return none.
SKN_EMULATED Int32x16 flushed(Int32x16 bits) {
  const Int32x16 sign = bits & static_cast<int32_t>(0x80000000u);
  return (bits & 0x7f800000) == 0 ? sign : bits;
}

SKN_EMULATED __m256bh to_bfloat16(__m512 v) {
  typedef uint32_t Uint32x16 __attribute__((vector_size(64)));
  typedef uint16_t Uint16x16 __attribute__((vector_size(32)));
  const Uint32x16 bits = (Uint32x16)flushed((Int32x16)v);
  const Uint32x16 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16, quiet = (bits >> 16) | 0x40;
  return (__m256bh)__builtin_convertvector((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded, Uint16x16);
}

// A function of its own, because the compiler takes minutes over its copies in a tile.
__attribute__((noinline, unused)) __m512 dot_pairs(__m512 sums, __m512bh a, __m512bh b) {
  const Int32x16 x = (Int32x16)a, y = (Int32x16)b, second = Int32x16{} + static_cast<int32_t>(0xffff0000u);
  __m512 v = (__m512)flushed((Int32x16)sums);
  v = fma((__m512)flushed(x << 16), (__m512)flushed(y << 16), v);
  v = fma((__m512)flushed(x & second), (__m512)flushed(y & second), v);
  return (__m512)flushed((Int32x16)v);
}

// Four unsigned bytes times four signed bytes, without saturation: of AVX-512, and of AVX-VNNI.
template <typename Vector>
SKN_EMULATED Vector dot_fours(Vector sums, Vector x, Vector w) {
  Vector result;
  for (int at = 0; at < static_cast<int>(sizeof(Vector)); at += sizeof(__m256i)) {
    const auto part = [at](const Vector& v) {
      __m256i half;
      std::memcpy(&half, reinterpret_cast<const char*>(&v) + at, sizeof half);
      return half;
    };
    const __m256i a = part(x), b = part(w), even = _mm256_and_si256(a, _mm256_set1_epi16(255));
    const __m256i low = _mm256_madd_epi16(even, _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
    const __m256i high = _mm256_madd_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));
    const __m256i sum = _mm256_add_epi32(part(sums), _mm256_add_epi32(low, high));
    std::memcpy(reinterpret_cast<char*>(&result) + at, &sum, sizeof sum);
  }
  return result;
}

}  // namespace emulated
}  // namespace
}  // namespace skn::SKN_ISA

#define _cvtmask64_u64(mask) (mask)
#define _mm512_castps512_ps256(v) emulated::half<0>(v)
#define _mm512_cmpgt_epi32_mask emulated::greater32
#define _mm512_cmpgt_epi64_mask emulated::greater64
#define _mm512_cvtneps_pbh emulated::to_bfloat16
#define _mm512_dpbf16_ps emulated::dot_pairs
#define _mm512_extractf32x8_ps(v, which) emulated::half<which>(v)
#define _mm512_fmadd_ps emulated::fma
#define _mm512_kunpackb emulated::unpack<8>
#define _mm512_kunpackd emulated::unpack<32>
#define _mm512_kunpackw emulated::unpack<16>
#define _mm512_loadu_si512 emulated::load
#define _mm512_max_pd emulated::max
#define _mm512_mul_epu32 emulated::multiply_halves
#define _mm512_popcnt_epi64 emulated::ones
#define _mm512_set1_epi32(x) emulated::broadcast(static_cast<int32_t>(x))
#define _mm512_set1_epi64(x) emulated::broadcast(static_cast<int64_t>(x))
#define _mm512_set1_ps(x) emulated::broadcast(static_cast<float>(x))
#define _mm512_shuffle_ps(a, b, which) emulated::shuffle<which>(a, b)
#define _mm512_unpackhi_ps emulated::unpack_high
#define _mm512_unpacklo_ps emulated::unpack_low
