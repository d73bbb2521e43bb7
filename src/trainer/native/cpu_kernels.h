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

// Causal attention of one head, bfloat16: y = softmax(scale q k^T + mask) v, all (length, width), with a width that is
// a multiple of 16. `lse` is the logarithm to base 2 of each query's denominator, which the backward pass needs.
struct Rows {
  Bf16* at;        // the first element
  int64_t stride;  // elements from one row to the next
};
size_t attention_scratch_bytes(int64_t length, int64_t width);
void attention(Rows q, Rows k, Rows v, Rows y, float* lse, int64_t length, int64_t width, float scale, void* scratch);
void attention_backward(Rows q, Rows k, Rows v, Rows y, Rows dy, const float* lse, Rows dq, Rows dk, Rows dv, int64_t length,
                        int64_t width, float scale, void* scratch);

}  // namespace harness
