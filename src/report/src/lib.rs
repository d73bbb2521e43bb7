//! The paper: sections that are the students' own, numbers that are the records', and a PDF with its proof. Its figures,
//! like those of the command line and the dashboard, are drawn by [`plot`], which knows runs where `harness-figure` does
//! not.
//!
//! Comes in: analyses of sealed runs, `templates/`, and `report/` with what students wrote. Goes out:
//! `report/build/paper.pdf` and `report/build/paper.json`, which lists every number of the PDF with its run and page,
//! and the digest of everything that went in. Drafts follow the records until somebody edits them, and are never touched
//! from then on. It must never have: clap, tch, tokenizers, or a statistic of its own.
//!
//! In the order of the flow: [`families`] says what is compared with what; [`values`], [`tables`], [`samples`], [`figures`] and
//! [`prose`] make data files of the records, in the types of [`model`]; [`draft`] writes sections, [`follow`] puts them where
//! nobody has others, and [`section`] reads them back, so that the names they use can be checked; [`claims`] compiles sentences
//! that compare, or refuses them; [`bibliography`] sets what they cite; [`made`] is all of it as bytes, for the build folder and
//! for an audit; [`typst`] compiles, for an audit through [`again`] and [`limited`]; [`glyphs`] names what no font can show;
//! [`proof`] says what came out.
//!
//! [`lint`] reads what the authors' own words claim and count, and [`annotate`] shows it in colours. [`latex`] writes the same
//! paper for LaTeX.

mod again;
mod annotate;
pub mod archive;
mod bibliography;
mod check_format;
mod checklist;
mod claims;
mod differences;
mod draft;
mod emphasis;
mod error;
mod families;
mod figures;
mod follow;
mod glyphs;
pub mod latex;
mod limited;
mod lint;
mod logbook;
mod made;
pub mod model;
mod page_budget;
mod paper_diff;
mod paper_toml;
mod pdf;
pub mod plot;
mod proof;
mod prose;
mod samples;
mod section;
mod tables;
mod template;
mod typst;
mod unchanged;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use harness_core::Digest;
use harness_core::config::{Choices, Limits, nearest};
use harness_core::files;
use harness_core::names::{ExperimentName, Project};

use harness_analyse::RunAnalysis;
use harness_record::SealedRun;

pub use again::Again;
pub use check_format::{Finding, RULES, Rule, check_pdf};
pub use checklist::{Answer, Checklist, Said, checklist};
pub use error::{Place, ReportError};
pub use figures::{ListedFigure, figures_of};
pub use follow::{DraftDiff, Followed};
pub use lint::{Rule as StatementRule, Statement};
pub use made::Made;
pub use page_budget::PageBudget;
pub use paper_diff::{Changed, Then, paper_diff};
pub use paper_toml::{Author, experiments};
pub use proof::{BoundList, Proof, ProofRun, SourceFile, Summary};
pub use typst::Typst;
pub use values::{Backing, Listed, Numbers};

use bibliography::Library;
use check_format::{Setting, sources::Written};
use follow::Drafted;
use made::Basis;
use model::Outline;
use prose::Segment;
use section::{Argument, Call, Function, Section};
use tables::Tables;

/// The layout of the paper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Camera-ready: names, no page numbers.
    #[default]
    Final,
    /// Anonymous, with a ruler.
    Review,
    /// Names and page numbers.
    Preprint,
}

impl Mode {
    /// The word that the templates take.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Final => "final",
            Mode::Review => "review",
            Mode::Preprint => "preprint",
        }
    }
}

/// How to make the report.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The layout.
    pub mode: Mode,
    /// Of today's drafts alone: nothing outside the build folder is written, and no section of the project's own is read.
    pub drafts_alone: bool,
    /// Files of sections that such a paper has beside those drafts, or in place of the one of the same name.
    pub sections: Vec<PathBuf>,
    /// Whether a copy is made in which each number has the colour of what stands behind it.
    pub annotate: bool,
    /// The folder of another venue's template, relative to the project.
    pub template: Option<String>,
    /// The experiments that the paper is about, where it is not about all that have runs.
    pub experiments: Vec<ExperimentName>,
    /// By experiment, what a reader has to know of the choice of its runs.
    pub notes: BTreeMap<String, Vec<String>>,
    /// What tells this program from any other; a paper of the same one that would come out the same is not made again.
    pub program: Option<String>,
    /// Whether somebody else's project is read: of its templates none is run that this program does not know.
    pub of_others: bool,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Report {
    /// The paper.
    pub pdf: PathBuf,
    /// Its proof.
    pub proof: PathBuf,
    /// Pages.
    pub pages: u64,
    /// Numbers and words in it that are bound to a run.
    pub bound: usize,
    /// What became of the drafts.
    pub followed: Followed,
    /// How it fits its pages.
    pub budget: PageBudget,
    /// What the conference would object to.
    pub findings: Vec<Finding>,
    /// What the sections say that no record stands behind.
    pub statements: Vec<Statement>,
    /// What Typst warned of.
    pub warnings: Vec<String>,
}

