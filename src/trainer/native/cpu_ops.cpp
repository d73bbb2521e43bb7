// The kernels of cpu_kernels.h as operators of libtorch with a backward pass, plain C like shim.cpp. Work is shared out
// with libtorch's own threads. What the kernels do not serve is left to libtorch's operators by src/native.rs.

#include "cpu_kernels.h"

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/Version.h>
#include <ATen/cpu/Utils.h>
#include <torch/csrc/autograd/custom_function.h>

#include "cpu_ops.h"
#include "guarded.h"

#include <algorithm>
#include <cmath>
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
  static const bool on = [] {
    const bool on = at::get_cpu_capability() == "AVX512" && harness::has_cpu_kernels();
    // The code for tiles was written without a processor that has some: it is used where it proves right.
    harness::harness_amx_in_use = on && harness::has_amx() && at::cpu::init_amx() && harness::harness_amx_agrees();
    return on;
  }();
  return on;
}

// Whether the products of our kernels go through the tiles of the processor (AMX).
int harness_amx() { return harness_cpu_kernels() && harness::harness_amx_in_use; }

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

// Calls body(pointer of x's type, row) for each of so many rows of `width` elements, in parallel.
template <typename F>
void in_rows(const at::Tensor& x, int64_t rows, int64_t width, F body) {
  with_type(x, [&](auto* type) {
    at::parallel_for(0, rows, 1 + GRAIN / width, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) body(type, row);
    });
  });
}

// Whether a kernel serves a tensor. (For attention and the loss src/native.rs decides.)
bool served(const at::Tensor& x) {
  return harness_cpu_kernels() && x.is_cpu() && (x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kFloat);
}

using harness::Activation;

// The active rows (.., width) of x (.., width or 2 width).
at::Tensor activated(Activation activation, const at::Tensor& input) {
  const auto halves = [&] { return input.chunk(2, -1); };
  if (!served(input)) {
    switch (activation) {
      case Activation::GELU: return at::gelu(input, "tanh");
      case Activation::SWIGLU: return at::silu(halves()[0]) * halves()[1];
      case Activation::RELU_SQUARED: return input.relu().square();
    }
  }
  const at::Tensor x = input.contiguous();
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() /= activation == Activation::SWIGLU ? 2 : 1;
  const at::Tensor y = at::empty(sizes, x.options());
  const int64_t wide = x.size(-1), width = sizes.back();
  in_rows(x, x.numel() / std::max<int64_t>(wide, 1), wide, [&](auto* type, int64_t row) {
    using T = std::remove_pointer_t<decltype(type)>;
    harness::activate(activation, data<T>(x) + row * wide, data<T>(y) + row * width, width);
  });
  return y;
}
at::Tensor activated_backward(Activation activation, const at::Tensor& input, const at::Tensor& gradient) {
  if (!served(input)) {
    switch (activation) {
      case Activation::GELU: return at::gelu_backward(gradient, input, "tanh");
      case Activation::SWIGLU: {
        const auto halves = input.chunk(2, -1);
        return at::cat({at::silu_backward(gradient * halves[1], halves[0]), gradient * at::silu(halves[0])}, -1);
      }
      case Activation::RELU_SQUARED: return gradient * input.relu() * 2;
    }
  }
  const at::Tensor x = input.contiguous(), dy = gradient.contiguous(), dx = at::empty_like(x);
  const int64_t wide = x.size(-1), width = dy.size(-1);
  in_rows(x, x.numel() / std::max<int64_t>(wide, 1), wide, [&](auto* type, int64_t row) {
    using T = std::remove_pointer_t<decltype(type)>;
    harness::activate_backward(activation, data<T>(x) + row * wide, data<T>(dy) + row * width, data<T>(dx) + row * wide, width);
  });
  return dx;
}

// Only x is kept for the backward pass, which computes the active rows again.
struct ActivatedLinear : torch::autograd::Function<ActivatedLinear> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, int64_t activation) {
    context->save_for_backward({x, weight});
    context->saved_data["bias"] = bias.has_value();
    context->saved_data["activation"] = activation;
    return at::linear(activated(Activation(activation), x), weight, bias);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1];
    const Activation activation{static_cast<int>(context->saved_data["activation"].toInt())};
    const at::Tensor dy = gradients[0].reshape({-1, gradients[0].size(-1)}), rows = x.reshape({-1, x.size(-1)});
    const at::Tensor of_weight = dy.t().mm(activated(activation, rows));
    const at::Tensor of_bias = context->saved_data["bias"].toBool() ? dy.sum(0) : at::Tensor();
    return {activated_backward(activation, rows, dy.mm(weight)).view_as(x), of_weight, of_bias, at::Tensor()};
  }
};

// Rows that share a partial sum of the gradients of gain and bias: fixed, so that the sums are the same for any number of threads.
constexpr int64_t SUMMED_ROWS = 64;

