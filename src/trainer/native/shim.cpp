// What libtorch has and tch does not expose, as plain C: switches that are set and read back, the fused
// optimizer, the gradient norm, and what there is to know about the device. Nothing is computed here that
// an operator of libtorch does not compute; kernels of our own are in cpu_ops.cpp. No header of CUDA is needed: the
// CUDA backend is a shared object that is loaded at run time, and is reached through libtorch's own hooks.
//
// Functions that can fail return 0 on success, and leave the reason in harness_error().

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/Version.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/empty.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/api/include/torch/version.h>

#include "cpu_ops.h"
#include "guarded.h"

#include <dlfcn.h>
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace {

// tch's C_tensor* is an at::Tensor*.
std::vector<at::Tensor> tensors(at::Tensor* const* pointers, int64_t count) {
  std::vector<at::Tensor> list;
  list.reserve(count);
  for (int64_t i = 0; i < count; i++) list.push_back(*pointers[i]);
  return list;
}

// norms[i] <- L2 norm of tensor i.
void l2_norms(const std::vector<at::Tensor>& list, at::Tensor& norms) {
  if (norms.is_cpu() && harness::l2_norms(list, norms.data_ptr<float>())) return;
  norms.copy_(at::stack(at::_foreach_norm(list, 2)));
}

void copy_text(const std::string& text, char* out, size_t capacity) {
  const size_t length = std::min(text.size(), capacity - 1);
  std::memcpy(out, text.data(), length);
  out[length] = 0;
}

volatile sig_atomic_t stop_signals = 0;
volatile sig_atomic_t stop_ends = 0;
void note_stop(int) {
  stop_signals = 1;
  if (stop_ends) _exit(0);
}

}  // namespace

extern "C" {

const char* harness_error() { return last_error().c_str(); }

// ---- process -------------------------------------------------------------------------------------------

// SIGINT, SIGTERM and SIGUSR1 ask for an orderly end. A terminal sends SIGINT to parent and child alike, a queue the others to
// every process of a job, once or more often.
void harness_catch_stop_signals() {
  struct sigaction action {};
  action.sa_handler = note_stop;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGUSR1, &action, nullptr);
}
// Whether such a signal ends the process at once: it has nothing to do yet.
void harness_end_on_stop_signal(int ends) {
  stop_ends = ends;
  if (ends && stop_signals) _exit(0);
}
int harness_stop_signalled() { return stop_signals; }

// User and system time so far.
double harness_cpu_time_s() {
  struct rusage used {};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) { return time.tv_sec + time.tv_usec * 1e-6; };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

// Large buffers are kept by the allocator instead of going back to the system after each operation, which
// saves the page faults of getting them again in the next one.
void harness_keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

// ---- libtorch and its backends -------------------------------------------------------------------------

void harness_libtorch_version(char* out, size_t capacity) { copy_text(TORCH_VERSION, out, capacity); }
void harness_cpu_capability(char* out, size_t capacity) { copy_text(at::get_cpu_capability(), out, capacity); }

// Loading the library registers the CUDA backend. It fails cleanly where CUDA's libraries are not installed.
int harness_load_cuda() {
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) != nullptr) return 0;
  last_error() = dlerror();
  return 1;
}
int harness_driver_present() {
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (driver == nullptr) return 0;
  dlclose(driver);
  return 1;
}
int harness_cuda_devices(int64_t* count) {
  return guarded([&] { *count = at::Context::hasCUDA() ? at::detail::getCUDAHooks().getNumGPUs() : 0; });
}
int harness_cuda_version(int64_t* cudart, int64_t* cudnn) {
  return guarded([&] {
    const auto& hooks = at::detail::getCUDAHooks();
    *cudart = hooks.hasCUDART() ? hooks.versionCUDART() : 0;
    *cudnn = hooks.hasCuDNN() ? hooks.versionRuntimeCuDNN() : 0;
  });
}
int harness_cuda_peak_bytes(int64_t* bytes) {
  return guarded([&] {
    auto stats = c10::getDeviceAllocator(c10::DeviceType::CUDA)->getDeviceStats(0);
    *bytes = stats.allocated_bytes[0].peak;
  });
}
int harness_cuda_bytes(int64_t* bytes) {
  return guarded([&] {
    auto stats = c10::getDeviceAllocator(c10::DeviceType::CUDA)->getDeviceStats(0);
    *bytes = stats.allocated_bytes[0].current;
  });
}
// ---- copies that nobody waits for ------------------------------------------------------------------------

// A copy of a host tensor from which a GPU can read by itself.
int harness_pin(at::Tensor* tensor, at::Tensor** pinned) {
  return guarded([&] { *pinned = new at::Tensor(tensor->pin_memory()); });
}

