//! `harness bundle`: everything that the paper rests on, in one archive.

use std::path::PathBuf;

use super::{Failure, Outcome, Workplace, terminal};
use crate::{bundle, exit_code};
use harness_core::files;
use harness_report::Mode;
use harness_report::archive::{self, Content};
use serde_json::json;

/// Pack the paper, its sources, the sealed records and how to verify them into one archive.
///
/// The same project gives the same bytes. `harness audit bundle.zip` verifies it anywhere, without git; its README.md says what
/// that cannot show. Checkpoints and corpora are left out: the records hold their digests. Exit codes: 0 written; 1 a record is
/// not what was sealed, or it is too large; 2 there is no paper of today's sources to pack.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The archive to write, a .zip.
    #[arg(default_value = "report/build/bundle.zip")]
    file: PathBuf,
    /// Write nothing that is larger than this; what takes the most room is named.
    #[arg(long, value_name = "MIB", default_value_t = 200)]
    at_most: u64,
    /// Print JSON: `file`, `sha256`, `size_bytes`, `runs` and the names of its `files`.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let bundle = bundle::gather(&workplace.project, &workplace.git)?;
    let file = &arguments.file;
    let names: Vec<&String> = bundle.files.keys().collect();
    let partial = file.with_extension("zip.partial");
    archive::write(&partial, &bundle.files)?;
    let size = files::size_bytes(&partial)?;
    if size > arguments.at_most << 20 {
        files::remove(&partial)?;
        let (mib, at_most) = (size.div_ceil(1 << 20), arguments.at_most);
        let largest = largest(&bundle.files).join(", ");
        return Err(Failure::failed(format!(
            "the bundle has {mib} MiB, and {at_most} are allowed; the largest before they are packed: {largest}\n\
             hint: `--at-most {mib}` allows it"
        )));
    }
    files::rename(&partial, file)?;
    let sha256 = harness_core::Digest::of_file(file)?;
    if arguments.json {
        let report = json!({
            "format": 1, "file": file, "sha256": sha256, "size_bytes": size, "runs": bundle.runs, "files": names,
        });
        terminal::say_json(&report);
    } else {
        let (path, count, runs) = (file.display(), names.len(), bundle.runs);
        let mib = size as f64 / f64::from(1 << 20);
        terminal::say(&format!("{path}: {count} files, {runs} sealed runs, {mib:.1} MiB, sha256 {sha256}"));
    }
    if bundle.mode == Mode::Review {
        terminal::tell(
            "the paper is anonymous, and the bundle is not: records name commits, the repository and the machine",
        );
    }
    Ok(exit_code::SUCCESS)
}

/// The five largest files, with their sizes.
fn largest(contents: &std::collections::BTreeMap<String, Content>) -> Vec<String> {
    let size = |content: &Content| match content {
        Content::File(path) => files::size_bytes(path).unwrap_or(0),
        Content::Bytes(bytes) => bytes.len() as u64,
    };
    let mut sizes: Vec<(u64, &String)> = contents.iter().map(|(name, content)| (size(content), name)).collect();
    sizes.sort_by(|a, b| b.cmp(a));
    sizes.iter().take(5).map(|(bytes, name)| format!("{name} ({} KiB)", bytes >> 10)).collect()
}