// Layer norm, or RMS norm if not centered, over the last dimension; gain and bias, and their gradients, in float32.
struct Norm : torch::autograd::Function<Norm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const at::Tensor& gain,
                            const std::optional<at::Tensor>& bias, bool centered, double epsilon) {
    const at::Tensor x = input.contiguous(), y = at::empty_like(x), g = gain.contiguous(), b = bias ? bias->contiguous() : at::Tensor();
    const int64_t count = x.size(-1), rows = x.numel() / count;
    const at::Tensor moments = at::empty({rows, 2}, x.options().dtype(at::kFloat));
    in_rows(x, rows, count, [&](auto* type, int64_t row) {
      using T = std::remove_pointer_t<decltype(type)>;
      const harness::Moments found =
          harness::normalize(data<T>(x) + row * count, data<float>(g), bias ? data<float>(b) : nullptr, centered, epsilon,
                             data<T>(y) + row * count, count);
      data<float>(moments)[2 * row] = found.mean;
      data<float>(moments)[2 * row + 1] = found.scale;
    });
    context->save_for_backward({x, g, moments});
    context->saved_data["bias"] = bias.has_value();
    context->saved_data["centered"] = centered;
    return y;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &gain = saved[1], &moments = saved[2], dy = gradients[0].contiguous(), dx = at::empty_like(x);
    const bool bias = context->saved_data["bias"].toBool(), centered = context->saved_data["centered"].toBool();
    const int64_t count = x.size(-1), rows = x.numel() / count, parts = (rows + SUMMED_ROWS - 1) / SUMMED_ROWS;
    const at::Tensor sums = at::zeros({parts, 2, count}, gain.options());
    in_rows(x, parts, SUMMED_ROWS * count, [&](auto* type, int64_t part) {
      using T = std::remove_pointer_t<decltype(type)>;
      float* of_gain = data<float>(sums) + part * 2 * count;
      for (int64_t row = part * SUMMED_ROWS; row < std::min(rows, (part + 1) * SUMMED_ROWS); row++) {
        const float* at = data<float>(moments) + 2 * row;
        harness::normalize_backward(data<T>(x) + row * count, data<T>(dy) + row * count, data<float>(gain), {at[0], at[1]}, centered,
                                    data<T>(dx) + row * count, of_gain, bias ? of_gain + count : nullptr, count);
      }
    });
    const at::Tensor total = at::zeros({2, count}, gain.options());
    float* into = data<float>(total);
    for (int64_t part = 0; part < parts; part++)
      for (int64_t i = 0; i < 2 * count; i++) into[i] += data<float>(sums)[part * 2 * count + i];
    return {dx, total[0], bias ? total[1] : at::Tensor(), at::Tensor(), at::Tensor()};
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

bool harness::l2_norms(const std::vector<at::Tensor>& tensors, float* norms) {
  // Elements whose squares one thread sums: fixed, so that the sums are the same for any number of threads.
  constexpr int64_t STRETCH = 1 << 16;
  auto serves = [](const at::Tensor& x) { return x.is_cpu() && x.scalar_type() == at::kFloat && x.is_contiguous(); };
  if (!harness_cpu_kernels() || !std::all_of(tensors.begin(), tensors.end(), serves)) return false;
  std::vector<std::pair<size_t, int64_t>> stretches;  // tensor and first element
  for (size_t i = 0; i < tensors.size(); i++)
    for (int64_t begin = 0; begin < tensors[i].numel(); begin += STRETCH) stretches.emplace_back(i, begin);
  std::vector<double> sums(stretches.size()), totals(tensors.size());
  at::parallel_for(0, stretches.size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t which = begin; which < end; which++) {
      const auto [i, first] = stretches[which];
      sums[which] = harness::sum_of_squares(data<float>(tensors[i]) + first, std::min(STRETCH, tensors[i].numel() - first));
    }
  });
  for (size_t which = 0; which < stretches.size(); which++) totals[stretches[which].first] += sums[which];
  for (size_t i = 0; i < tensors.size(); i++) norms[i] = static_cast<float>(std::sqrt(totals[i]));
  return true;
}

extern "C" {

// `bias` may be null; gain and bias are float32.
int harness_norm(at::Tensor* x, at::Tensor* gain, at::Tensor* bias, int centered, double epsilon, at::Tensor** y) {
  return guarded([&] {
    *y = new at::Tensor(Norm::apply(*x, *gain, bias ? std::optional(*bias) : std::nullopt, centered != 0, epsilon));
  });
}

// `bias` may be null.
int harness_activated_linear(at::Tensor* x, at::Tensor* weight, at::Tensor* bias, int activation, at::Tensor** y) {
  return guarded([&] {
    *y = new at::Tensor(ActivatedLinear::apply(*x, *weight, bias ? std::optional(*bias) : std::nullopt, activation));
  });
}
int harness_activated(at::Tensor* x, int activation, at::Tensor** y) {
  return guarded([&] { *y = new at::Tensor(activated(Activation(activation), *x)); });
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