// Begins to copy a tensor to the host. The copy is complete once harness_wait has returned for `arrival`, which is null
// where it is complete already.
int harness_to_host(at::Tensor* tensor, at::Tensor** host, c10::Event** arrival) {
  return guarded([&] {
    *arrival = nullptr;
    if (tensor->is_cpu()) {
      *host = new at::Tensor(tensor->detach().clone());
      return;
    }
    at::NoGradGuard no_grad;
    auto copy = at::empty(tensor->sizes(), tensor->options().device(at::kCPU).pinned_memory(true));
    copy.copy_(*tensor, /*non_blocking=*/true);
    const c10::impl::VirtualGuardImpl backend(tensor->device().type());
    auto event = std::make_unique<c10::Event>(tensor->device().type());
    event->record(backend.getStream(tensor->device()));
    *host = new at::Tensor(copy);
    *arrival = event.release();
  });
}
int harness_wait(c10::Event* arrival) {
  return guarded([&] { arrival->synchronize(); });
}
void harness_forget(c10::Event* arrival) { delete arrival; }

// ---- NVML: what the driver knows of a GPU --------------------------------------------------------------

struct HarnessGpu {
  char name[128];
  char uuid[128];
  char driver[128];
  int32_t capability_major;
  int32_t capability_minor;
  uint64_t memory_bytes;
  double power_limit_w;  // negative if unknown
  double energy_j;       // since the driver was loaded; negative if unknown
  double power_w;        // now; negative if unknown
};

// Declared here as in nvml.h, version 2 of each call, which NVIDIA keeps stable.
int harness_gpu(int number, HarnessGpu* gpu) {
  std::memset(gpu, 0, sizeof *gpu);
  gpu->power_limit_w = gpu->energy_j = gpu->power_w = -1;
  void* nvml = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (nvml == nullptr) {
    last_error() = dlerror();
    return 1;
  }
  auto function = [&](const char* name) { return dlsym(nvml, name); };
  using Handle = void*;
  struct Memory { unsigned long long total, free, used; };
  auto init = reinterpret_cast<int (*)()>(function("nvmlInit_v2"));
  auto by_index = reinterpret_cast<int (*)(unsigned, Handle*)>(function("nvmlDeviceGetHandleByIndex_v2"));
  auto by_bus = reinterpret_cast<int (*)(const char*, Handle*)>(function("nvmlDeviceGetHandleByPciBusId_v2"));
  auto name = reinterpret_cast<int (*)(Handle, char*, unsigned)>(function("nvmlDeviceGetName"));
  auto uuid = reinterpret_cast<int (*)(Handle, char*, unsigned)>(function("nvmlDeviceGetUUID"));
  auto driver = reinterpret_cast<int (*)(char*, unsigned)>(function("nvmlSystemGetDriverVersion"));
  auto capability = reinterpret_cast<int (*)(Handle, int*, int*)>(function("nvmlDeviceGetCudaComputeCapability"));
  auto memory = reinterpret_cast<int (*)(Handle, Memory*)>(function("nvmlDeviceGetMemoryInfo"));
  auto limit = reinterpret_cast<int (*)(Handle, unsigned*)>(function("nvmlDeviceGetEnforcedPowerLimit"));
  auto energy = reinterpret_cast<int (*)(Handle, unsigned long long*)>(function("nvmlDeviceGetTotalEnergyConsumption"));
  auto power = reinterpret_cast<int (*)(Handle, unsigned*)>(function("nvmlDeviceGetPowerUsage"));
  if (!init || !by_index || init() != 0) {
    last_error() = "NVML does not answer";
    return 1;
  }
  // NVML counts all cards; CUDA_VISIBLE_DEVICES renumbers CUDA's. The bus id says which one of them is meant.
  Handle card = nullptr;
  char bus[64] = {0};
  auto bus_id = reinterpret_cast<int (*)(char*, int, int)>(dlsym(RTLD_DEFAULT, "cudaDeviceGetPCIBusId"));
  const bool found = bus_id && by_bus && bus_id(bus, sizeof bus, number) == 0 && by_bus(bus, &card) == 0;
  if (!found && by_index(number, &card) != 0) {
    last_error() = "NVML finds no GPU";
    return 1;
  }
  if (name) name(card, gpu->name, sizeof gpu->name);
  if (uuid) uuid(card, gpu->uuid, sizeof gpu->uuid);
  if (driver) driver(gpu->driver, sizeof gpu->driver);
  int major = 0, minor = 0;
  if (capability && capability(card, &major, &minor) == 0) {
    gpu->capability_major = major;
    gpu->capability_minor = minor;
  }
  Memory held{};
  if (memory && memory(card, &held) == 0) gpu->memory_bytes = held.total;
  unsigned milliwatts = 0;
  if (limit && limit(card, &milliwatts) == 0) gpu->power_limit_w = milliwatts / 1000.0;
  if (power && power(card, &milliwatts) == 0) gpu->power_w = milliwatts / 1000.0;
  unsigned long long millijoules = 0;
  if (energy && energy(card, &millijoules) == 0) gpu->energy_j = millijoules / 1000.0;
  return 0;
}

// ---- switches, each with its reading -------------------------------------------------------------------