/// Where the paper lies, relative to the project.
pub const PAPER_PDF: &str = "report/build/paper.pdf";
/// Where the copy lies whose numbers are coloured, relative to the project.
pub const PAPER_ANNOTATED: &str = "report/build/paper-annotated.pdf";
/// Where its proof lies, relative to the project.
pub const PAPER_PROOF: &str = "report/build/paper.json";

const REPORT: &str = "report";
const BUILD: &str = "report/build";
const DRAFT: &str = "report/build/draft";
const DRAFT_SECTIONS: &str = "report/build/draft/sections";
const PAPER: &str = "report/build/paper.typ";
/// The first line of a section that uses functions of the paper.
const IMPORT: &str = "#import \"/report/build/lib/values.typ\": *";
const SECTIONS: &str = "report/sections";
const OWN_REFERENCES: &str = "report/references.bib";
const NO_REFERENCES: &str = "% Works that only this paper cites. Those that the drafts cite are in templates/references.bib;\n\
    % an entry here goes before one of the same key there.\n";

/// The paper that is there, if these runs and all else that it is made from would give the same one.
pub fn unchanged(project: &Project, runs: &[SealedRun], options: &Options) -> Result<Option<Report>, ReportError> {
    let inputs = unchanged::inputs(project, runs.iter(), options)?;
    Ok(inputs.and_then(|inputs| unchanged::report(project, inputs)))
}

