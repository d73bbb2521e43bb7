// The products of tiles.h in the tiles of processors that have some (AMX, Intel since Sapphire Rapids): eight registers of
// sixteen rows of 64 bytes, and an instruction, TDPBF16PS, that adds to one of them, as sixteen by sixteen float32 sums, the
// product of sixteen rows of A with sixteen columns of B over sixteen pairs. Included only by files that are compiled for
// processors with AVX-512; what is here may be called only where `has_amx`, with a `Tiles` in scope.
//
// The instruction sums the first numbers of the pairs apart from the second, and both into C at the end, so the bits are
// others than those of VDPBF16PS. Every element of C is still one sum over the pairs in their order, sixteen at a time, with
// zeros where the matrices have ended, wherever its tile begins.

#pragma once

#include "tiles.h"

#include <algorithm>

namespace harness::amx {

constexpr int64_t SIDE = 16;  // rows of a tile, and numbers of 32 bits in one of them

// How tiles are shaped: the operand of LDTILECFG.
struct alignas(64) Shapes {
  uint8_t palette = 1, first_row = 0, unused[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE};
};
constexpr Shapes WHOLE;

// While it is in scope, this thread's tiles are whole ones, if they are used at all. Other code shapes its own.
class Tiles {
 public:
  explicit Tiles(bool used) : used_(used) {
    if (used_) asm volatile("ldtilecfg %0" : : "m"(WHOLE));
  }
  ~Tiles() {
    if (used_) asm volatile("tilerelease");
  }
  Tiles(const Tiles&) = delete;

 private:
  const bool used_;
};

// GCC's own functions for these instructions do not say that they read memory.
template <int TILE>
inline void load(const void* from, int64_t stride_bytes) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride_bytes), "i"(TILE) : "memory");
}
template <int TILE>
inline void store(void* into, int64_t stride_bytes) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(into), "r"(stride_bytes), "i"(TILE) : "memory");
}
template <int TILE>
inline void clear() {
  asm volatile("tilezero %%tmm%c0" : : "i"(TILE));
}
template <int C, int A, int B>
inline void add_product() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
}

// Sixteen rows of a matrix in memory, in numbers of 32 bits.
template <typename T>
struct Part {
  T* at;
  int64_t stride;
};
struct alignas(64) Spare {
  uint32_t numbers[SIDE * SIDE];
};

// The part with zeros behind so many rows and numbers: itself, or a copy.
inline Part<const uint32_t> with_zeros(Part<const uint32_t> part, int64_t rows, int64_t numbers, Spare& spare) {
  if (rows >= SIDE && numbers >= SIDE) return part;
  for (int64_t r = 0; r < SIDE; r++) {
    const __mmask16 mask = r < rows ? first(numbers) : 0;
    _mm512_store_si512(spare.numbers + r * SIDE, _mm512_maskz_loadu_epi32(mask, part.at + r * part.stride));
  }
  return {spare.numbers, SIDE};
}
template <int TILE>
inline void load(Part<const uint32_t> part) {
  load<TILE>(part.at, part.stride * sizeof *part.at);
}
inline const uint32_t* numbers(const void* at) { return static_cast<const uint32_t*>(at); }

// Tiles 0 to 3 are for C, 4 and 5 for A, 6 and 7 for B. M x N tiles of C: body(tile, its row, its column).
template <int M, int N, typename F>
inline void for_each_sum(F body) {
  body(std::integral_constant<int, 0>(), 0, 0);
  if constexpr (N > 1) body(std::integral_constant<int, 1>(), 0, SIDE);
  if constexpr (M > 1) body(std::integral_constant<int, 2>(), SIDE, 0);
  if constexpr (M > 1 && N > 1) body(std::integral_constant<int, 3>(), SIDE, SIDE);
}

