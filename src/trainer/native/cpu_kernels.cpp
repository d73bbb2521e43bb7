// Element-wise kernels, for float32 and bfloat16; all arithmetic is float32. See cpu_kernels.h.

#include "cpu_kernels.h"

#include "lanes.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace harness {

bool has_cpu_kernels() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bf16");
}

template <typename T>
void gelu(const T* x, T* y, int64_t count) {
  for (int64_t i = 0; i < count; i += LANES) {
    const __mmask16 mask = first(count - i);
    store(y + i, gelu(load(x + i, mask)), mask);
  }
}

template <typename T>
void gelu_backward(const T* x, const T* dy, T* dx, int64_t count) {
  for (int64_t i = 0; i < count; i += LANES) {
    const __mmask16 mask = first(count - i);
    store(dx + i, _mm512_mul_ps(gelu_slope(load(x + i, mask)), load(dy + i, mask)), mask);
  }
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
  auto shifted_exp = [&](int64_t i, __mmask16 mask) {
    return exp2(_mm512_fmsub_ps(load(z + i, mask), splat(LOG2_E), splat(shift)));
  };
  Lanes sums = splat(0);
  for (int64_t i = 0; i < count; i += LANES) {
    const __mmask16 mask = first(count - i);
    sums = _mm512_mask_add_ps(sums, mask, sums, shifted_exp(i, mask));
  }
  const float sum = _mm512_reduce_add_ps(sums);
  const double log_z = std::log(static_cast<double>(sum)) + static_cast<double>(shift) / static_cast<double>(LOG2_E);
  const double target_logit = _mm512_cvtss_f32(load(z + target, 1));
  const float factor = static_cast<float>((1 + 2 * z_loss * log_z) / sum);
  const float cap = soft_cap > 0 ? static_cast<float>(1 / soft_cap) : 0;
  const int64_t row_of_target = target / LANES * LANES;
  for (int64_t i = 0; i < count; i += LANES) {
    const __mmask16 mask = first(count - i);
    Lanes gradient = _mm512_mul_ps(shifted_exp(i, mask), splat(factor));
    if (i == row_of_target)
      gradient = _mm512_mask_sub_ps(gradient, static_cast<__mmask16>(1u << (target - i)), gradient, splat(1));
    const Lanes part_of_cap = _mm512_mul_ps(load(z + i, mask), splat(cap));
    gradient = _mm512_mul_ps(gradient, _mm512_fnmadd_ps(part_of_cap, part_of_cap, splat(1)));
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

template void gelu(const float*, float*, int64_t);
template void gelu(const Bf16*, Bf16*, int64_t);
template void gelu_backward(const float*, const float*, float*, int64_t);
template void gelu_backward(const Bf16*, const Bf16*, Bf16*, int64_t);
template double cross_entropy(float*, int64_t, int64_t, double, double);
template double cross_entropy(Bf16*, int64_t, int64_t, double, double);

}  // namespace harness
