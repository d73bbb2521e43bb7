//! All that lies between the records and the PDF, as bytes. `harness report` writes it into the build folder, an audit holds
//! the build folder against it: one function makes both, and it writes nothing.

use std::collections::BTreeMap;

use harness_analyse::RunAnalysis;
use harness_core::names::{ExperimentName, Project};
use harness_core::{Digest, files};
use serde_json::json;

use super::bibliography::Library;
use super::claims;
use super::error::ReportError;
use super::figures::LastDrawn;
use super::logbook::Logbook;
use super::model::{Bound, FigureRef, Note};
use super::paper_toml::Allowed;
use super::plot::Kind;
use super::proof::{self, BoundList, Proof, ProofRun, SourceFile, Summary};
use super::section::{Function, Section};
use super::tables::Tables;
use super::template;
use super::typst::Typst;
use super::values::{self, Numbers};
use super::{
    BUILD, DRAFT, DRAFT_SECTIONS, Known, Mode, Options, Part, SECTIONS, check_names, checklist, draft, figures,
    keep_only, means_asked_for, pairs_asked_for, paper_toml, part_of, pretty, read_library, read_sections,
    write_changed,
};

/// What is known of the runs before there are sections.
#[derive(Debug)]
pub(super) struct Basis<'a> {
    analyses: &'a [RunAnalysis],
    /// The pairs of experiments that sections asked for when it was made: mostly those that they will ask for, so that
    /// nothing is compared twice.
    pairs: Vec<(String, String)>,
    pub numbers: Numbers<'a>,
    pub logbook: Logbook,
}

impl<'a> Basis<'a> {
    pub(super) fn of(project: &Project, analyses: &'a [RunAnalysis], options: &Options) -> Result<Self, ReportError> {
        let sections = read_sections(project, sections_of(options))?;
        // What is wrong with a claim is said once the sections are those of today.
        let asked = claims::asked_for(project, &sections, &mut |_, _| ()).unwrap_or_default();
        let pairs = [pairs_asked_for(&sections), claims::pairs(&asked)].concat();
        let numbers = Numbers::of(analyses, &pairs)?.decided(project)?;
        Ok(Basis { analyses, pairs, numbers, logbook: Logbook::of(project, analyses)? })
    }
}

/// Where the sections of the paper lie.
fn sections_of(options: &Options) -> &'static str {
    if options.drafts_alone { DRAFT_SECTIONS } else { SECTIONS }
}

/// The limits that the figure of what was spent shows.
const BUDGET: &str = "experiments/budget.toml";

/// The order of the parts, as this program knows it. A template can loop for ever and fill all memory.
const OWN_TEMPLATE: &str = include_str!("../../../templates/paper.typ.tera");

/// What the records and the sections make, before Typst sets it.
#[derive(Debug)]
pub struct Made<'a> {
    pub(crate) mode: Mode,
    /// The files of the build folder, by path in the project.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Digests of these files and of all that they and the paper were made from, by path in the project.
    sources: BTreeMap<String, Digest>,
    /// Templates that were not run: what is made of them was taken as it lies in the build folder.
    pub taken: Vec<String>,
    /// All that the runs give.
    pub numbers: Numbers<'a>,
    pub(crate) sections: Vec<Section>,
    pub(crate) tables: Tables,
    pub(crate) library: Library,
    /// Keys of the works that it cites.
    pub(crate) cited: Vec<String>,
    /// What the figures were drawn from.
    drawn: LastDrawn,
    /// What the sections may say although no record is behind it.
    pub(crate) allowed: Vec<Allowed>,
    of_others: bool,
    /// The folder of another venue's template.
    template: Option<String>,
    /// The experiments that it was to be about.
    experiments: Vec<ExperimentName>,
}

impl<'a> Made<'a> {
    /// Of these runs and of the sections as they stand.
    pub fn of(project: &Project, analyses: &'a [RunAnalysis], options: &Options) -> Result<Self, ReportError> {
        Self::on(project, Basis::of(project, analyses, options)?, options)
    }

