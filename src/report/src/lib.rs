//! The paper: sections that are the students' own, numbers that are the records', and a PDF with its proof. Its figures,
//! like those of the command line and the dashboard, are drawn by [`plot`], which knows runs where `harness-figure` does
//! not.
//!
//! Comes in: analyses of sealed runs, `templates/`, and `report/` with what students wrote. Goes out:
//! `report/build/paper.pdf` and `report/build/paper.json`, which lists every number of the PDF with its run and page,
//! and the digest of everything that went in. Sections are drafted once and never overwritten. It must never have: clap,
//! tch, tokenizers, or a statistic of its own.
//!
//! In the order of the flow: [`study`] says what is compared with what; [`values`], [`tables`], [`figures`] and
//! [`prose`] make data files of the records; [`draft`] writes sections; [`scan`] checks the names they use;
//! [`bibliography`] sets what they cite; [`typst`] compiles; [`proof`] says what came out.

mod bibliography;
mod check_format;
mod differences;
mod draft;
mod error;
mod figures;
mod paper_toml;
pub mod plot;
mod proof;
mod prose;
mod scan;
mod study;
mod tables;
mod typst;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use harness_core::Digest;
use harness_core::config::nearest;
use harness_core::files;
use harness_core::names::Project;
use serde_json::{Value as Json, json};

use harness_analyse::{CompareError, RunAnalysis};

pub use check_format::{Finding, check_format};
pub use differences::{Difference, Differences};
pub use error::{Place, ReportError};
pub use figures::{Outcome, Redrawn};
pub use proof::{Bound, Proof, ProofRun, SourceFile};

use bibliography::Library;
use proof::Numbers;
use scan::{Argument, Call, Section};
use study::Study;

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
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The layout.
    pub mode: Mode,
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
    /// Files that were drafted for the students now, relative to the project.
    pub created: Vec<String>,
    /// Sections whose draft would read differently now; the draft lies below `report/build/draft/`.
    pub redrafted: Vec<String>,
    /// What the conference would object to.
    pub findings: Vec<Finding>,
    /// What Typst warned of.
    pub warnings: Vec<String>,
}

/// Where the paper lies, relative to the project.
pub const PAPER_PDF: &str = "report/build/paper.pdf";
/// Where its proof lies, relative to the project.
pub const PAPER_PROOF: &str = "report/build/paper.json";

const BUILD: &str = "report/build";
const PAPER: &str = "report/build/paper.typ";
const SECTIONS: &str = "report/sections";
const OWN_REFERENCES: &str = "report/references.bib";
const NO_REFERENCES: &str = "% Works that only this paper cites. Those that the drafts cite are in templates/references.bib;\n\
    % an entry here goes before one of the same key there.\n";

/// Makes the paper from sealed runs. Each experiment's latest run is the one that is quoted.
pub fn build(project: &Project, analyses: &[RunAnalysis], options: &Options) -> Result<Report, ReportError> {
    if analyses.is_empty() {
        return Err(ReportError::NoRuns);
    }
    let typst = typst::Typst::find(project)?;
    let study = Study::of(analyses);
    let mut made = Maker { project, sources: Vec::new() };

    let (created, redrafted) = draft_sections(project, &study)?;
    let about = paper_toml::load(project, &study)?;
    made.source(paper_toml::PATH);
    let sections = read_sections(project)?;
    sections.iter().for_each(|section| made.source(&section.path));

    let library = read_library(project, &mut made)?;
    let prose = prose_of(&study);
    let differences = Differences::of(&study, &pairs_asked_for(&sections))?;
    let tables = tables::document(&study, &differences);
    let counts = values::counts(&study, &differences);
    let known = Known::of(&study, &counts, &library, &tables);
    let cited = check_names(&known, &sections, &prose)?;
    let figures = figures::asked_for(project, &study, &sections)?;

    let catalogue = values::document(&study, &prose, &differences, &counts);
    made.json("values.json", &catalogue)?;
    made.json("tables.json", &tables)?;
    made.json("cites.json", &json!({ "format": values::VERSION, "references": library.references(&cited) }))?;
    made.json("about.json", &about)?;
    made.figures(&figures)?;
    made.copy("acl.typ")?;
    made.copy("values.typ")?;
    made.paper(&sections)?;
    made.summary(&study)?;

    let pdf = project.root().join(PAPER_PDF);
    let temporary = project.root().join(BUILD).join("paper.pdf.partial");
    let timestamp = analyses.iter().filter_map(|a| proof::unix_seconds(&a.run.record.ended_at)).max().unwrap_or(0);
    let mode = options.mode.word();
    let warnings = typst.compile(PAPER, &absolute(&temporary), mode, timestamp)?;
    let noted = typst.bound(PAPER, mode)?;
    files::rename(&temporary, &pdf)?;

    let outline = noted.iter().find(|n| n["kind"] == "outline").cloned().unwrap_or(Json::Null);
    let numbers = Numbers { study: &study, differences: &differences, counts: &counts };
    let proof = Proof::of(&numbers, options.mode, &typst.version, Digest::of_file(&pdf)?, made.digests()?, &noted);
    let bound = proof.bound.len();
    let proof_path = project.root().join(PAPER_PROOF);
    files::write(&proof_path, &pretty(&proof))?;
    Ok(Report {
        pdf,
        proof: proof_path,
        pages: outline["pages"].as_u64().unwrap_or(0),
        bound,
        created,
        redrafted,
        findings: check_format(options.mode, &outline).into_iter().chain(swallowed(&sections)).collect(),
        warnings,
    })
}

