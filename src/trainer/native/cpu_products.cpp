// Matrix products of any size by panels. See cpu_kernels.h; the products of single tiles are in tiles.h and amx.h.

#include "activations.h"
#include "amx.h"
#include "cpu_kernels.h"
#include "tiles.h"

#include <algorithm>
#include <cmath>

namespace harness {

namespace {

constexpr int64_t DEPTH = 512;        // pairs of a panel that are multiplied at a time: 128 kB, which the second cache holds
constexpr int64_t NEAR_DEPTH = 256;   // the same where a tile's columns of both factors are to stay in the first cache
constexpr int64_t TILE_ROWS = 6;      // of the largest tile in registers
constexpr int64_t TILES = (PANEL + TILE_ROWS - 1) / TILE_ROWS;

// Sixteen numbers in bfloat16; those beyond the mask are 0.
inline __m256i rounded(const Bf16* from, __mmask16 mask) { return _mm256_maskz_loadu_epi16(mask, from); }
inline __m256i rounded(const float* from, __mmask16 mask) { return narrow(load(from, mask)); }

// Thirty-two numbers in bfloat16.
inline __m512i rounded_pairs(const Bf16* from, __mmask32 mask) { return _mm512_maskz_loadu_epi16(mask, from); }
inline __m512i rounded_pairs(const float* from, __mmask32 mask) {
  const Lanes low = load(from, static_cast<__mmask16>(mask)), high = load(from + LANES, static_cast<__mmask16>(mask >> LANES));
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

// The panel of what row(t, n, mask) gives: numbers n to n + 16 of row t.
template <typename F>
void pack_with(int64_t rows, int64_t columns, uint32_t* panel, F row) {
  constexpr int64_t PARTS = PANEL / LANES;
  __mmask16 masks[PARTS];
  for (int64_t v = 0; v < PARTS; v++) masks[v] = v * LANES < columns ? first(columns - v * LANES) : 0;
  for (int64_t p = 0; p < pairs_of(rows); p++) {
    const bool alone = 2 * p + 1 == rows;
    for (int64_t v = 0; v < PARTS; v++) {
      const __m256i low = row(2 * p, v * LANES, masks[v]);
      const __m256i high = alone ? _mm256_setzero_si256() : row(2 * p + 1, v * LANES, masks[v]);
      _mm512_storeu_si512(panel + p * PANEL + v * LANES, paired(low, high));
    }
  }
}

// Adds what is in a panel to the sums of its columns; sums of sums lose less to rounding.
void add_sums(const uint32_t* panel, int64_t pairs, int64_t columns, float* sums) {
  for (int64_t n = 0; n < columns; n += LANES) {
    Lanes sum = splat(0);
    for (int64_t p = 0; p < pairs; p++) {
      const __m512i both = _mm512_loadu_si512(panel + p * PANEL + n);
      const __m512i low = _mm512_slli_epi32(both, 16), high = _mm512_and_si512(both, _mm512_set1_epi32(0xFFFF0000));
      sum = _mm512_add_ps(sum, _mm512_add_ps(_mm512_castsi512_ps(low), _mm512_castsi512_ps(high)));
    }
    const __mmask16 mask = first(columns - n);
    store(sums + n, _mm512_add_ps(load(sums + n, mask), sum), mask);
  }
}

// The product with each panel: into(row, column, mask, sums) for sixteen columns at a time. Rows go through all panels in
// blocks.
template <typename F>
void multiply_with(Rows a, int64_t rows, const uint32_t* panels, int64_t pairs, int64_t columns, F into) {
  alignas(64) float sums[BLOCK_ROWS * PANEL];
  const amx::Tiles tiles(harness_amx_in_use);
  // One tile of the processor's is as fast as many in registers, so both its factors have to be near.
  const int64_t depth = harness_amx_in_use ? NEAR_DEPTH : DEPTH, block_rows = rows_of_block();
  for (int64_t block = 0; block < rows; block += block_rows) {
    const int64_t here = std::min(block_rows, rows - block);
    for (int64_t column = 0; column < columns; column += PANEL) {
      // All but the last part of a deep panel are summed up first.
      const int64_t last = (pairs - 1) / depth * depth;
      const uint32_t* panel = panels + column * pairs;
      auto left = [&](int64_t p) { return ByRows{a.at + block * a.stride + 2 * p, a.stride}; };
      for (int64_t p = 0; p < last; p += depth)
        fast_product(left(p), panel + p * PANEL, PANEL, sums, PANEL, here, PANEL, depth, p > 0);
      auto part_into = [&](int64_t m, int64_t v, Lanes sums) {
        const int64_t n = column + v;
        if (n < columns) into(block + m, n, first(columns - n), sums);
      };
      const float* before = last > 0 ? sums : nullptr;
      if (harness_amx_in_use) {
        amx::product_with(left(last), panel + last * PANEL, PANEL, before, PANEL, here, PANEL, pairs - last, part_into);
      } else {
        product_with(left(last), panel + last * PANEL, PANEL, before, PANEL, here, PANEL, pairs - last, part_into);
      }
    }
  }
}

}  // namespace

template <typename T>
void pack(const T* x, int64_t stride, int64_t rows, int64_t columns, uint32_t* panel) {
  pack_with(rows, columns, panel, [&](int64_t t, int64_t n, __mmask16 mask) { return rounded(x + t * stride + n, mask); });
}

void pack_activated(Activation activation, Rows x, int64_t rows, int64_t width, int64_t column, uint32_t* panel) {
  with_activation<Bf16>(activation, [&](auto form) {
    using A = decltype(form);
    pack_with(rows, std::min(PANEL, width - column), panel, [&](int64_t t, int64_t n, __mmask16 mask) {
      Lanes parts[A::PARTS];
      load_parts<A>(x.at + t * x.stride, width, column + n, mask, parts);
      return narrow(A::value(parts));
    });
  });
}

template <typename T>
void pack_transposed(const T* x, int64_t stride, int64_t rows, int64_t columns, uint32_t* panel) {
  const int64_t pairs = pairs_of(columns);
  for (int64_t n = 0; n < PANEL; n += LANES) {
    for (int64_t p = 0; p < pairs; p += LANES) {
      const int64_t left = columns - 2 * p;
      const __mmask32 mask = left >= 2 * LANES ? ~__mmask32{0} : (__mmask32{1} << left) - 1;
      __m512i block[LANES];
      for (int64_t i = 0; i < LANES; i++)
        block[i] = n + i < rows ? rounded_pairs(x + (n + i) * stride + 2 * p, mask) : _mm512_setzero_si512();
      transpose(block);
      for (int64_t i = 0; i < std::min(LANES, pairs - p); i++) _mm512_storeu_si512(panel + (p + i) * PANEL + n, block[i]);
    }
  }
}

void multiply(Rows a, int64_t rows, const uint32_t* panels, int64_t pairs, int64_t columns, const float* bias, Rows y) {
  multiply_with(a, rows, panels, pairs, columns, [&](int64_t row, int64_t column, __mmask16 mask, Lanes sum) {
    if (bias != nullptr) sum = _mm512_add_ps(sum, load(bias + column, mask));
    store(y.at + row * y.stride + column, sum, mask);
  });
}

void multiply_by_slopes(Activation activation, Rows a, int64_t rows, const uint32_t* panels, int64_t pairs, int64_t columns, Rows x,
                        Rows dx) {
  with_activation<Bf16>(activation, [&](auto form) {
    using A = decltype(form);
    multiply_with(a, rows, panels, pairs, columns, [&](int64_t row, int64_t column, __mmask16 mask, Lanes sum) {
      Lanes parts[A::PARTS];
      load_parts<A>(x.at + row * x.stride, columns, column, mask, parts);
      store_gradients<A>(dx.at + row * dx.stride, columns, column, mask, parts, sum);
    });
  });
}

void multiply_transposed(Rows a, int64_t inner, int64_t rows, const uint32_t* panels, int64_t columns, float* c,
                         int64_t c_stride, bool add, float* sums) {
  // Some of A in pairs of rows, and then either the columns that a tile takes next to each other, or their transpose.
  alignas(64) uint32_t some[NEAR_DEPTH * PANEL], parts[TILES][NEAR_DEPTH * TILE_ROWS + LANES];
  uint32_t* transposed = parts[0];
  static_assert(sizeof parts >= sizeof some);
  alignas(64) float of_tile[PANEL * PANEL];
  const amx::Tiles tiles(harness_amx_in_use);
  const int64_t rows_at_once = harness_amx_in_use ? PANEL : TILE_ROWS;
  if (sums != nullptr) std::fill(sums, sums + rows, 0.0f);
  const int64_t pairs = pairs_of(inner);
  for (int64_t p = 0; p < pairs; p += NEAR_DEPTH) {
    const int64_t depth = std::min(NEAR_DEPTH, pairs - p);
    pack(a.at + 2 * p * a.stride, a.stride, std::min(2 * NEAR_DEPTH, inner - 2 * p), rows, some);
    if (sums != nullptr) add_sums(some, depth, rows, sums);
    if (harness_amx_in_use) {
      transpose(some, PANEL, depth, PANEL, transposed, NEAR_DEPTH);
    } else {
      for (int64_t m = 0; m < rows; m += TILE_ROWS)
        for (int64_t i = 0; i < depth; i++)
          _mm512_storeu_si512(parts[m / TILE_ROWS] + i * TILE_ROWS,
                              _mm512_maskz_loadu_epi32(first(std::min(TILE_ROWS, PANEL - m)), some + i * PANEL + m));
    }
    for (int64_t n = 0; n < columns; n += PANEL) {
      const uint32_t* panel = panels + n * pairs + p * PANEL;
      for (int64_t m = 0; m < rows; m += rows_at_once) {
        const int64_t here = std::min(rows_at_once, rows - m);
        auto multiply = [&](float* into, int64_t stride, bool add) {
          const auto left = ByRows::of_pairs(transposed, NEAR_DEPTH);
          if (harness_amx_in_use) return amx::product(left, panel, PANEL, into, stride, here, PANEL, depth, add);
          product(Transposed{parts[m / TILE_ROWS], TILE_ROWS}, panel, PANEL, into, stride, here, PANEL, depth, add);
        };
        float* at = c + m * c_stride + n;
        if (n + PANEL <= columns) {
          multiply(at, c_stride, add || p > 0);
          continue;
        }
        multiply(of_tile, PANEL, false);
        for (int64_t i = 0; i < here; i++) {
          for (int64_t j = 0; j < columns - n; j += LANES) {
            float* to = at + i * c_stride + j;
            const __mmask16 mask = first(columns - n - j);
            const Lanes before = add || p > 0 ? load(to, mask) : splat(0);
            store(to, _mm512_add_ps(before, load(of_tile + i * PANEL + j)), mask);
          }
        }
      }
    }
  }
}

bool harness_amx_agrees() {
  // Sides that fill two tiles and a part of a third, and pairs likewise.
  constexpr int64_t ROWS = 37, PAIRS = 41;
  Bf16 left[ROWS * 2 * PAIRS];
  uint32_t right[PAIRS * PANEL];
  uint32_t state = 1;
  // Among +-[1, 2), without a pattern.
  auto next = [&] { return static_cast<uint16_t>(0x3F80 | ((state = state * 1664525 + 1013904223) >> 16 & 0x807F)); };
  for (Bf16& x : left) x.bits = next();
  for (uint32_t& pair : right) pair = next() | uint32_t{next()} << 16;
  float in_registers[ROWS * PANEL], in_tiles[ROWS * PANEL];
  for (int64_t i = 0; i < ROWS * PANEL; i++) in_registers[i] = in_tiles[i] = 1;
  const ByRows a{left, 2 * PAIRS};
  product(a, right, PANEL, in_registers, PANEL, ROWS, PANEL, PAIRS, true);
  const amx::Tiles tiles(true);
  amx::product(a, right, PANEL, in_tiles, PANEL, ROWS, PANEL, PAIRS, true);
  bool agrees = true;
  for (int64_t i = 0; i < ROWS * PANEL; i++) agrees &= std::abs(in_tiles[i] - in_registers[i]) < 1e-3f;
  return agrees;
}

template void pack(const float*, int64_t, int64_t, int64_t, uint32_t*);
template void pack(const Bf16*, int64_t, int64_t, int64_t, uint32_t*);
template void pack_transposed(const float*, int64_t, int64_t, int64_t, uint32_t*);
template void pack_transposed(const Bf16*, int64_t, int64_t, int64_t, uint32_t*);

}  // namespace harness
