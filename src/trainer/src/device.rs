//! Where to compute, with which switches, and what is to be said about it: one program serves machines with and
//! without CUDA, because the CUDA backend is a library that is loaded only when it is wanted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use harness_build::BUILD;
use harness_core::config::{AttentionKernel, Device as Wanted, Precision, TrainingConfig};
use harness_core::contract::{About, Determinism, Gpu, Library, VERSION};
use harness_core::{Digest, files};
use tch::{Device, Kind};

use crate::error::Error;
use crate::native;

/// The device of a run, and why it is not a GPU.
pub struct Chosen {
    /// Where to compute.
    pub device: Device,
    /// Why CUDA is not used, where it is not.
    pub cuda_absent_because: Option<String>,
}

/// Loads the CUDA backend if it is wanted, and picks the device.
pub fn choose(wanted: Wanted) -> Result<Chosen, Error> {
    let absent = |reason: String| {
        if wanted == Wanted::Cuda {
            let hint = "run `make setup` on a machine with an NVIDIA GPU and its driver, or set \
                        `training.device = \"cpu\"`";
            return Err(Error::Device { problem: format!("CUDA is not usable: {reason}"), hint: hint.to_owned() });
        }
        Ok(Chosen { device: Device::Cpu, cuda_absent_because: Some(reason) })
    };
    if wanted == Wanted::Cpu {
        return absent("the job asks for the CPU".to_owned());
    }
    if !native::driver_present() {
        return absent("there is no NVIDIA driver on this machine".to_owned());
    }
    if let Err(error) = native::load_cuda() {
        return absent(error.to_string());
    }
    match native::cuda_devices() {
        Ok(0) => absent("the driver is there, but CUDA sees no GPU".to_owned()),
        Ok(_) => Ok(Chosen { device: Device::Cuda(0), cuda_absent_because: None }),
        Err(error) => absent(error.to_string()),
    }
}

/// Sets threads, determinism and precision. Before the first operation of libtorch.
pub fn configure(training: &TrainingConfig) -> Result<(), Error> {
    native::keep_freed_memory();
    // The number of threads inside an operation decides the order of its sums.
    tch::set_num_threads(training.threads as i32);
    tch::set_num_interop_threads(1);
    native::set_deterministic(training.deterministic)?;
    native::set_bf16_reduction(false)?;
    native::set_float32_matmul_precision(if training.tf32 { "high" } else { "highest" })
}

/// Restricts attention to the kernel that the config names; `auto` allows all.
pub fn choose_attention(kernel: AttentionKernel, device: Device) -> Result<(), Error> {
    let (name, gpu_only) = match kernel {
        AttentionKernel::Auto => return native::set_attention_kernel(None),
        AttentionKernel::Flash => ("flash", false),
        AttentionKernel::MemoryEfficient => ("memory_efficient", true),
        AttentionKernel::Math => ("math", false),
        AttentionKernel::Cudnn => ("cudnn", true),
    };
    if gpu_only && !device.is_cuda() {
        return Err(Error::Job {
            problem: format!("the attention kernel `{name}` runs on a GPU only, and this run is on the CPU"),
            hint: Some("set `training.attention_kernel` to `auto`, `flash` or `math`".to_owned()),
        });
    }
    native::set_attention_kernel(Some(name))
}

/// The data type of the matrix products.
pub fn compute_kind(precision: Precision) -> Kind {
    match precision {
        Precision::F32 => Kind::Float,
        Precision::Bf16 => Kind::BFloat16,
    }
}

/// `cpu` or `cuda:0`.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}

