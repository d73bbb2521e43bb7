//! What differs between the machine that a run was computed on and this one, as far as it can change the bits of a number.

use std::collections::BTreeMap;
use std::path::Path;

use harness_core::Digest;
use harness_core::contract::Started;
use harness_core::files::FileError;
use harness_record::format::{Binaries, Host, Open};
use serde::Serialize;

/// Something that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// What, in words.
    pub what: String,
    /// As it was recorded.
    pub recorded: String,
    /// As it is here.
    pub here: String,
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} recorded, {} here", self.what, self.recorded, self.here)
    }
}

/// The trainer that computes again, beside the one that ran.
#[derive(Clone, Debug, Serialize)]
pub struct Trainer {
    /// Digest of the program here.
    pub sha256: Digest,
    /// Digest of the program that ran.
    pub recorded_sha256: Digest,
    /// Whether both were built from the same sources.
    pub has_same_sources: bool,
}

impl Trainer {
    /// This program, beside that of a record.
    pub(super) fn of(program: &Path, sources: &str, recorded: &Binaries) -> Result<Self, FileError> {
        Ok(Trainer {
            sha256: Digest::of_file(program)?,
            recorded_sha256: recorded.trainer_sha256,
            has_same_sources: sources == recorded.trainer_built_from_sha256,
        })
    }

    /// What is to be known of it, in a sentence.
    pub fn sentence(&self) -> String {
        if self.sha256 == self.recorded_sha256 {
            return format!("the trainer is the program that ran, sha256 {}", self.sha256.short());
        }
        let (here, recorded) = (self.sha256.short(), self.recorded_sha256.short());
        let sources = if self.has_same_sources { "the same sources" } else { "other sources" };
        format!("the trainer here ({here}) is not the program that ran ({recorded}); it was built from {sources}")
    }
}

/// What differs, the likeliest cause first. Of the programs only what they were built from and by counts.
pub(super) fn differences(open: &Open, host: &Host, recorded: &Started, here: &Started) -> Vec<Setting> {
    let mut found = Vec::new();
    let mut row = |what: &str, recorded: &dyn std::fmt::Display, here: &dyn std::fmt::Display| {
        let (recorded, here) = (recorded.to_string(), here.to_string());
        if recorded != here {
            found.push(Setting { what: what.to_owned(), recorded, here });
        }
    };
    let (old, new) = (&recorded.determinism, &here.determinism);
    let sources = |sha256: &str| sha256.get(..12).unwrap_or("unknown").to_owned();
    row("sources of the trainer", &sources(&recorded.about.source_sha256), &sources(&here.about.source_sha256));
    let ranks = |started: &Started| match &started.ranks {
        Some(ranks) => format!("{} over {}", ranks.each.len(), ranks.backend),
        None => "1".to_owned(),
    };
    row("processes", &ranks(recorded), &ranks(here));
    row("threads", &old.intra_op_threads, &new.intra_op_threads);
    row("threads across operations", &old.inter_op_threads, &new.inter_op_threads);
    row("device", &kind(&recorded.device), &kind(&here.device));
    row("libtorch", &recorded.about.libtorch, &here.about.libtorch);
    row("CUDA", &or_none(&recorded.about.cuda), &or_none(&here.about.cuda));
    row("cuDNN", &or_none(&recorded.about.cudnn), &or_none(&here.about.cudnn));
    let gpu = |started: &Started| {
        let names = started.about.gpus.iter().map(|gpu| format!("{}, driver {}", gpu.name, or_none(&gpu.driver)));
        names.collect::<Vec<_>>().join("; ")
    };
    if recorded.device.starts_with("cuda") || here.device.starts_with("cuda") {
        row("GPU", &gpu(recorded), &gpu(here));
    }
    row("processor", &open.host.cpu, &host.cpu);
    row("instructions of the processor", &old.cpu_capability, &new.cpu_capability);
    row("kernels of the trainer's own", &old.cpu_kernels, &new.cpu_kernels);
    row("their use of AMX", &old.amx, &new.amx);
    row("C library", &open.host.libc, &host.libc);
    row("deterministic algorithms", &old.deterministic_algorithms, &new.deterministic_algorithms);
    row("cuDNN's search for the fastest algorithm", &old.cudnn_benchmark, &new.cudnn_benchmark);
    row("TF32", &old.tf32_matmul, &new.tf32_matmul);
    row("precision of matrix products", &old.float32_matmul_precision, &new.float32_matmul_precision);
    row("data type", &old.compute_dtype, &new.compute_dtype);
    // An evaluation has no kernel of training.
    if let (Some(old), Some(new)) = (&old.attention_kernel, &new.attention_kernel) {
        row("attention", old, new);
    }
    if let (Some(old), Some(new)) = (&old.product_kernel, &new.product_kernel) {
        row("matrix products", old, new);
    }
    // The threads stand above; what the supervisor sets follows from them.
    let environment = |all: &[String]| {
        let counts = |name: &&String| !name.starts_with("OMP_") && !name.starts_with("MKL_NUM_THREADS");
        all.iter().filter(counts).cloned().collect::<Vec<_>>().join(" ")
    };
    row("environment", &environment(&old.environment), &environment(&new.environment));
    row("compiler of the trainer", &recorded.about.rustc, &here.about.rustc);
    row("build profile of the trainer", &recorded.about.build_profile, &here.about.build_profile);
    let libraries = |started: &Started| -> BTreeMap<String, String> {
        let listed = started.about.libraries.iter();
        listed.map(|l| (l.name.clone(), l.sha256.map_or_else(|| "unknown".to_owned(), |d| d.short()))).collect()
    };
    let (old, new) = (libraries(recorded), libraries(here));
    for name in old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))) {
        row(&format!("`{name}`"), &or_none(&old.get(name).cloned()), &or_none(&new.get(name).cloned()));
    }
    found
}

/// Whether the trainers themselves differ: then what they compute may.
pub(super) fn is_other_trainer(differences: &[Setting]) -> bool {
    differences.iter().any(|setting| setting.what == "sources of the trainer")
}

/// The names of what differs, for a sentence.
pub(super) fn named(differences: &[Setting]) -> String {
    differences.iter().map(Setting::to_string).collect::<Vec<_>>().join("; ")
}

fn or_none(text: &Option<String>) -> String {
    text.clone().unwrap_or_else(|| "none".to_owned())
}

/// Which of several equal GPUs it was changes nothing.
fn kind(device: &str) -> &str {
    device.split(':').next().unwrap_or(device)
}
