//! The paper as LaTeX for the conference's own style, for who must submit it so.
//!
//! Comes in: what [`crate::build`] left in `report/build/`, and the sections, as the data that Typst makes of them
//! (`tree.typ`): whatever a section is written with, what is read here is the same few kinds of elements. Goes out: a
//! folder with `main.tex`, a file for each section, `values.tex` with a macro for each bound value, `references.bib`
//! and the figures as PDF. What has no counterpart is a finding with its place, and marked in the text.

mod bib;
mod escape;
mod gathered;
mod math;
mod places;
mod symbols;
mod table;
mod tree;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use harness_core::files;
use harness_core::names::Project;
use serde_json::{Value as Json, json};

use super::check_format::Finding;
use super::error::{Place, ReportError};
use super::model::Note;
use super::section::{Section, literal};
use super::typst::Typst;
use super::{
    BUILD, DRAFT, Mode, Options, PAPER_PROOF, Part, Proof, REPORT, archive, draft, part_of, read_library, read_sections,
};
use gathered::{Gathered, Target};
use tree::Element;
use writer::Writer;

/// What was written.
#[derive(Clone, Debug)]
pub struct Latex {
    /// The folder.
    pub folder: PathBuf,
    /// Files in it that were written, relative to it, sorted.
    pub files: Vec<String>,
    /// The archive of the folder, where one was asked for.
    pub zip: Option<PathBuf>,
    /// Places where a bound number or words stand.
    pub bound: usize,
    /// Whether the conference's style lies beside it; if not, a plain one is used.
    pub official_style: bool,
    /// What is not carried over.
    pub findings: Vec<Finding>,
}

/// Where students keep the conference's style files, relative to the project. Nothing of it is committed.
const STYLE: &str = "report/latex";
const STYLE_FILES: [&str; 2] = ["acl.sty", "acl_natbib.bst"];
const MAIN: &str = "main.tex";
/// The first line of a `main.tex` that may be written again.
const MADE: &str = "% Made by `harness report --latex`";
const TEMPLATES: &str = "templates/latex";

/// Writes the paper that [`crate::build`] has just made to a folder.
pub fn export(project: &Project, options: &Options, folder: &Path, zip: bool) -> Result<Latex, ReportError> {
    let typst = Typst::find(project)?;
    refuse_foreign(folder)?;
    for made in ["sections", "figures"] {
        files::remove_folder(&folder.join(made))?;
    }
    let root = project.root();
    let mode = options.mode;
    let written = format!("{}/sections", if options.drafts_alone { DRAFT } else { REPORT });
    let sections = read_sections(project, &written)?;
    let trees = trees(project, &typst, mode, &sections)?;

    let mut paper = Gathered { targets: targets(&sections, &trees), ..Gathered::default() };
    let mut out = Folder { folder, files: BTreeSet::new() };
    let mut parts: BTreeMap<&str, Vec<String>> =
        ["abstract", "body", "backmatter", "appendix"].map(|part| (part, Vec::new())).into();
    for (index, (section, tree)) in sections.iter().zip(&trees).enumerate() {
        let name = section.path.rsplit('/').next().unwrap_or_default();
        let Some(part) = part_of(name) else { continue };
        let mut writer = Writer::new(&mut paper, index, &written);
        writer.node(tree);
        if let Some(error) = writer.error {
            return Err(error);
        }
        let stem = format!("sections/{}", escape::name(name.trim_end_matches(".typ")));
        let text = format!("% From {}\n{}\n", section.path, tidy(&writer.out));
        out.write(&format!("{stem}.tex"), text.as_bytes())?;
        let part = match part {
            Part::Abstract => "abstract",
            Part::Body => "body",
            Part::Back => "backmatter",
            Part::Appendix => "appendix",
        };
        parts.entry(part).or_default().push(stem);
    }
    out.write("values.tex", paper.values.file().as_bytes())?;
    out.write("references.bib", bib::file(&read_library(project, &mut |_, _| ())?, &paper.keys).as_bytes())?;
    for (path, name) in &paper.graphics {
        out.graphic(project, &typst, path, name)?;
    }
    out.main(project, mode, &parts)?;
    for style in ["harness.sty", "harness-plain.sty"] {
        out.write(style, &files::read(&root.join(TEMPLATES).join(style))?)?;
    }
    for style in STYLE_FILES {
        let own = root.join(STYLE).join(style);
        if files::is_file(&own) {
            out.write(style, &files::read(&own)?)?;
        }
    }

    let mut findings = places::findings(&sections, &paper.losses);
    findings.extend(other_numbers(project, &paper.values.notes)?);
    // Of `paper.v2`, too, the whole name stays.
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let zip = zip.then(|| folder.with_file_name(format!("{name}.zip")));
    if let Some(zip) = &zip {
        let listed = files::list_visible(folder)?
            .into_iter()
            .map(|name| (name.clone(), archive::Content::File(folder.join(name))));
        archive::write(zip, &listed.filter(|(name, _)| is_source(name)).collect())?;
    }
    Ok(Latex {
        folder: folder.to_owned(),
        official_style: STYLE_FILES.iter().all(|style| files::is_file(&folder.join(style))),
        files: out.files.into_iter().collect(),
        zip,
        bound: paper.values.notes.len(),
        findings,
    })
}

