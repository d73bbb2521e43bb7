//! The C++ shim in safe Rust: what libtorch has and tch does not expose (`native/shim.cpp`), and fused kernels of our
//! own (`native/cpu_ops.cpp`). A function with a kernel behind it computes the plain formula that it states; where the
//! kernel does not serve, libtorch's operators do.

pub mod collectives;
#[cfg(test)]
mod emulated_amx;

use std::ffi::{CStr, CString, c_char, c_double, c_int, c_void};

use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use crate::error::{Error, first_line};

unsafe extern "C" {
    fn harness_error() -> *const c_char;
    fn harness_catch_stop_signals();
    fn _exit(code: c_int) -> !;
    fn harness_end_on_stop_signal(ends: c_int);
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
    fn harness_pin(tensor: *const C_tensor, pinned: *mut *mut C_tensor) -> c_int;
    fn harness_to_host(tensor: *const C_tensor, host: *mut *mut C_tensor, arrival: *mut *mut c_void) -> c_int;
    fn harness_wait(arrival: *mut c_void) -> c_int;
    fn harness_forget(arrival: *mut c_void);
    fn harness_cpu_time_s() -> c_double;
    fn harness_gpu(number: c_int, gpu: *mut RawGpu) -> c_int;
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
    fn harness_add_gradient(parameter: *const C_tensor, gradient: *const C_tensor) -> c_int;
    fn harness_clear_gradients(parameters: *const *const C_tensor, count: i64) -> c_int;
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
    fn harness_cpu_kernels() -> c_int;
    fn harness_amx() -> c_int;
    fn harness_own_products() -> c_int;
    fn harness_linear(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        activation: c_int,
        y: *mut *mut C_tensor,
    ) -> c_int;
    fn harness_pack(x: *const C_tensor, transposed: c_int, panels: *mut *mut C_tensor) -> c_int;
    fn harness_product(a: *const C_tensor, panels: *const C_tensor, columns: i64, y: *mut *mut C_tensor) -> c_int;
    fn harness_add_product(sum: *const C_tensor, a: *const C_tensor, b: *const C_tensor) -> c_int;
    fn harness_norm(
        x: *const C_tensor,
        gain: *const C_tensor,
        bias: *const C_tensor,
        centered: c_int,
        epsilon: c_double,
        y: *mut *mut C_tensor,
    ) -> c_int;
    fn harness_activated(x: *const C_tensor, activation: c_int, y: *mut *mut C_tensor) -> c_int;
    fn harness_activated_linear(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        activation: c_int,
        y: *mut *mut C_tensor,
    ) -> c_int;
    fn harness_attention(
        query: *const C_tensor,
        key: *const C_tensor,
        value: *const C_tensor,
        scale: c_double,
        y: *mut *mut C_tensor,
    ) -> c_int;
    fn harness_cross_entropy(
        logits: *const C_tensor,
        vocabulary_size: i64,
        targets: *const C_tensor,
        z_loss: c_double,
        soft_cap: c_double,
        sum: *mut c_double,
    ) -> c_int;
    fn harness_first_choices(
        logits: *const C_tensor,
        vocabulary_size: i64,
        largest: *mut f32,
        which: *mut i64,
        log_z: *mut c_double,
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

/// Ends the process without what else is done at its end.
pub fn exit_at_once(code: u8) -> ! {
    // SAFETY: does not return.
    unsafe { _exit(code.into()) }
}

/// SIGINT, SIGTERM and SIGUSR1 become a request to stop in order, see [`stop_signalled`].
pub fn catch_stop_signals() {
    // SAFETY: installs handlers that only set a flag.
    unsafe { harness_catch_stop_signals() }
}

/// Whether one of them ends this process at once, with success: as long as it has nothing to do yet.
pub fn end_on_stop_signal(ends: bool) {
    // SAFETY: sets a flag, or ends the process without touching its memory.
    unsafe { harness_end_on_stop_signal(c_int::from(ends)) }
}

/// Whether one of them arrived.
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

/// A copy of a host tensor in memory that a GPU reads without the host's help.
pub fn pinned(tensor: &Tensor) -> Result<Tensor, Error> {
    let mut pinned = std::ptr::null_mut();
    // SAFETY: the tensor outlives the call.
    check(unsafe { harness_pin(tensor.as_ptr(), &mut pinned) })?;
    // SAFETY: the shim succeeded, so it passed on a tensor that is ours.
    Ok(unsafe { Tensor::from_ptr(pinned) })
}

/// Numbers on their way from the device to the host. The device does not stop for them: work that is queued after the copy
/// goes on while the host waits for it.
pub struct Arriving {
    host: Tensor,
    /// Null where the copy was complete at once.
    arrival: *mut c_void,
}

impl Arriving {
    /// Queues the copy of a tensor.
    pub fn from(tensor: &Tensor) -> Result<Self, Error> {
        let (mut host, mut arrival) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the tensor outlives the call.
        check(unsafe { harness_to_host(tensor.as_ptr(), &mut host, &mut arrival) })?;
        // SAFETY: the shim succeeded, so it passed on a tensor that is ours.
        Ok(Arriving { host: unsafe { Tensor::from_ptr(host) }, arrival })
    }

    /// The copy, complete.
    pub fn wait(&self) -> Result<&Tensor, Error> {
        if !self.arrival.is_null() {
            // SAFETY: the event lives as long as this does.
            check(unsafe { harness_wait(self.arrival) })?;
        }
        Ok(&self.host)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        // SAFETY: the event is ours, and null may be deleted.
        unsafe { harness_forget(self.arrival) }
    }
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

/// What the driver knows of a GPU.
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

/// User and system seconds of this process so far.
pub fn cpu_time_s() -> f64 {
    // SAFETY: reads two counters of the system.
    unsafe { harness_cpu_time_s() }
}

/// A GPU as NVML describes it, by its number among those that CUDA sees.
pub fn gpu(number: u64) -> Option<Gpu> {
    // SAFETY: all-zero bytes are a valid `RawGpu`, and the shim terminates its strings.
    let raw = unsafe {
        let mut raw: RawGpu = std::mem::zeroed();
        check(harness_gpu(number as c_int, &mut raw)).ok()?;
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
const ALL_ATTENTION_KERNELS: c_int = (1 << ATTENTION_KERNELS.len()) - 1;

/// Allows one attention kernel of libtorch and no other kernel, or every kernel.
pub fn set_attention_kernel(name: Option<&str>) -> Result<(), Error> {
    let bits = match name {
        Some(name) => 1 << ATTENTION_KERNELS.iter().position(|known| *known == name).expect("a kernel of the list"),
        None => ALL_ATTENTION_KERNELS,
    };
    // SAFETY: sets switches of libtorch.
    check(unsafe { harness_set_attention_kernels(bits) })
}

fn allowed_attention_kernels() -> c_int {
    // SAFETY: reads switches.
    unsafe { harness_attention_kernels() }
}

/// The attention kernels of libtorch that may be chosen.
pub fn attention_kernels() -> Vec<String> {
    let bits = allowed_attention_kernels();
    let names = ATTENTION_KERNELS;
    (0..names.len()).filter(|i| bits & (1 << i) != 0).map(|i| names[i].to_owned()).collect()
}

/// Backward from `output`, given the gradient of the loss with respect to it.
pub fn backward(output: &Tensor, gradient: &Tensor) -> Result<(), Error> {
    // SAFETY: both tensors outlive the call.
    check(unsafe { harness_backward(output.as_ptr(), gradient.as_ptr()) })
}

/// The gradient of a parameter, which has none from now on.
pub fn take_gradient(parameter: &Tensor) -> Result<Tensor, Error> {
    let gradient = parameter.grad();
    clear_gradients(std::slice::from_ref(parameter))?;
    Ok(gradient)
}

/// Forgets the gradients, so that the next backward stores its own instead of adding to them.
pub fn clear_gradients(parameters: &[Tensor]) -> Result<(), Error> {
    // SAFETY: the tensors outlive the call.
    check(unsafe { harness_clear_gradients(pointers(parameters).as_ptr(), parameters.len() as i64) })
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
pub fn add_gradient(parameter: &Tensor, gradient: &Tensor) -> Result<(), Error> {
    // SAFETY: both tensors outlive the call.
    check(unsafe { harness_add_gradient(parameter.as_ptr(), gradient.as_ptr()) })
}

/// Whether this processor can run our CPU kernels, and libtorch was not told to keep to older instructions
/// (`ATEN_CPU_CAPABILITY`).
pub fn cpu_kernels() -> bool {
    // SAFETY: reads the processor's capabilities.
    unsafe { harness_cpu_kernels() != 0 }
}

/// Whether a kernel serves a tensor.
fn served(x: &Tensor, kinds: &[Kind]) -> bool {
    x.device() == Device::Cpu && kinds.contains(&x.kind()) && cpu_kernels()
}

/// The tensor that the shim makes, or a panic with the [`Error`], as tch's own operators panic with theirs.
fn made(make: impl FnOnce(*mut *mut C_tensor) -> c_int) -> Tensor {
    let mut tensor = std::ptr::null_mut();
    check(make(&mut tensor)).unwrap_or_else(|error| std::panic::panic_any(error));
    // SAFETY: the shim succeeded, so it passed on a tensor that is ours.
    unsafe { Tensor::from_ptr(tensor) }
}

/// Whether [`norm`] has a kernel for this device and data type, which takes gain and bias in float32.
pub fn own_norm(device: Device, kind: Kind) -> bool {
    device == Device::Cpu && [Kind::Float, Kind::BFloat16].contains(&kind) && cpu_kernels()
}

/// (x - mean) / sqrt(variance + epsilon) g + b over the last dimension of x (.., C), for g and b (C); with `centered` off,
/// x / sqrt(mean of squares + epsilon) g. Gain and bias are of x's data type, or of float32 where there is a kernel
/// ([`own_norm`]), and so are their gradients.
pub fn norm(x: &Tensor, gain: &Tensor, bias: Option<&Tensor>, centered: bool, epsilon: f64) -> Tensor {
    if own_norm(x.device(), x.kind()) && gain.kind() == Kind::Float {
        let bias = bias.map_or(std::ptr::null(), Tensor::as_ptr);
        // SAFETY: the tensors outlive the call, and the shim takes a null pointer for no bias.
        return made(|y| unsafe { harness_norm(x.as_ptr(), gain.as_ptr(), bias, c_int::from(centered), epsilon, y) });
    }
    match bias {
        _ if centered => x.layer_norm(gain.size(), Some(gain), bias, epsilon, false),
        Some(bias) => x.rms_norm(gain.size(), Some(gain), epsilon) + bias,
        None => x.rms_norm(gain.size(), Some(gain), epsilon),
    }
}

/// What is done to a wide row between two affine maps. The numbers are those of the shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, (.., F) to (.., F).
    Gelu = 0,
    /// x / (1 + exp(-x)) y for the first and the second half of a row, (.., 2 F) to (.., F).
    Swiglu = 1,
    /// max(x, 0)^2, (.., F) to (.., F).
    ReluSquared = 2,
}

/// The activation of wide rows, without gradients.
pub fn activated(activation: Activation, x: &Tensor) -> Tensor {
    // SAFETY: the tensor outlives the call.
    made(|y| unsafe { harness_activated(x.as_ptr(), activation as c_int, y) })
}

/// Whether the products of our kernels, those inside attention among them, go through the tiles of the processor (AMX).
pub fn amx() -> bool {
    // SAFETY: reads the processor's capabilities.
    unsafe { harness_amx() != 0 }
}

/// Whether products of bfloat16 matrices are made by our kernels: on processors with AVX-512 and bfloat16.
pub fn own_products(device: Device, kind: Kind) -> bool {
    // SAFETY: reads the processor's capabilities.
    device == Device::Cpu && kind == Kind::BFloat16 && unsafe { harness_own_products() != 0 }
}

/// Our products go through inner dimensions in pairs.
fn in_pairs(x: &Tensor, weight: &Tensor) -> bool {
    own_products(x.device(), x.kind()) && weight.size().iter().all(|side| side % 2 == 0)
}

/// x W^T + b for x (.., I), W (O, I) and b (O). W and b are of x's data type, or of float32: then their gradients are too,
/// and our kernel, or a cast, rounds W to x's.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    if weight.kind() == x.kind() {
        return x.linear(weight, bias);
    }
    if !in_pairs(x, weight) {
        return x.linear(&weight.to_kind(x.kind()), bias.map(|bias| bias.to_kind(x.kind())).as_ref());
    }
    own_linear(x, weight, bias, -1)
}

/// [`activated`] x times W^T, plus b, otherwise as [`linear`]. Of the wide tensors only x is kept for the backward pass, which
/// computes the active one again.
pub fn activated_linear(activation: Activation, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    if weight.kind() != x.kind() && in_pairs(x, weight) {
        return own_linear(x, weight, bias, activation as c_int);
    }
    let (weight, bias) = (weight.to_kind(x.kind()), bias.map(|bias| bias.to_kind(x.kind())));
    let bias = bias.as_ref().map_or(std::ptr::null(), Tensor::as_ptr);
    // SAFETY: the tensors outlive the call, and the shim takes a null pointer for no bias.
    made(|y| unsafe { harness_activated_linear(x.as_ptr(), weight.as_ptr(), bias, activation as c_int, y) })
}

/// `activation` is its number, or -1 for none.
fn own_linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, activation: c_int) -> Tensor {
    let bias = bias.map_or(std::ptr::null(), Tensor::as_ptr);
    // SAFETY: the tensors outlive the call, and the shim takes a null pointer for no bias.
    made(|y| unsafe { harness_linear(x.as_ptr(), weight.as_ptr(), bias, activation, y) })
}

/// A matrix W (O, I) made ready for many products without gradients.
pub struct Factor {
    matrix: Tensor,
    /// W^T and W as our kernel reads them.
    panels: Option<[Tensor; 2]>,
}

impl Factor {
    /// Copies the matrix into the form that our kernel wants, if it serves.
    pub fn new(matrix: &Tensor) -> Self {
        let pack = |transposed| {
            // SAFETY: the tensor outlives the call.
            made(|panels| unsafe { harness_pack(matrix.as_ptr(), transposed, panels) })
        };
        let panels = in_pairs(matrix, matrix).then(|| [pack(1), pack(0)]);
        Factor { matrix: matrix.shallow_clone(), panels }
    }

    /// x W^T (N, O) for x (N, I).
    pub fn times_transposed(&self, x: &Tensor) -> Tensor {
        match &self.panels {
            Some([transposed, _]) => own_product(x, transposed, self.matrix.size()[0]),
            None => x.matmul(&self.matrix.tr()),
        }
    }

    /// x W (N, I) for x (N, O).
    pub fn times(&self, x: &Tensor) -> Tensor {
        match &self.panels {
            Some([_, plain]) => own_product(x, plain, self.matrix.size()[1]),
            None => x.matmul(&self.matrix),
        }
    }
}

fn own_product(x: &Tensor, panels: &Tensor, columns: i64) -> Tensor {
    // SAFETY: the tensors outlive the call, and the panels are those of a matrix with so many columns.
    made(|y| unsafe { harness_product(x.as_ptr(), panels.as_ptr(), columns, y) })
}

/// Adds A^T B to a float32 sum (I, O), for A (N, I) and B (N, O) of one data type.
pub fn add_product(sum: &mut Tensor, a: &Tensor, b: &Tensor) {
    if own_products(a.device(), a.kind()) {
        // SAFETY: the tensors outlive the call.
        check(unsafe { harness_add_product(sum.as_ptr(), a.as_ptr(), b.as_ptr()) })
            .unwrap_or_else(|error| std::panic::panic_any(error));
    } else if a.kind() == Kind::Float {
        let _ = sum.addmm_(&a.tr(), b); // No matrix in between.
    } else {
        *sum += a.tr().matmul(b);
    }
}

/// softmax(scale Q K^T + mask) V for queries, keys and values (B, H, T, D); without a mask, no position sees a later one.
pub fn attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    mask: Option<&Tensor>,
    dropout: f64,
    scale: f64,
) -> Tensor {
    if !our_attention_serves([query, key, value], mask, dropout) {
        let causal = mask.is_none();
        return Tensor::scaled_dot_product_attention(query, key, value, mask, dropout, causal, scale, false);
    }
    // SAFETY: the tensors outlive the call, and are of the shapes and the data type that the kernel takes.
    made(|y| unsafe { harness_attention(query.as_ptr(), key.as_ptr(), value.as_ptr(), scale, y) })
}

/// Our kernel takes bfloat16 without mask and dropout, unless the config names a kernel of libtorch.
fn our_attention_serves([query, key, value]: [&Tensor; 3], mask: Option<&Tensor>, dropout: f64) -> bool {
    let same = query.size() == key.size() && query.size() == value.size() && query.size()[3] % 16 == 0;
    let free = allowed_attention_kernels() == ALL_ATTENTION_KERNELS;
    same && free && mask.is_none() && dropout == 0.0 && served(query, &[Kind::BFloat16])
}

/// The kernel that [`attention`] takes for such queries, keys and values: `own` or one of libtorch's. An error if none of
/// those that are allowed can.
pub fn attention_kernel(heads: [&Tensor; 3], mask: Option<&Tensor>, dropout: f64) -> Result<&'static str, Error> {
    if our_attention_serves(heads, mask, dropout) {
        return Ok("own");
    }
    let [query, key, value] = heads;
    let choice =
        Tensor::f_internal_fused_sdp_choice(query, key, value, mask, dropout, mask.is_none(), None::<f64>, false);
    // The numbers of at::SDPBackend.
    match choice {
        Ok(0) => Ok("math"),
        Ok(1) => Ok("flash"),
        Ok(2) => Ok("memory_efficient"),
        Ok(3) => Ok("cudnn"),
        Ok(other) => Err(Error::Libtorch(format!("no kernel for attention (its choice is {other})"))),
        Err(error) => Err(Error::from_libtorch(first_line(&error.to_string()))),
    }
}

