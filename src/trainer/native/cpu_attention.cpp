// Causal attention in blocks, forward and backward, with bfloat16 products summed in float32 (Dao et al. 2022,
// FlashAttention, algorithms 1 and 4). See cpu_kernels.h.
//
// Matrices are copied once per head into the form that products want (tiles.h), the transposed ones included. The
// backward pass works on transposed scores (keys by queries), so that what it computes is at once the A of the products
// for keys and values; for queries it is the B.

#include "amx.h"
#include "cpu_kernels.h"
#include "tiles.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace harness {

namespace {

constexpr int64_t BLOCK = 64;  // queries and keys in a block of scores
constexpr float NONE = -std::numeric_limits<float>::infinity();

inline int64_t padded(int64_t length) { return (length + BLOCK - 1) / BLOCK * BLOCK; }

// into[p][n] = rows 2 p and 2 p + 1 of x; what is beyond the last row is 0. (T, D) to (padded T / 2, D).
void pair_rows(Rows x, int64_t length, int64_t width, uint32_t* into) {
  const __m256i zero = _mm256_setzero_si256();
  for (int64_t t = 0; t < padded(length); t += 2) {
    for (int64_t d = 0; d < width; d += LANES) {
      auto row = [&](int64_t t) {
        return t < length ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x.at + t * x.stride + d)) : zero;
      };
      _mm512_storeu_si512(into + t / 2 * width + d, paired(row(t), row(t + 1)));
    }
  }
}

// The transpose of x in panels, one for each block of rows: (T, D) to (blocks, D / 2, BLOCK).
void pair_transposed(Rows x, int64_t length, int64_t width, uint32_t* into) {
  static_assert(BLOCK == PANEL);
  for (int64_t t = 0; t < length; t += BLOCK)
    pack_transposed(x.at + t * x.stride, x.stride, std::min(BLOCK, length - t), width, into + t * width / 2);
}

// The parts of the scratch memory.
struct Blocks {
  float scores[BLOCK * BLOCK];
  float gradients[BLOCK * BLOCK];  // of the weights
  Bf16 weights[BLOCK * BLOCK];
  Bf16 score_gradients[BLOCK * BLOCK];
  uint32_t paired_score_gradients[BLOCK / 2 * BLOCK];
  uint32_t turned_score_gradients[BLOCK * BLOCK / 2];  // of queries by pairs of keys
  float largest[BLOCK];
  float sum[BLOCK];
};
// Behind it matrices of (padded T, D): five of bfloat16, three of float32; and two numbers for each query.
constexpr int64_t SHORT = 5, LONG = 3, NUMBERS = 2;
struct Scratch {
  Blocks* blocks;
  uint32_t* bf16[SHORT];
  float* float32[LONG];
  float* numbers[NUMBERS];

  Scratch(void* memory, int64_t length, int64_t width) {
    const int64_t size = padded(length) * width;
    blocks = static_cast<Blocks*>(memory);
    auto* pairs = reinterpret_cast<uint32_t*>(blocks + 1);
    for (auto& matrix : bf16) matrix = std::exchange(pairs, pairs + size / 2);
    auto* floats = reinterpret_cast<float*>(pairs);
    for (auto& matrix : float32) matrix = std::exchange(floats, floats + size);
    for (auto& numbers : numbers) numbers = std::exchange(floats, floats + padded(length));
  }
};

// The weights of a block of scores (queries by keys), and what they do to the largest score and the sum so far of each
// query, whose output is scaled as its largest score grows. `seen`: keys that the first query sees, of which the next sees
// one more; without MASKED all see all.
template <bool MASKED>
void weigh(Blocks& s, int64_t rows, int64_t seen, Lanes scale, float* output, int64_t width) {
  for (int64_t m = 0; m < rows; m++) {
    Lanes part[BLOCK / LANES], top = splat(NONE);
    for (int64_t n = 0; n < BLOCK / LANES; n++) {
      const Lanes score = load(s.scores + m * BLOCK + n * LANES);
      const int64_t here = std::clamp<int64_t>(seen + m - n * LANES, 0, LANES);
      part[n] = MASKED ? _mm512_mask_mul_ps(splat(NONE), first(here), score, scale) : _mm512_mul_ps(score, scale);
      top = _mm512_max_ps(top, part[n]);
    }
    const float now = std::max(s.largest[m], _mm512_reduce_max_ps(top));
    const float kept = _mm512_cvtss_f32(exp2(splat(s.largest[m] - now)));
    Lanes total = splat(0);
    for (int64_t n = 0; n < BLOCK / LANES; n++) {
      const Lanes p = exp2_for<Bf16>(_mm512_sub_ps(part[n], splat(now)));
      total = _mm512_add_ps(total, p);
      store(s.weights + m * BLOCK + n * LANES, p);
    }
    s.sum[m] = s.sum[m] * kept + _mm512_reduce_add_ps(total);
    s.largest[m] = now;
    if (output != nullptr)
      for (int64_t d = 0; d < width; d += LANES)
        store(output + m * width + d, _mm512_mul_ps(load(output + m * width + d), splat(kept)));
  }
}

