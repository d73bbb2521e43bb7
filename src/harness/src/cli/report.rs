//! `harness report`: the paper from the sealed runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Failure, Outcome, Workplace, paper_checks, terminal};
use crate::exit_code;
use harness_analyse::RunAnalysis;
use harness_build::BUILD;
use harness_core::config::nearest;
use harness_core::names::{ExperimentName, Project};
use harness_core::parallel::on_all_cores;
use harness_record::{LeftOut, RunSet, SealedRun};
use harness_report::{self as report, Finding, Followed, Mode, Options, PAPER_ANNOTATED, PAPER_PDF, Report, Statement};
use serde_json::json;

/// Write report/build/paper.pdf from the sealed runs of every experiment, or of those that it is about.
///
/// Sections are drafted into report/sections/*.typ and follow the records until you edit them; from then on they are yours
/// and are never overwritten. Numbers come in through #value("experiment", "key"); `harness show NAME --values` lists the keys.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The experiments that the paper is about [default: `experiments` of report/paper.toml, or all that have runs].
    #[arg(value_name = "EXPERIMENT")]
    experiments: Vec<ExperimentName>,
    /// Layout: camera-ready, anonymous with ruler, or with names and page numbers.
    #[arg(long, value_enum, default_value = "final")]
    mode: Layout,
    /// Fail (exit code 1) if a check of the format finds something, a section says what no record stands behind, or an answer of the
    /// checklist is missing.
    #[arg(long)]
    strict: bool,
    /// Make the paper of today's drafts alone: nothing is written outside report/build, and your sections are not read.
    #[arg(long)]
    draft: bool,
    /// Take this section into it too, a Typst file named as in report/sections, such as 65-claims.typ: to try what the tests carry.
    #[arg(long = "section", value_name = "FILE.typ", requires = "draft")]
    sections: Vec<PathBuf>,
    /// Write the same paper to this folder as LaTeX too: for the ACL style, if acl.sty and acl_natbib.bst lie there or in report/latex.
    #[arg(long, value_name = "FOLDER")]
    latex: Option<PathBuf>,
    /// Pack that folder into FOLDER.zip, as Overleaf takes it.
    #[arg(long, requires = "latex")]
    zip: bool,
    /// Lay the paper out as another venue has it: with acl.typ and paper.typ.tera of this folder of the project. What it must offer:
    /// docs/formats/paper.md. The rules of the format are those of the ACL, and are not looked at.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["latex", "check", "checklist", "diff", "diff_draft"])]
    template: Option<PathBuf>,
    /// Hold the paper against the rules of the format, each with where it is written, and exit with 1 if one is broken; with
    /// FILE.pdf make no paper, and check that one as far as a PDF alone shows it.
    #[arg(long, value_name = "FILE.pdf", num_args = 0..=1, conflicts_with = "latex")]
    check: Option<Option<PathBuf>>,
    /// Make no paper: answer the Responsible NLP checklist from the records, as text for the form. What only you know stands in
    /// report/checklist.toml; with --strict, exit with 1 while an answer is missing.
    #[arg(long, conflicts_with_all = ["mode", "draft", "check", "latex"])]
    checklist: bool,
    /// Make no paper: list every bound number, direction, count, figure, table and sample of text of the last one that is not what it
    /// was at this commit, with the cause: a new seed or evaluation, another plan, other data, a dropped run, another rule.
    #[arg(long, value_name = "COMMIT", conflicts_with_all = ["draft", "check", "checklist", "strict", "latex"])]
    diff: Option<String>,
    /// Make no paper: show for each section that you edited what the records have changed in its draft since, and what is yours.
    #[arg(long, conflicts_with_all = ["mode", "strict", "draft", "check", "checklist", "diff", "latex"])]
    diff_draft: bool,
    /// Take those changes for seen, so that only later ones are told.
    #[arg(long, requires = "diff_draft")]
    seen: bool,
    /// Make also report/build/paper-annotated.pdf, in which each number has the colour of what stands behind it.
    #[arg(long, conflicts_with_all = ["diff_draft", "check", "checklist", "diff"])]
    annotate: bool,
    /// Print JSON: what was made and each finding with its `rule`, place, `problem` and `hint`; what the checks find, the answers of --checklist, the changes of --diff, or the differences of --diff-draft: `path`, `records` (null where the old
    /// draft was not kept) and `yours`.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Layout {
    /// Camera-ready.
    Final,
    /// Anonymous, with line numbers.
    Review,
    /// With names and page numbers.
    Preprint,
}