/// Turns logits z (N, V') into the gradient of their summed loss, in place, and returns the sum of the targets'
/// log-probabilities. Only the first V = `vocabulary_size` columns are logits; the gradient of the others is 0. With
/// softmax p, its denominator Z and targets y (N, 1): the gradient is (1 + 2 z_loss log Z) p - onehot(y), times
/// 1 - (z / soft_cap)^2 where there is a soft cap. `None`, with the logits as they were, if there is no kernel for them.
pub fn cross_entropy(
    logits: &Tensor,
    vocabulary_size: i64,
    targets: &Tensor,
    z_loss: f64,
    soft_cap: f64,
) -> Result<Option<f64>, Error> {
    if !served(logits, &[Kind::Float, Kind::BFloat16]) {
        return Ok(None);
    }
    let mut sum = 0.0;
    let (logits, targets) = (logits.as_ptr(), targets.as_ptr());
    // SAFETY: the tensors outlive the call; nobody else has the logits.
    check(unsafe { harness_cross_entropy(logits, vocabulary_size, targets, z_loss, soft_cap, &mut sum) })?;
    Ok(Some(sum))
}

/// The most probable token of each row of logits.
pub struct FirstChoices {
    /// Its logit.
    pub logits: Vec<f32>,
    /// Its id; the lowest, of several.
    pub which: Vec<i64>,
    /// The logarithm of the softmax's denominator: log sum exp z.
    pub log_z: Vec<f64>,
}

