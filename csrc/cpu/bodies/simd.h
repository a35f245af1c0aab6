// Vectors of float32 as wide as the instruction set allows, and the functions of vectors that an encoder needs. GCC's
// and Clang's vector types have the operators. Only the missing functions are written for each instruction set.

namespace skn::SKN_ISA {
namespace {

#define SKN_INLINE inline __attribute__((always_inline))

#if SKN_LEVEL >= 3
constexpr int kLanes = 16;
#elif SKN_LEVEL >= 1
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float V __attribute__((vector_size(kLanes * 4)));
typedef int32_t VI __attribute__((vector_size(kLanes * 4)));
typedef uint16_t VH __attribute__((vector_size(kLanes * 2)));

template <typename Vector, typename T>
SKN_INLINE Vector read(const T* source) {
  Vector v;
  std::memcpy(&v, source, sizeof v);
  return v;
}

template <typename Vector, typename T>
SKN_INLINE void write(T* target, Vector v) {
  std::memcpy(target, &v, sizeof v);
}

SKN_INLINE V set1(float x) {
#if SKN_LEVEL >= 3
  return (V)_mm512_set1_ps(x);
#elif SKN_LEVEL >= 1
  return (V)_mm256_set1_ps(x);
#else
  return V{x, x, x, x};
#endif
}

// a·b + c, rounded once if the instruction set has this instruction.
SKN_INLINE V fma(V a, V b, V c) {
#if SKN_LEVEL >= 3
  return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif SKN_LEVEL >= 1
  return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

SKN_INLINE V max(V a, V b) { return a > b ? a : b; }
SKN_INLINE V min(V a, V b) { return a < b ? a : b; }

// Joins the lanes in halves. Lane by lane, each step would wait for the one before.
template <typename Join>
SKN_INLINE float reduce(V v, const Join& join) {
  typedef float Quad __attribute__((vector_size(16)));
  Quad quad[kLanes / 4];
  std::memcpy(quad, &v, sizeof v);
  for (int half = kLanes / 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) quad[i] = join(quad[i], quad[i + half]);
  }
  return join(join(quad[0][0], quad[0][2]), join(quad[0][1], quad[0][3]));
}

SKN_INLINE float sum(V v) {
  return reduce(v, [](auto a, auto b) { return a + b; });
}

SKN_INLINE float highest(V v) {
  return reduce(v, [](auto a, auto b) { return a > b ? a : b; });
}

// eˣ to 2 units in the last place, for x in [−87, 88]; below −87 the result is less than 1.2e−38. Cephes' expf.
SKN_INLINE V exp(V x) {
  const V magic = set1(12582912.f);  // 1.5 · 2²³: adding it rounds to an integer, which is then in the low bits
  x = min(max(x, set1(-87.f)), set1(88.f));
  const V shifted = fma(x, set1(1.44269504088896341f), magic);
  const V n = shifted - magic;
  V r = fma(n, set1(-0.693359375f), x);
  r = fma(n, set1(2.12194440e-4f), r);
  V p = set1(1.9875691500e-4f);
  p = fma(p, r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  p = fma(p, r * r, r + set1(1.f));
  return (V)((VI)p + ((VI)shifted << 23));
}

// x · Φ(x) = max(x, 0) − ½|x| · erfc(|x| / √2). erfc keeps the digits that 1 + erf would cancel for negative x. erfc is
// Numerical Recipes' erfcc (relative error 1.2e−7).
SKN_INLINE V gelu(V x) {
  const V magnitude = min(max(x, -x), set1(14.f));  // beyond, erfc is 0 in float32; x itself stays as it is
  const V z = magnitude * set1(0.70710678118654752f);
  const V t = set1(1.f) / fma(z, set1(.5f), set1(1.f));
  V p = set1(.17087277f);
  p = fma(p, t, set1(-.82215223f));
  p = fma(p, t, set1(1.48851587f));
  p = fma(p, t, set1(-1.13520398f));
  p = fma(p, t, set1(.27886807f));
  p = fma(p, t, set1(-.18628806f));
  p = fma(p, t, set1(.09678418f));
  p = fma(p, t, set1(.37409196f));
  p = fma(p, t, set1(1.00002368f));
  p = fma(p, t, set1(-1.26551223f));
  const V erfc = t * exp(fma(-z, z, p));
  const V result = max(x, set1(0.f)) - set1(.5f) * magnitude * erfc;
  return x == x ? result : x;
}

// The same to 1e−6, for what is stored in bfloat16 or rounded to bytes: Φ(x) − ½ as a ratio of polynomials, without exp. It takes less than half
// the time, and does not keep the digits of very small results for negative x.
SKN_INLINE V short_gelu(V x) {
  const V magnitude = min(max(x, -x), set1(5.2f)), square = magnitude * magnitude;
  V p = set1(7.4017721e-6f);
  p = fma(p, square, set1(4.0116173e-4f));
  p = fma(p, square, set1(.0060475189f));
  p = fma(p, square, set1(.057115734f));
  p = fma(p, square, set1(.39894003f));
  V q = set1(6.1838693e-7f);
  q = fma(q, square, set1(1.4585206e-4f));
  q = fma(q, square, set1(.0031846738f));
  q = fma(q, square, set1(.041827027f));
  q = fma(q, square, set1(.30981112f));
  q = fma(q, square, set1(1.f));
  const V result = max(x, set1(0.f)) - magnitude * (set1(.5f) - magnitude * p / q);
  return x == x ? result : x;
}

// bfloat16, rounded to the nearest even; a NaN stays one.
struct Bf16 {
  uint16_t bits;
};

// A float32 as the sum of two bfloat16, high + low, to 2⁻¹⁷ of it. An infinity becomes a NaN. The parts are stored
// apart: a row of n numbers is n high parts and then n low parts.
struct Split {
  uint32_t bits;
};

// An activation rounded to 0 … 255, or eight bits of a weight, −127 … 127.
struct Byte {
  uint8_t bits;
};

// Units of 4 bytes: numbers of float32 or pairs of bfloat16.
typedef int32_t Units __attribute__((vector_size(16)));

// Clang and GCC before 12 know no function in common.
#if defined(__clang__)
#define SKN_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SKN_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Units{__VA_ARGS__})
#endif

// An intrinsic of two vectors of float32.
#if SKN_LEVEL >= 3
#define SKN_PAIRS(name, ...) (V) _mm512_##name##_ps(__VA_ARGS__)
typedef __m512 Lanes;
#elif SKN_LEVEL >= 1
#define SKN_PAIRS(name, ...) (V) _mm256_##name##_ps(__VA_ARGS__)
typedef __m256 Lanes;
#endif

SKN_INLINE V load(const float* source) { return read<V>(source); }

SKN_INLINE V load(const Bf16* source) {
  const VH half = read<VH>(source);
  return (V)(__builtin_convertvector(half, VI) << 16);
}

SKN_INLINE void store(float* target, V v) { write(target, v); }

SKN_INLINE void store(Bf16* target, V v) {
#if SKN_LEVEL >= 4
  const __m256bh half = _mm512_cvtneps_pbh((__m512)v);
  std::memcpy(target, &half, sizeof half);
#else
  typedef uint32_t VU __attribute__((vector_size(kLanes * 4)));
  const VU bits = (VU)v;
  const VU rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const VU quiet = (bits >> 16) | 0x40;
  write(target, __builtin_convertvector(v == v ? rounded : quiet, VH));
#endif
}

// Splits `n` numbers, a multiple of the vector, of a row that has `ld` numbers.
SKN_INLINE void split(const float* x, int64_t ld, int64_t n, Split* row) {
  Bf16* high = reinterpret_cast<Bf16*>(row);
  for (int64_t j = 0; j < n; j += kLanes) {
    const V v = load(x + j);
    store(high + j, v);
    store(high + ld + j, v - load(high + j));
  }
}

}  // namespace
}  // namespace skn::SKN_ISA
