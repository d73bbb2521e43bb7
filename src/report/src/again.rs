//! The paper set again, for an audit: in a folder of its own that holds copies of what lies in `report/` and the build folder as the
//! records give it, by the auditor's Typst, in bounds.

use std::path::{Path, PathBuf};

use harness_core::files::FileError;
use harness_core::names::Project;
use harness_core::{Digest, files};

use super::error::ReportError;
use super::made::Made;
use super::proof::Proof;
use super::typst::Typst;
use super::{BUILD, PAPER};

/// What came of it.
#[derive(Debug)]
pub struct Again {
    /// The PDF.
    pub pdf: Vec<u8>,
    /// Its proof.
    pub proof: Proof,
}

/// How much of `report/` is copied: a paper with every figure as a photograph.
const MOST_FILES: usize = 2_000;
const MOST_BYTES: usize = 256 << 20;

impl Made<'_> {
    /// Sets the paper again. Of the project only plain files of `report/` are seen.
    pub fn set_again(&mut self, project: &Project, typst: &Typst) -> Result<Again, ReportError> {
        let folder = Temporary::new()?;
        let typst = typst.at(&folder.0);
        self.lay_out(project, &folder.0)?;
        let mode = self.mode.word();
        let bound = self.bound(typst.notes(PAPER, mode)?.bound)?;
        files::write(&folder.0.join(BUILD).join(super::proof::BOUND), self.file(super::proof::BOUND))?;
        let pdf = folder.0.join("paper.pdf");
        typst.compile(PAPER, &pdf, mode, self.timestamp())?;
        let pdf = files::read(&pdf)?;
        let proof = self.proof(Digest::of(&pdf), &typst, bound)?;
        Ok(Again { pdf, proof })
    }

    fn lay_out(&self, project: &Project, root: &Path) -> Result<(), FileError> {
        let (mut count, mut bytes) = (0, 0);
        for path in files::list_visible(&project.report())?.iter().map(|path| format!("report/{path}")) {
            let from = project.root().join(&path);
            // What a link leads to is not of this paper.
            if path.starts_with(BUILD) || !files::is_plain_file(&from) {
                continue;
            }
            let content = files::read_below(project.root(), &path)?;
            (count, bytes) = (count + 1, bytes + content.len());
            if count > MOST_FILES || bytes > MOST_BYTES {
                let problem = format!("more than {MOST_FILES} files or {} MiB lie there", MOST_BYTES >> 20);
                return Err(FileError::new("copy", &project.report(), std::io::Error::other(problem)));
            }
            files::write(&root.join(&path), &content)?;
        }
        for section in &self.sections {
            files::write(&root.join(&section.path), section.text.as_bytes())?;
        }
        self.files.iter().try_for_each(|(path, content)| files::write(&root.join(path), content))
    }
}

/// A folder of one's own, gone with its value.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Result<Self, FileError> {
        let process = std::process::id();
        let mut count = 0;
        loop {
            let path = std::env::temp_dir().join(format!("harness-audit-{process}-{count}"));
            match files::create_new_folder(&path) {
                Err(taken) if taken.source.kind() == std::io::ErrorKind::AlreadyExists && count < 100 => count += 1,
                made => return made.map(|()| Temporary(path)),
            }
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = files::remove_folder(&self.0);
    }
}
