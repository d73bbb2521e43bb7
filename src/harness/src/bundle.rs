//! What a paper rests on, gathered for one archive: the PDF with its proof, its sources, the sealed records, and how to verify
//! them.
//!
//! Comes in: a project whose paper was made. Goes out: the files of the archive, by name. What it leaves out is said in it:
//! checkpoints and corpora, whose digests the records hold, and the history of git, of which it keeps what the paper tells.

use std::collections::{BTreeMap, BTreeSet};

use harness_core::Digest;
use harness_core::files::{self, FileError};
use harness_core::names::Project;
use harness_record::format::file;
use harness_record::git::{Git, GitError};
use harness_record::select::Traces;
use harness_record::{self as record, Bundled, Deleted, RecordError, SealedRun};
use harness_report::archive::Content;
use harness_report::{Mode, PAPER_PDF, PAPER_PROOF, Proof};
use harness_study::amendments::amendments;
use serde_json::json;

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A record is not what was sealed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Git could not answer.
    #[error(transparent)]
    Git(#[from] GitError),
    /// There is no paper, or not that of the sources and records that are here.
    #[error("{0}\nhint: `harness report` makes it")]
    Paper(String),
}

/// The files of a bundle.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// By name in the archive.
    pub files: BTreeMap<String, Content>,
    /// How many sealed runs are among them.
    pub runs: usize,
    /// The layout of its paper.
    pub mode: Mode,
}

/// Files beside the folders that say what the project is built from and under which terms.
const BESIDE: [&str; 7] =
    ["Cargo.lock", "Cargo.toml", "rust-toolchain.toml", "LICENSE", "LICENSE-APACHE", "LICENSE-MIT", ".gitattributes"];
const GUIDE: &str = "README.md";
/// What a deleted run is known by.
const OF_DELETED: [&str; 4] = [file::OPEN, file::RECORD, file::LOG, file::STEPS];