impl From<Layout> for Mode {
    fn from(layout: Layout) -> Mode {
        match layout {
            Layout::Final => Mode::Final,
            Layout::Review => Mode::Review,
            Layout::Preprint => Mode::Preprint,
        }
    }
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    if arguments.diff_draft {
        return diff_draft(workplace, arguments);
    }
    let mode = arguments.mode.into();
    if let Some(commit) = &arguments.diff {
        return paper_checks::diff(workplace, &arguments.experiments, commit, mode, arguments.json);
    }
    if let Some(Some(file)) = &arguments.check {
        return paper_checks::file(file, mode, arguments.json);
    }
    let mut material = Material::of(workplace, &arguments.experiments)?;
    let (drafts_alone, sections) = (arguments.draft, arguments.sections.clone());
    let experiments = material.citable.experiments.clone();
    let options = Options { mode, drafts_alone, sections, experiments, ..Options::default() };
    if arguments.check.is_some() {
        let report = make(workplace, &mut material, options)?;
        tell_of_making(&report);
        return paper_checks::show(PAPER_PDF, mode, &report.findings, arguments.json);
    }
    if arguments.checklist {
        let answers = report::checklist(&workplace.project, material.analyses()?)?;
        return paper_checks::show_answers(&answers, arguments.strict, arguments.json);
    }
    let template = arguments.template.as_deref().map(|folder| template(&workplace.project, folder)).transpose()?;
    let report = make(workplace, &mut material, Options { annotate: arguments.annotate, template, ..options })?;
    if arguments.json {
        terminal::say_json(&as_json(&report, arguments.annotate));
    } else {
        tell(&report);
        if arguments.annotate {
            terminal::say(&format!(
                "{PAPER_ANNOTATED}: the same with numbers in the colours of what stands behind them"
            ));
        }
    }
    let made = if arguments.strict { verdict(workplace, &mut material, &report)? } else { exit_code::SUCCESS };
    match &arguments.latex {
        Some(folder) => Ok(made.max(latex(workplace, arguments, folder)?)),
        None => Ok(made),
    }
}

/// Who is strict wants no finding, and every answer of the checklist.
fn verdict(workplace: &Workplace, material: &mut Material, report: &Report) -> Outcome {
    let answers = report::checklist(&workplace.project, material.analyses()?)?;
    paper_checks::tell_of_open(&answers.open());
    let holds = report.findings.is_empty() && report.statements.is_empty() && answers.open().is_empty();
    Ok(if holds { exit_code::SUCCESS } else { exit_code::CONTRADICTION })
}

/// The paper that was just made, as LaTeX.
fn latex(workplace: &Workplace, arguments: &Arguments, folder: &Path) -> Outcome {
    let options = Options { mode: arguments.mode.into(), drafts_alone: arguments.draft, ..Options::default() };
    let made = report::latex::export(&workplace.project, &options, folder, arguments.zip)?;
    tell_of(&made.findings);
    let style =
        if made.official_style { "the ACL style" } else { "a plain style: acl.sty and acl_natbib.bst are not there" };
    terminal::say(&format!("{}: {} files, {} bound numbers, {style}", folder.display(), made.files.len(), made.bound));
    if let Some(zip) = &made.zip {
        terminal::say(&format!("{}", zip.display()));
    }
    let objections = arguments.strict && !made.findings.is_empty();
    Ok(if objections { exit_code::CONTRADICTION } else { exit_code::SUCCESS })
}

