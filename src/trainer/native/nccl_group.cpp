// NCCL's group of ranks, in a shared object of its own (feature `nccl`), because it names CUDA's types: the program goes on
// serving machines without CUDA. Exceptions pass through to collectives.cpp, which was made by the same compiler.

#define USE_C10D_NCCL 1
#include <torch/csrc/distributed/c10d/NCCLUtils.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "nccl_group.h"

extern "C" {

harness_nccl_group_t harness_nccl_group;
harness_nccl_version_t harness_nccl_library_version;

c10::intrusive_ptr<c10d::Backend> harness_nccl_group(c10::intrusive_ptr<c10d::Store> store, int rank, int size,
                                                     std::chrono::milliseconds timeout) {
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = timeout;
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rank, size, options);
}

std::string harness_nccl_library_version() { return c10d::getNcclVersion(); }

}  // extern "C"