/// Makes the paper from sealed runs. Numbers are means over the seeds of each experiment's latest plan.
pub fn build(project: &Project, analyses: &[RunAnalysis], options: &Options) -> Result<Report, ReportError> {
    if analyses.is_empty() {
        return Err(ReportError::NoRuns);
    }
    let typst = Typst::find(project)?;
    let basis = Basis::of(project, analyses, options)?;
    let mut drafts = drafts(project, &basis)?;
    for path in &options.sections {
        let own = section_of_file(path)?;
        drafts.retain(|draft| draft.path != own.path);
        drafts.push(own);
    }
    let wanted = || drafts.iter().filter(|draft| draft.is_wanted);
    let is_wanted = |file: &str| wanted().any(|draft| draft.path.strip_prefix("sections/") == Some(file));
    keep_only(&project.root().join(DRAFT_SECTIONS), is_wanted)?;
    for Drafted { path, text, .. } in wanted() {
        write_changed(&project.root().join(DRAFT).join(path), text.as_bytes())?;
    }
    let followed = if options.drafts_alone { Followed::default() } else { follow_records(project, &drafts)? };
    let made = Made::on(project, basis, options);
    let mut made = made.map_err(|error| explained(error, &followed, &options.sections))?;
    let bound_path = project.root().join(BUILD).join(proof::BOUND);
    let before = files::read(&bound_path).ok().filter(|_| made.has_values_of_before(project));
    made.write(project)?;

    let pdf = project.root().join(PAPER_PDF);
    let temporary = project.root().join(BUILD).join("paper.pdf.partial");
    let mode = options.mode.word();
    // What the paper shows is known once it is laid out, and is attached to it: that moves nothing on a page. Where no value has
    // changed it is mostly what the last paper showed, so that both are done at once, and only where it is not the paper is set
    // again.
    let template = options.template.as_deref();
    let as_written = |error: ReportError| template::as_written(error, project, template);
    let compile = || typst.compile(PAPER, &absolute(&temporary), mode, made.timestamp());
    let (notes, early) = std::thread::scope(|scope| {
        let early = before.is_some().then(|| scope.spawn(compile));
        (typst.notes(PAPER, mode), early.map(|thread| thread.join().expect("typst is only waited for")))
    });
    let notes = notes.map_err(as_written)?;
    let bound = made.bound(notes.bound)?;
    let compiled = match early {
        Some(early) if before.as_deref() == Some(made.file(proof::BOUND)) => early.map_err(as_written)?,
        _ => {
            files::write(&bound_path, made.file(proof::BOUND))?;
            typst.compile(PAPER, &absolute(&temporary), mode, made.timestamp()).map_err(as_written)?
        }
    };
    files::rename(&temporary, &pdf)?;

    let proof = made.proof(Digest::of_file(&pdf)?, &typst, bound)?;
    let proof_path = project.root().join(PAPER_PROOF);
    files::write(&proof_path, &pretty(&proof))?;
    let budget = PageBudget::of(paper_toml::pages(project).limit, &notes.outline);
    // The rules are those of the ACL, whose page another venue's is not.
    let mut findings =
        if options.template.is_some() { Vec::new() } else { format_findings(&pdf, &made, &notes.outline)? };
    findings.extend(budget.remedy().map(|hint| Finding::new("page limit", budget.line(), hint)));
    findings.extend(swallowed(&made.sections));
    if !options.drafts_alone {
        findings.extend(claims::unused(project, &made.sections)?.into_iter().map(|(name, place)| {
            let hint = format!("write `#claim(\"{name}\")` where the text says so, or take it out");
            Finding::new("unused claim", format!("no section makes the claim `{name}`"), hint).at(place.short())
        }));
    }
    findings.extend(glyphs::findings(project, &made.sections, &made.numbers.families, &compiled.blanks));
    let seen = lint::seen::Seen::load(project)?;
    let read = lint::read(&made.numbers, &made.tables, &made.sections, &made.allowed, &seen);
    if !options.drafts_alone {
        seen.save(project, &made.numbers, &follow::edited(project, &made.sections)?)?;
    }
    if options.annotate {
        annotate::write(project, &made, &read.typed)?;
        let copy = absolute(&project.root().join(PAPER_ANNOTATED));
        typst.annotated().compile(annotate::PAPER, &copy, mode, made.timestamp())?;
    }
    let report = Report {
        pdf,
        proof: proof_path,
        pages: notes.outline.pages,
        bound: proof.bound.len(),
        followed,
        budget,
        findings,
        statements: read.statements,
        warnings: compiled.warnings,
    };
    if let Some(inputs) = unchanged::inputs(project, analyses.iter().map(|analysis| &analysis.run), options)? {
        unchanged::remember(project, inputs, &report)?;
    }
    Ok(report)
}

/// What the conference would object to, on the pages and in what they were written from.
fn format_findings(path: &Path, made: &Made, outline: &Outline) -> Result<Vec<Finding>, ReportError> {
    let read = pdf::Pdf::read(&files::read(path)?);
    let read = read.map_err(|problem| ReportError::Typst { problem: format!("the PDF that typst made: {problem}") })?;
    let about: serde_json::Value = serde_json::from_slice(made.file("about.json")).expect("it was written as JSON");
    let mut setting = Setting::of_file(made.mode, path);
    // What is longer than the project allows is told with what to move.
    setting.limit = None;
    setting.identities = paper_toml::identities(&about);
    let runs = made.numbers.families.entries.iter().flat_map(|entry| &entry.runs);
    setting.identities.extend(runs.filter_map(|run| run.run.open.code.remote.clone()));
    setting.identities.sort();
    setting.identities.dedup();
    let written = Written {
        sections: &made.sections,
        outline,
        library: &made.library,
        cited: &made.cited,
        own_references: OWN_REFERENCES,
    };
    let mut findings = check_format::of_pdf(&read, &setting);
    findings.extend(check_format::sources::check(&written));
    Ok(findings)
}

/// Writes a file unless it is there as it is to be: to write and sync takes longer than to read.
fn write_changed(path: &Path, bytes: &[u8]) -> Result<(), files::FileError> {
    if files::read(path).is_ok_and(|found| found == bytes) { Ok(()) } else { files::write(path, bytes) }
}