/// What was made and found; format 1.
fn as_json(report: &Report, annotated: bool) -> serde_json::Value {
    let of_format = report.findings.iter().map(|finding| {
        let mut found = json!(finding);
        found["of"] = "format".into();
        found
    });
    let of_sections = report.statements.iter().map(|Statement { rule, place, problem, hint }| {
        json!({
            "of": "sections", "rule": rule.word(), "path": place.path, "line": place.line, "column": place.column,
            "problem": problem, "hint": hint,
        })
    });
    json!({
        "format": 1,
        "pdf": PAPER_PDF,
        "annotated": annotated.then_some(PAPER_ANNOTATED),
        "pages": report.pages,
        "bound_numbers": report.bound,
        "drafts": report.followed,
        "findings": of_format.chain(of_sections).collect::<Vec<_>>(),
        "warnings": report.warnings,
    })
}

fn diff_draft(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let analyses = analysed(&Citable::of(workplace, &arguments.experiments)?.runs)?;
    let diffs = report::draft_diffs(&workplace.project, &analyses)?;
    if arguments.json {
        terminal::say_json(&diffs);
    } else {
        for diff in &diffs {
            let records = diff.records.as_deref().unwrap_or("The draft that it was made from was not kept.\n");
            terminal::say(&format!("== {}\n\n-- what the records changed\n{records}", diff.path));
            terminal::say(&format!("-- what is yours\n{}", diff.yours));
        }
    }
    if diffs.is_empty() {
        terminal::tell("every section that was edited stands on today's draft");
    } else if arguments.seen {
        report::take_drafts_for_seen(&workplace.project, &analyses)?;
        terminal::tell("taken for seen; hint: commit report/drafted");
    }
    Ok(exit_code::SUCCESS)
}

/// Makes the paper unless it is made.
fn make(workplace: &Workplace, material: &mut Material, options: Options) -> Result<Report, Failure> {
    let (program, notes) = (Some(BUILD.source_sha256.to_owned()), material.citable.notes.clone());
    let options = Options { program, notes, ..options };
    // The coloured copy is not remembered.
    let unchanged =
        if options.annotate { None } else { report::unchanged(&workplace.project, &material.citable.runs, &options)? };
    match unchanged {
        Some(report) => Ok(report),
        None => Ok(report::build(&workplace.project, material.analyses()?, &options)?),
    }
}

/// The folder of a template, relative to the project: an audit looks for it there.
fn template(project: &Project, folder: &Path) -> Result<String, Failure> {
    let refused = |problem: &str| {
        let hint = "name a folder of the project with `acl.typ`, `paper.typ.tera` or both (docs/formats/paper.md)";
        Failure::usage(format!("the template `{}` {problem}\nhint: {hint}", folder.display()))
    };
    let there = folder.canonicalize().map_err(|_| refused("is not there"))?;
    let root = project.root().canonicalize().unwrap_or_else(|_| project.root().to_owned());
    let relative = there.strip_prefix(&root).map_err(|_| refused("lies outside of the project"))?;
    let relative: Vec<_> = relative.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    if !["acl.typ", "paper.typ.tera"].iter().any(|file| there.join(file).is_file()) {
        return Err(refused("has neither `acl.typ` nor `paper.typ.tera`"));
    }
    Ok(relative.join("/"))
}

fn tell(report: &Report) {
    tell_of_making(report);
    tell_of(&report.findings);
    report.statements.iter().for_each(tell_of_statement);
    terminal::say(&format!("{PAPER_PDF}: {} pages, {} bound numbers", report.pages, report.bound));
    terminal::tell(&report.budget.line());
}

/// What became of drafts, and what Typst warned of.
fn tell_of_making(report: &Report) {
    tell_of_drafts(&report.followed);
    report.warnings.iter().for_each(|warning| terminal::tell(&format!("typst: {warning}")));
}

fn tell_of_statement(statement: &Statement) {
    let Statement { rule, place, problem, hint } = statement;
    terminal::tell(&format!("{}: {}: {problem}\nhint: {hint}", rule.word(), place.short()));
}

fn tell_of(findings: &[Finding]) {
    findings.iter().for_each(|finding| terminal::tell(&format!("format: {finding}\nhint: {}", finding.hint)));
}

