//! Code and programs at the beginning of a run: what git says of them, and what is refused because of it.

use harness_build::BUILD;
use harness_core::config::Phase;
use harness_core::contract::OutputFile;
use harness_core::names::{Project, RunId};
use harness_core::{Digest, build, files};
use harness_record::environment;
use harness_record::format::{Binaries, Code, Open, PlanFile, Purpose, file};
use harness_record::git::{Git, Held, State};
use harness_study::ledger::Spent;

use super::context::RunContext;
use super::error::RunError;

/// What the user may ask of a run beyond its config.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Another seed than the config's.
    pub seed: Option<u64>,
    /// What the run is for.
    pub purpose: Purpose,
    /// Run on a tree that differs from its commit; the run is then not citable.
    pub allow_dirty: bool,
    /// Run with programs that were built from other sources than the commit's; the run is then not citable.
    pub allow_stale: bool,
    /// The trial of the experiment's study that it is, which says what it is for, its seed and what it sets beyond the experiment.
    pub trial: Option<u64>,
    /// Go on from a run that did not complete, in place of starting anew.
    pub resume: Option<Resume>,
    /// Why it is run although the budget does not pay for it.
    pub over_budget: Option<String>,
    /// What the budget has to keep for others.
    pub promised: Vec<(Phase, Spent)>,
}

/// Which run is gone on from: its last checkpoint that is intact, or that of one before it.
#[derive(Clone, Debug)]
pub enum Resume {
    /// The latest run of the experiment that did not complete.
    Latest,
    /// The latest of these.
    Of(Vec<RunId>),
}

impl Resume {
    /// Whether a run may be gone on from.
    pub(super) fn allows(&self, run: &RunId) -> bool {
        match self {
            Resume::Latest => true,
            Resume::Of(runs) => runs.contains(run),
        }
    }
}

/// Files of the run folder: path and content.
pub(super) type Files = Vec<(String, Vec<u8>)>;

/// The working tree and the programs, as they are now.
pub(super) struct CodeState<'a> {
    project: &'a Project,
    git: &'a Git,
    state: State,
    /// The programs that will run.
    pub binaries: Binaries,
}

impl<'a> CodeState<'a> {
    /// Looks at them. Refuses a tree that differs from its commit, and programs that were built from other sources than
    /// the commit's, unless `options` allow it.
    pub(super) fn look(context: &RunContext<'a>, options: &Options) -> Result<Self, RunError> {
        let (project, git) = (context.project, context.git);
        let state = git.state()?;
        if state.is_dirty() && !options.allow_dirty {
            return Err(RunError::Dirty { files: [state.changed, state.untracked].concat() });
        }
        let trainer = context.about()?;
        let committed = git.sources_at(&state.commit)?;
        let program = context.launcher.program();
        let binaries = environment::binaries(&BUILD, program, trainer.source_sha256, project.root(), committed)?;
        // Where the sources themselves differ from the commit, and may, programs built from them do too.
        let sources_differ = state.changed.iter().chain(&state.untracked).any(|path| build::is_source(path));
        let programs = stale(&binaries);
        if !programs.is_empty() && !sources_differ && !options.allow_stale {
            return Err(RunError::Stale { programs });
        }
        Ok(CodeState { project, git, state, binaries })
    }

    /// The commit that is checked out.
    pub(super) fn commit(&self) -> &str {
        &self.state.commit
    }

    /// A file of the plan, with its copy among the files of the run folder.
    pub(super) fn plan_file(&self, path: String, content: Vec<u8>, written: &mut Files) -> Result<PlanFile, RunError> {
        let copy = format!("{}/{path}", file::PLAN_FILES);
        let committed = match self.git.held_at(&self.state.commit, &path, &content)? {
            Held::Same => true,
            // What stands between the two is a filter of git, which the state has already asked.
            Held::Filtered => !self.state.changed.contains(&path),
            Held::Other | Held::Nothing => false,
        };
        let plan_file = PlanFile { sha256: Digest::of(&content), copy: copy.clone(), committed, path };
        written.push((copy, content));
        Ok(plan_file)
    }

    /// The commit, and what the tree has beyond it.
    pub(super) fn code(&self, written: &mut Files) -> Result<Code, RunError> {
        let state = &self.state;
        if !state.changed.is_empty() {
            written.push((file::PATCH.to_owned(), self.git.patch()?));
        }
        let mut untracked = Vec::new();
        // A nested repository or a link to a folder is named by git as one thing; it holds no file of this one.
        for path in state.untracked.iter().filter(|path| files::is_file(&self.project.root().join(path))) {
            let content = files::read(&self.project.root().join(path))?;
            untracked.push(OutputFile {
                path: path.clone(),
                sha256: Digest::of(&content),
                size_bytes: content.len() as u64,
            });
            // A copy of a source file is worth its bytes; a data file that somebody forgot to ignore is not.
            const LARGEST_COPY_BYTES: usize = 1 << 20;
            if content.len() <= LARGEST_COPY_BYTES {
                written.push((format!("{}/{path}", file::UNTRACKED), content));
            }
        }
        Ok(Code {
            commit: state.commit.clone(),
            tree: state.tree.clone(),
            branch: state.branch.clone(),
            dirty: state.is_dirty(),
            untracked,
            remote: state.remote.clone(),
        })
    }

    /// Why the paper may not use a run of these plan files, if it may not; `earlier` is the run that it goes on from or
    /// evaluates.
    pub(super) fn not_citable(&self, plan_files: &[PlanFile], earlier: Option<&Open>) -> Option<String> {
        if self.state.is_dirty() {
            return Some("the working tree differed from its commit".to_owned());
        }
        if let Some(file) = plan_files.iter().find(|file| !file.committed) {
            return Some(format!("its commit does not hold `{}`", file.path));
        }
        if !stale(&self.binaries).is_empty() {
            return Some("the programs were built from other sources than those of the commit".to_owned());
        }
        let earlier = earlier?;
        if let Some(reason) = &earlier.not_citable_because {
            return Some(format!("it builds on run {}, which is not citable: {reason}", earlier.run));
        }
        (earlier.binaries.trainer_built_from_sha256 != self.binaries.trainer_built_from_sha256)
            .then(|| format!("it builds on run {}, which a different trainer computed", earlier.run))
    }
}

/// The programs that were built from other sources than those of the commit. A repository that holds experiments only says
/// nothing about the sources of the programs.
fn stale(binaries: &Binaries) -> Vec<&'static str> {
    let Some(committed) = binaries.committed_sources_sha256.map(|sources| sources.to_string()) else {
        return Vec::new();
    };
    let built = [("harness", &binaries.built_from_sha256), ("harness-trainer", &binaries.trainer_built_from_sha256)];
    built.into_iter().filter(|(_, sources)| **sources != committed).map(|(program, _)| program).collect()
}
