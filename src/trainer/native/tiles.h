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

// M rows and 16 V columns of C += A B, or of A B: into(m, v, sums) gets the sums of sixteen columns. The loops are unrolled
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

// The same into C.
template <int M, int V, typename A>
void tile(A a, const uint32_t* b, int64_t b_stride, float* c, int64_t c_stride, int64_t pairs, bool add) {
  auto into = [&](int m, int v, Lanes sums) { store(c + m * c_stride + v * LANES, sums); };
  if (add) {
    tile<M, V>(a, b, b_stride, c, c_stride, pairs, into);
  } else {
    tile<M, V>(a, b, b_stride, nullptr, 0, pairs, into);
  }
}

template <int V, typename A>
void columns(A a, const uint32_t* b, int64_t b_stride, float* c, int64_t c_stride, int64_t rows, int64_t pairs, bool add) {
  int64_t m = 0;
  for (; m + 6 <= rows; m += 6) tile<6, V>(a.from(m), b, b_stride, c + m * c_stride, c_stride, pairs, add);
  for (; m + 4 <= rows; m += 4) tile<4, V>(a.from(m), b, b_stride, c + m * c_stride, c_stride, pairs, add);
  for (; m < rows; m++) tile<1, V>(a.from(m), b, b_stride, c + m * c_stride, c_stride, pairs, add);
}

// C (rows, width) = or += A (rows, 2 pairs) B, with B in pairs of rows. `width` is a multiple of 16.
template <typename A>
void product(A a, const uint32_t* b, int64_t b_stride, float* c, int64_t c_stride, int64_t rows, int64_t width, int64_t pairs,
             bool add) {
  int64_t n = 0;
  for (; n + 64 <= width; n += 64) columns<4>(a, b + n, b_stride, c + n, c_stride, rows, pairs, add);
  for (; n + 16 <= width; n += 16) columns<1>(a, b + n, b_stride, c + n, c_stride, rows, pairs, add);
}

// Sixteen numbers of each of two rows, in pairs.
inline __m512i paired(__m256i low, __m256i high) {
  return _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
}

}  // namespace harness
