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

// y = GELU(x) in its tanh form; dx = GELU'(x) dy.
template <typename T>
void gelu(const T* x, T* y, int64_t count);
template <typename T>
void gelu_backward(const T* x, const T* dy, T* dx, int64_t count);

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
constexpr int64_t pairs_of(int64_t rows) { return (rows + 1) / 2; }

// The panel of x (rows, columns), with at most 64 columns; x is rounded to bfloat16. `sums`, if not null, are those of the
// columns.
template <typename T>
void pack(const T* x, int64_t stride, int64_t rows, int64_t columns, uint32_t* panel, float* sums);
// The panel of GELU(x).
void pack_gelu(Rows x, int64_t rows, int64_t columns, uint32_t* panel);
// The panel of the transpose of x (rows, columns), with at most 64 rows.
template <typename T>
void pack_transposed(const T* x, int64_t stride, int64_t rows, int64_t columns, uint32_t* panel);

// y (rows, columns) = a B + bias for a (rows, 2 pairs), the panels of B, and a bias that may be null.
void multiply(Rows a, int64_t rows, const uint32_t* panels, int64_t pairs, int64_t columns, const float* bias, Rows y);
// The same without bias, times GELU'(x), element by element.
void multiply_by_gelu_slope(Rows a, int64_t rows, const uint32_t* panels, int64_t pairs, int64_t columns, Rows x, Rows y);
// c (rows, columns) = or += A^T B for one panel of A, so that there are at most 64 rows, and the panels of B.
void multiply_panels(const uint32_t* a, int64_t rows, const uint32_t* b, int64_t pairs, int64_t columns, float* c,
                     int64_t c_stride, bool add);

// Causal attention of one head, bfloat16: y = softmax(scale q k^T + mask) v, all (length, width), with a width that is
// a multiple of 16. `lse` is the logarithm to base 2 of each query's denominator, which the backward pass needs.
size_t attention_scratch_bytes(int64_t length, int64_t width);
void attention(Rows q, Rows k, Rows v, Rows y, float* lse, int64_t length, int64_t width, float scale, void* scratch);
void attention_backward(Rows q, Rows k, Rows v, Rows y, Rows dy, const float* lse, Rows dq, Rows dk, Rows dv, int64_t length,
                        int64_t width, float scale, void* scratch);

}  // namespace harness
