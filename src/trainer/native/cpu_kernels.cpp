// Element-wise kernels, for float32 and bfloat16; all arithmetic is float32. See cpu_kernels.h.

#include "cpu_kernels.h"

#include "activations.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace harness {

bool has_cpu_kernels() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bf16");
}
bool has_amx() { return __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16"); }

template <typename T>
void activate(Activation activation, const T* x, T* y, int64_t width) {
  with_activation<T>(activation, [&](auto form) {
    using A = decltype(form);
    for (int64_t i = 0; i < width; i += LANES) {
      const __mmask16 mask = first(width - i);
      Lanes parts[A::PARTS];
      load_parts<A>(x, width, i, mask, parts);
      store(y + i, A::value(parts), mask);
    }
  });
}

template <typename T>
void activate_backward(Activation activation, const T* x, const T* dy, T* dx, int64_t width) {
  with_activation<T>(activation, [&](auto form) {
    using A = decltype(form);
    for (int64_t i = 0; i < width; i += LANES) {
      const __mmask16 mask = first(width - i);
      Lanes parts[A::PARTS];
      load_parts<A>(x, width, i, mask, parts);
      store_gradients<A>(dx, width, i, mask, parts, load(dy + i, mask));
    }
  });
}

template <typename T>
Moments normalize(const T* x, const float* gain, const float* bias, bool centered, double epsilon, T* y, int64_t count) {
  auto mean_of = [&](auto part) {
    Lanes sums = splat(0);
    for (int64_t i = 0; i < count; i += LANES) {
      const __mmask16 mask = first(count - i);
      sums = _mm512_mask_add_ps(sums, mask, sums, part(load(x + i, mask)));
    }
    return _mm512_reduce_add_ps(sums) / static_cast<float>(count);
  };
  const float mean = centered ? mean_of([](Lanes x) { return x; }) : 0;
  auto square = [&](Lanes x) {
    const Lanes difference = _mm512_sub_ps(x, splat(mean));
    return _mm512_mul_ps(difference, difference);
  };
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(mean_of(square)) + epsilon));
  for (int64_t i = 0; i < count; i += LANES) {
    const __mmask16 mask = first(count - i);
    const Lanes normal = _mm512_mul_ps(_mm512_sub_ps(load(x + i, mask), splat(mean)), splat(scale));
    const Lanes shift = bias == nullptr ? splat(0) : load(bias + i, mask);
    store(y + i, _mm512_fmadd_ps(normal, load(gain + i, mask), shift), mask);
  }
  return {mean, scale};
}

// With n the normalized x and g = dy gain: dx = scale (g - mean(g) - n mean(g n)), where mean(g) counts if n is centered.
template <typename T>
void normalize_backward(const T* x, const T* dy, const float* gain, Moments moments, bool centered, T* dx, float* of_gain,
                        float* of_bias, int64_t count) {
  const Lanes mean = splat(moments.mean), scale = splat(moments.scale);
  auto normal = [&](int64_t i, __mmask16 mask) { return _mm512_mul_ps(_mm512_sub_ps(load(x + i, mask), mean), scale); };
  Lanes sums = splat(0), products = splat(0);
  for (int64_t i = 0; i < count; i += LANES) {
    const __mmask16 mask = first(count - i);
    // Beyond the end dy and the gain are 0.
    const Lanes n = normal(i, mask), gradient = load(dy + i, mask), g = _mm512_mul_ps(gradient, load(gain + i, mask));
    sums = _mm512_add_ps(sums, g);
    products = _mm512_fmadd_ps(g, n, products);
    store(of_gain + i, _mm512_fmadd_ps(gradient, n, load(of_gain + i, mask)), mask);
    if (of_bias != nullptr) store(of_bias + i, _mm512_add_ps(gradient, load(of_bias + i, mask)), mask);
  }
  const Lanes mean_of_g = splat(centered ? _mm512_reduce_add_ps(sums) / static_cast<float>(count) : 0);
  const Lanes mean_of_products = splat(_mm512_reduce_add_ps(products) / static_cast<float>(count));
  for (int64_t i = 0; i < count; i += LANES) {
    const __mmask16 mask = first(count - i);
    const Lanes g = _mm512_mul_ps(load(dy + i, mask), load(gain + i, mask));
    const Lanes rest = _mm512_fnmadd_ps(normal(i, mask), mean_of_products, _mm512_sub_ps(g, mean_of_g));
    store(dx + i, _mm512_mul_ps(rest, scale), mask);
  }
}

double sum_of_squares(const float* x, int64_t count) {
  // Sums of float32 over a stretch, sums of those in float64: the number of elements adds no error.
  constexpr int64_t STRETCH = 64 * LANES;
  double sum = 0;
  for (int64_t begin = 0; begin < count; begin += STRETCH) {
    const int64_t end = std::min(count, begin + STRETCH);
    Lanes sums = splat(0);
    for (int64_t i = begin; i < end; i += LANES) {
      const Lanes part = load(x + i, first(end - i));
      sums = _mm512_fmadd_ps(part, part, sums);
    }
    sum += _mm512_reduce_add_ps(sums);
  }
  return sum;
}

