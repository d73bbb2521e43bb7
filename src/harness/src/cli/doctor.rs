//! `harness doctor`: what is there, what is missing, and the command that mends it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

use super::{Outcome, Workplace, terminal};
use crate::exit_code;

/// Check what is installed, what is missing, and which command fixes it.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One thing that was looked at.
#[derive(Serialize)]
struct Finding {
    what: &'static str,
    /// What is there, or why it cannot be used.
    found: String,
    /// The command that mends it, where something is wrong.
    mend: Option<String>,
    /// Whether the main job works without it.
    optional: bool,
}

impl Finding {
    fn good(what: &'static str, found: String) -> Self {
        Finding { what, found, mend: None, optional: false }
    }

    fn bad(what: &'static str, found: String, mend: &str) -> Self {
        Finding { what, found, mend: Some(mend.to_owned()), optional: false }
    }

    /// An error as a finding: its hint is what mends it.
    fn of_error(what: &'static str, error: &str) -> Self {
        let (found, hint) = error.split_once("\nhint: ").unwrap_or((error, "see above"));
        Self::bad(what, found.to_owned(), hint)
    }

    fn lacking(what: &'static str, found: String, mend: &str) -> Self {
        Finding { what, found, mend: Some(mend.to_owned()), optional: true }
    }
}

pub(super) fn execute(folder: Option<PathBuf>, arguments: &Arguments) -> Outcome {
    let mut findings = Vec::new();
    let workplace = Workplace::find(folder);
    match &workplace {
        Err(error) => {
            findings.push(Finding::of_error("project", &error.message));
        }
        Ok(workplace) => {
            findings.push(repository(workplace));
            let root = workplace.project.root();
            findings.push(libtorch(root));
            findings.extend(trainer(&super::chosen_trainer(None)));
            findings.push(typst(root));
            findings.push(fonts(root));
            findings.push(mirror());
        }
    }
    let broken = findings.iter().any(|f| f.mend.is_some() && !f.optional);
    if arguments.json {
        terminal::say_json(&findings);
    } else {
        for finding in &findings {
            let word = match (&finding.mend, finding.optional) {
                (None, _) => "ok     ",
                (Some(_), true) => "absent ",
                (Some(_), false) => "MISSING",
            };
            terminal::say(&format!("{word} {:<15} {}", finding.what, finding.found));
            if let Some(mend) = &finding.mend {
                terminal::say(&format!("{:24}-> {mend}", ""));
            }
        }
    }
    Ok(if broken { exit_code::CONTRADICTION } else { exit_code::SUCCESS })
}

fn repository(workplace: &Workplace) -> Finding {
    match workplace.git.state() {
        Ok(state) if state.is_dirty() => {
            let count = state.changed.len() + state.untracked.len();
            let found = format!("commit {}, {count} files differ from it", &state.commit[..12]);
            Finding::lacking("repository", found, "git add -A && git commit, before the next run")
        }
        Ok(state) => Finding::good("repository", format!("commit {}, clean", &state.commit[..12])),
        Err(error) => Finding::of_error("repository", &error.to_string()),
    }
}

fn libtorch(root: &Path) -> Finding {
    let library = root.join(".tools/libtorch/torch/lib/libtorch_cpu.so");
    let own = std::env::var_os("LIBTORCH").map(|folder| Path::new(&folder).join("lib/libtorch_cpu.so"));
    match [own, Some(library)].into_iter().flatten().find(|path| path.is_file()) {
        Some(_) => {
            let cuda = root.join(".tools/libtorch/nvidia/cudnn").is_dir();
            Finding::good("libtorch", if cuda { "with CUDA" } else { "for CPU" }.to_owned())
        }
        None => Finding::bad("libtorch", "not installed".to_owned(), "make setup"),
    }
}

fn trainer(path: &Path) -> Vec<Finding> {
    let what = "harness-trainer";
    let about = match crate::run::about(path) {
        Ok(about) => about,
        Err(error) => {
            let found = error.to_string().lines().next().unwrap_or_default().to_owned();
            return vec![Finding::bad(what, found, harness_build::MAKE)];
        }
    };
    if about.source_sha256 != harness_build::BUILD.source_sha256 {
        let found = "was built from other sources than harness".to_owned();
        return vec![Finding::bad(what, found, harness_build::MAKE)];
    }
    let mut findings = vec![Finding::good(
        what,
        format!("{} ({}), libtorch {}", about.trainer_version, about.build_profile, about.libtorch),
    )];
    findings.push(match about.gpus.first() {
        Some(gpu) => Finding::good("GPU", format!("{}, {} GiB", gpu.name, gpu.memory_bytes >> 30)),
        None => {
            let why = about.cuda_absent_because.unwrap_or_else(|| "none found".to_owned());
            Finding::lacking("GPU", why, "trains on the CPU; on a machine with a GPU: make setup LIBTORCH=cuda")
        }
    });
    findings
}

fn typst(root: &Path) -> Finding {
    let own = root.join(".tools/bin/typst");
    let program = if own.is_file() { own } else { PathBuf::from("typst") };
    match Command::new(&program).arg("--version").output() {
        Ok(output) if output.status.success() => {
            let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            if version.contains(" 0.15") {
                Finding::good("typst", version)
            } else {
                Finding::bad("typst", format!("{version}, but the templates are written for 0.15"), "make setup")
            }
        }
        _ => Finding::bad("typst", "not installed".to_owned(), "make setup"),
    }
}

fn fonts(root: &Path) -> Finding {
    let names = harness_core::files::list_recursive(&root.join(".tools/fonts")).unwrap_or_default();
    let has = |part: &str| names.iter().any(|name| name.to_lowercase().contains(part));
    match ["termes", "heros", "inconsolata"].iter().find(|part| !has(part)) {
        None => Finding::good("fonts", "TeX Gyre Termes and Heros, Inconsolata".to_owned()),
        Some(missing) => Finding::bad("fonts", format!("`{missing}` is missing"), "make setup"),
    }
}

fn mirror() -> Finding {
    match super::mirror() {
        Some(folder) if folder.is_dir() => {
            Finding::good("HARNESS_MIRROR", "a folder; files are taken from it by digest".to_owned())
        }
        Some(_) => {
            Finding::lacking("HARNESS_MIRROR", "is not a folder".to_owned(), "unset HARNESS_MIRROR, or name a folder")
        }
        None => Finding::good("HARNESS_MIRROR", "not set: files are downloaded".to_owned()),
    }
}