// M x N tiles of A B, or of C + A B, where A and C have so many rows.
template <int M, int N>
inline void multiply(ByRows a, const uint32_t* b, int64_t b_stride, const float* c, int64_t c_stride, int64_t rows, int64_t pairs) {
  Spare of_a, of_b;
  for_each_sum<M, N>([&](auto tile, int64_t m, int64_t n) {
    constexpr int TILE = decltype(tile)::value;
    if (c == nullptr) return clear<TILE>();
    load<TILE>(with_zeros({numbers(c + m * c_stride + n), c_stride}, rows - m, SIDE, of_a));
  });
  for (int64_t p = 0; p < pairs; p += SIDE) {
    auto left = [&](int64_t m) {
      return with_zeros({numbers(a.at + m * a.stride + 2 * p), a.stride / 2}, rows - m, pairs - p, of_a);
    };
    auto right = [&](int64_t n) { return with_zeros({b + p * b_stride + n, b_stride}, pairs - p, SIDE, of_b); };
    load<4>(left(0));
    load<6>(right(0));
    add_product<0, 4, 6>();
    if constexpr (N > 1) {
      load<7>(right(SIDE));
      add_product<1, 4, 7>();
    }
    if constexpr (M > 1) {
      load<5>(left(SIDE));
      add_product<2, 5, 6>();
    }
    if constexpr (M > 1 && N > 1) add_product<3, 5, 7>();
  }
}

// body(row, column, M, N) for all blocks of M x N tiles.
template <typename F>
inline void for_each_block(int64_t rows, int64_t width, F body) {
  using One = std::integral_constant<int, 1>;
  using Two = std::integral_constant<int, 2>;
  for (int64_t n = 0; n < width; n += 2 * SIDE) {
    for (int64_t m = 0; m < rows; m += 2 * SIDE) {
      const bool tall = rows - m > SIDE, wide = width - n > SIDE;
      if (tall && wide) {
        body(m, n, Two(), Two());
      } else if (tall) {
        body(m, n, Two(), One());
      } else if (wide) {
        body(m, n, One(), Two());
      } else {
        body(m, n, One(), One());
      }
    }
  }
}

// As in tiles.h; A has an even stride.
template <typename F>
void product_with(ByRows a, const uint32_t* b, int64_t b_stride, const float* c, int64_t c_stride, int64_t rows, int64_t width,
                  int64_t pairs, F into) {
  for_each_block(rows, width, [&](int64_t row, int64_t column, auto tall, auto wide) {
    constexpr int M = decltype(tall)::value, N = decltype(wide)::value;
    multiply<M, N>(a.from(row), b + column, b_stride, c == nullptr ? c : c + row * c_stride + column, c_stride, rows - row, pairs);
    for_each_sum<M, N>([&](auto tile, int64_t m, int64_t n) {
      Spare sums;
      store<decltype(tile)::value>(sums.numbers, sizeof(float) * SIDE);
      for (int64_t r = 0; r < std::min(SIDE, rows - row - m); r++)
        into(row + m + r, column + n, _mm512_castsi512_ps(_mm512_load_si512(sums.numbers + r * SIDE)));
    });
  });
}
inline void product(ByRows a, const uint32_t* b, int64_t b_stride, float* c, int64_t c_stride, int64_t rows, int64_t width,
                    int64_t pairs, bool add) {
  const int64_t whole = rows / SIDE * SIDE;
  for_each_block(whole, width, [&](int64_t row, int64_t column, auto tall, auto wide) {
    constexpr int M = decltype(tall)::value, N = decltype(wide)::value;
    float* at = c + row * c_stride + column;
    multiply<M, N>(a.from(row), b + column, b_stride, add ? at : nullptr, c_stride, whole - row, pairs);
    for_each_sum<M, N>([&](auto tile, int64_t m, int64_t n) {
      store<decltype(tile)::value>(at + m * c_stride + n, sizeof(float) * c_stride);
    });
  });
  float* rest = c + whole * c_stride;
  product_with(a.from(whole), b, b_stride, add ? rest : nullptr, c_stride, rows - whole, width, pairs,
               [&](int64_t m, int64_t n, Lanes sums) { harness::store(rest + m * c_stride + n, sums); });
}

}  // namespace harness::amx

namespace harness {

// C = or += A B in the tiles of the processor if they are in use, and in registers else.
inline void fast_product(ByRows a, const uint32_t* b, int64_t b_stride, float* c, int64_t c_stride, int64_t rows, int64_t width,
                         int64_t pairs, bool add) {
  auto* by = harness_amx_in_use ? amx::product : product<ByRows>;
  by(a, b, b_stride, c, c_stride, rows, width, pairs, add);
}

}  // namespace harness