/// Removes the other files of a folder.
fn keep_only(folder: &Path, is_kept: impl Fn(&str) -> bool) -> Result<(), files::FileError> {
    let others = files::list(folder)?.into_iter().filter(|file| !is_kept(file));
    others.into_iter().try_for_each(|file| files::remove(&folder.join(file)))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn pretty(value: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("plain data is JSON");
    bytes.push(b'\n');
    bytes
}

/// Starts the paper of a new project: with its authors, and nothing else before the first report.
pub fn begin(project: &Project, authors: &[Author]) -> Result<(), files::FileError> {
    let draft = Drafted { path: paper_toml::NAME.to_owned(), text: paper_toml::DRAFT.to_owned(), is_wanted: true };
    follow::begin(project, &draft, &paper_toml::with_authors(authors))
}

/// The edited files of the paper whose draft is another one by now, against both drafts.
pub fn draft_diffs(project: &Project, analyses: &[RunAnalysis]) -> Result<Vec<DraftDiff>, ReportError> {
    Ok(follow::diffs(project, &todays_drafts(project, analyses)?)?)
}

/// Takes today's drafts of edited files for seen: only what changes from now on is told.
pub fn take_drafts_for_seen(project: &Project, analyses: &[RunAnalysis]) -> Result<(), ReportError> {
    Ok(follow::seen(project, &todays_drafts(project, analyses)?)?)
}

fn todays_drafts(project: &Project, analyses: &[RunAnalysis]) -> Result<Vec<Drafted>, ReportError> {
    drafts(project, &Basis::of(project, analyses, &Options::default())?)
}

/// Today's drafts: of each section, and of the file with title and authors.
fn drafts(project: &Project, basis: &Basis) -> Result<Vec<Drafted>, ReportError> {
    let Basis { numbers, logbook, .. } = basis;
    let about = (paper_toml::NAME.to_owned(), paper_toml::DRAFT.to_owned());
    let mut drafts = vec![Drafted { path: about.0, text: about.1, is_wanted: true }];
    let named = paper_toml::pages(project).subsections;
    let library = read_library(project, &mut |_, _| ())?;
    let limits = Limits::load(project).map_err(harness_study::StudyError::from)?;
    let material = draft::Material {
        families: &numbers.families,
        differences: &numbers.differences,
        logbook,
        named: &named,
        references: library.keys(),
        tables: tables::of_paper(logbook),
        checklist: paper_toml::asks_for_checklist(project),
        budget: limits.gpu_hours.or(limits.cpu_hours).is_some() || limits.end_date.is_some(),
    };
    for draft in draft::sections(&project.templates().join("sections"), &material)? {
        let notes = draft.experiment.as_ref().map(|name| project.experiments().join(name).join("notes.md"));
        let draft = match notes.filter(|path| files::is_file(path)) {
            Some(path) => draft.below_notes(&files::read_to_string(&path)?),
            None => draft,
        };
        let path = format!("sections/{}", draft.name);
        drafts.push(Drafted { path, text: draft.text, is_wanted: draft.is_wanted });
    }
    Ok(drafts)
}

/// Brings `report/` to where the records are, as far as nobody edited it.
fn follow_records(project: &Project, drafts: &[Drafted]) -> Result<Followed, ReportError> {
    let mut followed = follow::follow(project, drafts)?;
    let references = project.root().join(OWN_REFERENCES);
    if !references.exists() {
        files::write(&references, NO_REFERENCES.as_bytes())?;
        followed.created.push(OWN_REFERENCES.to_owned());
    }
    let answers = project.root().join(checklist::PATH);
    if !answers.exists() {
        files::write(&answers, checklist::draft().as_bytes())?;
        followed.created.push(checklist::PATH.to_owned());
    }
    Ok(followed)
}

/// A section of a file, as it stands among the drafts.
fn section_of_file(path: &Path) -> Result<Drafted, ReportError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if !name.ends_with(".typ") || part_of(&name).is_none() {
        return Err(ReportError::SectionName { path: path.to_owned() });
    }
    let text = files::read_to_string(path)?;
    Ok(Drafted { path: format!("sections/{name}"), text, is_wanted: true })
}

/// A section that was drafted for an experiment which is no longer there is refused with what can be done, and one of a file at its
/// place in that file.
fn explained(error: ReportError, followed: &Followed, given: &[PathBuf]) -> ReportError {
    let copy = |path: &&PathBuf| format!("{DRAFT_SECTIONS}/{}", path.file_name().unwrap_or_default().to_string_lossy());
    match error {
        ReportError::Source { problem, mut place, hint } if place.path.starts_with(DRAFT_SECTIONS) => {
            if let Some(own) = given.iter().find(|path| copy(path) == place.path) {
                place.path = own.display().to_string();
            }
            ReportError::Source { problem, place, hint }
        }
        ReportError::Source { problem, place, .. } if followed.left.contains(&place.path) => {
            let hint = "the section was drafted for an experiment that has no run which counts any more, and edited \
                        since: delete the file, or rewrite it";
            ReportError::Source { problem, place, hint: Some(hint.to_owned()) }
        }
        other => other,
    }
}

