// What a feed-forward layer does between its two products, in lanes: PARTS numbers of a wide row, a width apart, give one
// number of the active row. Included only by files that are compiled for processors with AVX-512.

#pragma once

#include "lanes.h"

namespace harness {

// 1 / (1 + exp(-x)).
template <typename T>
inline Lanes sigmoid(Lanes x) {
  const Lanes divisor = _mm512_add_ps(splat(1), exp2_for<T>(_mm512_mul_ps(x, splat(-LOG2_E))));
  return is_short<T> ? _mm512_rcp14_ps(divisor) : _mm512_div_ps(splat(1), divisor);  // 2^-14 off, or 2^-24
}

// GELU(x) = x s with s = (1 + tanh u) / 2 = sigmoid(2 u) and u = sqrt(2 / pi) (x + 0.044715 x^3).
template <typename T>
struct Gelu {
  static constexpr int PARTS = 1;
  static constexpr float TWICE = 2 * 0.79788456f, CUBIC = 0.044715f;

  static Lanes gate(Lanes x, Lanes square) {
    return sigmoid<T>(_mm512_mul_ps(x, _mm512_fmadd_ps(square, splat(TWICE * CUBIC), splat(TWICE))));
  }
  static Lanes value(const Lanes (&x)[PARTS]) { return _mm512_mul_ps(x[0], gate(x[0], _mm512_mul_ps(x[0], x[0]))); }
  // s + x s (1 - s) 2 u'.
  static void slopes(const Lanes (&x)[PARTS], Lanes (&slope)[PARTS]) {
    const Lanes square = _mm512_mul_ps(x[0], x[0]), s = gate(x[0], square);
    const Lanes inner = _mm512_fmadd_ps(square, splat(3 * TWICE * CUBIC), splat(TWICE));
    slope[0] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_mul_ps(x[0], s), _mm512_sub_ps(splat(1), s)), inner, s);
  }
};

// x s y with s = sigmoid(x), for the gate x and what it lets through.
template <typename T>
struct Swiglu {
  static constexpr int PARTS = 2;

  static Lanes value(const Lanes (&x)[PARTS]) { return _mm512_mul_ps(_mm512_mul_ps(x[0], sigmoid<T>(x[0])), x[1]); }
  // y (s + x s (1 - s)), and x s.
  static void slopes(const Lanes (&x)[PARTS], Lanes (&slope)[PARTS]) {
    const Lanes s = sigmoid<T>(x[0]);
    slope[1] = _mm512_mul_ps(x[0], s);
    slope[0] = _mm512_mul_ps(x[1], _mm512_fmadd_ps(slope[1], _mm512_sub_ps(splat(1), s), s));
  }
};

// max(x, 0)^2.
template <typename T>
struct ReluSquared {
  static constexpr int PARTS = 1;

  static Lanes positive(Lanes x) { return _mm512_max_ps(splat(0), x); }  // the second where it is NaN
  static Lanes value(const Lanes (&x)[PARTS]) { return _mm512_mul_ps(positive(x[0]), positive(x[0])); }
  static void slopes(const Lanes (&x)[PARTS], Lanes (&slope)[PARTS]) { slope[0] = _mm512_mul_ps(splat(2), positive(x[0])); }
};

template <typename T, typename F>
void with_activation(Activation activation, F body) {
  switch (activation) {
    case Activation::GELU: return body(Gelu<T>());
    case Activation::SWIGLU: return body(Swiglu<T>());
    case Activation::RELU_SQUARED: return body(ReluSquared<T>());
  }
}

// The sixteen numbers, or fewer, of a wide row that the active numbers from `at` on come from.
template <typename A, typename T>
inline void load_parts(const T* wide, int64_t width, int64_t at, __mmask16 mask, Lanes (&x)[A::PARTS]) {
  for (int part = 0; part < A::PARTS; part++) x[part] = load(wide + part * width + at, mask);
}
// Their gradients, from that of the active numbers.
template <typename A, typename T>
inline void store_gradients(T* wide, int64_t width, int64_t at, __mmask16 mask, const Lanes (&x)[A::PARTS], Lanes gradient) {
  Lanes slope[A::PARTS];
  A::slopes(x, slope);
  for (int part = 0; part < A::PARTS; part++) store(wide + part * width + at, _mm512_mul_ps(slope[part], gradient), mask);
}

}  // namespace harness