fn tell_of_drafts(followed: &Followed) {
    if !followed.created.is_empty() {
        let drafted = followed.created.iter().map(|path| path.trim_start_matches("report/")).collect::<Vec<_>>();
        let follow = "what is drafted follows the records until you edit it";
        terminal::tell(&format!("drafted in report/: {}\n{follow}", drafted.join(", ")));
    }
    for (paths, what) in [
        (&followed.rewritten, "drafted again: the records have changed, and nobody had edited it"),
        (&followed.removed, "removed: the paper has no place for it any more, and nobody had edited it"),
        (&followed.left, "is yours, but its experiment has no run that counts any more: delete or rewrite it"),
        (&followed.behind, "is yours, and the records give another draft by now: `harness report --diff-draft`"),
    ] {
        paths.iter().for_each(|path| terminal::tell(&format!("{path}: {what}")));
    }
}

/// What a paper may be made of.
pub(super) struct Citable {
    /// The runs that count, and those that would but for another plan, purpose or a later run of their seed: the paper lists what
    /// they cost.
    pub runs: Vec<SealedRun>,
    /// By experiment, what a reader has to know of that choice.
    pub notes: BTreeMap<String, Vec<String>>,
    /// The experiments that it is to be about; none where it is about all that have runs.
    pub experiments: Vec<ExperimentName>,
}

impl Citable {
    /// Of the experiments that are named, or that the paper is about. What is left out is told. A changed record is an error, not
    /// skipped.
    pub(super) fn of(workplace: &Workplace, named: &[ExperimentName]) -> Result<Self, Failure> {
        let (sets, experiments) = chosen(&workplace.project, named)?;
        let (mut runs, mut notes) = (Vec::new(), BTreeMap::new());
        for set in sets {
            notes.insert(set.experiment.to_string(), set.notes());
            let in_paper: Vec<SealedRun> = set.in_paper().cloned().collect();
            for LeftOut { run, why, .. } in &set.left_out {
                // What a study was tuned by is in the ledger and in the table of studies.
                if !why.is_paid_for() && in_paper.iter().all(|in_paper| in_paper.open.run != *run) {
                    terminal::tell(&format!("left out run {run} of {}: {why}", set.experiment));
                }
            }
            runs.extend(in_paper);
        }
        Ok(Citable { runs, notes, experiments })
    }
}

/// The runs of the experiments that the paper is about, and the names of those, where it is not about all that have runs.
pub(super) fn chosen(
    project: &Project,
    named: &[ExperimentName],
) -> Result<(Vec<RunSet>, Vec<ExperimentName>), Failure> {
    let (chosen, whence) = match named {
        [] => (report::experiments(project), "report/paper.toml"),
        _ => (named.to_vec(), "the command"),
    };
    let mut sets = RunSet::of_all(project)?;
    if let Some(name) = chosen.iter().find(|name| sets.iter().all(|set| set.experiment != **name)) {
        let known: Vec<&str> = sets.iter().map(|set| set.experiment.as_str()).collect();
        let near = nearest(name.as_str(), &known);
        let hint = near.map_or_else(|| format!("`harness run {name}`"), |near| format!("did you mean `{near}`?"));
        return Err(Failure::usage(format!("{whence} names `{name}`, which has no run\nhint: {hint}")));
    }
    if !chosen.is_empty() {
        sets.retain(|set| chosen.contains(&set.experiment));
    }
    Ok((sets, chosen))
}

/// What a paper is made of, read once, and analysed once where that is asked for.
struct Material {
    citable: Citable,
    analyses: Option<Vec<RunAnalysis>>,
}

impl Material {
    fn of(workplace: &Workplace, named: &[ExperimentName]) -> Result<Self, Failure> {
        Ok(Material { citable: Citable::of(workplace, named)?, analyses: None })
    }

    fn analyses(&mut self) -> Result<&[RunAnalysis], Failure> {
        let analyses = match self.analyses.take() {
            Some(analyses) => analyses,
            None => analysed(&self.citable.runs)?,
        };
        Ok(self.analyses.insert(analyses))
    }
}

pub(super) fn analysed(runs: &[SealedRun]) -> Result<Vec<RunAnalysis>, Failure> {
    let analyses = on_all_cores(runs, |run| RunAnalysis::of(run.clone()));
    Ok(analyses.into_iter().collect::<Result<_, _>>()?)
}
