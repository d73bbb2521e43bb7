// Affine maps with the products of cpu_kernels.h as operators of libtorch with a backward pass, and the products by
// themselves, plain C like shim.cpp. Work is shared out with libtorch's own threads.

#include "cpu_kernels.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "guarded.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <vector>

#ifndef INTRA_OP_PARALLEL
#error "compile with -fopenmp"
#endif

using harness::PANEL;
using harness::pairs_of;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

extern "C" {

int harness_cpu_kernels();

// Whether products of bfloat16 are ours. HARNESS_PRODUCTS=libtorch leaves them to libtorch, for comparison.
int harness_own_products() {
  static const char* wanted = std::getenv("HARNESS_PRODUCTS");
  static const bool on = harness_cpu_kernels() && (wanted == nullptr || std::string_view(wanted) != "libtorch");
  return on;
}

}  // extern "C"

namespace {

int64_t panels_of(int64_t columns) { return (columns + PANEL - 1) / PANEL; }

harness::Rows rows_of(const at::Tensor& x) { return {static_cast<harness::Bf16*>(x.data_ptr()), x.stride(0)}; }
const uint32_t* panel_of(const at::Tensor& panels, int64_t which) {
  return static_cast<uint32_t*>(panels.data_ptr()) + which * panels.stride(0);
}

// A right factor in panels.
at::Tensor in_panels(int64_t rows, int64_t columns) {
  return at::empty({panels_of(columns), pairs_of(rows), PANEL}, at::kInt);
}
// Fills panels: body(panel, first column, columns).
template <typename F>
void for_each_panel(const at::Tensor& panels, int64_t columns, F body) {
  at::parallel_for(0, panels.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t which = begin; which < end; which++)
      body(const_cast<uint32_t*>(panel_of(panels, which)), which * PANEL, std::min(PANEL, columns - which * PANEL));
  });
}
template <typename F>
void with_type(const at::Tensor& x, F body) {
  if (x.scalar_type() == at::kBFloat16) {
    body(static_cast<const harness::Bf16*>(x.const_data_ptr()));
  } else {
    body(x.const_data_ptr<float>());
  }
}

// x (rows, columns), bfloat16 or float32, as a right factor.
at::Tensor packed(const at::Tensor& x) {
  const at::Tensor panels = in_panels(x.size(0), x.size(1));
  with_type(x, [&](auto* at_x) {
    for_each_panel(panels, x.size(1), [&](uint32_t* panel, int64_t column, int64_t columns) {
      harness::pack(at_x + column, x.stride(0), x.size(0), columns, panel);
    });
  });
  return panels;
}
// The active rows of wide rows x.
at::Tensor packed_active(harness::Activation activation, const at::Tensor& x, int64_t width) {
  const at::Tensor panels = in_panels(x.size(0), width);
  for_each_panel(panels, width, [&](uint32_t* panel, int64_t column, int64_t) {
    harness::pack_activated(activation, rows_of(x), x.size(0), width, column, panel);
  });
  return panels;
}
// The transpose of x (rows, columns).
at::Tensor packed_transpose(const at::Tensor& x) {
  const at::Tensor panels = in_panels(x.size(1), x.size(0));
  with_type(x, [&](auto* at_x) {
    for_each_panel(panels, x.size(0), [&](uint32_t* panel, int64_t row, int64_t rows) {
      harness::pack_transposed(at_x + row * x.stride(0), x.stride(0), rows, x.size(1), panel);
    });
  });
  return panels;
}

// body(begin, end) for stretches of rows of a left factor, in parallel.
template <typename F>
void in_rows(int64_t rows, F body) {
  const int64_t at_once = harness::rows_of_tile();
  at::parallel_for(0, (rows + at_once - 1) / at_once, 1,
                   [&](int64_t begin, int64_t end) { body(begin * at_once, std::min(rows, end * at_once)); });
}
harness::Rows from(harness::Rows x, int64_t row) { return {x.at + row * x.stride, x.stride}; }

// a (rows, inner) times panels of a matrix with so many columns, plus a bias that may be null.
at::Tensor product(const at::Tensor& a, const at::Tensor& panels, int64_t columns, const float* bias = nullptr) {
  const at::Tensor y = at::empty({a.size(0), columns}, a.options());
  in_rows(a.size(0), [&](int64_t begin, int64_t end) {
    harness::multiply(from(rows_of(a), begin), end - begin, panel_of(panels, 0), panels.size(1), columns, bias,
                      from(rows_of(y), begin));
  });
  return y;
}
// The same for the active rows of wide rows x, which exist for a block at a time.
at::Tensor product_of_active(harness::Activation activation, const at::Tensor& x, int64_t width, const at::Tensor& panels,
                             int64_t columns, const float* bias) {
  const at::Tensor y = at::empty({x.size(0), columns}, x.options());
  in_rows(x.size(0), [&](int64_t begin, int64_t end) {
    const int64_t block = harness::rows_of_block();
    std::vector<harness::Bf16> active(block * width);
    for (int64_t row = begin; row < end; row += block) {
      const int64_t rows = std::min(block, end - row);
      for (int64_t i = 0; i < rows; i++)
        harness::activate<harness::Bf16>(activation, from(rows_of(x), row + i).at, active.data() + i * width, width);
      harness::multiply({active.data(), width}, rows, panel_of(panels, 0), panels.size(1), columns, bias, from(rows_of(y), row));
    }
  });
  return y;
}
// The gradient of wide rows x, whose active rows have the gradient a B with so many columns.
at::Tensor product_by_slopes(harness::Activation activation, const at::Tensor& a, const at::Tensor& panels, int64_t columns,
                             const at::Tensor& x) {
  const at::Tensor dx = at::empty_like(x);
  in_rows(a.size(0), [&](int64_t begin, int64_t end) {
    harness::multiply_by_slopes(activation, from(rows_of(a), begin), end - begin, panel_of(panels, 0), panels.size(1), columns,
                                from(rows_of(x), begin), from(rows_of(dx), begin));
  });
  return dx;
}

