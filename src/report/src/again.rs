//! The paper set again, for an audit: in a folder of its own that holds copies of what lies in `report/` and the build folder as the
//! records give it, by the auditor's Typst, in bounds.

use std::path::Path;

use harness_core::files::{FileError, Temporary};
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
        let folder = Temporary::new("harness-audit")?;
        let typst = typst.at(folder.path());
        self.lay_out(project, folder.path())?;
        let mode = self.mode.word();
        let bound = self.bound(typst.notes(PAPER, mode)?.bound)?;
        files::write(&folder.path().join(BUILD).join(super::proof::BOUND), self.file(super::proof::BOUND))?;
        let pdf = folder.path().join("paper.pdf");
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