/// Gathers the files. Nothing is written.
pub fn gather(project: &Project, git: &Git) -> Result<Bundle, BundleError> {
    let root = project.root();
    let proof = proof(project)?;
    let mut paths: BTreeSet<String> = proof.sources.iter().map(|source| source.path.clone()).collect();
    paths.extend([PAPER_PDF, PAPER_PROOF].map(str::to_owned));
    paths.extend(BESIDE.map(str::to_owned));
    for folder in ["experiments", "templates", "report"] {
        let below = files::list_visible(&root.join(folder))?.into_iter();
        paths.extend(below.map(|path| format!("{folder}/{path}")).filter(|path| is_packed(path)));
    }
    // What a link leads to may be anything.
    paths.retain(|path| files::is_plain_file(&root.join(path)));

    let traces = Traces::of(project)?;
    let (mut sealed, mut amended) = (Vec::new(), BTreeMap::new());
    for (experiment, run) in record::all_runs(project)? {
        match SealedRun::open(project, &experiment, &run) {
            Ok(run) => {
                let commit = &run.open.code.commit;
                let of: &mut BTreeMap<_, _> = amended.entry(experiment.clone()).or_default();
                // A registration that git cannot follow is told by the paper as one that was never changed.
                if let (false, Ok(found)) = (of.contains_key(commit), amendments(project, &experiment, Some(commit))) {
                    of.insert(commit.clone(), json!(found));
                }
                sealed.push(run);
            }
            Err(RecordError::NotSealed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let deleted = traces.deleted().map(|(run, experiment, commit)| {
        let read = |name: &str| Some((name.to_owned(), traces.file_at(experiment, run, commit, name)?));
        let text = |(name, bytes): (String, Vec<u8>)| (name, String::from_utf8_lossy(&bytes).into_owned());
        let files = OF_DELETED.into_iter().filter_map(read).map(text).collect();
        Deleted { run: run.clone(), experiment: experiment.clone(), commit: commit.to_owned(), files }
    });
    let bundled =
        Bundled { format: Bundled::VERSION, head: git.head_commit()?, deleted: deleted.collect(), amendments: amended };
    let bundled = serde_json::to_vec_pretty(&bundled).expect("texts are JSON");

    let mut files: BTreeMap<String, Content> =
        paths.into_iter().map(|path| (path.clone(), Content::File(root.join(path)))).collect();
    files.insert(Bundled::NAME.to_owned(), Content::Bytes(bundled));
    files.insert(GUIDE.to_owned(), Content::Bytes(guide(&sealed).into_bytes()));
    Ok(Bundle { files, runs: sealed.len(), mode: proof.mode })
}

/// Weights are too large, of the build folder only what the proof names is the paper's, and the conference's style has an
/// owner of its own.
fn is_packed(path: &str) -> bool {
    let apart = ["report/build/", "report/latex/"].iter().any(|folder| path.starts_with(folder));
    !apart && !path.split('/').any(|part| part == "checkpoints")
}

/// The proof of the paper, if that is the one of what is here.
fn proof(project: &Project) -> Result<Proof, BundleError> {
    let root = project.root();
    let bytes = match files::read(&root.join(PAPER_PROOF)) {
        Err(error) if error.is_not_found() => return Err(BundleError::Paper("there is no paper to pack".to_owned())),
        read => read?,
    };
    let proof: Proof = serde_json::from_slice(&bytes)
        .map_err(|error| BundleError::Paper(format!("`{PAPER_PROOF}` is no proof of a paper: {error}")))?;
    let pdf = (PAPER_PDF.to_owned(), proof.pdf_sha256);
    let sources = proof.sources.iter().map(|source| (source.path.clone(), source.sha256));
    for (path, sha256) in sources.chain([pdf]) {
        if !Digest::of_file(&root.join(&path)).is_ok_and(|found| found == sha256) {
            return Err(BundleError::Paper(format!("the paper is not that of today: `{path}` has changed since")));
        }
    }
    Ok(proof)
}

fn guide(runs: &[SealedRun]) -> String {
    let mut out = String::from(
        "# A paper with what it rests on\n\n\
         `report/build/paper.pdf` is the paper. `report/build/paper.json` lists each number in it with its page, its runs and the digest\n\
         of everything that went in; `report/` holds its sources. `experiments/*/runs/*/` are the sealed records: configuration, data by\n\
         digest, the rows that the trainer wrote, and a MANIFEST with the digest of every file.\n\n\
         ## Verify it\n\n\
         With the program `harness` (`cargo install --locked --path src/harness` in a checkout of its sources):\n\n\
         \x20   harness audit bundle.zip    # or the folder that it was unpacked to\n\n\
         It holds every file against its digest and every record against itself, computes each number of the paper again from the rows,\n\
         makes tables and figures again, and sets the paper again to the byte where the Typst of that version and its fonts are installed\n\
         (`make setup` there). It ends with 3, because the archive cannot show everything:\n\n\
         - that the commit of each run holds the configuration and the sources that it says, and what else the history of git tells: which\n\
         \x20 runs were deleted, and what was changed of a hypothesis before its first run. `bundle.json` says so on its own word;\n\
         - the corpora and tasks: their digests are in the records, and a clone makes them again (`harness data prepare`);\n\
         - the checkpoints, whose digests are in the records.\n\n\
         Without the program: `sha256sum -c MANIFEST` in a run folder, and `sha256sum report/build/paper.pdf` against `pdf_sha256`.\n",
    );
    let listed = |title: &str, items: BTreeSet<String>| -> String {
        let lines: String = items.iter().map(|item| format!("    {item}\n")).collect();
        if items.is_empty() { String::new() } else { format!("\n{title}\n\n{lines}") }
    };
    let remotes = runs.iter().filter_map(|run| run.open.code.remote.clone()).filter(|remote| remote != "local");
    out += &listed("The history was published at", remotes.collect());
    out += &listed("Commits of the runs:", runs.iter().map(|run| run.open.code.commit.clone()).collect());
    out
}
