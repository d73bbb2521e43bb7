// Processes that train together (ranks), as plain C over libtorch's own c10d: a store in which they leave each other
// words, sums over all of them, and the Reducer of DistributedDataParallel (Li et al. 2020, PyTorch Distributed), which
// adds up gradients while the backward pass goes on. Nothing is exchanged in another way.
//
// Functions that can fail return 0 on success, and leave the reason in harness_error().

#define USE_C10D_GLOO 1
#include <ATen/Functions.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/csrc/distributed/c10d/comm.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include "guarded.h"
#include "nccl_group.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstring>

namespace {

using Backend = c10d::ProcessGroup::BackendType;

struct Group {
  int rank;
  int size;
  std::chrono::milliseconds timeout;
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::ProcessGroup> ranks;
};

// Sums, not means: a loss is divided by the tokens of all ranks already.
class Sum : public c10d::CppCommHookInterface<c10::intrusive_ptr<c10d::ProcessGroup>> {
 public:
  explicit Sum(const c10::intrusive_ptr<c10d::ProcessGroup>& ranks) : CppCommHookInterface(ranks) {}

  c10::intrusive_ptr<c10::ivalue::Future> runHook(c10d::GradBucket& bucket) override {
    std::vector<at::Tensor> gradients{bucket.getBufferRef()};
    return state_->allreduce(gradients)->getFuture();
  }
};

// Buckets of gradients: a small one first, so that the exchange begins early (the sizes of DistributedDataParallel).
constexpr size_t kFirstBucketBytes = 1 << 20;
constexpr size_t kBucketBytes = 25 << 20;

// The same numbers without what autograd knows of them.
std::vector<at::Tensor> detached(at::Tensor* const* pointers, int64_t count) {
  std::vector<at::Tensor> list;
  list.reserve(count);
  for (int64_t i = 0; i < count; i++) list.push_back(pointers[i]->detach());
  return list;
}

c10::intrusive_ptr<c10d::Backend> gloo_group(const Group& group, const char* interface, const char* address) {
  auto options = c10d::ProcessGroupGloo::Options::create(group.timeout);
  options->devices.push_back(*interface != 0 ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                                             : c10d::ProcessGroupGloo::createDeviceForHostname(address));
  auto store = c10::make_intrusive<c10d::PrefixStore>("gloo", group.store);
  return c10::make_intrusive<c10d::ProcessGroupGloo>(store, group.rank, group.size, options);
}

// The library of NCCL's group, which names CUDA's types and is loaded after libtorch_cuda.so; null where there is none.
void* nccl_library(const char* path) { return *path == 0 ? nullptr : dlopen(path, RTLD_NOW | RTLD_LOCAL); }

}  // namespace