/// What LaTeX makes beside its sources stays at home.
fn is_source(name: &str) -> bool {
    let made = ["aux", "bbl", "blg", "log", "out", "bound", "fls", "fdb_latexmk", "gz"];
    let ending = name.rsplit('.').next().unwrap_or_default();
    name != "main.pdf" && !made.contains(&ending)
}

/// A folder with files of someone else is not written to.
fn refuse_foreign(folder: &Path) -> Result<(), ReportError> {
    let main = folder.join(MAIN);
    if files::is_file(&main) {
        return match files::read_to_string(&main)?.starts_with(MADE) {
            true => Ok(()),
            false => Err(ReportError::Latex { problem: format!("{} is not of this program", main.display()) }),
        };
    }
    let holds = if folder.exists() { files::list(folder)? } else { Vec::new() };
    match holds.iter().find(|name| !STYLE_FILES.contains(&name.as_str())) {
        Some(other) => {
            Err(ReportError::Latex { problem: format!("{} holds other files, as `{other}`", folder.display()) })
        }
        None => Ok(()),
    }
}

/// The sections as Typst reads them, in their order.
fn trees(project: &Project, typst: &Typst, mode: Mode, sections: &[Section]) -> Result<Vec<Json>, ReportError> {
    let build = project.root().join(BUILD);
    files::write(&build.join("lib/tree.typ"), include_bytes!("tree.typ"))?;
    let include =
        |section: &Section| format!("#metadata(tree(include {})) <section>\n", literal(&format!("/{}", section.path)));
    let source = format!("#import \"lib/tree.typ\": tree\n{}", sections.iter().map(include).collect::<String>());
    files::write(&build.join("latex.typ"), source.as_bytes())?;
    typst.trees(&format!("{BUILD}/latex.typ"), mode.word())
}

/// What each label stands at.
fn targets(sections: &[Section], trees: &[Json]) -> BTreeMap<String, Target> {
    fn walk(node: &Json, appendix: bool, out: &mut BTreeMap<String, Target>) {
        match node {
            Json::Array(several) => several.iter().for_each(|one| walk(one, appendix, out)),
            Json::Object(fields) => {
                if let Some(element) = Element::of(node)
                    && let Some(label) = element.get("label").as_str()
                {
                    let mark = element.get("value")["mark"].as_str();
                    let holds = Element::of(element.get("body")).map_or("", |body| body.func);
                    let target = match (element.func, mark) {
                        ("heading", _) if appendix => Some(Target::Appendix),
                        ("heading", _) => Some(Target::Section),
                        ("equation", _) => Some(Target::Equation),
                        ("metadata", Some("table")) => Some(Target::Table),
                        ("metadata", Some("figure")) => Some(Target::Figure),
                        ("figure", _) if holds == "table" || element.get("kind") == "table" => Some(Target::Table),
                        ("figure", _) => Some(Target::Figure),
                        _ => None,
                    };
                    if let Some(target) = target {
                        out.insert(label.to_owned(), target);
                    }
                }
                fields.values().for_each(|field| walk(field, appendix, out));
            }
            _ => {}
        }
    }
    let mut out = BTreeMap::new();
    for (section, tree) in sections.iter().zip(trees) {
        let name = section.path.rsplit('/').next().unwrap_or_default();
        walk(tree, part_of(name) == Some(Part::Appendix), &mut out);
    }
    out
}