int harness_set_deterministic(int on) {
  return guarded([&] {
    auto& context = at::globalContext();
    // warn_only must be off: memory-efficient attention is deterministic only then.
    context.setDeterministicAlgorithms(on != 0, /*warn_only=*/false);
    context.setDeterministicCuDNN(on != 0);
    context.setBenchmarkCuDNN(false);
    // Filling fresh memory with NaN finds reads of uninitialized memory; it decides no result and costs time.
    context.setDeterministicFillUninitializedMemory(false);
  });
}
int harness_deterministic() { return at::globalContext().deterministicAlgorithms(); }
int harness_cudnn_benchmark() { return at::globalContext().benchmarkCuDNN(); }

int harness_set_float32_matmul_precision(const char* precision) {
  return guarded([&] { at::globalContext().setFloat32MatmulPrecision(precision); });
}
int harness_float32_matmul_precision(char* out, size_t capacity) {
  return guarded([&] {
    switch (at::globalContext().float32MatmulPrecision()) {
      case at::Float32MatmulPrecision::HIGHEST: copy_text("highest", out, capacity); break;
      case at::Float32MatmulPrecision::HIGH: copy_text("high", out, capacity); break;
      case at::Float32MatmulPrecision::MEDIUM: copy_text("medium", out, capacity); break;
    }
  });
}
int harness_tf32_matmul(int* on) {
  return guarded([&] { *on = at::globalContext().allowTF32CuBLAS(); });
}
int harness_set_bf16_reduction(int on) {
  return guarded([&] { at::globalContext().setAllowBF16ReductionCuBLAS(on != 0, on != 0); });
}
// The kernels of the bits of harness_attention_kernels and no others.
int harness_set_attention_kernels(int kernels) {
  return guarded([&] {
    auto& context = at::globalContext();
    context.setSDPUseFlash((kernels & 1) != 0);
    context.setSDPUseMemEfficient((kernels & 2) != 0);
    context.setSDPUseMath((kernels & 4) != 0);
    context.setSDPUseCuDNN((kernels & 8) != 0);
  });
}
int harness_attention_kernels() {
  auto& context = at::globalContext();
  return (context.userEnabledFlashSDP() ? 1 : 0) | (context.userEnabledMemEfficientSDP() ? 2 : 0) |
         (context.userEnabledMathSDP() ? 4 : 0) | (context.userEnabledCuDNNSDP() ? 8 : 0);
}

// ---- gradients and updates -----------------------------------------------------------------------------

// Backward from `output` with the gradient of the loss with respect to it.
int harness_backward(at::Tensor* output, at::Tensor* gradient) {
  return guarded([&] { output->backward(*gradient); });
}

int harness_add_gradient(at::Tensor* parameter, at::Tensor* gradient) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto& sum = parameter->mutable_grad();
    if (sum.defined()) {
      sum.add_(*gradient);
    } else {
      sum = *gradient;
    }
  });
}

int harness_clear_gradients(at::Tensor* const* parameters, int64_t count) {
  return guarded([&] {
    for (int64_t i = 0; i < count; i++) parameters[i]->mutable_grad().reset();
  });
}

// norms[i] <- L2 norm of tensor i.
int harness_norms(at::Tensor* const* list, int64_t count, at::Tensor* norms) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    l2_norms(tensors(list, count), *norms);
  });
}

// norms[i] <- L2 norm of gradient i; norm <- L2 norm over all gradients; divisor <- what they are divided by so that it
// is at most max_norm (1 if it is smaller already, or if max_norm is 0). No synchronization with the host.
int harness_gradient_norm(at::Tensor* const* gradients, int64_t count, double max_norm, at::Tensor* norms,
                          at::Tensor* norm, at::Tensor* divisor) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    l2_norms(tensors(gradients, count), *norms);
    auto total = at::linalg_vector_norm(*norms, 2);
    norm->copy_(total);
    if (max_norm > 0) {
      divisor->copy_((total / max_norm).clamp_min(1.0));
    } else {
      divisor->fill_(1.0);
    }
  });
}

// AdamW with the caller's moments, one fused pass; gradients are divided by `divisor` on the way.
int harness_adamw(at::Tensor* const* parameters, at::Tensor* const* gradients, at::Tensor* const* first,
                  at::Tensor* const* second, at::Tensor* const* steps, int64_t count, at::Tensor* divisor,
                  double learning_rate, double beta1, double beta2, double weight_decay, double epsilon) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto counters = tensors(steps, count);
    at::_foreach_add_(counters, 1);
    at::_fused_adamw_(tensors(parameters, count), tensors(gradients, count), tensors(first, count),
                      tensors(second, count), /*max_exp_avg_sqs=*/{}, counters, learning_rate, beta1, beta2,
                      weight_decay, epsilon, /*amsgrad=*/false, /*maximize=*/false, /*grad_scale=*/*divisor,
                      /*found_inf=*/{});
  });
}

}  // extern "C"