// sum (rows, columns) = or += A^T B for A (inner, rows) and the panels of B. Threads share out the blocks of sums, and take
// those of the same columns of A in a row. `sums`, if not null, are those of A's columns.
void add_transposed_product(const at::Tensor& a, const at::Tensor& panels, const at::Tensor& sum, bool add, float* sums = nullptr) {
  const int64_t rows = sum.size(0), columns = sum.size(1), across = panels.size(0);
  at::parallel_for(0, panels_of(rows) * across, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin, next; block < end; block = next) {
      next = std::min(end, (block / across + 1) * across);
      const int64_t row = block / across * PANEL, column = block % across * PANEL;
      harness::multiply_transposed({rows_of(a).at + row, a.stride(0)}, a.size(0), std::min(PANEL, rows - row),
                                   panel_of(panels, block % across), std::min((next - block) * PANEL, columns - column),
                                   sum.data_ptr<float>() + row * columns + column, columns, add,
                                   sums != nullptr && column == 0 ? sums + row : nullptr);
    }
  });
}

at::Tensor as_rows(const at::Tensor& x) { return x.reshape({-1, x.size(-1)}).contiguous(); }
std::vector<int64_t> with_columns(const at::Tensor& x, int64_t columns) {
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = columns;
  return sizes;
}

constexpr int64_t NO_ACTIVATION = -1;

// x W^T + b, or the same with the active rows of x, for x in bfloat16, and W and b in float32, which get their gradients in
// float32. Only x is kept for the backward pass, which computes the active rows again.
struct Linear : torch::autograd::Function<Linear> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, int64_t activation) {
    context->save_for_backward({x, weight});
    context->saved_data["bias"] = bias.has_value();
    context->saved_data["activation"] = activation;
    const at::Tensor panels = packed_transpose(weight), rows = as_rows(x), b = bias ? bias->contiguous() : at::Tensor();
    const float* at_bias = bias ? b.const_data_ptr<float>() : nullptr;
    const int64_t columns = weight.size(0), width = weight.size(1);
    const at::Tensor y = activation == NO_ACTIVATION
                             ? product(rows, panels, columns, at_bias)
                             : product_of_active(harness::Activation(activation), rows, width, panels, columns, at_bias);
    return y.view(with_columns(x, columns));
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor x = as_rows(saved[0]), dy = as_rows(gradients[0]), &weight = saved[1];
    const int64_t activation = context->saved_data["activation"].toInt(), width = weight.size(1);
    const at::Tensor of_bias = context->saved_data["bias"].toBool() ? at::empty({weight.size(0)}, weight.options()) : at::Tensor();
    const at::Tensor of_weight = at::empty_like(weight);
    const bool plain = activation == NO_ACTIVATION;
    add_transposed_product(dy, plain ? packed(x) : packed_active(harness::Activation(activation), x, width), of_weight,
                           /*add=*/false, of_bias.defined() ? of_bias.data_ptr<float>() : nullptr);
    const at::Tensor panels = packed(weight);
    const at::Tensor of_x = plain ? product(dy, panels, width) : product_by_slopes(harness::Activation(activation), dy, panels, width, x);
    return {of_x.view_as(saved[0]), of_weight, of_bias, at::Tensor()};
  }
};

}  // namespace

extern "C" {

// `bias` may be null, `activation` may be -1 for none. Both sides of the weight are even.
int harness_linear(at::Tensor* x, at::Tensor* weight, at::Tensor* bias, int activation, at::Tensor** y) {
  return guarded([&] {
    const at::Tensor w = weight->contiguous();
    *y = new at::Tensor(Linear::apply(*x, w, bias ? std::optional(*bias) : std::nullopt, activation));
  });
}

// A matrix (rows, columns) as a right factor, or its transpose.
int harness_pack(at::Tensor* x, int transposed, at::Tensor** panels) {
  return guarded([&] {
    const at::Tensor matrix = x->contiguous();
    *panels = new at::Tensor(transposed ? packed_transpose(matrix) : packed(matrix));
  });
}
// a (rows, inner), bfloat16, times what harness_pack made of a matrix with so many columns.
int harness_product(at::Tensor* a, at::Tensor* panels, int64_t columns, at::Tensor** y) {
  return guarded([&] { *y = new at::Tensor(product(a->contiguous(), *panels, columns)); });
}
// sum (a's columns, b's columns), float32, += A^T B for a and b in bfloat16.
int harness_add_product(at::Tensor* sum, at::Tensor* a, at::Tensor* b) {
  return guarded([&] { add_transposed_product(a->contiguous(), packed(b->contiguous()), *sum, /*add=*/true); });
}

}  // extern "C"