template <typename T>
double cross_entropy(T* z, int64_t count, int64_t target, double z_loss, double soft_cap) {
  const Lanes lowest = splat(-std::numeric_limits<float>::infinity());
  Lanes largest = lowest;
  for (int64_t i = 0; i < count; i += LANES) {
    const __mmask16 mask = first(count - i);
    largest = _mm512_mask_max_ps(largest, mask, largest, load(z + i, mask));
  }
  const float shift = _mm512_reduce_max_ps(largest) * LOG2_E;
  auto shifted = [&](int64_t i, __mmask16 mask) {
    return _mm512_fmsub_ps(load(z + i, mask), splat(LOG2_E), splat(shift));
  };
  Lanes sums = splat(0);
  for (int64_t i = 0; i < count; i += LANES) {
    const __mmask16 mask = first(count - i);
    sums = _mm512_mask_add_ps(sums, mask, sums, exp2(shifted(i, mask)));
  }
  const float sum = _mm512_reduce_add_ps(sums);
  const double log_z = std::log(static_cast<double>(sum)) + static_cast<double>(shift) / static_cast<double>(LOG2_E);
  const double target_logit = _mm512_cvtss_f32(load(z + target, 1));
  const float factor = static_cast<float>((1 + 2 * z_loss * log_z) / sum);
  const float cap = soft_cap > 0 ? static_cast<float>(1 / soft_cap) : 0;
  const int64_t row_of_target = target / LANES * LANES;
  for (int64_t i = 0; i < count; i += LANES) {
    const __mmask16 mask = first(count - i);
    Lanes gradient = _mm512_mul_ps(exp2_for<T>(shifted(i, mask)), splat(factor));
    if (i == row_of_target)
      gradient = _mm512_mask_sub_ps(gradient, static_cast<__mmask16>(1u << (target - i)), gradient, splat(1));
    if (cap > 0) {
      const Lanes part_of_cap = _mm512_mul_ps(load(z + i, mask), splat(cap));
      gradient = _mm512_mul_ps(gradient, _mm512_fnmadd_ps(part_of_cap, part_of_cap, splat(1)));
    }
    store(z + i, gradient, mask);
  }
  return target_logit - log_z;
}

FirstChoice first_choice(const float* z, int64_t count) {
  // The largest logit of each lane, and the block that has it; later ones must be larger.
  Lanes largest = splat(-std::numeric_limits<float>::infinity());
  __m512i block = _mm512_setzero_si512();
  for (int64_t i = 0; i < count; i += LANES) {
    const Lanes x = load(z + i, first(count - i));
    const __mmask16 larger = _mm512_mask_cmp_ps_mask(first(count - i), x, largest, _CMP_GT_OQ);
    largest = _mm512_mask_mov_ps(largest, larger, x);
    block = _mm512_mask_set1_epi32(block, larger, static_cast<int>(i / LANES));
  }
  const float logit = _mm512_reduce_max_ps(largest);
  alignas(64) float of_lane[LANES];
  alignas(64) int32_t block_of_lane[LANES];
  _mm512_store_ps(of_lane, largest);
  _mm512_store_si512(block_of_lane, block);
  int64_t which = count;
  for (int64_t lane = 0; lane < LANES; lane++)
    if (of_lane[lane] == logit) which = std::min(which, block_of_lane[lane] * LANES + lane);
  // Sums of float32 over a stretch, sums of those in float64: a large vocabulary adds no error.
  constexpr int64_t STRETCH = 32 * LANES;
  double sum = 0;
  for (int64_t begin = 0; begin < count; begin += STRETCH) {
    const int64_t end = std::min(count, begin + STRETCH);
    Lanes sums = splat(0);
    for (int64_t i = begin; i < end; i += LANES) {
      const __mmask16 mask = first(end - i);
      const Lanes power = _mm512_mul_ps(_mm512_sub_ps(load(z + i, mask), splat(logit)), splat(LOG2_E));
      sums = _mm512_mask_add_ps(sums, mask, sums, exp2(power));
    }
    sum += _mm512_reduce_add_ps(sums);
  }
  return {logit, which == count ? 0 : which, static_cast<double>(logit) + std::log(sum)};
}

template void activate(Activation, const float*, float*, int64_t);
template void activate(Activation, const Bf16*, Bf16*, int64_t);
template void activate_backward(Activation, const float*, const float*, float*, int64_t);
template void activate_backward(Activation, const Bf16*, const Bf16*, Bf16*, int64_t);
template Moments normalize(const float*, const float*, const float*, bool, double, float*, int64_t);
template Moments normalize(const Bf16*, const float*, const float*, bool, double, Bf16*, int64_t);
template void normalize_backward(const float*, const float*, const float*, Moments, bool, float*, float*, float*, int64_t);
template void normalize_backward(const Bf16*, const Bf16*, const float*, Moments, bool, Bf16*, float*, float*, int64_t);
template double cross_entropy(float*, int64_t, int64_t, double, double);
template double cross_entropy(Bf16*, int64_t, int64_t, double, double);

}  // namespace harness
