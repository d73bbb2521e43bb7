// Sixteen float32 lanes of AVX-512, with bfloat16 read and written as in memory. Included only by files that are
// compiled for processors with AVX-512 and its bfloat16 products (Intel since Cooper Lake, AMD since Zen 4).

#pragma once

#include "cpu_kernels.h"

#include <immintrin.h>

#include <type_traits>

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

// 2^x, relative to 2e-7, or to 5e-5 with 4 terms, which is a fortieth of what bfloat16 resolves. The fractional part in
// [-1/2, 1/2] goes through the Taylor polynomial of that degree, whose remainder there is 6e-9, or 4e-5. Below 2^-200 it is 0,
// above 2^200 infinity; NaN stays NaN.
template <int TERMS = 7>
inline Lanes exp2(Lanes x) {
  // ln(2)^n / n!
  constexpr float TAYLOR[] = {1, 6.9314718e-1f, 2.4022651e-1f, 5.5504109e-2f, 9.6181291e-3f, 1.3333558e-3f, 1.5403530e-4f, 1.5252734e-5f};
  x = _mm512_min_ps(splat(200), _mm512_max_ps(splat(-200), x));  // of two operands the second wins where one is NaN
  const Lanes whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const Lanes f = _mm512_sub_ps(x, whole);
  Lanes y = splat(TAYLOR[TERMS]);
  for (int n = TERMS - 1; n >= 0; n--) y = _mm512_fmadd_ps(y, f, splat(TAYLOR[n]));
  return _mm512_scalef_ps(y, whole);
}
constexpr float LOG2_E = 1.44269504f;

// Of numbers that are rounded to T in the end.
template <typename T>
constexpr bool is_short = std::is_same_v<T, Bf16>;
template <typename T>
inline Lanes exp2_for(Lanes x) {
  return exp2<is_short<T> ? 4 : 7>(x);
}

}  // namespace harness