    /// The same of what is known of the runs already.
    pub(super) fn on(project: &Project, basis: Basis<'a>, options: &Options) -> Result<Self, ReportError> {
        let sections = read_sections(project, sections_of(options))?;
        let mut sources: BTreeMap<String, Digest> =
            sections.iter().map(|section| (section.path.clone(), Digest::of(section.text.as_bytes()))).collect();
        let asked = claims::asked_for(project, &sections, &mut |path, text| {
            sources.insert(path.to_owned(), Digest::of(text.as_bytes()));
        })?;
        let pairs = [pairs_asked_for(&sections), claims::pairs(&asked)].concat();
        let same = pairs == basis.pairs;
        let mut numbers = if same { basis.numbers } else { Numbers::of(basis.analyses, &pairs)?.decided(project)? };
        numbers.differences.add_notes(&options.notes);
        numbers.claims = claims::compile(&numbers, &asked)?;
        numbers.means = means_asked_for(&numbers, &sections)?;
        let library = read_library(project, &mut |path, text| {
            sources.insert(path.to_owned(), Digest::of(text.as_bytes()));
        })?;
        let mut tables = Tables::of(&numbers, &basis.logbook);
        if options.mode == Mode::Review {
            tables.withhold_commits();
        }
        let mut made = Made {
            mode: options.mode,
            files: BTreeMap::new(),
            sources,
            taken: Vec::new(),
            numbers,
            sections,
            tables,
            library,
            cited: Vec::new(),
            drawn: LastDrawn::default(),
            allowed: Vec::new(),
            of_others: options.of_others,
            template: options.template.clone(),
            experiments: options.experiments.clone(),
        };

        let is_own = files::is_file(&project.root().join(paper_toml::PATH));
        let about = if is_own { paper_toml::PATH.to_owned() } else { format!("{DRAFT}/{}", paper_toml::NAME) };
        let text = made.read(project, &about)?;
        made.allowed = paper_toml::allowed(&about, &text)?;
        let about = paper_toml::parse(&about, &text)?;
        let known = Known {
            numbers: &made.numbers,
            experiments: made.numbers.families.names(),
            studies: basis.logbook.studies.keys().map(String::as_str).collect(),
            tables: &made.tables,
            references: made.library.keys(),
        };
        let cited = check_names(&known, &made.sections)?;
        made.cited = cited;
        let families = &made.numbers.families;
        let program = options.program.as_deref();
        let figures = figures::asked_for(project, families, &basis.logbook, &made.sections, program)?;
        if figures.keys().any(|figure| figure.kind == Kind::Spending.word()) && project.budget_file().exists() {
            made.read(project, BUDGET)?;
        }
        if made.sections.iter().any(|section| section.calls_of(&[Function::Checklist]).next().is_some()) {
            if project.root().join(checklist::PATH).exists() {
                made.read(project, checklist::PATH)?;
            }
            let (families, sections) = (&made.numbers.families, &made.sections[..]);
            let openings = values::openings_of(families, &made.numbers.openings);
            let records = checklist::Records { families, logbook: &basis.logbook, sections, openings };
            let answers = checklist::answered(project, &records)?.answers;
            made.add("checklist.json", pretty(&json!({ "format": values::VERSION, "answers": answers })));
        }
        made.drawn = LastDrawn::of(figures.iter());

        let values = pretty(&made.numbers.catalogue());
        made.add("values.json", values);
        let tables = pretty(&made.tables);
        made.add("tables.json", tables);
        let references = made.library.references(&made.cited);
        made.add("cites.json", pretty(&json!({ "format": values::VERSION, "references": references })));
        made.add("about.json", pretty(&about));
        for (figure, drawn) in &figures {
            made.add(&format!("figures/{}", figures::file_name(figure)), drawn.figure.svg.clone().into_bytes());
            made.add(&figures::data_name(figure), drawn.figure.data.clone().into_bytes());
        }
        made.add("figures.json", pretty(&figures::listed(&figures)));
        for name in [template::STYLE, template::VALUES] {
            let path = template::path(project, options.template.as_deref(), name);
            let text = made.read(project, &path)?;
            if name == template::STYLE {
                template::check_style(&path, &text)?;
            }
            made.add(&format!("lib/{name}"), text.into_bytes());
        }
        let summary = made.summary();
        made.add("summary.json", summary);
        let paper = made.paper(project, options.template.as_deref(), figures.keys())?;
        made.add("paper.typ", paper.into_bytes());
        Ok(made)
    }

    /// A file that the paper is made from.
    fn read(&mut self, project: &Project, path: &str) -> Result<String, ReportError> {
        let text = files::read_text_below(project.root(), path)?;
        self.sources.insert(path.to_owned(), Digest::of(text.as_bytes()));
        Ok(text)
    }

    /// A file of the build folder.
    fn add(&mut self, name: &str, bytes: Vec<u8>) {
        let path = format!("{BUILD}/{name}");
        self.sources.insert(path.clone(), Digest::of(&bytes));
        self.files.insert(path, bytes);
    }

