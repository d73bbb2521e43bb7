// Causal attention in blocks, forward and backward, with bfloat16 products summed in float32 (Dao et al. 2022,
// FlashAttention, algorithms 1 and 4). See cpu_kernels.h.
//
// A product C += A B takes A by rows, and B in pairs of rows: `pairs[p][n]` holds elements n of rows 2 p and 2 p + 1
// side by side, which is what the instruction VDPBF16PS multiplies and adds. Matrices are therefore copied once per
// head into that form ("paired"), the transposed ones included. The backward pass works on transposed scores (keys by
// queries), so that what it computes is at once the A of the products for keys and values; for queries it is the B.

#include "cpu_kernels.h"
#include "lanes.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

namespace harness {

namespace {

constexpr int64_t BLOCK = 64;  // queries and keys in a block of scores
constexpr float NONE = -std::numeric_limits<float>::infinity();

inline int64_t padded(int64_t length) { return (length + BLOCK - 1) / BLOCK * BLOCK; }

// M rows and 16 V columns of C += A B, or C = A B.
template <int M, int V>
void tile(const Bf16* a, int64_t a_stride, const uint32_t* b, int64_t b_stride, float* c, int64_t c_stride, int64_t pairs,
          bool add) {
  Lanes sum[M][V];
  for (int m = 0; m < M; m++)
    for (int v = 0; v < V; v++) sum[m][v] = add ? load(c + m * c_stride + v * LANES) : splat(0);
  for (int64_t p = 0; p < pairs; p++) {
    __m512bh right[V];
    for (int v = 0; v < V; v++) right[v] = (__m512bh)_mm512_loadu_si512(b + p * b_stride + v * LANES);
    for (int m = 0; m < M; m++) {
      int32_t pair;
      std::memcpy(&pair, a + m * a_stride + 2 * p, sizeof pair);
      const __m512bh left = (__m512bh)_mm512_set1_epi32(pair);
      for (int v = 0; v < V; v++) sum[m][v] = _mm512_dpbf16_ps(sum[m][v], left, right[v]);
    }
  }
  for (int m = 0; m < M; m++)
    for (int v = 0; v < V; v++) store(c + m * c_stride + v * LANES, sum[m][v]);
}

template <int V>
void columns(const Bf16* a, int64_t a_stride, const uint32_t* b, int64_t b_stride, float* c, int64_t c_stride, int64_t rows,
             int64_t pairs, bool add) {
  int64_t m = 0;
  for (; m + 6 <= rows; m += 6) tile<6, V>(a + m * a_stride, a_stride, b, b_stride, c + m * c_stride, c_stride, pairs, add);
  for (; m + 2 <= rows; m += 2) tile<2, V>(a + m * a_stride, a_stride, b, b_stride, c + m * c_stride, c_stride, pairs, add);
  for (; m < rows; m++) tile<1, V>(a + m * a_stride, a_stride, b, b_stride, c + m * c_stride, c_stride, pairs, add);
}

// C (rows, width) = or += A (rows, 2 pairs) B, with B paired. `width` is a multiple of 16.
void product(const Bf16* a, int64_t a_stride, const uint32_t* b, int64_t b_stride, float* c, int64_t c_stride, int64_t rows,
             int64_t width, int64_t pairs, bool add) {
  int64_t n = 0;
  for (; n + 64 <= width; n += 64) columns<4>(a, a_stride, b + n, b_stride, c + n, c_stride, rows, pairs, add);
  for (; n + 16 <= width; n += 16) columns<1>(a, a_stride, b + n, b_stride, c + n, c_stride, rows, pairs, add);
}

// into[p][n] = rows 2 p and 2 p + 1 of x; what is beyond the last row is 0. (T, D) to (padded T / 2, D).
void pair_rows(Rows x, int64_t length, int64_t width, uint32_t* into) {
  const __m256i zero = _mm256_setzero_si256();
  for (int64_t t = 0; t < padded(length); t += 2) {
    for (int64_t d = 0; d < width; d += LANES) {
      auto row = [&](int64_t t) {
        return t < length ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x.at + t * x.stride + d)) : zero;
      };
      const __m512i low = _mm512_cvtepu16_epi32(row(t)), high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(row(t + 1)), 16);
      _mm512_storeu_si512(into + t / 2 * width + d, _mm512_or_si512(low, high));
    }
  }
}

// The transpose of x, paired, one block of rows after another: (T, D) to (blocks, D / 2, BLOCK).
void pair_transposed(Rows x, int64_t length, int64_t width, uint32_t* into) {
  for (int64_t t = 0; t < padded(length); t++) {
    uint32_t* out = into + t / BLOCK * (width / 2 * BLOCK) + t % BLOCK;
    for (int64_t p = 0; p < width / 2; p++) {
      if (t < length) {
        std::memcpy(out + p * BLOCK, x.at + t * x.stride + 2 * p, sizeof(uint32_t));
      } else {
        out[p * BLOCK] = 0;
      }
    }
  }
}