/// No more than one empty line, and no blank at the end of one.
fn tidy(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut empty = 2;
    for line in source.lines().map(str::trim) {
        empty = if line.is_empty() { empty + 1 } else { 0 };
        if empty < 2 {
            out.push_str(line);
            out.push('\n');
        }
    }
    out.trim_end().to_owned()
}

/// Numbers that one of the two papers shows and the other does not: one by one, with the text that shows them.
fn other_numbers(project: &Project, here: &[Note]) -> Result<Vec<Finding>, ReportError> {
    let path = project.root().join(PAPER_PROOF);
    let proof: Proof = serde_json::from_slice(&files::read(&path)?)
        .map_err(|e| ReportError::Template { template: PAPER_PROOF.to_owned(), problem: e.to_string() })?;
    let key = |note: &Note| {
        let error = note.shown_error.as_ref().map_or(String::new(), |error| format!(" ± {error}"));
        format!("`{}{error}` for {}", note.shown, note.quantity)
    };
    let mut count: BTreeMap<String, i64> = BTreeMap::new();
    for bound in &proof.bound {
        *count.entry(key(&bound.note)).or_default() += 1;
    }
    for note in here {
        *count.entry(key(note)).or_default() -= 1;
    }
    let finding = |(shown, more): (String, i64)| {
        let side = if more > 0 {
            "the PDF of Typst shows, and the LaTeX does not"
        } else {
            "the LaTeX shows, and the PDF of Typst does not"
        };
        let hint = "it stands where the export does not look, as in `context`: write it into a section as it is";
        Finding::new("latex", format!("{side}: {shown}"), hint)
    };
    Ok(count.into_iter().filter(|(_, more)| *more != 0).map(finding).collect())
}

/// Where the files go.
struct Folder<'a> {
    folder: &'a Path,
    files: BTreeSet<String>,
}

impl Folder<'_> {
    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), ReportError> {
        files::write(&self.folder.join(name), bytes)?;
        self.files.insert(name.to_owned());
        Ok(())
    }

    /// A figure: a drawing becomes a page of its size, a picture is copied.
    fn graphic(&mut self, project: &Project, typst: &Typst, path: &str, name: &str) -> Result<(), ReportError> {
        let file = project.root().join(path);
        let to = format!("figures/{name}");
        if !files::is_plain_file(&file) {
            let place = Place { path: path.to_owned(), line: 0, column: 0, text: String::new() };
            return Err(ReportError::Source {
                problem: "the figure is not there".to_owned(),
                place: Box::new(place),
                hint: None,
            });
        }
        if !path.ends_with(".svg") {
            return self.write(&to, &files::read(&file)?);
        }
        let build = project.root().join(BUILD);
        let source = "#set page(width: auto, height: auto, margin: 0pt)\n#image(sys.inputs.file)\n";
        files::write(&build.join("figure.typ"), source.as_bytes())?;
        let pdf = super::absolute(&build.join("figure.pdf"));
        typst.page_of(&format!("{BUILD}/figure.typ"), path, &pdf)?;
        self.write(&to, &files::read(&pdf)?)?;
        files::remove(&pdf)?;
        Ok(())
    }

    fn main(&mut self, project: &Project, mode: Mode, parts: &BTreeMap<&str, Vec<String>>) -> Result<(), ReportError> {
        let name = format!("{TEMPLATES}/main.tex.tera");
        let template = files::read_to_string(&project.root().join(&name))?;
        let about = files::read(&project.root().join(BUILD).join("about.json"))?;
        let about: Json = serde_json::from_slice(&about)
            .map_err(|e| ReportError::Template { template: format!("{BUILD}/about.json"), problem: e.to_string() })?;
        let text = |value: &Json| escape::text(value.as_str().unwrap_or_default(), &mut |_| {});
        let mut context = tera::Context::new();
        for (part, stems) in parts {
            context.insert(*part, stems);
        }
        context.insert("mode", mode.word());
        context.insert("title", &text(&about["title"]));
        let authors = about["authors"].as_array().filter(|_| mode != Mode::Review);
        let author = |author: &Json| json!({ "name": text(&author["name"]), "affiliation": text(&author["affiliation"]), "email": text(&author["email"]) });
        context.insert("authors", &authors.into_iter().flatten().map(author).collect::<Vec<_>>());
        let text = draft::render(&name, &template, &context)?;
        self.write(
            MAIN,
            format!("{MADE}: pdflatex main, bibtex main, pdflatex main, pdflatex main.\n{text}").as_bytes(),
        )
    }
}

#[cfg(test)]
mod tests;