    /// A file of the build folder by its name there; empty if there is none.
    pub(crate) fn file(&self, name: &str) -> &[u8] {
        self.files.get(&format!("{BUILD}/{name}")).map_or(&[], Vec::as_slice)
    }

    /// `paper.typ`: the order of the parts.
    fn paper<'f>(
        &mut self,
        project: &Project,
        own: Option<&str>,
        figures: impl Iterator<Item = &'f FigureRef>,
    ) -> Result<String, ReportError> {
        let path = template::path(project, own, template::PAPER);
        let template = self.read(project, &path)?;
        let of = |part: Part| -> Vec<String> {
            let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
            let of_part = self.sections.iter().filter(|s| part_of(&name(&s.path)) == Some(part));
            of_part.map(|s| format!("/{}", s.path)).collect()
        };
        if self.of_others && template != OWN_TEMPLATE {
            self.taken.push(path);
            return Ok(files::read_text_below(project.root(), &format!("{BUILD}/paper.typ"))?);
        }
        let mut context = tera::Context::new();
        context.insert("abstract", &of(Part::Abstract));
        context.insert("body", &of(Part::Body));
        context.insert("backmatter", &of(Part::Back));
        context.insert("appendix", &of(Part::Appendix));
        let mut attachments = proof::attachments();
        attachments.retain(|file| file.is_always() || self.files.contains_key(&format!("{BUILD}/{}", file.path)));
        attachments.extend(figures.map(proof::Attachment::of_figure));
        context.insert("attachments", &attachments);
        let paper = draft::render(&path, &template, &context)?;
        template::check_paper(&path, &template, &paper)?;
        Ok(paper)
    }

    /// What an auditor who has only the PDF needs: the runs, and the digests of what the paper was made from.
    fn summary(&self) -> Vec<u8> {
        let mut sources = self.source_files();
        sources.retain(|source| !source.path.starts_with(BUILD));
        pretty(&Summary { format: values::VERSION, runs: self.runs(), sources })
    }

    /// Every run of the paper.
    pub fn runs(&self) -> Vec<ProofRun> {
        proof::runs(&self.numbers)
    }

    /// All that goes into the paper, by path.
    pub fn source_files(&self) -> Vec<SourceFile> {
        self.sources.iter().map(|(path, sha256)| SourceFile { path: path.clone(), sha256: *sha256 }).collect()
    }

    /// Whether the build folder has the same values, from which follows most of what a paper shows.
    pub(crate) fn has_values_of_before(&self, project: &Project) -> bool {
        files::read(&project.root().join(BUILD).join("values.json"))
            .is_ok_and(|before| before == self.file("values.json"))
    }

    /// Writes the build folder.
    pub(crate) fn write(&self, project: &Project) -> Result<(), files::FileError> {
        let figures = project.root().join(BUILD).join("figures");
        keep_only(&figures, |file| self.files.contains_key(&format!("{BUILD}/figures/{file}")))?;
        write_changed(&project.root().join(LastDrawn::PATH), &pretty(&self.drawn))?;
        self.files.iter().try_for_each(|(path, bytes)| write_changed(&project.root().join(path), bytes))
    }

    /// When the last of its runs ended, in seconds since 1970: the time of the PDF.
    pub(crate) fn timestamp(&self) -> i64 {
        let runs = self.numbers.families.entries.iter().flat_map(|entry| entry.listed());
        runs.filter_map(|run| proof::unix_seconds(&run.run.record.ended_at)).max().unwrap_or(0)
    }

    /// What Typst noted, with what the runs say to it, and the file that lists it. A template that shows something else is
    /// refused.
    pub(crate) fn bound(&mut self, notes: Vec<Note>) -> Result<Vec<Bound>, ReportError> {
        let bound = proof::bound(&self.numbers, notes)?;
        let list = BoundList {
            format: values::VERSION,
            mode: self.mode,
            template: self.template.clone(),
            experiments: self.experiments.clone(),
            bound,
        };
        self.add(proof::BOUND, pretty(&list));
        Ok(list.bound)
    }

    /// The proof of a paper that was set from it.
    pub(crate) fn proof(
        &self,
        pdf_sha256: Digest,
        typst: &Typst,
        bound: Vec<Bound>,
    ) -> Result<Proof, files::FileError> {
        Ok(Proof {
            format: Proof::VERSION,
            pdf_sha256,
            mode: self.mode,
            template: self.template.clone(),
            experiments: self.experiments.clone(),
            typst: typst.version.clone(),
            fonts: typst.fonts_sha256()?,
            sources: self.source_files(),
            runs: self.runs(),
            bound,
        })
    }
}
