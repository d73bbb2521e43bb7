// Fused CPU kernels over raw memory: what cpu_ops.cpp calls in parallel over rows, heads or stretches. No kernel
// starts threads or allocates; the result of a row does not depend on how the rows are shared out.

#pragma once

#include <cstddef>
#include <cstdint>

namespace harness {

// bfloat16, the upper half of float32.
struct Bf16 {
  uint16_t bits;
};

// Whether this processor can run them.
bool has_cpu_kernels();
// Whether it has tiles (AMX) for products of bfloat16; the system has to allow their use besides.
bool has_amx();
// Whether products go through those tiles. It is set before the first product.
extern "C" {
inline bool harness_amx_in_use = false;
// Whether a product in the tiles is the one in registers but for rounding.
bool harness_amx_agrees();
}

// What a feed-forward layer does between its products, from a wide row to an active row: GELU(x) in its tanh form,
// silu(x) y for the first and the second half of a row that is twice as wide, or max(x, 0)^2.
enum class Activation { GELU, SWIGLU, RELU_SQUARED };

// One row: y (width) from x, and dx from dy (width).
template <typename T>
void activate(Activation activation, const T* x, T* y, int64_t width);
template <typename T>
void activate_backward(Activation activation, const T* x, const T* dy, T* dx, int64_t width);

// One row x: y = (x - mean) scale gain + bias with scale = 1 / sqrt(variance + epsilon), or, if not centered,
// y = x scale gain + bias with scale = 1 / sqrt(mean of squares + epsilon) and mean = 0. The bias may be null.
struct Moments {
  float mean, scale;
};
template <typename T>
Moments normalize(const T* x, const float* gain, const float* bias, bool centered, double epsilon, T* y, int64_t count);
// Its gradients: dx, and what is added to those of gain and bias (which may be null).
template <typename T>
void normalize_backward(const T* x, const T* dy, const float* gain, Moments moments, bool centered, T* dx, float* of_gain,
                        float* of_bias, int64_t count);

// The sum of the squares.
double sum_of_squares(const float* x, int64_t count);

// One row of logits z: returns the log-probability of `target`, and replaces z by the gradient of the cross-entropy
// plus z_loss (log Z)^2 with respect to it. With a soft cap z is the capped logit, and the gradient is the one before
// the cap.
template <typename T>
double cross_entropy(T* z, int64_t count, int64_t target, double z_loss, double soft_cap);

// One row of logits z: the largest, which it is (the lowest of several), and log sum exp z.
struct FirstChoice {
  float logit;
  int64_t which;
  double log_z;
};
FirstChoice first_choice(const float* z, int64_t count);

// Rows of bfloat16.
struct Rows {
  Bf16* at;        // the first element
  int64_t stride;  // elements from one row to the next
};

// Products of bfloat16 matrices, summed in float32. A right factor is cut into panels of 64 columns in pairs of rows: element
// n of rows 2 p and 2 p + 1 side by side in panel[p][n], 0 where the matrix has ended. A left factor has an even number of
// columns. Every element of a product is one sum in the order of the inner dimension.
constexpr int64_t PANEL = 64;
// Rows of a left factor in the largest tile, and in a block that goes through all panels. Threads share them out in multiples
// of the first.
inline int64_t rows_of_tile() { return harness_amx_in_use ? 32 : 6; }
constexpr int64_t BLOCK_ROWS = 128;
inline int64_t rows_of_block() { return BLOCK_ROWS / rows_of_tile() * rows_of_tile(); }
constexpr int64_t pairs_of(int64_t rows) { return (rows + 1) / 2; }

// The panel of x (rows, columns), with at most 64 columns; x is rounded to bfloat16.
template <typename T>
void pack(const T* x, int64_t stride, int64_t rows, int64_t columns, uint32_t* panel);
// The panel of the active rows of wide rows x, from `column` on.
void pack_activated(Activation activation, Rows x, int64_t rows, int64_t width, int64_t column, uint32_t* panel);
// The panel of the transpose of x (rows, columns), with at most 64 rows.
template <typename T>
void pack_transposed(const T* x, int64_t stride, int64_t rows, int64_t columns, uint32_t* panel);

// y (rows, columns) = a B + bias for a (rows, 2 pairs), the panels of B, and a bias that may be null.
void multiply(Rows a, int64_t rows, const uint32_t* panels, int64_t pairs, int64_t columns, const float* bias, Rows y);
// The gradient dx with respect to wide rows x, from that of the active rows: a B, with so many columns.
void multiply_by_slopes(Activation activation, Rows a, int64_t rows, const uint32_t* panels, int64_t pairs, int64_t columns, Rows x,
                        Rows dx);
// c (rows, columns) = or += A^T B for A (inner, rows), with at most 64 rows, and the panels of B. `sums`, if not null, are
// those of A's columns.
void multiply_transposed(Rows a, int64_t inner, int64_t rows, const uint32_t* panels, int64_t columns, float* c,
                         int64_t c_stride, bool add, float* sums);

// Causal attention of one head, bfloat16: y = softmax(scale q k^T + mask) v, all (length, width), with a width that is
// a multiple of 16. `lse` is the logarithm to base 2 of each query's denominator, which the backward pass needs.
size_t attention_scratch_bytes(int64_t length, int64_t width);
void attention(Rows q, Rows k, Rows v, Rows y, float* lse, int64_t length, int64_t width, float scale, void* scratch);
void attention_backward(Rows q, Rows k, Rows v, Rows y, Rows dy, const float* lse, Rows dq, Rows dk, Rows dv, int64_t length,
                        int64_t width, float scale, void* scratch);

}  // namespace harness
