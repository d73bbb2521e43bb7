//! The C++ shim (`native/shim.cpp`) in safe Rust: what libtorch has and tch does not expose.

use std::ffi::{CStr, CString, c_char, c_double, c_int};

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use crate::error::{Error, first_line};

unsafe extern "C" {
    fn harness_error() -> *const c_char;
    fn harness_catch_stop_signals();
    fn harness_stop_signalled() -> c_int;
    fn harness_keep_freed_memory();
    fn harness_libtorch_version(out: *mut c_char, capacity: usize);
    fn harness_cpu_capability(out: *mut c_char, capacity: usize);
    fn harness_load_cuda() -> c_int;
    fn harness_driver_present() -> c_int;
    fn harness_cuda_devices(count: *mut i64) -> c_int;
    fn harness_cuda_version(cudart: *mut i64, cudnn: *mut i64) -> c_int;
    fn harness_cuda_peak_bytes(bytes: *mut i64) -> c_int;
    fn harness_cuda_bytes(bytes: *mut i64) -> c_int;
    fn harness_gpu(gpu: *mut RawGpu) -> c_int;
    fn harness_set_deterministic(on: c_int) -> c_int;
    fn harness_deterministic() -> c_int;
    fn harness_cudnn_benchmark() -> c_int;
    fn harness_set_float32_matmul_precision(precision: *const c_char) -> c_int;
    fn harness_float32_matmul_precision(out: *mut c_char, capacity: usize) -> c_int;
    fn harness_tf32_matmul(on: *mut c_int) -> c_int;
    fn harness_set_bf16_reduction(on: c_int) -> c_int;
    fn harness_set_attention_kernels(kernels: c_int) -> c_int;
    fn harness_attention_kernels() -> c_int;
    fn harness_backward(output: *const C_tensor, gradient: *const C_tensor) -> c_int;
    fn harness_add_gradient(parameter: *const C_tensor, gradient: *const C_tensor);
    fn harness_clear_gradients(parameters: *const *const C_tensor, count: i64);
    fn harness_norms(list: *const *const C_tensor, count: i64, norms: *const C_tensor) -> c_int;
    fn harness_gradient_norm(
        gradients: *const *const C_tensor,
        count: i64,
        max_norm: c_double,
        norms: *const C_tensor,
        norm: *const C_tensor,
        divisor: *const C_tensor,
    ) -> c_int;
    fn harness_adamw(
        parameters: *const *const C_tensor,
        gradients: *const *const C_tensor,
        first: *const *const C_tensor,
        second: *const *const C_tensor,
        steps: *const *const C_tensor,
        count: i64,
        divisor: *const C_tensor,
        learning_rate: c_double,
        beta1: c_double,
        beta2: c_double,
        weight_decay: c_double,
        epsilon: c_double,
    ) -> c_int;
}

fn check(code: c_int) -> Result<(), Error> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: the shim returns a pointer to a thread-local string that lives until its next call.
    let text = unsafe { CStr::from_ptr(harness_error()) }.to_string_lossy().into_owned();
    Err(Error::from_libtorch(first_line(&text)))
}

fn text(fill: impl FnOnce(*mut c_char, usize)) -> String {
    let mut buffer = [0 as c_char; 256];
    fill(buffer.as_mut_ptr(), buffer.len());
    from_c(&buffer)
}

