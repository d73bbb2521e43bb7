// What shim.cpp asks of cpu_ops.cpp.

#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace harness {

// norms[i] <- L2 norm of tensor i. False, with nothing done, where there is no kernel for the tensors.
bool l2_norms(const std::vector<at::Tensor>& tensors, float* norms);

}  // namespace harness