/// The switches as libtorch has them now; `attention_kernel` as [`crate::native::attention_kernel`] says it.
pub fn determinism(
    device: Device,
    precision: Precision,
    attention_kernel: Option<&str>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Determinism {
    let kind = match precision {
        Precision::F32 => "float32",
        Precision::Bf16 => "bfloat16",
    };
    Determinism {
        deterministic_algorithms: native::deterministic(),
        cudnn_benchmark: native::cudnn_benchmark(),
        tf32_matmul: native::tf32_matmul(),
        float32_matmul_precision: native::float32_matmul_precision(),
        attention_kernels: native::attention_kernels(),
        attention_kernel: attention_kernel.map(str::to_owned),
        compute_dtype: kind.to_owned(),
        intra_op_threads: tch::get_num_threads().max(0) as u32,
        inter_op_threads: tch::get_num_interop_threads().max(0) as u32,
        cpu_capability: native::cpu_capability(),
        cpu_kernels: native::cpu_kernels(),
        amx: native::amx(),
        product_kernel: Some(
            if native::own_products(device, compute_kind(precision)) { "own" } else { "libtorch" }.to_owned(),
        ),
        environment: environment_of_numbers(environment),
    }
}

/// The environment variables that change numbers or speed, as `NAME=value`, sorted.
fn environment_of_numbers(all: impl IntoIterator<Item = (String, String)>) -> Vec<String> {
    let families = ["OMP_", "GOMP_", "KMP_", "MKL_", "ONEDNN_", "DNNL_", "CUBLAS_", "CUDNN_", "PYTORCH_", "MALLOC_"];
    let single = [
        "ATEN_CPU_CAPABILITY",
        "CUDA_LAUNCH_BLOCKING",
        "CUDA_VISIBLE_DEVICES",
        "HARNESS_PRODUCTS",
        "NVIDIA_TF32_OVERRIDE",
    ];
    let counts = |name: &str| families.iter().any(|f| name.starts_with(f)) || single.contains(&name);
    let mut found: Vec<String> =
        all.into_iter().filter(|(name, _)| counts(name)).map(|(name, value)| format!("{name}={value}")).collect();
    found.sort();
    found
}

/// The program and its native libraries; `libraries` as from [`libraries`].
pub fn about(cuda_absent_because: Option<String>, libraries: Vec<Library>) -> About {
    let (cuda, cudnn) = if cuda_absent_because.is_none() { native::cuda_version() } else { (None, None) };
    let gpus = if cuda_absent_because.is_none() { native::cuda_devices().unwrap_or(0) } else { 0 };
    About {
        contract_version: VERSION,
        trainer_version: BUILD.version.to_owned(),
        source_sha256: BUILD.source_sha256.to_owned(),
        build_profile: BUILD.profile.to_owned(),
        rustc: BUILD.rustc.to_owned(),
        libtorch: native::libtorch_version(),
        cuda,
        cudnn,
        gpus: (0..gpus).filter_map(native::gpu).map(describe).collect(),
        cuda_absent_because,
        libraries,
    }
}

fn describe(gpu: native::Gpu) -> Gpu {
    Gpu {
        uuid_sha256: (!gpu.uuid.is_empty()).then(|| Digest::of(gpu.uuid.as_bytes())),
        driver: (!gpu.driver.is_empty()).then_some(gpu.driver),
        name: gpu.name,
        compute_capability: gpu.compute_capability,
        memory_bytes: gpu.memory_bytes,
        power_limit_w: gpu.power_limit_w,
    }
}

/// The shared objects of libtorch and CUDA in this process, sorted by name.
pub fn library_paths() -> Result<Vec<PathBuf>, Error> {
    let ours = ["libtorch", "libc10", "libcaffe2", "libgomp", "libiomp", "libmkl", "libcu", "libnv", "libnccl"];
    let maps = files::read_to_string(Path::new("/proc/self/maps"))?;
    let mut found = BTreeMap::new();
    for path in maps.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..]))) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.contains(".so") && ours.iter().any(|prefix| name.starts_with(prefix)) {
            found.insert(name, path.to_owned());
        }
    }
    Ok(found.into_values().collect())
}

/// Names and sizes of libraries, with digests if `hash` is set (0.3 seconds for libtorch on a CPU).
pub fn libraries(paths: &[PathBuf], hash: bool) -> Result<Vec<Library>, Error> {
    let describe = |path: &PathBuf| {
        Ok(Library {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            size_bytes: files::size_bytes(path)?,
            sha256: if hash { Some(Digest::of_file(path)?) } else { None },
        })
    };
    paths.iter().map(describe).collect()
}

/// Largest resident memory of this process, in bytes; 0 where the system does not tell.
pub fn peak_memory_bytes() -> u64 {
    status_bytes("VmHWM:")
}

/// Resident memory of this process now, in bytes; 0 where the system does not tell.
pub fn memory_bytes() -> u64 {
    status_bytes("VmRSS:")
}

fn status_bytes(field: &str) -> u64 {
    let status = files::read_to_string(Path::new("/proc/self/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_read_back_as_they_were_set() {
        configure(&TrainingConfig { threads: 1, tf32: true, ..TrainingConfig::default() }).unwrap();
        let read =
            determinism(Device::Cpu, Precision::Bf16, None, [("OMP_WAIT_POLICY".to_owned(), "passive".to_owned())]);
        assert!(read.deterministic_algorithms && !read.cudnn_benchmark);
        assert_eq!((read.intra_op_threads, read.float32_matmul_precision.as_str()), (1, "high"));
        assert_eq!(read.environment, ["OMP_WAIT_POLICY=passive"]);
        let own = native::own_products(Device::Cpu, Kind::BFloat16);
        assert_eq!(read.product_kernel.as_deref(), Some(if own { "own" } else { "libtorch" }));
        let exact = determinism(Device::Cpu, Precision::F32, None, []);
        assert_eq!(exact.product_kernel.as_deref(), Some("libtorch"));
    }

    #[test]
    fn libtorch_is_among_the_libraries() {
        let _load = tch::Tensor::zeros([1], (Kind::Float, Device::Cpu));
        let libraries = libraries(&library_paths().unwrap(), false).unwrap();
        assert!(libraries.iter().any(|l| l.name == "libtorch_cpu.so" && l.size_bytes > 1 << 20), "{libraries:?}");
    }
}
