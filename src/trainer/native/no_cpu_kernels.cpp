// cpu_kernels.h on machines for which there are none: the answer is no, and nothing else is ever called.

#include "cpu_kernels.h"

#include <cstdlib>

namespace harness {

bool has_cpu_kernels() { return false; }
bool has_amx() { return false; }
bool harness_amx_agrees() { return false; }

template <typename T>
void activate(Activation, const T*, T*, int64_t) {
  std::abort();
}
template <typename T>
void activate_backward(Activation, const T*, const T*, T*, int64_t) {
  std::abort();
}
template void activate(Activation, const float*, float*, int64_t);
template void activate(Activation, const Bf16*, Bf16*, int64_t);
template void activate_backward(Activation, const float*, const float*, float*, int64_t);
template void activate_backward(Activation, const Bf16*, const Bf16*, Bf16*, int64_t);

template <typename T>
Moments normalize(const T*, const float*, const float*, bool, double, T*, int64_t) {
  std::abort();
}
template <typename T>
void normalize_backward(const T*, const T*, const float*, Moments, bool, T*, float*, float*, int64_t) {
  std::abort();
}
template Moments normalize(const float*, const float*, const float*, bool, double, float*, int64_t);
template Moments normalize(const Bf16*, const float*, const float*, bool, double, Bf16*, int64_t);
template void normalize_backward(const float*, const float*, const float*, Moments, bool, float*, float*, float*, int64_t);
template void normalize_backward(const Bf16*, const Bf16*, const float*, Moments, bool, Bf16*, float*, float*, int64_t);
double sum_of_squares(const float*, int64_t) { std::abort(); }
template <typename T>
double cross_entropy(T*, int64_t, int64_t, double, double) {
  std::abort();
}
template double cross_entropy(float*, int64_t, int64_t, double, double);
template double cross_entropy(Bf16*, int64_t, int64_t, double, double);

FirstChoice first_choice(const float*, int64_t) { std::abort(); }

template <typename T>
void pack(const T*, int64_t, int64_t, int64_t, uint32_t*) {
  std::abort();
}
template <typename T>
void pack_transposed(const T*, int64_t, int64_t, int64_t, uint32_t*) {
  std::abort();
}
template void pack(const float*, int64_t, int64_t, int64_t, uint32_t*);
template void pack(const Bf16*, int64_t, int64_t, int64_t, uint32_t*);
template void pack_transposed(const float*, int64_t, int64_t, int64_t, uint32_t*);
template void pack_transposed(const Bf16*, int64_t, int64_t, int64_t, uint32_t*);
void pack_activated(Activation, Rows, int64_t, int64_t, int64_t, uint32_t*) { std::abort(); }
void multiply(Rows, int64_t, const uint32_t*, int64_t, int64_t, const float*, Rows) { std::abort(); }
void multiply_by_slopes(Activation, Rows, int64_t, const uint32_t*, int64_t, int64_t, Rows, Rows) { std::abort(); }
void multiply_transposed(Rows, int64_t, int64_t, const uint32_t*, int64_t, float*, int64_t, bool, float*) { std::abort(); }

size_t attention_scratch_bytes(int64_t, int64_t) { std::abort(); }
void attention(Rows, Rows, Rows, Rows, float*, int64_t, int64_t, float, void*) { std::abort(); }
void attention_backward(Rows, Rows, Rows, Rows, Rows, const float*, Rows, Rows, Rows, int64_t, int64_t, float, void*) {
  std::abort();
}

}  // namespace harness
