// Products of bfloat16 matrices with float32 sums, tile by tile in registers. Included only by files that are compiled
// for processors with AVX-512 and its bfloat16 products.
//
// A product C = A B takes B in pairs of rows: `pairs[p][n]` holds elements n of rows 2 p and 2 p + 1 side by side, which is
// what the instruction VDPBF16PS multiplies and adds. A is read in such pairs too, along its rows or in the form of B. Every
// element of C is one sum over the pairs in their order, so it does not depend on the tile that it falls into.

#pragma once

#include "lanes.h"

#include <cstring>

namespace harness {

// A by rows.
struct ByRows {
  const Bf16* at;
  int64_t stride;

  // Rows of so many pairs.
  static ByRows of_pairs(const uint32_t* pairs, int64_t stride) { return {reinterpret_cast<const Bf16*>(pairs), 2 * stride}; }

  ByRows from(int64_t row) const { return {at + row * stride, stride}; }
  int32_t pair(int64_t m, int64_t p) const {
    int32_t pair;
    std::memcpy(&pair, at + m * stride + 2 * p, sizeof pair);
    return pair;
  }
};
// The transpose of a matrix in pairs of rows.
struct Transposed {
  const uint32_t* at;
  int64_t stride;

  Transposed from(int64_t row) const { return {at + row, stride}; }
  int32_t pair(int64_t m, int64_t p) const { return static_cast<int32_t>(at[p * stride + m]); }
};

// M rows and 16 V columns of A B, or of C + A B: into(m, v, sums) gets the sums of sixteen columns. The loops are unrolled
// early, so that the sums stay in registers.
template <int M, int V, typename A, typename F>
inline void tile(A a, const uint32_t* b, int64_t b_stride, const float* c, int64_t c_stride, int64_t pairs, F into) {
  Lanes sum[M][V];
#pragma GCC unroll 8
  for (int m = 0; m < M; m++)
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) sum[m][v] = c == nullptr ? splat(0) : load(c + m * c_stride + v * LANES);
  for (int64_t p = 0; p < pairs; p++) {
    __m512bh right[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) right[v] = (__m512bh)_mm512_loadu_si512(b + p * b_stride + v * LANES);
#pragma GCC unroll 8
    for (int m = 0; m < M; m++) {
      const __m512bh left = (__m512bh)_mm512_set1_epi32(a.pair(m, p));
#pragma GCC unroll 8
      for (int v = 0; v < V; v++) sum[m][v] = _mm512_dpbf16_ps(sum[m][v], left, right[v]);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; m++)
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) into(m, v, sum[m][v]);
}

template <int V, typename A, typename F>
void columns(A a, const uint32_t* b, int64_t b_stride, const float* c, int64_t c_stride, int64_t rows, int64_t pairs, F into) {
  auto take = [&](int64_t m, auto tile_rows) {
    constexpr int M = decltype(tile_rows)::value;
    auto row_into = [&](int i, int v, Lanes sums) { into(m + i, v * LANES, sums); };
    if (c == nullptr) return tile<M, V>(a.from(m), b, b_stride, nullptr, 0, pairs, row_into);
    tile<M, V>(a.from(m), b, b_stride, c + m * c_stride, c_stride, pairs, row_into);
  };
  int64_t m = 0;
  for (; m + 6 <= rows; m += 6) take(m, std::integral_constant<int, 6>());
  for (; m + 4 <= rows; m += 4) take(m, std::integral_constant<int, 4>());
  for (; m < rows; m++) take(m, std::integral_constant<int, 1>());
}

// A (rows, 2 pairs) times B (2 pairs, width), plus C unless that is null: into(row, column, sums) gets the sums of sixteen
// columns. `width` is a multiple of 16.
template <typename A, typename F>
void product_with(A a, const uint32_t* b, int64_t b_stride, const float* c, int64_t c_stride, int64_t rows, int64_t width,
                  int64_t pairs, F into) {
  auto take = [&](int64_t n, auto vectors) {
    auto columns_into = [&](int64_t m, int64_t v, Lanes sums) { into(m, n + v, sums); };
    columns<decltype(vectors)::value>(a, b + n, b_stride, c == nullptr ? c : c + n, c_stride, rows, pairs, columns_into);
  };
  int64_t n = 0;
  for (; n + 64 <= width; n += 64) take(n, std::integral_constant<int, 4>());
  for (; n + 16 <= width; n += 16) take(n, std::integral_constant<int, 1>());
}

// C = or += the same.
template <typename A>
void product(A a, const uint32_t* b, int64_t b_stride, float* c, int64_t c_stride, int64_t rows, int64_t width, int64_t pairs,
             bool add) {
  auto into = [&](int64_t m, int64_t n, Lanes sums) { store(c + m * c_stride + n, sums); };
  product_with(a, b, b_stride, add ? c : nullptr, c_stride, rows, width, pairs, into);
}

// Sixteen rows of sixteen pairs.
inline void transpose(__m512i (&x)[LANES]) {
  __m512i y[LANES];
  for (int i = 0; i < LANES; i += 2) {
    y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
  for (int i = 0; i < LANES; i += 4) {
    for (int j = 0; j < 2; j++) {
      x[i + 2 * j] = _mm512_unpacklo_epi64(y[i + j], y[i + j + 2]);
      x[i + 2 * j + 1] = _mm512_unpackhi_epi64(y[i + j], y[i + j + 2]);
    }
  }
  for (int i = 0; i < LANES; i += 8) {
    for (int j = 0; j < 4; j++) {
      y[i + j] = _mm512_shuffle_i32x4(x[i + j], x[i + j + 4], 0x88);
      y[i + j + 4] = _mm512_shuffle_i32x4(x[i + j], x[i + j + 4], 0xDD);
    }
  }
  for (int j = 0; j < 8; j++) {
    x[j] = _mm512_shuffle_i32x4(y[j], y[j + 8], 0x88);
    x[j + 8] = _mm512_shuffle_i32x4(y[j], y[j + 8], 0xDD);
  }
}
// into (columns, rows) from x (rows, columns), where sides are multiples of 16 but for the rows: what is read beyond them is 0.
inline void transpose(const uint32_t* x, int64_t stride, int64_t rows, int64_t columns, uint32_t* into, int64_t into_stride) {
  for (int64_t m = 0; m < columns; m += LANES) {
    for (int64_t p = 0; p < rows; p += LANES) {
      __m512i block[LANES];
      for (int64_t i = 0; i < LANES; i++)
        block[i] = p + i < rows ? _mm512_loadu_si512(x + (p + i) * stride + m) : _mm512_setzero_si512();
      transpose(block);
      for (int64_t i = 0; i < LANES; i++) _mm512_storeu_si512(into + (m + i) * into_stride + p, block[i]);
    }
  }
}

// Sixteen numbers of each of two rows, in pairs.
inline __m512i paired(__m256i low, __m256i high) {
  return _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
}

}  // namespace harness
