//! GPUs that students meet, with the figures of their makers: what a plan knows of a machine that is not at hand.

use harness_core::config::Precision;

/// One GPU.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Gpu {
    /// How it is named on the command line.
    pub name: &'static str,
    /// Dense bfloat16 products with float32 sums, operations per second; 0 where the tensor cores have none.
    pub bf16_flops_per_s: f64,
    /// Float32 products outside of tensor cores (TF32 off), operations per second.
    pub f32_flops_per_s: f64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Board power in watts.
    pub power_w: f64,
    /// Where the figures come from.
    pub source: &'static str,
}

const T: f64 = 1e12;
const GB: u64 = 1_000_000_000;

/// Sorted by name. Rates with sparsity, which data sheets like to print, are halved.
pub const GPUS: [Gpu; 11] = [
    gpu("a10", 125.0, 31.2, 24, 150.0, "NVIDIA A10 data sheet, 2022"),
    gpu("a100-40gb", 312.0, 19.5, 40, 250.0, "NVIDIA A100 data sheet, 2021, PCIe"),
    gpu("a100-80gb", 312.0, 19.5, 80, 400.0, "NVIDIA A100 data sheet, 2021, SXM"),
    gpu("h100-pcie", 756.0, 51.2, 80, 350.0, "NVIDIA H100 architecture white paper, 2022"),
    gpu("h100-sxm", 989.4, 66.9, 80, 700.0, "NVIDIA H100 architecture white paper, 2022"),
    gpu("h200", 989.4, 66.9, 141, 700.0, "NVIDIA H200 data sheet, 2023, SXM"),
    gpu("l4", 121.0, 30.3, 24, 72.0, "NVIDIA L4 data sheet, 2023"),
    gpu("l40s", 362.0, 91.6, 48, 350.0, "NVIDIA L40S data sheet, 2023"),
    gpu("rtx-3090", 71.0, 35.6, 24, 350.0, "NVIDIA GA102 architecture white paper, 2020"),
    gpu("rtx-4090", 165.2, 82.6, 24, 450.0, "NVIDIA Ada architecture white paper, 2022"),
    gpu("t4", 0.0, 8.1, 16, 70.0, "NVIDIA T4 data sheet, 2019: no bfloat16"),
];

const fn gpu(name: &'static str, bf16: f64, f32: f64, memory: u64, power_w: f64, source: &'static str) -> Gpu {
    Gpu { name, bf16_flops_per_s: bf16 * T, f32_flops_per_s: f32 * T, memory_bytes: memory * GB, power_w, source }
}

impl Gpu {
    /// The GPU of that name.
    pub fn find(name: &str) -> Option<&'static Gpu> {
        GPUS.iter().find(|gpu| gpu.name == name)
    }

    /// The rate that the maker promises for products in `precision`, operations per second; without bfloat16 units
    /// that of float32.
    pub fn peak_flops_per_s(&self, precision: Precision) -> f64 {
        match precision {
            Precision::Bf16 if self.bf16_flops_per_s > 0.0 => self.bf16_flops_per_s,
            _ => self.f32_flops_per_s,
        }
    }
}