/// The sections of the paper: files named `NN-name.typ` and, for the appendix, `AN-name.typ`.
fn read_sections(project: &Project, folder: &str) -> Result<Vec<Section>, ReportError> {
    let mut names = files::list(&project.root().join(folder))?;
    names.retain(|name| name.ends_with(".typ") && part_of(name).is_some());
    names.sort_by_key(|name| name.trim_end_matches(".typ").to_owned());
    let read = |name: String| {
        let path = format!("{folder}/{name}");
        let text = files::read_text_below(project.root(), &path)?;
        Ok(Section::new(path, text))
    };
    names.into_iter().map(read).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Abstract,
    Body,
    Back,
    Appendix,
}

fn part_of(name: &str) -> Option<Part> {
    let bytes = name.as_bytes();
    match bytes {
        [b'0', b'0', b'-', ..] => Some(Part::Abstract),
        [b'9', b'0'..=b'9', b'-', ..] => Some(Part::Back),
        [b'0'..=b'9', b'0'..=b'9', b'-', ..] => Some(Part::Body),
        [b'A', b'0'..=b'9', b'-', ..] => Some(Part::Appendix),
        _ => None,
    }
}

/// Checks that every work which the texts of an experiment cite is in a bibliography of the project: what is wrong there would
/// otherwise show only when the paper is built, and by then the text stands in sealed records.
pub fn check_citations(project: &Project, experiment: &ExperimentName, config: &Choices) -> Result<(), ReportError> {
    let library = read_library(project, &mut |_, _| ())?;
    for (field, text) in values::texts_of(config) {
        cited_by(&prose::segments(text), experiment.as_str(), field, &library.keys())?;
    }
    Ok(())
}

fn read_library(project: &Project, source: &mut dyn FnMut(&str, &str)) -> Result<Library, ReportError> {
    let mut library = Library::default();
    for path in ["templates/references.bib", OWN_REFERENCES] {
        let file = project.root().join(path);
        if file.exists() {
            let text = files::read_text_below(project.root(), path)?;
            library.add(path, &text)?;
            source(path, &text);
        }
    }
    Ok(library)
}

/// `#value(...);` prints no semicolon, which no reader of the source would guess.
fn swallowed(sections: &[Section]) -> Vec<Finding> {
    let finding = |section: &Section, offset: usize| {
        let problem = "the semicolon after the call is not printed";
        let hint = "Typst takes it as the end of the call: write `#value(...)#[;]`, or another sentence";
        Finding::new("semicolon", problem, hint).at(section.place(offset).short())
    };
    let of = |section: &Section| -> Vec<Finding> {
        section.calls.iter().filter_map(|c| c.swallowed).map(|offset| finding(section, offset)).collect()
    };
    sections.iter().flat_map(of).collect()
}

/// Pairs of experiments whose difference a section asks for.
fn pairs_asked_for(sections: &[Section]) -> Vec<(String, String)> {
    let pair = |call: &Call| match call.arguments.as_slice() {
        [a, b, ..] => Some((a.text.clone(), b.text.clone())),
        _ => None,
    };
    let functions = [Function::Delta, Function::Compare, Function::Notes];
    sections.iter().flat_map(|s| s.calls_of(&functions)).filter_map(pair).collect()
}

/// The means that sections ask for, which Typst finds by what they are of.
fn means_asked_for(numbers: &Numbers, sections: &[Section]) -> Result<Vec<values::Mean>, ReportError> {
    let mut means: Vec<values::Mean> = Vec::new();
    for (section, call) in sections.iter().flat_map(|s| s.calls_of(&[Function::MeanOf]).map(move |call| (s, call))) {
        let wrong = |problem: String| {
            ReportError::Source {
            problem,
            place: Box::new(section.place(call.offset)),
            hint: Some(
                "write `#mean-of((\"a\", \"b\"), \"KEY\")` over experiments, or `#mean-of(\"a\", (\"KEY\", \"KEY\"))` over tasks".to_owned(),
            ),
        }
        };
        let texts = |list: &Vec<Argument>| list.iter().map(|argument| argument.text.clone()).collect::<Vec<_>>();
        let [experiments, keys] =
            call.lists.iter().map(texts).collect::<Vec<_>>().try_into().map_err(|_| {
                wrong("a mean is given experiments and keys, each a string or a list of them".to_owned())
            })?;
        let mean = numbers.mean(&experiments, &keys).map_err(wrong)?;
        let mean = values::Mean { experiments, keys, mean };
        if !means.contains(&mean) {
            means.push(mean);
        }
    }
    Ok(means)
}