fn from_c(buffer: &[c_char]) -> String {
    let bytes: Vec<u8> = buffer.iter().take_while(|&&c| c != 0).map(|&c| c as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn pointers(tensors: &[Tensor]) -> Vec<*const C_tensor> {
    tensors.iter().map(Tensor::as_ptr).collect()
}

/// SIGINT and SIGTERM become a request to stop in order, see [`stop_signalled`].
pub fn catch_stop_signals() {
    // SAFETY: installs handlers that only set a flag.
    unsafe { harness_catch_stop_signals() }
}

/// Whether SIGINT or SIGTERM arrived.
pub fn stop_signalled() -> bool {
    // SAFETY: reads a flag.
    unsafe { harness_stop_signalled() != 0 }
}

/// Lets the C allocator keep large freed buffers for the next operation.
pub fn keep_freed_memory() {
    // SAFETY: sets two parameters of malloc.
    unsafe { harness_keep_freed_memory() }
}

/// libtorch's version, such as `2.11.0`.
pub fn libtorch_version() -> String {
    // SAFETY: writes at most `n` bytes, terminated.
    text(|out, n| unsafe { harness_libtorch_version(out, n) })
}

/// The instruction set that libtorch's CPU kernels were chosen for.
pub fn cpu_capability() -> String {
    // SAFETY: writes at most `n` bytes, terminated.
    text(|out, n| unsafe { harness_cpu_capability(out, n) })
}

/// Loads the CUDA backend. The error is the loader's, such as a library that is not installed.
pub fn load_cuda() -> Result<(), Error> {
    // SAFETY: loads a shared object of libtorch, whose initializers register its operators.
    check(unsafe { harness_load_cuda() })
}

/// Whether the NVIDIA driver's library is there.
pub fn driver_present() -> bool {
    // SAFETY: loads and unloads the driver's library.
    unsafe { harness_driver_present() != 0 }
}

/// GPUs that CUDA sees; 0 where the backend is not loaded.
pub fn cuda_devices() -> Result<u64, Error> {
    let mut count = 0;
    // SAFETY: writes one integer.
    check(unsafe { harness_cuda_devices(&mut count) })?;
    Ok(count.max(0) as u64)
}

/// Versions of the CUDA runtime and of cuDNN, where loaded.
pub fn cuda_version() -> (Option<String>, Option<String>) {
    let (mut cudart, mut cudnn) = (0, 0);
    // SAFETY: writes two integers.
    if check(unsafe { harness_cuda_version(&mut cudart, &mut cudnn) }).is_err() {
        return (None, None);
    }
    let cuda = (cudart > 0).then(|| format!("{}.{}", cudart / 1000, cudart % 1000 / 10));
    let cudnn = (cudnn > 0).then(|| format!("{}.{}.{}", cudnn / 10_000, cudnn % 10_000 / 100, cudnn % 100));
    (cuda, cudnn)
}

/// Largest memory allocated on the first GPU.
pub fn cuda_peak_bytes() -> Option<u64> {
    let mut bytes = 0;
    // SAFETY: writes one integer.
    check(unsafe { harness_cuda_peak_bytes(&mut bytes) }).ok()?;
    u64::try_from(bytes).ok()
}

/// Memory allocated on the first GPU now.
pub fn cuda_bytes() -> Option<u64> {
    let mut bytes = 0;
    // SAFETY: writes one integer.
    check(unsafe { harness_cuda_bytes(&mut bytes) }).ok()?;
    u64::try_from(bytes).ok()
}

#[repr(C)]
struct RawGpu {
    name: [c_char; 128],
    uuid: [c_char; 128],
    driver: [c_char; 128],
    capability_major: i32,
    capability_minor: i32,
    memory_bytes: u64,
    power_limit_w: f64,
    energy_j: f64,
    power_w: f64,
}

/// What the driver knows of the first GPU.
pub struct Gpu {
    /// Marketing name.
    pub name: String,
    /// Unique id of the card.
    pub uuid: String,
    /// Driver version.
    pub driver: String,
    /// Compute capability, such as `9.0`.
    pub compute_capability: String,
    /// Memory.
    pub memory_bytes: u64,
    /// Power limit, where known.
    pub power_limit_w: Option<f64>,
    /// Energy since the driver was loaded, where counted.
    pub energy_j: Option<f64>,
    /// Power drawn now, where known.
    pub power_w: Option<f64>,
}

/// The first GPU as NVML describes it.
pub fn gpu() -> Option<Gpu> {
    // SAFETY: all-zero bytes are a valid `RawGpu`, and the shim terminates its strings.
    let raw = unsafe {
        let mut raw: RawGpu = std::mem::zeroed();
        check(harness_gpu(&mut raw)).ok()?;
        raw
    };
    Some(Gpu {
        name: from_c(&raw.name),
        uuid: from_c(&raw.uuid),
        driver: from_c(&raw.driver),
        compute_capability: format!("{}.{}", raw.capability_major, raw.capability_minor),
        memory_bytes: raw.memory_bytes,
        power_limit_w: (raw.power_limit_w >= 0.0).then_some(raw.power_limit_w),
        energy_j: (raw.energy_j >= 0.0).then_some(raw.energy_j),
        power_w: (raw.power_w >= 0.0).then_some(raw.power_w),
    })
}

/// Deterministic algorithms only, or not.
pub fn set_deterministic(on: bool) -> Result<(), Error> {
    // SAFETY: sets switches of libtorch.
    check(unsafe { harness_set_deterministic(c_int::from(on)) })
}

/// Whether deterministic algorithms are enforced.
pub fn deterministic() -> bool {
    // SAFETY: reads a switch.
    unsafe { harness_deterministic() != 0 }
}

/// Whether cuDNN searches for the fastest algorithm.
pub fn cudnn_benchmark() -> bool {
    // SAFETY: reads a switch.
    unsafe { harness_cudnn_benchmark() != 0 }
}

/// `highest`, `high` (TF32) or `medium`.
pub fn set_float32_matmul_precision(precision: &str) -> Result<(), Error> {
    let precision = CString::new(precision).expect("a word without NUL");
    // SAFETY: passes a terminated string.
    check(unsafe { harness_set_float32_matmul_precision(precision.as_ptr()) })
}

/// libtorch's float32 matrix product precision.
pub fn float32_matmul_precision() -> String {
    // SAFETY: writes at most `n` bytes, terminated.
    text(|out, n| {
        let _empty_on_error = unsafe { harness_float32_matmul_precision(out, n) };
    })
}

/// Whether TF32 is allowed in matrix products.
pub fn tf32_matmul() -> bool {
    let mut on = 0;
    // SAFETY: writes one integer.
    check(unsafe { harness_tf32_matmul(&mut on) }).is_ok() && on != 0
}

/// Whether cuBLAS may sum bfloat16 products in bfloat16.
pub fn set_bf16_reduction(on: bool) -> Result<(), Error> {
    // SAFETY: sets a switch of libtorch.
    check(unsafe { harness_set_bf16_reduction(c_int::from(on)) })
}

/// The attention kernels by name; the place in the list is the bit of the shim.
const ATTENTION_KERNELS: [&str; 4] = ["flash", "memory_efficient", "math", "cudnn"];

/// Allows one attention kernel and no other.
pub fn set_attention_kernel(name: &str) -> Result<(), Error> {
    let bit = ATTENTION_KERNELS.iter().position(|known| *known == name).expect("a kernel of the list");
    // SAFETY: sets switches of libtorch.
    check(unsafe { harness_set_attention_kernels(1 << bit) })
}

/// The attention kernels that may be chosen.
pub fn attention_kernels() -> Vec<String> {
    // SAFETY: reads switches.
    let bits = unsafe { harness_attention_kernels() };
    let names = ATTENTION_KERNELS;
    (0..names.len()).filter(|i| bits & (1 << i) != 0).map(|i| names[i].to_owned()).collect()
}

/// Backward from `output`, given the gradient of the loss with respect to it.
pub fn backward(output: &Tensor, gradient: &Tensor) -> Result<(), Error> {
    // SAFETY: both tensors outlive the call.
    check(unsafe { harness_backward(output.as_ptr(), gradient.as_ptr()) })
}

/// Forgets the gradients, so that the next backward stores its own instead of adding to them.
pub fn clear_gradients(parameters: &[Tensor]) {
    // SAFETY: the tensors outlive the call.
    unsafe { harness_clear_gradients(pointers(parameters).as_ptr(), parameters.len() as i64) }
}

/// L2 norms of tensors, shape (tensors), float32, on their device.
pub fn norms(tensors: &[Tensor]) -> Result<Tensor, Error> {
    let norms = Tensor::zeros([tensors.len() as i64], (Kind::Float, tensors[0].device()));
    let list = pointers(tensors);
    // SAFETY: the tensors outlive the call.
    check(unsafe { harness_norms(list.as_ptr(), list.len() as i64, norms.as_ptr()) })?;
    Ok(norms)
}

/// The gradient's L2 norm, and what to divide it by so that it is at most `max_norm` (0: never).
pub struct GradientNorm {
    /// L2 norm of each tensor's gradient, shape (tensors).
    pub of_tensors: Tensor,
    /// L2 norm over all parameters, before clipping. Shape ().
    pub norm: Tensor,
    /// At least 1. Shape ().
    pub divisor: Tensor,
}

/// Computes the norm on the device, without waiting for it.
pub fn gradient_norm(gradients: &[Tensor], max_norm: f64) -> Result<GradientNorm, Error> {
    let float = (Kind::Float, gradients[0].device());
    let (norm, divisor) = (Tensor::zeros([], float), Tensor::zeros([], float));
    let of_tensors = Tensor::zeros([gradients.len() as i64], float);
    let list = pointers(gradients);
    // SAFETY: the tensors outlive the call.
    check(unsafe {
        harness_gradient_norm(
            list.as_ptr(),
            list.len() as i64,
            max_norm,
            of_tensors.as_ptr(),
            norm.as_ptr(),
            divisor.as_ptr(),
        )
    })?;
    Ok(GradientNorm { of_tensors, norm, divisor })
}

/// Constants of one AdamW update.
#[derive(Clone, Copy, Debug)]
pub struct AdamwConstants {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
}

/// One fused AdamW update in place; the gradients are divided by `divisor`. The lists go together by index.
pub fn adamw(
    parameters: &[Tensor],
    gradients: &[Tensor],
    first: &[Tensor],
    second: &[Tensor],
    steps: &[Tensor],
    divisor: &Tensor,
    constants: AdamwConstants,
) -> Result<(), Error> {
    let count = parameters.len();
    assert!([gradients.len(), first.len(), second.len(), steps.len()] == [count; 4], "lists of different lengths");
    if count == 0 {
        return Ok(());
    }
    let AdamwConstants { learning_rate, beta1, beta2, weight_decay, epsilon } = constants;
    // SAFETY: the lists have `count` tensors each, and all outlive the call.
    check(unsafe {
        harness_adamw(
            pointers(parameters).as_ptr(),
            pointers(gradients).as_ptr(),
            pointers(first).as_ptr(),
            pointers(second).as_ptr(),
            pointers(steps).as_ptr(),
            count as i64,
            divisor.as_ptr(),
            learning_rate,
            beta1,
            beta2,
            weight_decay,
            epsilon,
        )
    })
}

/// Adds to a parameter's gradient, or makes it the gradient if there is none yet.
pub fn add_gradient(parameter: &Tensor, gradient: &Tensor) {
    // SAFETY: both tensors outlive the call.
    unsafe { harness_add_gradient(parameter.as_ptr(), gradient.as_ptr()) }
}
