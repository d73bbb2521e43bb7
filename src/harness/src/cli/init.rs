//! `harness init`: a project of one's own in a new folder.

use std::path::PathBuf;

use harness_core::names::ExperimentName;
use harness_report::Author;
use serde_json::json;

use super::{Outcome, Workplace, terminal};
use crate::cluster::quoted;
use crate::exit_code;
use crate::new_project::{self, BASELINE, Begun, Wanted};

const LICENCE: &str = "MIT OR Apache-2.0";

/// Begin a project of your own in a new folder: sources, set-up, templates, recipes, the library of changes and a baseline.
///
/// Nothing that others worked out comes along: no runs, studies, decisions and sections of a paper. The folder is a repository
/// of its own with one commit, which names what it was made from. Authors, licence and hours are asked for on a
/// terminal unless an option states them; elsewhere the options hold, and their defaults.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The folder: one that does not exist yet, or is empty.
    folder: PathBuf,
    /// The id of the project, from which seeds are derived [default: the name of the folder].
    #[arg(long, value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    id: Option<String>,
    /// An author of the paper; again for each other one [default: who commits].
    #[arg(long = "author", value_name = "NAME <EMAIL>", value_parser = author)]
    authors: Vec<Author>,
    /// The licence of what you add, by its SPDX identifier; `A OR B` leaves the choice [default: MIT OR Apache-2.0].
    #[arg(long, value_name = "SPDX", value_parser = licences)]
    licence: Option<Licences>,
    /// Hours that runs on a GPU may take in all [default: no limit].
    #[arg(long, value_name = "HOURS", value_parser = hours)]
    gpu_hours: Option<f64>,
    /// Hours that runs on a processor may take in all [default: no limit].
    #[arg(long, value_name = "HOURS", value_parser = hours)]
    cpu_hours: Option<f64>,
    /// The experiment whose config becomes your `baseline`; it extends no other.
    #[arg(long, value_name = "EXPERIMENT", default_value = BASELINE)]
    baseline: ExperimentName,
    /// Ask nothing, and print what was made as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug)]
struct Licences(Vec<String>);

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let Arguments { authors, licence, gpu_hours, cpu_hours, baseline, json, .. } = arguments;
    let (folder, committer) = new_project::prepare(&workplace.git, &arguments.folder)?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let asks = !json && terminal::can_ask();
    let mut wanted = Wanted {
        id: arguments.id.clone().unwrap_or(name),
        authors: authors.clone(),
        licences: licence.clone().map_or_else(|| LICENCE.split(" OR ").map(str::to_owned).collect(), |l| l.0),
        gpu_hours: *gpu_hours,
        cpu_hours: *cpu_hours,
        baseline: baseline.clone(),
    };
    if authors.is_empty() {
        let own = format!("{} <{}>", committer.name, committer.email);
        wanted.authors = vec![committer];
        if asks {
            let question = format!("Authors, with commas in between [{own}]");
            let several = |text: &str| text.split(',').map(author).collect::<Result<Vec<Author>, String>>();
            wanted.authors = terminal::ask(&question, several)?.unwrap_or(wanted.authors);
        }
    }
    if asks && licence.is_none() {
        let question = format!("Licence of what you add [{LICENCE}]");
        wanted.licences = terminal::ask(&question, licences)?.map_or(wanted.licences, |licences| licences.0);
    }
    if asks && gpu_hours.is_none() {
        wanted.gpu_hours = terminal::ask("Hours on a GPU that the project may spend [no limit]", hours)?;
    }
    if asks && cpu_hours.is_none() {
        wanted.cpu_hours = terminal::ask("Hours on a processor that it may spend [no limit]", hours)?;
    }
    let begun = new_project::make(&workplace.git, &folder, &wanted)?;
    terminal::say_as(*json, &as_json(&wanted, &begun), || {
        let Begun { folder, commit, origin, files } = &begun;
        format!(
            "{}: project `{}`, {files} files, commit {} (from {}, commit {})",
            folder.display(),
            wanted.id,
            &commit[..12],
            origin.named(),
            &origin.commit[..12]
        )
    });
    terminal::tell(&format!(
        "hint: cd {}; make exp NAME={BASELINE} trains your first model, docs/guide.md goes on from there",
        quoted(&arguments.folder.display().to_string())
    ));
    Ok(exit_code::SUCCESS)
}

fn as_json(wanted: &Wanted, begun: &Begun) -> serde_json::Value {
    json!({
        "folder": begun.folder,
        "id": wanted.id,
        "authors": wanted.authors,
        "licence": wanted.licences.join(" OR "),
        "gpu_hours": wanted.gpu_hours,
        "cpu_hours": wanted.cpu_hours,
        "files": begun.files,
        "commit": begun.commit,
        "from": begun.origin,
    })
}

/// `Ada Lovelace <ada@example.org>`, or the name alone.
fn author(text: &str) -> Result<Author, String> {
    let (name, email) = match text.trim().split_once('<') {
        Some((name, rest)) => (name.trim(), rest.strip_suffix('>').map(str::trim)),
        None => (text.trim(), Some("")),
    };
    match email {
        Some(email) if !name.is_empty() && !name.chars().any(char::is_control) => {
            Ok(Author { name: name.to_owned(), email: email.to_owned(), ..Author::default() })
        }
        _ => Err("write `Ada Lovelace <ada@example.org>`, or the name alone".to_owned()),
    }
}

fn licences(text: &str) -> Result<Licences, String> {
    let names: Vec<String> = text.trim().split(" OR ").map(|name| name.trim().to_owned()).collect();
    let is_identifier = |name: &String| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+'))
    };
    if names.iter().all(is_identifier) {
        return Ok(Licences(names));
    }
    Err("write an identifier of https://spdx.org/licenses, such as `CC-BY-4.0`, or `MIT OR Apache-2.0`".to_owned())
}

fn hours(text: &str) -> Result<f64, String> {
    let hours = text.trim().parse::<f64>().ok().filter(|hours| hours.is_finite() && *hours >= 0.0);
    hours.ok_or_else(|| "write a number of hours, such as `40`".to_owned())
}