/// Draws the figures of the paper over these runs again: which of them the runs still give, byte for byte.
pub fn figures_drawn_again(project: &Project, analyses: &[RunAnalysis]) -> Result<Vec<Redrawn>, files::FileError> {
    figures::redraw(project, &Study::of(analyses), BUILD)
}

/// The counts that a paper over these runs can show, by name, and the differences of these pairs of experiments: an audit
/// computes them again.
pub fn counts_and_differences(
    analyses: &[RunAnalysis],
    pairs: &[(String, String)],
) -> Result<(BTreeMap<String, u64>, Differences), CompareError> {
    let study = Study::of(analyses);
    let differences = Differences::of(&study, pairs)?;
    Ok((values::counts(&study, &differences), differences))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn pretty(value: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("plain data is JSON");
    bytes.push(b'\n');
    bytes
}

/// Writes the drafts: to the students' folder what is not there yet, to the build folder all of them.
fn draft_sections(project: &Project, study: &Study) -> Result<(Vec<String>, Vec<String>), ReportError> {
    let drafts = draft::sections(&project.templates().join("sections"), study)?;
    let (mut created, mut redrafted) = (Vec::new(), Vec::new());
    let beside = project.root().join(BUILD).join("draft");
    files::remove_folder(&beside)?;
    for draft in &drafts {
        let own = format!("{SECTIONS}/{}", draft.name);
        let path = project.root().join(&own);
        if !path.exists() {
            files::write(&path, draft.text.as_bytes())?;
            created.push(own);
        } else if files::read(&path)? != draft.text.as_bytes() {
            redrafted.push(own);
        }
        files::write(&beside.join("sections").join(&draft.name), draft.text.as_bytes())?;
    }
    let references = project.root().join(OWN_REFERENCES);
    if !references.exists() {
        files::write(&references, NO_REFERENCES.as_bytes())?;
        created.push(OWN_REFERENCES.to_owned());
    }
    Ok((created, redrafted))
}

/// The sections of the paper: files named `NN-name.typ` and, for the appendix, `AN-name.typ`.
fn read_sections(project: &Project) -> Result<Vec<Section>, ReportError> {
    let mut names = files::list(&project.root().join(SECTIONS))?;
    names.retain(|name| name.ends_with(".typ") && part_of(name).is_some());
    names.sort_by_key(|name| name.trim_end_matches(".typ").to_owned());
    let read = |name: String| {
        let path = format!("{SECTIONS}/{name}");
        let text = files::read_to_string(&project.root().join(&path))?;
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

fn read_library(project: &Project, made: &mut Maker) -> Result<Library, ReportError> {
    let mut library = Library::default();
    for path in ["templates/references.bib", OWN_REFERENCES] {
        let file = project.root().join(path);
        if file.exists() {
            library.add(path, &files::read_to_string(&file)?)?;
            made.source(path);
        }
    }
    Ok(library)
}

/// Texts of every experiment as pieces: experiment, then field.
fn prose_of(study: &Study) -> Json {
    let mut all = serde_json::Map::new();
    for entry in &study.entries {
        let config = &entry.quoted.run.experiment;
        let fields = [
            ("title", &config.title),
            ("question", &config.question),
            ("hypothesis", &config.hypothesis),
            ("rationale", &config.rationale),
        ];
        let fields: serde_json::Map<String, Json> =
            fields.into_iter().map(|(name, text)| (name.to_owned(), json!(prose::segments(text)))).collect();
        all.insert(entry.name().to_owned(), Json::Object(fields));
    }
    Json::Object(all)
}

/// `#value(...);` prints no semicolon, which no reader of the source would guess.
fn swallowed(sections: &[Section]) -> Vec<Finding> {
    let finding = |section: &Section, offset: usize| {
        let place = Place::at(&section.path, &section.text, offset);
        Finding {
            rule: "semicolon",
            problem: format!(
                "{}:{}:{}: the semicolon after the call is not printed",
                place.path, place.line, place.column
            ),
            hint: "Typst takes it as the end of the call: write `#value(...)#[;]`, or another sentence".to_owned(),
        }
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
    sections.iter().flat_map(|s| s.calls_of(&["delta", "compare"])).filter_map(pair).collect()
}

/// Every name that a section may use.
struct Known<'a> {
    study: &'a Study<'a>,
    experiments: Vec<&'a str>,
    counts: &'a BTreeMap<String, u64>,
    tables: Vec<&'a str>,
    references: Vec<&'a str>,
}

impl<'a> Known<'a> {
    fn of(study: &'a Study, counts: &'a BTreeMap<String, u64>, library: &'a Library, tables: &'a Json) -> Self {
        Known {
            study,
            experiments: study.names(),
            counts,
            tables: tables["tables"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect(),
            references: library.keys(),
        }
    }

    fn values(&self, experiment: &str) -> Vec<&str> {
        let entry = self.study.entry(experiment);
        entry.map_or_else(Vec::new, |e| e.quoted.values.keys().map(String::as_str).collect())
    }
}

/// Checks every literal name in the sections, and returns the keys that the paper cites.
fn check_names(known: &Known, sections: &[Section], prose: &Json) -> Result<Vec<String>, ReportError> {
    let mut cited = Vec::new();
    for section in sections {
        for call in &section.calls {
            check_call(known, &Names { section, call }, prose, &mut cited)?;
        }
    }
    Ok(cited)
}

fn check_call(known: &Known, names: &Names, prose: &Json, cited: &mut Vec<String>) -> Result<(), ReportError> {
    let arguments = names.call.arguments.as_slice();
    match names.call.function {
        "value" | "fact" | "prose" => {
            let [experiment, rest @ ..] = arguments else { return Ok(()) };
            names.known(experiment, "experiment", &known.experiments)?;
            let [name, ..] = rest else { return Ok(()) };
            match (names.call.function, known.study.entry(&experiment.text)) {
                ("value", _) => names.known(name, "value", &known.values(&experiment.text))?,
                ("fact", Some(entry)) => {
                    names.known(name, "fact", &values::facts(entry.quoted).into_keys().collect::<Vec<_>>())?;
                }
                _ => {
                    names.known(name, "text", &["title", "question", "hypothesis", "rationale"])?;
                    cited.extend(cited_by(prose, &experiment.text, &name.text, &known.references)?);
                }
            }
        }
        "delta" | "compare" => {
            let [first, second, rest @ ..] = arguments else { return Ok(()) };
            for experiment in [first, second] {
                names.known(experiment, "experiment", &known.experiments)?;
                if let [key, ..] = rest {
                    names.known(key, "value", &known.values(&experiment.text))?;
                }
            }
        }
        "count" => {
            let [what, rest @ ..] = arguments else { return Ok(()) };
            if let [experiment, ..] = rest {
                names.known(experiment, "experiment", &known.experiments)?;
            }
            let of = rest.first().map_or(String::new(), |e| format!("@{}", e.text));
            let counts = known.counts.keys().filter_map(|k| k.strip_suffix(&of)).filter(|k| !k.contains('@'));
            names.known(what, "count", &counts.collect::<Vec<_>>())?;
        }
        "table-of" => names.known_pair(arguments, "table", &known.tables)?,
        "figure-of" => {
            let [_, experiments @ ..] = arguments else { return Ok(()) };
            for experiment in experiments {
                names.known(experiment, "experiment", &known.experiments)?;
            }
        }
        _ => {
            for key in arguments {
                names.known(key, "reference", &known.references)?;
                cited.push(key.text.clone());
            }
        }
    }
    Ok(())
}

/// What a text of an experiment cites. The text stands in a sealed record, so the bibliography has to follow it.
fn cited_by(prose: &Json, experiment: &str, field: &str, keys: &[&str]) -> Result<Vec<String>, ReportError> {
    let mut cited = Vec::new();
    for segment in prose[experiment][field].as_array().into_iter().flatten() {
        for key in segment["keys"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            if !keys.contains(&key) {
                let near = nearest(key, keys).map_or(String::new(), |n| format!("; did `{n}` mean the same?"));
                return Err(ReportError::Citation {
                    problem: format!(
                        "the {field} of experiment `{experiment}` cites `@{key}`, which no bibliography has"
                    ),
                    hint: format!("add an entry `{key}` to {OWN_REFERENCES}{near}"),
                });
            }
            cited.push(key.to_owned());
        }
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

    /// A table, named by its kind and an experiment.
    fn known_pair(&self, arguments: &[Argument], what: &str, known: &[&str]) -> Result<(), ReportError> {
        let wanted = arguments.iter().map(|a| a.text.as_str()).collect::<Vec<_>>().join(" ");
        let [kind, rest @ ..] = arguments else { return Ok(()) };
        if known.contains(&wanted.as_str()) {
            return Ok(());
        }
        let mut kinds: Vec<&str> = known.iter().map(|n| n.split_once(' ').map_or(*n, |(kind, _)| kind)).collect();
        kinds.dedup();
        self.known(kind, what, &kinds)?;
        let of_kind = known.iter().filter_map(|n| n.split_once(' ')).filter(|(k, _)| *k == kind.text);
        let names: Vec<&str> = of_kind.map(|(_, name)| name).collect();
        let hint = format!("`{}` is there for {}", kind.text, names.join(", "));
        match rest {
            // Without a literal second argument nothing more can be said here.
            [] => Ok(()),
            [of, ..] => Err(self.error(of, format!("there is no {what} `{}` of `{}`", kind.text, of.text), hint)),
        }
    }

    fn error(&self, argument: &Argument, problem: String, hint: String) -> ReportError {
        ReportError::Source { problem, place: Box::new(self.section.place(argument)), hint: Some(hint) }
    }
}

/// Writes the files of the build folder and remembers what went into the paper.
struct Maker<'a> {
    project: &'a Project,
    sources: Vec<String>,
}

impl Maker<'_> {
    /// Notes a file that goes into the paper, relative to the project.
    fn source(&mut self, path: &str) {
        self.sources.push(path.to_owned());
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), ReportError> {
        let path = format!("{BUILD}/{name}");
        files::write(&self.project.root().join(&path), bytes)?;
        self.source(&path);
        Ok(())
    }

    fn json(&mut self, name: &str, value: &Json) -> Result<(), ReportError> {
        self.write(name, &pretty(value))
    }

    fn copy(&mut self, template: &str) -> Result<(), ReportError> {
        let bytes = files::read(&self.project.templates().join(template))?;
        self.source(&format!("templates/{template}"));
        self.write(&format!("lib/{template}"), &bytes)
    }

    fn figures(&mut self, figures: &BTreeMap<String, figures::Drawn>) -> Result<(), ReportError> {
        files::remove_folder(&self.project.root().join(BUILD).join("figures"))?;
        let mut listed = serde_json::Map::new();
        for (key, drawn) in figures {
            let file = format!("{}.svg", key.replace(' ', "."));
            let about = json!({ "file": file, "alt": drawn.figure.alt, "runs": drawn.runs });
            self.write(&format!("figures/{file}"), drawn.figure.svg.as_bytes())?;
            listed.insert(key.clone(), about);
        }
        self.json("figures.json", &json!({ "format": values::VERSION, "figures": listed }))
    }

    /// `paper.typ`: the order of the parts.
    fn paper(&mut self, sections: &[Section]) -> Result<(), ReportError> {
        const TEMPLATE: &str = "templates/paper.typ.tera";
        let template = files::read_to_string(&self.project.root().join(TEMPLATE))?;
        self.source(TEMPLATE);
        let of = |part: Part| -> Vec<String> {
            let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
            sections.iter().filter(|s| part_of(&name(&s.path)) == Some(part)).map(|s| format!("/{}", s.path)).collect()
        };
        let mut context = tera::Context::new();
        context.insert("abstract", &of(Part::Abstract));
        context.insert("body", &of(Part::Body));
        context.insert("backmatter", &of(Part::Back));
        context.insert("appendix", &of(Part::Appendix));
        context.insert("attachments", &json!([
            { "path": "values.json", "description": "Every number of every run that the paper may quote, with its run and files" },
            { "path": "summary.json", "description": "The runs of the paper with the digests of records, data and code" },
        ]));
        let text = draft::render(TEMPLATE, &template, &context)?;
        self.write("paper.typ", text.as_bytes())
    }

    /// What an auditor who has only the PDF needs: the runs, and the digests of what the paper was made from.
    fn summary(&mut self, study: &Study) -> Result<(), ReportError> {
        let mut sources = self.digests()?;
        sources.retain(|source| !source.path.starts_with(BUILD));
        let summary = json!({ "format": values::VERSION, "runs": proof::runs(study), "sources": sources });
        self.json("summary.json", &summary)
    }

    fn digests(&self) -> Result<Vec<SourceFile>, ReportError> {
        let mut paths = self.sources.clone();
        paths.sort();
        paths.dedup();
        let digest = |path: String| Ok(SourceFile { sha256: Digest::of_file(&self.project.root().join(&path))?, path });
        paths.into_iter().map(digest).collect()
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
