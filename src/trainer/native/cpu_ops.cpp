// The kernels of cpu_kernels.h as operators of libtorch with a backward pass, plain C like shim.cpp. Work is shared out
// with libtorch's own threads. What the kernels do not serve is left to libtorch's operators by src/native.rs.

#include "cpu_kernels.h"

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/csrc/autograd/custom_function.h>

#include "guarded.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <vector>

// Without OpenMP, at::parallel_for is a plain loop.
#ifndef INTRA_OP_PARALLEL
#error "compile with -fopenmp"
#endif

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

extern "C" {

// The kernels need the instructions that libtorch calls AVX512 and the bfloat16 products; ATEN_CPU_CAPABILITY turns them
// off together with libtorch's own.
int harness_cpu_kernels() {
  static const bool on = at::get_cpu_capability() == "AVX512" && harness::has_cpu_kernels();
  return on;
}

}  // extern "C"

namespace {

// Elements that one thread takes at least.
constexpr int64_t GRAIN = 1 << 14;

template <typename F>
void with_type(const at::Tensor& x, F body) {
  if (x.scalar_type() == at::kBFloat16) {
    body(static_cast<harness::Bf16*>(nullptr));
  } else {
    body(static_cast<float*>(nullptr));
  }
}
template <typename T>
T* data(const at::Tensor& x) {
  return static_cast<T*>(x.data_ptr());
}

// Calls body(x + begin, begin, count) for the stretches of a contiguous tensor, in parallel.
template <typename F>
void in_stretches(const at::Tensor& x, F body) {
  with_type(x, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    at::parallel_for(0, x.numel(), GRAIN,
                     [&](int64_t begin, int64_t end) { body(data<T>(x) + begin, begin, end - begin); });
  });
}

// Whether a kernel serves a tensor. (For attention and the loss src/native.rs decides.)
bool served(const at::Tensor& x) {
  return harness_cpu_kernels() && x.is_cpu() && (x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kFloat);
}

at::Tensor tanh_gelu(const at::Tensor& input) {
  if (!served(input)) return at::gelu(input, "tanh");
  const at::Tensor x = input.contiguous(), y = at::empty_like(x);
  in_stretches(x, [&](auto* at_x, int64_t begin, int64_t count) {
    harness::gelu(at_x, data<std::remove_pointer_t<decltype(at_x)>>(y) + begin, count);
  });
  return y;
}
at::Tensor tanh_gelu_backward(const at::Tensor& input, const at::Tensor& gradient) {
  if (!served(input)) return at::gelu_backward(gradient, input, "tanh");
  const at::Tensor x = input.contiguous(), dy = gradient.contiguous(), dx = at::empty_like(x);
  in_stretches(x, [&](auto* at_x, int64_t begin, int64_t count) {
    using T = std::remove_pointer_t<decltype(at_x)>;
    harness::gelu_backward(at_x, data<T>(dy) + begin, data<T>(dx) + begin, count);
  });
  return dx;
}

// Only x is kept for the backward pass, which computes GELU(x) again.
struct GeluLinear : torch::autograd::Function<GeluLinear> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias) {
    context->save_for_backward({x, weight});
    context->saved_data["bias"] = bias.has_value();
    return at::linear(tanh_gelu(x), weight, bias);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1];
    const at::Tensor dy = gradients[0].reshape({-1, gradients[0].size(-1)});
    const at::Tensor of_weight = dy.t().mm(tanh_gelu(x).reshape({-1, x.size(-1)}));
    const at::Tensor of_bias = context->saved_data["bias"].toBool() ? dy.sum(0) : at::Tensor();
    return {tanh_gelu_backward(x, dy.mm(weight).view_as(x)), of_weight, of_bias};
  }
};

// One head of (B, H, T, D) whose last dimension is contiguous.
harness::Rows head(const at::Tensor& x, int64_t which) {
  const int64_t b = which / x.size(1), h = which % x.size(1);
  return {data<harness::Bf16>(x) + b * x.stride(0) + h * x.stride(1), x.stride(2)};
}
at::Tensor with_rows(const at::Tensor& x) { return x.stride(3) == 1 ? x : x.contiguous(); }
// (B, H, T, D), lying in memory as (B, T, H, D).
at::Tensor heads_like(const at::Tensor& x) {
  return at::empty({x.size(0), x.size(2), x.size(1), x.size(3)}, x.options()).transpose(1, 2);
}