extern "C" {

// The store of rank 0 at host:port. With `serves` this process keeps it, on the socket `listening` that is bound already
// where that is not negative; everybody else is given `patience_ms` to find it.
int harness_group_join(const char* host, int port, int serves, int listening, const char* prefix, int rank, int size,
                       int64_t patience_ms, int64_t timeout_ms, Group** out) {
  return guarded([&] {
    c10d::TCPStoreOptions options;
    options.port = static_cast<uint16_t>(port);
    options.isServer = serves != 0;
    options.waitWorkers = false;
    options.timeout = std::chrono::milliseconds(patience_ms);
    if (listening >= 0) options.masterListenFd = listening;
    auto store = c10::make_intrusive<c10d::TCPStore>(host, options);
    store->setTimeout(std::chrono::milliseconds(timeout_ms));
    *out = new Group{rank, size, std::chrono::milliseconds(timeout_ms),
                     c10::make_intrusive<c10d::PrefixStore>(prefix, store), {}};
  });
}

// Leaves bytes under a key.
int harness_group_set(Group* group, const char* key, const uint8_t* bytes, int64_t count) {
  return guarded([&] { group->store->set(key, std::vector<uint8_t>(bytes, bytes + count)); });
}

// bytes (uint8) <- what is under a key; waits for it.
int harness_group_get(Group* group, const char* key, at::Tensor** bytes) {
  return guarded([&] {
    const auto found = group->store->get(key);
    *bytes = new at::Tensor(at::empty({static_cast<int64_t>(found.size())}, at::kByte));
    std::memcpy((*bytes)->data_ptr(), found.data(), found.size());
  });
}

// Whether there is something under a key; does not wait.
int harness_group_has(Group* group, const char* key, int* has) {
  return guarded([&] { *has = group->store->check({key}); });
}

// Connects all ranks: over Gloo, from the interface of that name or (where it is empty) the address, or with NCCL by the
// library at that path.
int harness_group_connect(Group* group, const char* nccl, const char* interface, const char* address) {
  return guarded([&] {
    auto ranks = c10::make_intrusive<c10d::ProcessGroup>(group->store, group->rank, group->size);
    if (*nccl != 0) {
      void* library = nccl_library(nccl);
      TORCH_CHECK(library != nullptr, dlerror());
      auto connect = reinterpret_cast<harness_nccl_group_t*>(dlsym(library, "harness_nccl_group"));
      auto store = c10::make_intrusive<c10d::PrefixStore>("nccl", group->store);
      ranks->setDefaultBackend(Backend::NCCL);
      ranks->setBackend(c10::DeviceType::CUDA, Backend::NCCL, connect(store, group->rank, group->size, group->timeout));
    } else {
      auto backend = gloo_group(*group, interface, address);
      ranks->setDefaultBackend(Backend::GLOO);
      ranks->setBackend(c10::DeviceType::CPU, Backend::GLOO, backend);
      ranks->setBackend(c10::DeviceType::CUDA, Backend::GLOO, backend);
    }
    group->ranks = ranks;
  });
}

// version <- that of NCCL; empty where there is no library of it at that path.
void harness_nccl_version(const char* path, char* out, size_t capacity) {
  std::string version;
  if (void* library = nccl_library(path)) {
    version = reinterpret_cast<harness_nccl_version_t*>(dlsym(library, "harness_nccl_library_version"))();
  }
  const size_t length = std::min(version.size(), capacity - 1);
  std::memcpy(out, version.data(), length);
  out[length] = 0;
}

// tensor <- the sum of what all ranks have.
int harness_group_sum(Group* group, at::Tensor* tensor) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    std::vector<at::Tensor> list{*tensor};
    group->ranks->allreduce(list)->wait();
  });
}

// tensors <- those of rank `from`, several in one message.
int harness_group_broadcast(Group* group, int from, at::Tensor* const* tensors, int64_t count) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    const std::vector<at::Tensor> list = detached(tensors, count);
    c10d::broadcast_coalesced(group->ranks, list, kBucketBytes, from);
  });
}

void harness_group_leave(Group* group) { delete group; }

// From now on a backward pass that is announced adds up the gradients of all ranks, bucket by bucket while it goes on.
// Fails where ranks have other parameters: found later, that would abort the process.
int harness_reducer_new(Group* group, at::Tensor* const* parameters, int64_t count, c10d::Reducer** out) {
  return guarded([&] {
    std::vector<at::Tensor> list;
    for (int64_t i = 0; i < count; i++) list.push_back(*parameters[i]);
    c10d::verify_params_across_processes(group->ranks, list, std::nullopt);
    const std::vector<bool> dense(list.size(), false);
    auto buckets = std::get<0>(c10d::compute_bucket_assignment_by_size(list, {kFirstBucketBytes, kBucketBytes}, dense));
    std::reverse(buckets.begin(), buckets.end());  // The gradients of the last parameters come first.
    auto reducer = std::make_unique<c10d::Reducer>(
        list, buckets, group->ranks, dense, kBucketBytes, /*find_unused_parameters=*/false,
        /*gradient_as_bucket_view=*/true, /*param_names=*/std::unordered_map<size_t, std::string>{}, kFirstBucketBytes,
        /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false, /*bucket_bytes_cap_list=*/std::vector<int64_t>{});
    reducer->register_comm_hook(std::make_unique<Sum>(group->ranks));
    *out = reducer.release();
  });
}

// The next backward pass adds up.
int harness_reducer_announce(c10d::Reducer* reducer) {
  return guarded([&] {
    reducer->prepare_for_forward();
    reducer->rebuild_buckets();  // Once, in the order in which gradients arrived the first time.
    reducer->prepare_for_backward({});
  });
}

// The gradient of a parameter is complete in this pass, though no backward pass has come to it: what waits for it there
// is told. Before the backward pass of the others, so that theirs is the last.
int harness_gradient_complete(at::Tensor* parameter) {
  return guarded([&] {
    const auto accumulator = torch::autograd::impl::try_get_grad_accumulator(*parameter);
    if (!accumulator) return;
    for (auto& hook : accumulator->post_hooks()) (*hook)({}, {});
  });
}

void harness_reducer_delete(c10d::Reducer* reducer) {
  guarded([&] { delete reducer; });
}

}  // extern "C"