/// Every name that a section may use.
struct Known<'a> {
    numbers: &'a Numbers<'a>,
    experiments: Vec<&'a str>,
    /// Experiments with a study, which may have trials only.
    studies: Vec<&'a str>,
    tables: &'a Tables,
    references: Vec<&'a str>,
}

impl Known<'_> {
    fn values(&self, experiment: &str) -> Vec<&str> {
        let entry = self.numbers.families.entry(experiment);
        entry.map_or_else(Vec::new, |e| e.values.keys().map(String::as_str).collect())
    }
}

/// Checks every literal name in the sections, and returns the keys that the paper cites.
fn check_names(known: &Known, sections: &[Section]) -> Result<Vec<String>, ReportError> {
    let mut cited = Vec::new();
    for section in sections {
        if let Some(call) = section.calls.first().filter(|_| !section.imports) {
            return Err(ReportError::Source {
                problem: "the section uses functions of the paper without importing them".to_owned(),
                place: Box::new(section.place(call.offset)),
                hint: Some(format!("put `{IMPORT}` into its first line")),
            });
        }
        for call in &section.calls {
            check_call(known, &Names { section, call }, &mut cited)?;
        }
    }
    Ok(cited)
}

fn check_call(known: &Known, names: &Names, cited: &mut Vec<String>) -> Result<(), ReportError> {
    let families = &known.numbers.families;
    let arguments = names.call.arguments.as_slice();
    match names.call.function {
        Function::Value | Function::Standing => {
            let [experiment, keys @ ..] = arguments else { return Ok(()) };
            names.known(experiment, "experiment", &known.experiments)?;
            for key in keys {
                names.known(key, "value", &known.values(&experiment.text))?;
            }
        }
        Function::Fact | Function::Prose => {
            let [experiment, rest @ ..] = arguments else { return Ok(()) };
            names.known(experiment, "experiment", &known.experiments)?;
            let (Some(name), Some(entry)) = (rest.first(), families.entry(&experiment.text)) else { return Ok(()) };
            if names.call.function == Function::Fact {
                names.known(name, "fact", &values::facts(entry.latest).into_keys().collect::<Vec<_>>())?;
            } else {
                let prose = values::prose_of(entry);
                names.known(name, "text", &prose.keys().collect::<Vec<_>>())?;
                cited.extend(cited_by(&prose[name.text.as_str()], entry.name(), &name.text, &known.references)?);
            }
        }
        Function::Delta | Function::Compare | Function::Notes => {
            let [first, second, rest @ ..] = arguments else { return Ok(()) };
            for experiment in [first, second] {
                names.known(experiment, "experiment", &known.experiments)?;
                if let [key, ..] = rest {
                    names.known(key, "value", &known.values(&experiment.text))?;
                }
            }
        }
        Function::Count => {
            let [what, rest @ ..] = arguments else { return Ok(()) };
            let experiment = rest.first();
            if let Some(experiment) = experiment {
                names.known(experiment, "experiment", &known.experiments)?;
            }
            let counts = known.numbers.counts(experiment.map(|e| e.text.as_str()));
            names.known(what, "count", &counts.into_iter().flatten().map(|(name, _)| *name).collect::<Vec<_>>())?;
        }
        Function::TableOf => names.known_table(known.tables)?,
        // What these name is looked up when they are compiled.
        Function::Claim | Function::MeanOf => {}
        Function::Checklist => {}
        Function::Samples => {
            for experiment in arguments {
                names.known(experiment, "experiment", &known.experiments)?;
                if !known.tables.samples.contains_key(&experiment.text) {
                    let problem = format!("no run that counts of `{}` has samples that were kept", experiment.text);
                    let hint = format!("`harness generate {} --prompt TEXT --keep` keeps some", experiment.text);
                    return Err(names.error(experiment, problem, hint));
                }
            }
        }
        Function::Verdict => {
            for experiment in arguments {
                names.known(experiment, "experiment", &known.experiments)?;
            }
        }
        Function::FigureOf => {
            let [kind, experiments @ ..] = arguments else { return Ok(()) };
            let studies = if kind.text == plot::Kind::Study.word() { known.studies.as_slice() } else { &[] };
            let all = [&known.experiments, studies].concat();
            for experiment in experiments {
                names.known(experiment, "experiment", &all)?;
            }
        }
        Function::Citep | Function::Citet => {
            for key in arguments {
                names.known(key, "reference", &known.references)?;
                cited.push(key.text.clone());
            }
        }
    }
    Ok(())
}

