// Sixteen float32 lanes of AVX-512, with bfloat16 read and written as in memory. Included only by files that are
// compiled for processors with AVX-512 and its bfloat16 products (Intel since Cooper Lake, AMD since Zen 4).

#pragma once

#include "cpu_kernels.h"

#include <immintrin.h>

namespace harness {

using Lanes = __m512;
constexpr int64_t LANES = 16;

inline Lanes splat(float x) { return _mm512_set1_ps(x); }
inline __mmask16 first(int64_t count) { return count >= LANES ? 0xFFFF : static_cast<__mmask16>((1u << count) - 1); }

inline Lanes widen(__m256i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)); }
// To nearest, ties to even.
inline __m256i narrow(Lanes x) { return (__m256i)_mm512_cvtneps_pbh(x); }

inline Lanes load(const float* from) { return _mm512_loadu_ps(from); }
inline Lanes load(const Bf16* from) { return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))); }
inline void store(float* into, Lanes x) { _mm512_storeu_ps(into, x); }
inline void store(Bf16* into, Lanes x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(into), narrow(x)); }

// The lanes of the mask only; the others are 0.
inline Lanes load(const float* from, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, from); }
inline Lanes load(const Bf16* from, __mmask16 mask) { return widen(_mm256_maskz_loadu_epi16(mask, from)); }
// Stores under a mask are microcode on AMD, so they are left for the end of a row.
inline void store(float* into, Lanes x, __mmask16 mask) {
  if (mask == 0xFFFF) return store(into, x);
  _mm512_mask_storeu_ps(into, mask, x);
}
inline void store(Bf16* into, Lanes x, __mmask16 mask) {
  if (mask == 0xFFFF) return store(into, x);
  _mm256_mask_storeu_epi16(into, mask, narrow(x));
}

// 2^x to 2e-7, relative. The fractional part in [-1/2, 1/2] goes through the Taylor polynomial of degree 7, whose
// remainder there is 6e-9; what is left is rounding. Below 2^-200 it is 0, above 2^200 infinity; NaN stays NaN.
inline Lanes exp2(Lanes x) {
  x = _mm512_min_ps(splat(200), _mm512_max_ps(splat(-200), x));  // of two operands the second wins where one is NaN
  const Lanes whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const Lanes f = _mm512_sub_ps(x, whole);
  Lanes y = splat(1.5252734e-5f);  // ln(2)^7 / 7!
  y = _mm512_fmadd_ps(y, f, splat(1.5403530e-4f));
  y = _mm512_fmadd_ps(y, f, splat(1.3333558e-3f));
  y = _mm512_fmadd_ps(y, f, splat(9.6181291e-3f));
  y = _mm512_fmadd_ps(y, f, splat(5.5504109e-2f));
  y = _mm512_fmadd_ps(y, f, splat(2.4022651e-1f));
  y = _mm512_fmadd_ps(y, f, splat(6.9314718e-1f));
  y = _mm512_fmadd_ps(y, f, splat(1));
  return _mm512_scalef_ps(y, whole);
}
constexpr float LOG2_E = 1.44269504f;

constexpr float SQRT_2_OVER_PI = 0.79788456f;
constexpr float CUBIC = 0.044715f;

// GELU(x) = x s with s = (1 + tanh u) / 2 = 1 / (1 + exp(-2 u)) and u = sqrt(2 / pi) (x + 0.044715 x^3).
inline Lanes gelu_gate(Lanes x, Lanes square) {
  const Lanes u = _mm512_mul_ps(x, _mm512_fmadd_ps(square, splat(SQRT_2_OVER_PI * CUBIC), splat(SQRT_2_OVER_PI)));
  return _mm512_div_ps(splat(1), _mm512_add_ps(splat(1), exp2(_mm512_mul_ps(u, splat(-2 * LOG2_E)))));
}

inline Lanes gelu(Lanes x) { return _mm512_mul_ps(x, gelu_gate(x, _mm512_mul_ps(x, x))); }

// GELU'(x) = s + x s (1 - s) 2 u'.
inline Lanes gelu_slope(Lanes x) {
  const Lanes square = _mm512_mul_ps(x, x), s = gelu_gate(x, square);
  const Lanes slope = _mm512_fmadd_ps(square, splat(6 * SQRT_2_OVER_PI * CUBIC), splat(2 * SQRT_2_OVER_PI));
  return _mm512_fmadd_ps(_mm512_mul_ps(_mm512_mul_ps(x, s), _mm512_sub_ps(splat(1), s)), slope, s);
}

}  // namespace harness