// The weights of a block of transposed scores (keys by queries), and the gradients of the scores. `ahead`: how far the first
// key is ahead of the first query; without MASKED all keys and queries exist and no key is ahead of a query.
template <bool MASKED>
void gradients_of_scores(Blocks& s, int64_t keys, int64_t queries, int64_t ahead, Lanes scale, Lanes scale2, const float* lse,
                         const float* delta) {
  for (int64_t m = 0; m < BLOCK; m += 2) {
    for (int64_t n = 0; n < BLOCK; n += LANES) {
      __m256i gradient[2];
      for (int64_t r = 0; r < 2; r++) {
        const int64_t here = (m + r) * BLOCK + n;
        Lanes p = exp2_for<Bf16>(_mm512_fmsub_ps(load(s.scores + here), scale2, load(lse + n)));
        Lanes ds = _mm512_mul_ps(_mm512_mul_ps(p, scale), _mm512_sub_ps(load(s.gradients + here), load(delta + n)));
        if (MASKED) {
          const int64_t unseen = std::clamp<int64_t>(ahead + m + r - n, 0, LANES), exist = std::clamp<int64_t>(queries - n, 0, LANES);
          const __mmask16 mask = m + r < keys ? static_cast<__mmask16>(first(exist) & ~first(unseen)) : 0;
          p = _mm512_maskz_mov_ps(mask, p);
          ds = _mm512_maskz_mov_ps(mask, ds);
        }
        store(s.weights + here, p);
        gradient[r] = narrow(ds);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(s.score_gradients + here), gradient[r]);
      }
      _mm512_storeu_si512(s.paired_score_gradients + m / 2 * BLOCK + n, paired(gradient[0], gradient[1]));
    }
  }
}

}  // namespace

size_t attention_scratch_bytes(int64_t length, int64_t width) {
  return sizeof(Blocks) + (SHORT * width / 2 + LONG * width + NUMBERS) * padded(length) * sizeof(float);
}

void attention(Rows q, Rows k, Rows v, Rows y, float* lse, int64_t length, int64_t width, float scale, void* scratch) {
  const Scratch memory(scratch, length, width);
  const amx::Tiles tiles(harness_amx_in_use);
  Blocks& s = *memory.blocks;
  uint32_t *keys = memory.bf16[0], *values = memory.bf16[1];
  float* output = memory.float32[0];  // (BLOCK, D)
  pair_transposed(k, length, width, keys);
  pair_rows(v, length, width, values);
  const Lanes scale2 = splat(scale * LOG2_E);
  for (int64_t i = 0; i < length; i += BLOCK) {
    const int64_t rows = std::min(BLOCK, length - i);
    std::fill(s.largest, s.largest + BLOCK, NONE);
    std::fill(s.sum, s.sum + BLOCK, 0.0f);
    for (int64_t j = 0; j <= i; j += BLOCK) {
      fast_product(ByRows{q.at + i * q.stride, q.stride}, keys + j * width / 2, BLOCK, s.scores, BLOCK, rows, BLOCK, width / 2, false);
      auto* weigh_block = i == j ? weigh<true> : weigh<false>;
      weigh_block(s, rows, 1, scale2, j > 0 ? output : nullptr, width);
      fast_product(ByRows{s.weights, BLOCK}, values + j / 2 * width, width, output, width, rows, width, BLOCK / 2, j > 0);
    }
    for (int64_t m = 0; m < rows; m++) {
      lse[i + m] = s.largest[m] + std::log2(s.sum[m]);
      const Lanes share = splat(1 / s.sum[m]);
      for (int64_t d = 0; d < width; d += LANES)
        store(y.at + (i + m) * y.stride + d, _mm512_mul_ps(load(output + m * width + d), share));
    }
  }
}