/// What a text of an experiment cites. The text stands in a sealed record, so the bibliography has to follow it.
fn cited_by(prose: &[Segment], experiment: &str, field: &str, known: &[&str]) -> Result<Vec<String>, ReportError> {
    let mut cited = Vec::new();
    for key in prose.iter().flat_map(Segment::keys) {
        if !known.contains(&key.as_str()) {
            let near = nearest(key, known).map_or(String::new(), |n| format!("; did `{n}` mean the same?"));
            return Err(ReportError::Citation {
                problem: format!("the {field} of experiment `{experiment}` cites `@{key}`, which no bibliography has"),
                hint: format!("add an entry `{key}` to {OWN_REFERENCES}{near}"),
            });
        }
        cited.push(key.clone());
    }
    Ok(cited)
}

/// Checks the names in one call.
struct Names<'a> {
    section: &'a Section,
    call: &'a Call,
}

impl Names<'_> {
    fn known<S: AsRef<str>>(&self, argument: &Argument, what: &str, known: &[S]) -> Result<(), ReportError> {
        if known.iter().any(|name| name.as_ref() == argument.text) {
            return Ok(());
        }
        let listed: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
        let hint = match nearest(&argument.text, &listed) {
            _ if what == "value" && families::is_of_test_side(&argument.text) => {
                "`harness evaluate RUN --test-side` opens the test side after the last step, once for a run".to_owned()
            }
            Some(near) => format!("did you mean `{near}`?"),
            None if what == "reference" => format!("add it to {OWN_REFERENCES}"),
            None if what == "value" => format!(
                "`harness show {} --values` lists the keys",
                self.call.arguments.first().map_or("NAME", |a| a.text.as_str())
            ),
            None if listed.len() > 40 => format!("there are {} of them; see templates/values.typ", listed.len()),
            None => format!("there are: {}", listed.join(", ")),
        };
        Err(self.error(argument, format!("there is no {what} `{}`", argument.text), hint))
    }

    /// A table, named by its kind and, unless it is one of the whole paper, an experiment.
    fn known_table(&self, tables: &Tables) -> Result<(), ReportError> {
        let [kind, rest @ ..] = self.call.arguments.as_slice() else { return Ok(()) };
        let named = |kinds: &BTreeMap<&'static str, model::Table>| kinds.contains_key(kind.text.as_str());
        let (of_paper, of) = (named(&tables.paper), rest.first());
        if of.is_none() && of_paper || of.is_some_and(|of| tables.experiments.get(&of.text).is_some_and(named)) {
            return Ok(());
        }
        let mut kinds: Vec<&str> =
            tables.experiments.values().chain([&tables.paper]).flatten().map(|(k, _)| *k).collect();
        kinds.sort_unstable();
        kinds.dedup();
        self.known(kind, "table", &kinds)?;
        let names: Vec<&str> =
            tables.experiments.iter().filter(|(_, kinds)| named(kinds)).map(|(name, _)| name.as_str()).collect();
        let hint = if of_paper {
            format!("write `#table-of(\"{}\")`: it is a table of the whole paper", kind.text)
        } else {
            format!("`{}` is there for {}", kind.text, names.join(", "))
        };
        match of {
            // Without a literal second argument nothing more can be said here.
            None => Ok(()),
            Some(of) => Err(self.error(of, format!("there is no table `{}` of `{}`", kind.text, of.text), hint)),
        }
    }

    fn error(&self, argument: &Argument, problem: String, hint: String) -> ReportError {
        ReportError::Source { problem, place: Box::new(self.section.place(argument.offset)), hint: Some(hint) }
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
