//! `harness adopt`: writes down what becomes of a change, and on which evidence.

use harness_core::files;
use harness_core::names::ExperimentName;
use serde_json::json;

use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use harness_record::environment::now;
use harness_study::adoption::{self, AdoptError, settle, stacked};
use harness_study::{Adoption, Evidence, decide_by};

/// Adopt a change by its decision, or reject it: writes experiments/CHANGE/decision.toml, to be committed.
///
/// The file holds verdict, advice, effect and level of `harness decide`, and every run that they rest on with its digest.
/// Against the advice a reason is needed, which stands in the file, in `harness tree` and in `harness decide`. What comes next
/// extends what was adopted.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The change: an experiment that states `[expect]`.
    change: String,
    /// What it is adopted over: the experiment that it was held against.
    #[arg(long, value_name = "BASE")]
    over: String,
    /// Also write the experiment NAME that makes the same change to BASE, where BASE descends from what the change was held
    /// against.
    #[arg(long = "as", value_name = "NAME", conflicts_with = "reject")]
    as_name: Option<String>,
    /// Reject it.
    #[arg(long)]
    reject: bool,
    /// Why the advice is not followed.
    #[arg(long = "override", value_name = "REASON")]
    because: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let project = &workplace.project;
    let (change, over): (ExperimentName, ExperimentName) = (arguments.change.parse()?, arguments.over.parse()?);
    let evidence = Evidence::of(project)?;
    let decision = decide_by(&evidence, &change)?;
    if let Some(known) = Adoption::of(project, &change)? {
        let (outcome, at) = (known.outcome, known.decided_at);
        return Err(AdoptError::Decided { experiment: change, outcome, at }.into());
    }
    let own = arguments.as_name.as_ref().map(|name| name.parse::<ExperimentName>()).transpose()?;
    let next = match &own {
        None if decision.against != over => {
            return Err(AdoptError::OtherBaseline { experiment: change, against: decision.against, over }.into());
        }
        Some(_) if decision.against == over => {
            return Err(Failure::usage(format!(
                "`{change}` is `{over}` with this change already\nhint: leave out `--as`; what comes next extends `{change}`"
            )));
        }
        None => None,
        Some(own) if files::is_folder(&project.experiment(own)) => return Err(AdoptError::Taken(own.clone()).into()),
        Some(own) => Some((own, stacked(&evidence, &decision, &over)?)),
    };
    let outcome = if arguments.reject { adoption::Outcome::Rejected } else { adoption::Outcome::Adopted };
    let commit = workplace.git.state()?.commit;
    let settled = settle(&decision, outcome, arguments.because.as_deref(), &commit, &now().to_string())?;
    let path = Adoption::path(&change);
    files::write(&project.root().join(&path), settled.to_toml().as_bytes())?;
    let mut written = vec![path];
    if let Some((own, text)) = &next {
        files::write(&project.experiment(own).join("experiment.toml"), text.as_bytes())?;
        written.push(format!("experiments/{own}/experiment.toml"));
    }
    if arguments.json {
        let text = json!({ "decision": settled, "written": written });
        terminal::say_json(&text);
        return Ok(exit_code::SUCCESS);
    }
    terminal::say(&written.join("\n"));
    terminal::tell(&format!("`{change}` is {} over `{}`", outcome.word(), decision.against));
    if let Some((own, _)) = next {
        terminal::tell(&format!(
            "`{own}` makes the change to `{over}`, which nothing has shown to help yet: `harness seeds {own}`"
        ));
    }
    terminal::tell(&format!("hint: git add {} && git commit", written.join(" ")));
    Ok(exit_code::SUCCESS)
}
