// What the shared object of NCCL's group gives to collectives.cpp.

#pragma once

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <string>

using harness_nccl_group_t = c10::intrusive_ptr<c10d::Backend>(c10::intrusive_ptr<c10d::Store>, int rank, int size,
                                                               std::chrono::milliseconds timeout);
using harness_nccl_version_t = std::string();