template <typename F>
void for_each_head(const at::Tensor& q, F body) {
  const size_t bytes = harness::attention_scratch_bytes(q.size(2), q.size(3));
  at::parallel_for(0, q.size(0) * q.size(1), 1, [&](int64_t begin, int64_t end) {
    const std::unique_ptr<void, decltype(&std::free)> scratch(std::aligned_alloc(64, (bytes + 63) / 64 * 64), &std::free);
    TORCH_CHECK(scratch != nullptr, "not enough memory: you tried to allocate ", bytes, " bytes.");
    for (int64_t which = begin; which < end; which++) body(which, scratch.get());
  });
}

struct Attention : torch::autograd::Function<Attention> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            double scale) {
    const at::Tensor q = with_rows(query), k = with_rows(key), v = with_rows(value), y = heads_like(q);
    const at::Tensor lse = at::empty({q.size(0), q.size(1), q.size(2)}, q.options().dtype(at::kFloat));
    for_each_head(q, [&](int64_t i, void* scratch) {
      harness::attention(head(q, i), head(k, i), head(v, i), head(y, i), data<float>(lse) + i * q.size(2), q.size(2), q.size(3),
                         static_cast<float>(scale), scratch);
    });
    context->save_for_backward({q, k, v, y, lse});
    context->saved_data["scale"] = scale;
    return y;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto &q = saved[0], &k = saved[1], &v = saved[2], &y = saved[3], &lse = saved[4];
    const float scale = static_cast<float>(context->saved_data["scale"].toDouble());
    const at::Tensor dy = with_rows(gradients[0]), dq = heads_like(q), dk = heads_like(k), dv = heads_like(v);
    for_each_head(q, [&](int64_t i, void* scratch) {
      harness::attention_backward(head(q, i), head(k, i), head(v, i), head(y, i), head(dy, i), data<float>(lse) + i * q.size(2),
                                  head(dq, i), head(dk, i), head(dv, i), q.size(2), q.size(3), scale, scratch);
    });
    return {dq, dk, dv, at::Tensor()};
  }
};

}  // namespace

extern "C" {

// `bias` may be null.
int harness_gelu_linear(at::Tensor* x, at::Tensor* weight, at::Tensor* bias, at::Tensor** y) {
  return guarded([&] { *y = new at::Tensor(GeluLinear::apply(*x, *weight, bias ? std::optional(*bias) : std::nullopt)); });
}
int harness_gelu(at::Tensor* x, at::Tensor** y) {
  return guarded([&] { *y = new at::Tensor(tanh_gelu(*x)); });
}

// q, k, v: (B, H, T, D), bfloat16.
int harness_attention(at::Tensor* q, at::Tensor* k, at::Tensor* v, double scale, at::Tensor** y) {
  return guarded([&] { *y = new at::Tensor(Attention::apply(*q, *k, *v, scale)); });
}

// logits (rows, V' >= vocabulary_size) become their gradients; targets: int64, one for each row; sum: of the targets'
// log-probabilities.
int harness_cross_entropy(at::Tensor* logits, int64_t vocabulary_size, at::Tensor* targets, double z_loss, double soft_cap,
                          double* sum) {
  return guarded([&] {
    const int64_t rows = logits->size(0), stride = logits->size(1);
    const at::Tensor wanted = targets->contiguous();
    TORCH_CHECK(logits->is_contiguous() && vocabulary_size <= stride && wanted.numel() == rows, "logits of a wrong shape");
    const auto* ids = wanted.const_data_ptr<int64_t>();
    std::vector<double> log_p(rows);
    with_type(*logits, [&](auto* type) {
      using T = std::remove_pointer_t<decltype(type)>;
      at::parallel_for(0, rows, 1 + GRAIN / stride, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; row++) {
          T* z = data<T>(*logits) + row * stride;
          log_p[row] = harness::cross_entropy(z, vocabulary_size, ids[row], z_loss, soft_cap);
          std::fill(z + vocabulary_size, z + stride, T{});
        }
      });
    });
    *sum = std::accumulate(log_p.begin(), log_p.end(), 0.0);
  });
}

// logits (rows, V' >= vocabulary_size), float32; one number of each row goes to each of the others.
int harness_first_choices(at::Tensor* logits, int64_t vocabulary_size, float* largest, int64_t* which, double* log_z) {
  return guarded([&] {
    const int64_t rows = logits->size(0), stride = logits->size(1);
    TORCH_CHECK(logits->is_contiguous() && 0 < vocabulary_size && vocabulary_size <= stride, "logits of a wrong shape");
    at::parallel_for(0, rows, 1 + GRAIN / stride, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const harness::FirstChoice first = harness::first_choice(data<float>(*logits) + row * stride, vocabulary_size);
        largest[row] = first.logit;
        which[row] = first.which;
        log_z[row] = first.log_z;
      }
    });
  });
}

}  // extern "C"
