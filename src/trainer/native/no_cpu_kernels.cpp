// cpu_kernels.h on machines for which there are none: the answer is no, and nothing else is ever called.

#include "cpu_kernels.h"

#include <cstdlib>

namespace harness {

bool has_cpu_kernels() { return false; }

template <typename T>
void gelu(const T*, T*, int64_t) {
  std::abort();
}
template <typename T>
void gelu_backward(const T*, const T*, T*, int64_t) {
  std::abort();
}
template <typename T>
double cross_entropy(T*, int64_t, int64_t, double, double) {
  std::abort();
}
template void gelu(const float*, float*, int64_t);
template void gelu(const Bf16*, Bf16*, int64_t);
template void gelu_backward(const float*, const float*, float*, int64_t);
template void gelu_backward(const Bf16*, const Bf16*, Bf16*, int64_t);
template double cross_entropy(float*, int64_t, int64_t, double, double);
template double cross_entropy(Bf16*, int64_t, int64_t, double, double);

FirstChoice first_choice(const float*, int64_t) { std::abort(); }

template <typename T>
void pack(const T*, int64_t, int64_t, int64_t, uint32_t*, float*) {
  std::abort();
}
template <typename T>
void pack_transposed(const T*, int64_t, int64_t, int64_t, uint32_t*) {
  std::abort();
}
template void pack(const float*, int64_t, int64_t, int64_t, uint32_t*, float*);
template void pack(const Bf16*, int64_t, int64_t, int64_t, uint32_t*, float*);
template void pack_transposed(const float*, int64_t, int64_t, int64_t, uint32_t*);
template void pack_transposed(const Bf16*, int64_t, int64_t, int64_t, uint32_t*);
void pack_gelu(Rows, int64_t, int64_t, uint32_t*) { std::abort(); }
void multiply(Rows, int64_t, const uint32_t*, int64_t, int64_t, const float*, Rows) { std::abort(); }
void multiply_by_gelu_slope(Rows, int64_t, const uint32_t*, int64_t, int64_t, Rows, Rows) { std::abort(); }
void multiply_panels(const uint32_t*, int64_t, const uint32_t*, int64_t, int64_t, float*, int64_t, bool) { std::abort(); }

size_t attention_scratch_bytes(int64_t, int64_t) { std::abort(); }
void attention(Rows, Rows, Rows, Rows, float*, int64_t, int64_t, float, void*) { std::abort(); }
void attention_backward(Rows, Rows, Rows, Rows, Rows, const float*, Rows, Rows, Rows, int64_t, int64_t, float, void*) {
  std::abort();
}

}  // namespace harness