void attention_backward(Rows q, Rows k, Rows v, Rows y, Rows dy, const float* lse, Rows dq, Rows dk, Rows dv, int64_t length,
                        int64_t width, float scale, void* scratch) {
  const Scratch memory(scratch, length, width);
  const amx::Tiles tiles(harness_amx_in_use);
  Blocks& s = *memory.blocks;
  const int64_t wide = padded(length);
  uint32_t *keys = memory.bf16[0], *q_transposed = memory.bf16[1], *q_paired = memory.bf16[2];
  uint32_t *dy_transposed = memory.bf16[3], *dy_paired = memory.bf16[4];
  float *query_sums = memory.float32[0], *key_sums = memory.float32[1], *value_sums = memory.float32[2];
  float *delta = memory.numbers[0], *padded_lse = memory.numbers[1];
  pair_rows(k, length, width, keys);
  pair_transposed(q, length, width, q_transposed);
  pair_rows(q, length, width, q_paired);
  pair_transposed(dy, length, width, dy_transposed);
  pair_rows(dy, length, width, dy_paired);
  std::fill(query_sums, query_sums + LONG * wide * width, 0.0f);  // all three
  std::fill(std::copy(lse, lse + length, padded_lse), padded_lse + wide, 0.0f);
  for (int64_t t = 0; t < wide; t++) {
    Lanes sum = splat(0);
    for (int64_t d = 0; t < length && d < width; d += LANES)
      sum = _mm512_fmadd_ps(load(y.at + t * y.stride + d), load(dy.at + t * dy.stride + d), sum);
    delta[t] = _mm512_reduce_add_ps(sum);
  }
  for (int64_t j = 0; j < length; j += BLOCK) {
    const int64_t keys_here = std::min(BLOCK, length - j);
    for (int64_t i = j; i < length; i += BLOCK) {
      const int64_t block = i * width / 2, queries = std::min(BLOCK, length - i);
      fast_product(ByRows{k.at + j * k.stride, k.stride}, q_transposed + block, BLOCK, s.scores, BLOCK, keys_here, BLOCK, width / 2, false);
      fast_product(ByRows{v.at + j * v.stride, v.stride}, dy_transposed + block, BLOCK, s.gradients, BLOCK, keys_here, BLOCK, width / 2, false);
      auto* gradients = i == j || queries < BLOCK ? gradients_of_scores<true> : gradients_of_scores<false>;
      gradients(s, keys_here, queries, j - i, splat(scale), splat(scale * LOG2_E), padded_lse + i, delta + i);
      fast_product(ByRows{s.weights, BLOCK}, dy_paired + block, width, value_sums + j * width, width, keys_here, width, BLOCK / 2, true);
      fast_product(ByRows{s.score_gradients, BLOCK}, q_paired + block, width, key_sums + j * width, width, keys_here, width, BLOCK / 2, true);
      const uint32_t* right = keys + j / 2 * width;
      float* sums = query_sums + i * width;
      if (harness_amx_in_use) {
        transpose(s.paired_score_gradients, BLOCK, BLOCK / 2, BLOCK, s.turned_score_gradients, BLOCK / 2);
        const auto left = ByRows::of_pairs(s.turned_score_gradients, BLOCK / 2);
        amx::product(left, right, width, sums, width, queries, width, BLOCK / 2, true);
      } else {
        product(Transposed{s.paired_score_gradients, BLOCK}, right, width, sums, width, queries, width, BLOCK / 2, true);
      }
    }
  }
  for (int64_t t = 0; t < length; t++) {
    for (int64_t d = 0; d < width; d += LANES) {
      store(dq.at + t * dq.stride + d, load(query_sums + t * width + d));
      store(dk.at + t * dk.stride + d, load(key_sums + t * width + d));
      store(dv.at + t * dv.stride + d, load(value_sums + t * width + d));
    }
  }
}

}  // namespace harness
