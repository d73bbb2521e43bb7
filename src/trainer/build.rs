//! Compiles the C++ shim against the libtorch that tch links, and tells the loader where to find libtorch.

use std::env;
use std::path::{Path, PathBuf};

const SHIM: &str = "native/shim.cpp";
/// Where `setup/libtorch.sh` installs libtorch, seen from a program in `target/<profile>/` and from a test
/// in `target/<profile>/deps/`.
const INSTALLED: [&str; 2] = ["../../.tools/libtorch/torch/lib", "../../../.tools/libtorch/torch/lib"];

fn main() {
    let libtorch = PathBuf::from(env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys says where libtorch is"));
    compile_shim(&libtorch);
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", libtorch.display());
    for folder in INSTALLED {
        println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/{folder}");
    }
}

fn compile_shim(libtorch: &Path) {
    println!("cargo:rerun-if-changed={SHIM}");
    let include = libtorch.with_file_name("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .warnings(false) // libtorch's headers warn by the hundred.
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .file(SHIM)
        .compile("harness_shim");
    println!("cargo:rustc-link-search=native={}", libtorch.display());
    for library in ["torch_cpu", "c10"] {
        println!("cargo:rustc-link-lib=dylib={library}");
    }
}