// (T, D) to (D, padded T), with 0 beyond the last row.
void transpose(Rows x, int64_t length, int64_t width, Bf16* into) {
  for (int64_t d = 0; d < width; d++)
    for (int64_t t = 0; t < padded(length); t++) into[d * padded(length) + t] = t < length ? x.at[t * x.stride + d] : Bf16{0};
}

// The parts of the scratch memory.
struct Blocks {
  float scores[BLOCK * BLOCK];
  float gradients[BLOCK * BLOCK];  // of the weights
  Bf16 weights[BLOCK * BLOCK];
  Bf16 score_gradients[BLOCK * BLOCK];
  uint32_t paired_score_gradients[BLOCK / 2 * BLOCK];
  float largest[BLOCK];
  float sum[BLOCK];
};
// Behind it matrices of (padded T, D): six of bfloat16, three of float32; and one number for each query.
struct Scratch {
  Blocks* blocks;
  uint32_t* bf16[6];
  float* float32[3];
  float* delta;

  Scratch(void* memory, int64_t length, int64_t width) {
    const int64_t size = padded(length) * width;
    blocks = static_cast<Blocks*>(memory);
    auto* pairs = reinterpret_cast<uint32_t*>(blocks + 1);
    for (auto& matrix : bf16) matrix = std::exchange(pairs, pairs + size / 2);
    auto* floats = reinterpret_cast<float*>(pairs);
    for (auto& matrix : float32) matrix = std::exchange(floats, floats + size);
    delta = floats;
  }
};

}  // namespace

size_t attention_scratch_bytes(int64_t length, int64_t width) {
  return sizeof(Blocks) + (6 * width / 2 + 3 * width + 1) * padded(length) * sizeof(float);
}

void attention(Rows q, Rows k, Rows v, Rows y, float* lse, int64_t length, int64_t width, float scale, void* scratch) {
  const Scratch memory(scratch, length, width);
  Blocks& s = *memory.blocks;
  uint32_t *keys = memory.bf16[0], *values = memory.bf16[1];
  float *largest = s.largest, *sum = s.sum, *output = memory.float32[0];  // output: (BLOCK, D)
  pair_transposed(k, length, width, keys);
  pair_rows(v, length, width, values);
  const Lanes scale2 = splat(scale * LOG2_E);
  for (int64_t i = 0; i < length; i += BLOCK) {
    const int64_t rows = std::min(BLOCK, length - i);
    std::fill(largest, largest + BLOCK, NONE);
    std::fill(sum, sum + BLOCK, 0.0f);
    for (int64_t j = 0; j <= i; j += BLOCK) {
      product(q.at + i * q.stride, q.stride, keys + j * width / 2, BLOCK, s.scores, BLOCK, rows, BLOCK,
              width / 2, false);
      for (int64_t m = 0; m < rows; m++) {
        float* score = s.scores + m * BLOCK;
        const int64_t seen = std::min(BLOCK, i + m + 1 - j);  // keys up to the query itself
        Lanes part[BLOCK / LANES], top = splat(NONE);
        for (int64_t n = 0; n < BLOCK / LANES; n++) {
          const __mmask16 mask = seen > n * LANES ? first(seen - n * LANES) : 0;
          part[n] = _mm512_mask_mul_ps(splat(NONE), mask, load(score + n * LANES), scale2);
          top = _mm512_max_ps(top, part[n]);
        }
        const float now = std::max(largest[m], _mm512_reduce_max_ps(top));
        const float kept = _mm512_cvtss_f32(exp2(splat(largest[m] - now)));
        Lanes total = splat(0);
        for (int64_t n = 0; n < BLOCK / LANES; n++) {
          const Lanes p = exp2(_mm512_sub_ps(part[n], splat(now)));
          total = _mm512_add_ps(total, p);
          store(s.weights + m * BLOCK + n * LANES, p);
        }
        sum[m] = sum[m] * kept + _mm512_reduce_add_ps(total);
        largest[m] = now;
        if (j > 0)
          for (int64_t d = 0; d < width; d += LANES)
            store(output + m * width + d, _mm512_mul_ps(load(output + m * width + d), splat(kept)));
      }
      product(s.weights, BLOCK, values + j / 2 * width, width, output, width, rows, width, BLOCK / 2, j > 0);
    }
    for (int64_t m = 0; m < rows; m++) {
      lse[i + m] = largest[m] + std::log2(sum[m]);
      const Lanes share = splat(1 / sum[m]);
      for (int64_t d = 0; d < width; d += LANES)
        store(y.at + (i + m) * y.stride + d, _mm512_mul_ps(load(output + m * width + d), share));
    }
  }
}

