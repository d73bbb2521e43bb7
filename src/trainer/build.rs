//! Compiles the C++ shim against the libtorch that tch links, and tells the loader where to find libtorch.
//!
//! The CPU kernels are compiled for processors with AVX-512 and its bfloat16 products, and are called only on those
//! (`has_cpu_kernels`); their files include nothing of libtorch, so that no function that others link to is compiled so.

use std::env;
use std::path::{Path, PathBuf};

const SHIM: [&str; 4] = ["native/shim.cpp", "native/cpu_ops.cpp", "native/cpu_linear.cpp", "native/collectives.cpp"];
const KERNELS: [&str; 3] = ["native/cpu_kernels.cpp", "native/cpu_attention.cpp", "native/cpu_products.cpp"];
/// For machines that the kernels are not written for: says that there are none.
const NO_KERNELS: &str = "native/no_cpu_kernels.cpp";
const KERNEL_FLAGS: [&str; 6] =
    ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512bf16", "-fno-math-errno"];
/// Where `setup/libtorch.sh` installs libtorch, seen from a program in `target/<profile>/`, from a test in
/// `target/<profile>/deps/`, and from a program in `.tools/bin/`.
const INSTALLED: [&str; 3] =
    ["../../.tools/libtorch/torch/lib", "../../../.tools/libtorch/torch/lib", "../libtorch/torch/lib"];
/// Set for programs that go to other machines: they do not name the folder of this one's libtorch.
const RELOCATABLE: &str = "HARNESS_RELOCATABLE";

fn main() {
    let libtorch = PathBuf::from(env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys says where libtorch is"));
    compile_shim(&libtorch);
    if env::var_os("CARGO_FEATURE_NCCL").is_some() {
        compile_nccl(&libtorch);
    }
    println!("cargo:rerun-if-env-changed={RELOCATABLE}");
    if env::var_os(RELOCATABLE).is_none() {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", libtorch.display());
    }
    for folder in INSTALLED {
        println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/{folder}");
    }
}

/// A compiler of what includes libtorch.
fn compiler(libtorch: &Path) -> cc::Build {
    let include = libtorch.with_file_name("include");
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .warnings(false) // libtorch's headers warn by the hundred.
        .debug(false) // Their debug information takes longer than all the rest.
        .include("native") // Where the headers of gloo stand that libtorch lacks.
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .define("_GLIBCXX_USE_CXX11_ABI", "1");
    build
}

/// NCCL's group of ranks, which names CUDA's types, as a shared object that is loaded where there is a GPU. The headers of CUDA
/// and NCCL are those that lie beside libtorch, where the wheels of PyTorch put them, and in the folders of `CPATH`.
fn compile_nccl(libtorch: &Path) {
    let packages = libtorch.join("../../nvidia");
    let library = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names it")).join("libharness_nccl.so");
    let mut build = compiler(libtorch);
    for folder in ["cu13/include", "cu13/include/cccl", "nccl/include"] {
        build.include(packages.join(folder));
    }
    let mut command = build.pic(true).get_compiler().to_command();
    command.args(["-shared", "native/nccl_group.cpp", "-o"]).arg(&library).arg(format!("-L{}", libtorch.display()));
    command.args(["-ltorch_cuda", "-lc10_cuda", "-ltorch_cpu", "-lc10"]);
    let compiled = command.status().expect("there is a C++ compiler");
    assert!(
        compiled.success(),
        "the feature `nccl` needs the headers of CUDA and NCCL: see docs/guide.md, Several GPUs"
    );
    println!("cargo:rustc-env=HARNESS_NCCL_LIBRARY={}", library.display());
}

fn compile_shim(libtorch: &Path) {
    println!("cargo:rerun-if-changed=native");
    compiler(libtorch).flag("-fopenmp").files(SHIM).compile("harness_shim");
    let mut kernels = cc::Build::new();
    kernels.cpp(true).std("c++17").opt_level(3).warnings(false); // GCC 12 warns of its own intrinsics.
    if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        KERNEL_FLAGS.into_iter().fold(kernels.files(KERNELS), cc::Build::flag);
    } else {
        kernels.file(NO_KERNELS);
    }
    // After the shim, which calls them.
    kernels.compile("harness_kernels");
    println!("cargo:rustc-link-search=native={}", libtorch.display());
    // OpenMP's run-time library is the one that lies beside libtorch and that libtorch loads: one pool of threads.
    for library in ["torch_cpu", "c10", "gomp"] {
        println!("cargo:rustc-link-lib=dylib={library}");
    }
}