/// The first choices by float32 logits (N, V'), of which the first V = `vocabulary_size` columns count. A row's result does
/// not depend on the others.
pub fn first_choices(logits: &Tensor, vocabulary_size: i64) -> FirstChoices {
    if !served(logits, &[Kind::Float]) {
        let logits = logits.narrow(1, 0, vocabulary_size); // (N, V)
        let (largest, which) = (logits.amax([1], true), logits.argmax(1, false)); // (N, 1), (N)
        let log_z = (&logits - &largest).exp_().sum_dim_intlist(1, false, Kind::Double).log() + largest.squeeze_dim(1);
        let [largest, which, log_z] = [largest.squeeze_dim(1), which, log_z].map(|x| x.to_device(Device::Cpu));
        return FirstChoices {
            logits: Vec::try_from(largest).expect("a vector of float32"),
            which: Vec::try_from(which).expect("a vector of int64"),
            log_z: Vec::try_from(log_z).expect("a vector of float64"),
        };
    }
    let rows = logits.size()[0] as usize;
    let mut first = FirstChoices { logits: vec![0.0; rows], which: vec![0; rows], log_z: vec![0.0; rows] };
    let FirstChoices { logits: largest, which, log_z } = &mut first;
    let (largest, which, log_z) = (largest.as_mut_ptr(), which.as_mut_ptr(), log_z.as_mut_ptr());
    // SAFETY: the tensor outlives the call, and there is room for a number of each row.
    check(unsafe { harness_first_choices(logits.as_ptr(), vocabulary_size, largest, which, log_z) })
        .unwrap_or_else(|error| std::panic::panic_any(error));
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skip::skip;

    const CPU: Device = Device::Cpu;

    unsafe extern "C" {
        static mut harness_amx_in_use: bool;
        fn harness_amx_agrees() -> bool;
    }

    /// Set in the process of a test whose products go the other way.
    const OTHER_WAY: &str = "HARNESS_TEST_OTHER_PRODUCTS";

    /// Runs a test of this module with products in registers, and with products in the processor's tiles (AMX) or emulated
    /// ones: what is not the processor's way in a process of its own.
    fn in_registers_and_in_tiles(name: &str, test: impl Fn()) {
        if std::env::var_os(OTHER_WAY).is_some() {
            if !amx() {
                emulated_amx::install();
            }
            // SAFETY: there are tiles, be it emulated ones.
            assert!(unsafe { harness_amx_agrees() });
            // SAFETY: the kernels have been asked for, which sets it, and none runs now.
            unsafe { harness_amx_in_use = !harness_amx_in_use }
            return test();
        }
        test();
        if !cpu_kernels() {
            return skip("avx512-bf16", "the kernels are for processors with AVX-512 and bfloat16");
        }
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", &format!("native::tests::{name}"), "--nocapture"]).env(OTHER_WAY, "1");
        let output = again.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}: {said}{}", output.status, String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("1 passed"), "{said}");
    }

    /// Largest difference, relative to the largest value of `expected`.
    fn difference(found: &Tensor, expected: &Tensor) -> f64 {
        let scale = expected.abs().max().double_value(&[]).max(1e-3);
        (found.to_kind(Kind::Double) - expected).abs().max().double_value(&[]) / scale
    }

    /// A function's value, and its gradients with respect to `inputs` for the gradient `of_value` of its value.
    fn with_gradients(
        inputs: &[Tensor],
        of_value: &Tensor,
        compute: impl Fn(&[Tensor]) -> Tensor,
        kind: Kind,
    ) -> Vec<Tensor> {
        let inputs: Vec<Tensor> = inputs.iter().map(|x| x.to_kind(kind).detach().set_requires_grad(true)).collect();
        let value = compute(&inputs);
        backward(&value, &of_value.to_kind(kind)).unwrap();
        std::iter::once(value.detach()).chain(inputs.iter().map(Tensor::grad)).collect()
    }

    /// (B, H, T, D) that lies in memory as the model's queries do, between other numbers.
    fn heads(b: i64, h: i64, t: i64, d: i64) -> Tensor {
        Tensor::randn([b, t, h + 1, d], (Kind::BFloat16, CPU)).narrow(2, 1, h).transpose(1, 2)
    }

    fn plain_attention(x: &[Tensor], scale: f64) -> Tensor {
        let t = x[0].size()[2];
        let unseen = Tensor::ones([t, t], (Kind::Bool, CPU)).triu(1);
        let scores = x[0].matmul(&x[1].transpose(2, 3)) * scale;
        scores.masked_fill(&unseen, f64::NEG_INFINITY).softmax(-1, None).matmul(&x[2])
    }

    /// The lowest id wins a tie, within sixteen neighbours and beyond; -inf and rows that are no multiple of sixteen long
    /// are nothing special.
    #[test]
    fn first_choices_are_those_of_libtorch_and_of_float64() {
        tch::manual_seed(1);
        for (rows, count) in [(1, 1), (3, 15), (5, 64), (2, 1000), (7, 50257)] {
            let logits = Tensor::randn([rows, count], (Kind::Float, CPU)) * 8.0;
            for (row, column) in [(0, 0), (0, count / 2), (0, count - 1), (rows - 1, count - 1)] {
                let _ = logits.get(row).narrow(0, column, 1).fill_(40.0);
            }
            let _ = logits.get(rows - 1).narrow(0, 0, count / 3).fill_(f64::NEG_INFINITY);
            // Logits beyond the vocabulary are not looked at.
            let padding = Tensor::full([rows, 3], 100.0, (Kind::Float, CPU));
            let found = first_choices(&Tensor::cat(&[&logits, &padding], 1), count);
            let expected = Vec::<f64>::try_from(logits.to_kind(Kind::Double).logsumexp(1, false)).unwrap();
            let values = Vec::<Vec<f32>>::try_from(&logits).unwrap();
            for (row, values) in values.iter().enumerate() {
                let largest = values.iter().copied().fold(f32::MIN, f32::max);
                let lowest = values.iter().position(|&x| x == largest).unwrap();
                assert_eq!(found.which[row], lowest as i64, "{rows} x {count}, row {row}");
                assert_eq!(found.logits[row], values[found.which[row] as usize]);
                assert!((found.log_z[row] - expected[row]).abs() < 1e-6, "{rows} x {count}, row {row}");
            }
        }
    }

    /// bfloat16 has eight bits, so half a unit in the last place is 2e-3 of a number; intermediate values are rounded
    /// too. The same inputs give the same bits with any number of threads.
    #[test]
    fn attention_is_its_formula_but_for_rounding() {
        in_registers_and_in_tiles("attention_is_its_formula_but_for_rounding", check_attention);
    }

    fn check_attention() {
        for (t, d) in [(1, 16), (65, 48), (200, 64), (130, 128)] {
            tch::manual_seed(1);
            let scale = 1.0 / (d as f64).sqrt();
            let (inputs, of_value) = ([0; 3].map(|_| heads(2, 3, t, d)), heads(2, 3, t, d));
            let run = || {
                with_gradients(&inputs, &of_value, |x| attention(&x[0], &x[1], &x[2], None, 0.0, scale), Kind::BFloat16)
            };
            let found = run();
            let expected = with_gradients(&inputs, &of_value, |x| plain_attention(x, scale), Kind::Double);
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let difference = difference(found, expected);
                assert!(difference < 1.5e-2, "T {t}, D {d}, result {i}: {difference}");
            }
            let threads = tch::get_num_threads();
            for other in [1, 2] {
                tch::set_num_threads(other);
                assert!(found.iter().zip(run()).all(|(a, b)| a.equal(&b)) || !cpu_kernels(), "{other} threads");
            }
            tch::set_num_threads(threads);
        }
    }

    const ACTIVATIONS: [Activation; 3] = [Activation::Gelu, Activation::Swiglu, Activation::ReluSquared];

    fn plain_activation(activation: Activation, x: &Tensor) -> Tensor {
        let halves = x.chunk(2, -1);
        match activation {
            Activation::Gelu => x.gelu("tanh"),
            Activation::Swiglu => (halves[0].sigmoid() * &halves[0]) * &halves[1],
            Activation::ReluSquared => x.clamp_min(0.0).square(),
        }
    }

    #[test]
    fn activations_and_the_products_after_them_are_their_formulas_but_for_rounding() {
        tch::manual_seed(1);
        let double = (Kind::Double, CPU);
        for activation in ACTIVATIONS {
            let wide = if activation == Activation::Swiglu { 2002 } else { 1001 };
            let (x, weight, bias) = (
                Tensor::randn([3, 7, wide], double) * 4.0,
                Tensor::randn([20, 1001], double),
                Tensor::randn([20], double),
            );
            let of_value = Tensor::randn([3, 7, 20], double);
            for (kind, tolerance) in [(Kind::Float, 5e-6), (Kind::BFloat16, 1e-2)] {
                let inputs = [&x, &weight, &bias].map(|input| input.to_kind(kind).to_kind(Kind::Double));
                let of_value = of_value.to_kind(kind).to_kind(Kind::Double);
                let single = difference(
                    &activated(activation, &inputs[0].to_kind(kind)),
                    &plain_activation(activation, &inputs[0]),
                );
                assert!(single < tolerance, "{activation:?}, {kind:?}: {single}");
                for inputs in [&inputs[..], &inputs[..2]] {
                    let ours = |x: &[Tensor]| activated_linear(activation, &x[0], &x[1], x.get(2));
                    let run = || with_gradients(inputs, &of_value, ours, kind);
                    let plain = |x: &[Tensor]| plain_activation(activation, &x[0]).linear(&x[1], x.get(2));
                    let (found, expected) = (run(), with_gradients(inputs, &of_value, plain, Kind::Double));
                    for (found, expected) in found.iter().zip(&expected) {
                        let difference = difference(found, expected);
                        assert!(difference < tolerance, "{activation:?}, {kind:?}: {difference}");
                    }
                    assert!(found.iter().zip(run()).all(|(a, b)| a.equal(&b)));
                }
            }
        }
    }

    /// In bfloat16 the exponential and the division are coarser than in float32, but by far finer than the result.
    #[test]
    fn activations_in_bfloat16_are_hardly_off_but_for_their_last_rounding() {
        let x = Tensor::arange(8000, (Kind::Float, CPU)) / 400.0 - 10.0;
        let x = x.to_kind(Kind::BFloat16);
        for activation in ACTIVATIONS {
            let wide = if activation == Activation::Swiglu { Tensor::cat(&[&x, &x.ones_like()], 0) } else { x.copy() };
            let expected = plain_activation(activation, &wide.to_kind(Kind::Double));
            let off = (activated(activation, &wide).to_kind(Kind::Double) - &expected).abs() / (expected.abs() + 1e-30);
            let largest = off.masked_fill(&expected.abs().lt(1e-4), 0.0).max().double_value(&[]);
            assert!(largest < 0.5 / 128.0 + 3e-4, "{activation:?}: {largest}");
        }
    }

    /// Rows, columns and inner dimensions that fill blocks, tiles and lanes and that do not, or that our kernel does not take.
    /// The same inputs give the same bits with any number of threads, and a row the same with any others.
    #[test]
    fn affine_maps_are_their_formula_but_for_rounding() {
        in_registers_and_in_tiles("affine_maps_are_their_formula_but_for_rounding", check_affine_maps);
    }

    fn check_affine_maps() {
        tch::manual_seed(1);
        let bf16 = (Kind::BFloat16, CPU);
        for (rows, inner, outer) in [(1, 16, 16), (131, 98, 70), (67, 1060, 70), (1030, 32, 70), (9, 7, 5)] {
            let float = (Kind::Float, CPU);
            let (weight, bias) = (Tensor::randn([outer, inner], float), Tensor::randn([outer], float));
            let of_value = Tensor::randn([1, rows, outer], bf16);
            let activations = ACTIVATIONS.map(|activation| (Some(activation), true));
            for (activation, with_bias) in [(None, false), (None, true)].into_iter().chain(activations) {
                let parts = if activation == Some(Activation::Swiglu) { 2 } else { 1 };
                let x = Tensor::randn([1, rows, parts * inner], bf16);
                let map = |x: &Tensor, weight: &Tensor, bias: Option<&Tensor>| match activation {
                    Some(activation) => activated_linear(activation, x, weight, bias),
                    None => linear(x, weight, bias),
                };
                let run = || {
                    let [x, weight, bias] = [&x, &weight, &bias].map(|input| input.copy().set_requires_grad(true));
                    let value = map(&x, &weight, with_bias.then_some(&bias));
                    backward(&value, &of_value).unwrap();
                    let bias = if with_bias { bias.grad() } else { Tensor::zeros([outer], float) };
                    [value.detach(), x.grad(), weight.grad(), bias]
                };
                let plain = |inputs: &[Tensor]| {
                    let active = activation.map_or(inputs[0].shallow_clone(), |a| plain_activation(a, &inputs[0]));
                    let product = active.matmul(&inputs[1].tr());
                    if with_bias { product + &inputs[2] } else { product + &inputs[2] * 0.0 }
                };
                let inputs = [&x, &weight.to_kind(Kind::BFloat16), &bias].map(|input| input.to_kind(Kind::Double));
                let (found, expected) = (run(), with_gradients(&inputs, &of_value, plain, Kind::Double));
                let ours = own_products(CPU, Kind::BFloat16) && inner % 2 == 0;
                let tolerances = match (ours, activation) {
                    (false, _) => [1e-2; 4],
                    (true, None) => [4e-3, 4e-3, 3e-6, 3e-6], // sums of exact products in float32
                    (true, Some(_)) => [8e-3, 4e-3, 8e-3, 3e-6], // the active row is rounded before the product
                };
                assert_eq!(found[2].kind(), Kind::Float);
                for (i, tolerance) in tolerances.into_iter().enumerate() {
                    let difference = difference(&found[i], &expected[i]);
                    assert!(
                        difference < tolerance,
                        "{rows} x {inner} x {outer}, {activation:?}, result {i}: {difference}"
                    );
                }
                if !ours {
                    continue;
                }
                let threads = tch::get_num_threads();
                for other in [1, 2] {
                    tch::set_num_threads(other);
                    assert!(found.iter().zip(run()).all(|(a, b)| a.equal(&b)), "{other} threads");
                }
                tch::set_num_threads(threads);
                let alone = map(&x.narrow(1, rows - 1, 1), &weight, with_bias.then_some(&bias));
                assert!(alone.equal(&found[0].narrow(1, rows - 1, 1)));
            }
        }
    }

    /// The same inputs give the same bits with any number of threads.
    #[test]
    fn norms_are_their_formulas_but_for_rounding() {
        tch::manual_seed(1);
        let (float, double) = ((Kind::Float, CPU), Kind::Double);
        for (kind, tolerance, of_sums) in [(Kind::Float, 3e-6, 3e-6), (Kind::BFloat16, 4e-3, 3e-6)] {
            for (rows, count) in [(1, 16), (3, 100), (700, 33)] {
                let x = (Tensor::randn([rows, count], float) * 3.0 + 1.0).to_kind(kind);
                let of_value = Tensor::randn([rows, count], float).to_kind(kind);
                let (gain, bias) = (Tensor::randn([count], float), Tensor::randn([count], float));
                for (centered, with_bias) in [(true, true), (true, false), (false, true), (false, false)] {
                    if !own_norm(CPU, kind) {
                        return skip("avx512-bf16", "the kernels are for processors with AVX-512 and bfloat16");
                    }
                    let run = || {
                        let [x, gain, bias] = [&x, &gain, &bias].map(|input| input.copy().set_requires_grad(true));
                        let value = norm(&x, &gain, with_bias.then_some(&bias), centered, 1e-5);
                        backward(&value, &of_value).unwrap();
                        let bias = if with_bias { bias.grad() } else { Tensor::zeros([count], float) };
                        [value.detach(), x.grad(), gain.grad(), bias]
                    };
                    let plain = |inputs: &[Tensor]| {
                        let mean = inputs[0].mean_dim([-1].as_slice(), true, double) * f64::from(u8::from(centered));
                        let difference = &inputs[0] - mean;
                        let variance = difference.square().mean_dim([-1].as_slice(), true, double);
                        let with_gain = difference / (variance + 1e-5).sqrt() * &inputs[1];
                        if with_bias { with_gain + &inputs[2] } else { with_gain + &inputs[2] * 0.0 }
                    };
                    let inputs = [&x, &gain, &bias].map(|input| input.to_kind(double));
                    let (found, expected) = (run(), with_gradients(&inputs, &of_value, plain, double));
                    for (i, tolerance) in [tolerance, tolerance, of_sums, of_sums].into_iter().enumerate() {
                        let difference = difference(&found[i], &expected[i]);
                        assert!(difference < tolerance, "{kind:?}, {rows} x {count}, result {i}: {difference}");
                    }
                    let threads = tch::get_num_threads();
                    for other in [1, 2] {
                        tch::set_num_threads(other);
                        assert!(found.iter().zip(run()).all(|(a, b)| a.equal(&b)), "{other} threads");
                    }
                    tch::set_num_threads(threads);
                }
            }
        }
    }

    #[test]
    fn norms_of_gradients_are_those_of_float64_for_any_number_of_threads() {
        tch::manual_seed(1);
        let gradients: Vec<Tensor> =
            [1, 16, 70_001, 300_000].map(|n| Tensor::randn([n], (Kind::Float, CPU))).into_iter().collect();
        let found = norms(&gradients).unwrap();
        for (i, gradient) in gradients.iter().enumerate() {
            let expected = gradient.to_kind(Kind::Double).norm().double_value(&[]);
            assert!((found.double_value(&[i as i64]) - expected).abs() < 1e-6 * expected);
        }
        let threads = tch::get_num_threads();
        tch::set_num_threads(1);
        assert!(!cpu_kernels() || norms(&gradients).unwrap().equal(&found));
        tch::set_num_threads(threads);
    }

    #[test]
    fn products_with_a_factor_are_their_formulas_but_for_rounding() {
        in_registers_and_in_tiles(
            "products_with_a_factor_are_their_formulas_but_for_rounding",
            check_products_with_a_factor,
        );
    }

    fn check_products_with_a_factor() {
        tch::manual_seed(1);
        for (kind, tolerance, of_sum) in [(Kind::Float, 2e-6, 2e-6), (Kind::BFloat16, 4e-3, 5e-3)] {
            for (rows, inner, outer) in [(5, 2, 6), (130, 70, 1100)] {
                let [weight, x, z] =
                    [[outer, inner], [rows, inner], [rows, outer]].map(|s| Tensor::randn(s, (kind, CPU)));
                let [weight64, x64, z64] = [&weight, &x, &z].map(|t| t.to_kind(Kind::Double));
                let factor = Factor::new(&weight);
                let begun = Tensor::randn([outer, inner], (Kind::Float, CPU));
                let mut sum = begun.copy();
                add_product(&mut sum, &z, &x);
                for (found, expected, tolerance) in [
                    (factor.times_transposed(&x), x64.matmul(&weight64.tr()), tolerance),
                    (factor.times(&z), z64.matmul(&weight64), tolerance),
                    (sum, begun.to_kind(Kind::Double) + z64.tr().matmul(&x64), of_sum),
                ] {
                    let difference = difference(&found, &expected);
                    assert!(difference < tolerance, "{kind:?}, {rows} x {inner} x {outer}: {difference}");
                }
            }
        }
    }

    #[test]
    fn cross_entropy_is_its_formula_but_for_rounding() {
        tch::manual_seed(1);
        let targets = Tensor::from_slice(&[3i64, 0, 1000, 515]).unsqueeze(1);
        for (kind, tolerance) in [(Kind::Float, 2e-6), (Kind::BFloat16, 4e-3)] {
            for (z_loss, soft_cap) in [(0.0, 0.0), (0.1, 0.0), (0.0, 9.0), (1e-3, 9.0)] {
                let padded = (Tensor::randn([4, 1024], (Kind::Float, CPU)) * 2.0).to_kind(kind);
                let logits = padded.narrow(1, 0, 1001);
                let z = logits.to_kind(Kind::Double);
                let Some(sum) = cross_entropy(&padded, 1001, &targets, z_loss, soft_cap).unwrap() else {
                    return skip("avx512-bf16", "the kernels are for processors with AVX-512 and bfloat16");
                };
                let log_p = z.log_softmax(-1, None);
                let expected_sum = log_p.gather(1, &targets, false).sum(Kind::Double).double_value(&[]);
                assert!((sum - expected_sum).abs() < 1e-6 * expected_sum.abs(), "{sum} instead of {expected_sum}");
                let log_z = z.logsumexp([1].as_slice(), true);
                let onehot = z.zeros_like().scatter_value(1, &targets, 1.0);
                let mut expected = log_p.exp() * (log_z * (2.0 * z_loss) + 1.0) - onehot;
                if soft_cap > 0.0 {
                    expected *= 1.0 - (z / soft_cap).square();
                }
                assert_eq!(padded.narrow(1, 1001, 23).abs().max().double_value(&[]), 0.0);
                let difference = difference(&logits, &expected);
                assert!(difference < tolerance, "{kind:?}, z-loss {z_loss}, soft cap {soft_cap}: {difference}");
            }
        }
    }

    /// A run stops at a loss that is not a number, so that must not vanish in a maximum or a mask.
    #[test]
    fn what_is_not_a_number_stays_so() {
        let nan = Tensor::from_slice(&[0.5f32, f32::NAN, 1.0]);
        for activation in [Activation::Gelu, Activation::ReluSquared] {
            assert!(activated(activation, &nan).double_value(&[1]).is_nan());
        }
        let ones = Tensor::ones([3], (Kind::Float, CPU));
        assert!(norm(&nan, &ones, None, true, 1e-5).double_value(&[0]).is_nan());
        let x = nan.to_kind(Kind::BFloat16).view([3, 1]) * Tensor::ones([1, 2], (Kind::BFloat16, CPU));
        let y = linear(&x, &Tensor::ones([2, 2], (Kind::Float, CPU)), None);
        assert!(y.double_value(&[1, 0]).is_nan() && y.double_value(&[0, 0]) == 1.0 && y.double_value(&[2, 1]) == 2.0);
        if !cpu_kernels() {
            // libtorch's own fused attention gives 0 there, which is for libtorch to mend.
            return skip("avx512-bf16", "the kernels are for processors with AVX-512 and bfloat16");
        }
        let heads = Tensor::ones([1, 1, 3, 16], (Kind::BFloat16, CPU));
        let query = &heads * nan.to_kind(Kind::BFloat16).view([1, 1, 3, 1]);
        let y = attention(&query, &heads, &heads, None, 0.0, 1.0);
        assert!(y.double_value(&[0, 0, 1, 0]).is_nan() && y.double_value(&[0, 0, 2, 0]) == 1.0);
        if let Some(sum) =
            cross_entropy(&nan.unsqueeze(0), 3, &Tensor::zeros([1, 1], (Kind::Int64, CPU)), 0.0, 0.0).unwrap()
        {
            assert!(sum.is_nan());
        }
    }
}