void attention_backward(Rows q, Rows k, Rows v, Rows y, Rows dy, const float* lse, Rows dq, Rows dk, Rows dv, int64_t length,
                        int64_t width, float scale, void* scratch) {
  const Scratch memory(scratch, length, width);
  Blocks& s = *memory.blocks;
  const int64_t wide = padded(length);
  auto* keys = reinterpret_cast<Bf16*>(memory.bf16[0]);  // (D, padded T)
  uint32_t *q_transposed = memory.bf16[1], *q_paired = memory.bf16[2];
  uint32_t *dy_transposed = memory.bf16[3], *dy_paired = memory.bf16[4];
  float *query_sums = memory.float32[0], *key_sums = memory.float32[1], *value_sums = memory.float32[2];
  float* delta = memory.delta;
  transpose(k, length, width, keys);
  pair_transposed(q, length, width, q_transposed);
  pair_rows(q, length, width, q_paired);
  pair_transposed(dy, length, width, dy_transposed);
  pair_rows(dy, length, width, dy_paired);
  std::fill(query_sums, query_sums + 3 * wide * width, 0.0f);  // all three
  for (int64_t t = 0; t < wide; t++) {
    Lanes sum = splat(0);
    for (int64_t d = 0; t < length && d < width; d += LANES)
      sum = _mm512_fmadd_ps(load(y.at + t * y.stride + d), load(dy.at + t * dy.stride + d), sum);
    delta[t] = _mm512_reduce_add_ps(sum);
  }
  const Lanes scale2 = splat(scale * LOG2_E);
  for (int64_t j = 0; j < length; j += BLOCK) {
    const int64_t rows = std::min(BLOCK, length - j);
    for (int64_t i = j; i < length; i += BLOCK) {
      const int64_t block = i * width / 2;
      product(k.at + j * k.stride, k.stride, q_transposed + block, BLOCK, s.scores, BLOCK, rows, BLOCK, width / 2, false);
      product(v.at + j * v.stride, v.stride, dy_transposed + block, BLOCK, s.gradients, BLOCK, rows, BLOCK, width / 2,
              false);
      for (int64_t m = 0; m < BLOCK; m += 2) {
        for (int64_t n = 0; n < BLOCK; n += LANES) {
          __m256i gradient[2];
          for (int64_t r = 0; r < 2; r++) {
            const int64_t here = (m + r) * BLOCK + n;
            // Queries before the key do not see it; those beyond the end do not exist.
            const int64_t unseen = std::clamp<int64_t>(j + m + r - i - n, 0, LANES), exist = std::clamp<int64_t>(length - i - n, 0, LANES);
            const __mmask16 mask = m + r < rows ? static_cast<__mmask16>(first(exist) & ~first(unseen)) : 0;
            const Lanes score = _mm512_maskz_fmsub_ps(mask, load(s.scores + here), scale2, load(lse + i + n, first(exist)));
            const Lanes p = _mm512_maskz_mov_ps(mask, exp2(score));
            const Lanes difference = _mm512_sub_ps(load(s.gradients + here), load(delta + i + n));
            const Lanes ds = _mm512_maskz_mul_ps(mask, _mm512_mul_ps(p, splat(scale)), difference);
            store(s.weights + here, p);
            gradient[r] = narrow(ds);
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(s.score_gradients + here), gradient[r]);
          }
          const __m512i low = _mm512_cvtepu16_epi32(gradient[0]), high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(gradient[1]), 16);
          _mm512_storeu_si512(s.paired_score_gradients + m / 2 * BLOCK + n, _mm512_or_si512(low, high));
        }
      }
      product(s.weights, BLOCK, dy_paired + block, width, value_sums + j * width, width, rows, width, BLOCK / 2, true);
      product(s.score_gradients, BLOCK, q_paired + block, width, key_sums + j * width, width, rows, width, BLOCK / 2, true);
      product(keys + j, wide, s.paired_score_gradients, BLOCK, query_sums + i, wide, width, BLOCK, BLOCK / 2, true);
    }
  }
  for (int64_t t = 0; t < length; t++) {
    for (int64_t d = 0; d < width; d += LANES) {
      alignas(64) float column[LANES];  // the sums for queries are transposed, (D, padded T)
      for (int64_t n = 0; n < LANES; n++) column[n] = query_sums[(d + n) * wide + t];
      store(dq.at + t * dq.stride + d, load(column));
      store(dk.at + t * dk.stride + d, load(key_sums + t * width + d));
      store(dv.at + t * dv.stride + d, load(value_sums + t * width + d));
    }
  }
}

}  // namespace harness
