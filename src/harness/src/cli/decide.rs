//! `harness decide`: a change held against what it was expected to do.

use super::{Outcome, Workplace, terminal};
use crate::exit_code;
use harness_analyse::compare::show_p;
use harness_study::{Decision, Evidence, adoptions, decide_by, doubts, tree};

/// Decide a change by the rule that it registered before its runs: what became of its hypothesis, and whether to adopt it.
///
/// Takes the runs of `harness seeds` for the experiment and for what it is held against, and all changes that were proposed
/// for the same metric of that baseline into one correction. CONFIRMED: the metric went where it was expected to.
/// REFUTED: the data exclude the size that was expected. INCONCLUSIVE: they allow both. INADMISSIBLE: seeds or the
/// registered proposal are missing, so nothing is tested. DEVIATED: the proposal was changed after its first run.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The experiment that states `[expect]`.
    name: String,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let evidence = Evidence::of(&workplace.project)?;
    let decision = decide_by(&evidence, &arguments.name.parse()?)?;
    let adoptions = adoptions(&evidence)?;
    let decided = adoptions.get(&decision.experiment);
    let changed = decided.map(|decided| decided.changed_evidence(&workplace.project)).transpose()?;
    // Where nothing of its tree was decided there is no sequence.
    let branches = if adoptions.is_empty() { Vec::new() } else { tree(&evidence)? };
    let of_each_tree = branches.chunk_by(|_, next| next.depth > 0);
    let in_sequence = of_each_tree
        .filter(|of_tree| of_tree.iter().any(|branch| adoptions.contains_key(&branch.experiment)))
        .find_map(|of_tree| of_tree.iter().find(|branch| branch.experiment == decision.experiment))
        .and_then(|branch| branch.p_in_sequence);
    let doubts = doubts(&evidence, &workplace.git, &decision.experiment)?;
    if arguments.json {
        let mut json = serde_json::to_value(&decision).expect("a decision is JSON");
        json["decided"] = serde_json::to_value(decided).expect("a decision is JSON");
        json["changed_evidence"] = serde_json::to_value(&changed).expect("sentences are JSON");
        json["p_in_sequence"] = in_sequence.into();
        let dates = doubts.iter().map(
            |(run, doubt)| serde_json::json!({ "run": run, "contradicts": doubt.contradicts, "detail": doubt.detail }),
        );
        json["dates"] = dates.collect();
        terminal::say_json(&json);
        return Ok(exit_code::SUCCESS);
    }
    let mut lines = vec![shown(&decision)];
    lines.extend(doubts.iter().map(|(run, doubt)| {
        let what = if doubt.contradicts { "CONTRADICTION: the" } else { "the" };
        format!("dates      {what} commit of run {run} {}", doubt.detail)
    }));
    if let Some(p) = in_sequence {
        lines.push(format!("sequence   {} by Holm's method over all families of its tree", show_p(p, 4)));
    }
    if let Some(decided) = decided {
        let (outcome, over, at) = (decided.outcome.word(), &decided.over, &decided.decided_at);
        lines.push(format!("decided    {outcome} over {over} on {at}"));
        lines.extend(decided.override_reason.iter().map(|reason| format!("override   {reason}")));
        let changed = changed.unwrap_or_default();
        if changed.is_empty() {
            lines.push(format!("evidence   {} runs, all as they were then", decided.evidence.len()));
        }
        lines.extend(changed.iter().map(|problem| format!("evidence   CHANGED: {problem}")));
    }
    terminal::say(&lines.join("\n"));
    Ok(exit_code::SUCCESS)
}

fn shown(decision: &Decision) -> String {
    let mut lines = vec![format!("{}  {}", decision.verdict.word(), decision.action.word())];
    if let Some(expect) = &decision.proposal.expect {
        let size = expect.size(Some(decision.against.as_str()));
        lines.push(format!("expected   {} {size}", expect.metric));
    }
    for amendment in &decision.amendments {
        let (day, commit) = (amendment.at.split('T').next().unwrap_or_default(), &amendment.commit[..7]);
        let changed = amendment.changed.join(", ");
        lines.push(format!("amended    {changed} before the first run, {day} in {commit}: {}", amendment.title));
    }
    if let Some(found) = &decision.estimate {
        let ([low, high], seeds) = (found.interval, decision.seeds.len());
        let confidence = 100.0 * (1.0 - decision.level);
        lines.push(format!(
            "found      {:+.5} [{low:+.5}, {high:+.5}] at {confidence:.2} %, {seeds} seeds a side",
            found.difference
        ));
        lines.push(format!(
            "           adjusted {}, {} df: {}",
            show_p(found.p_adjusted, 4),
            found.df,
            found.test.words()
        ));
        if let Some(smallest) = found.smallest_detectable {
            let needed = found.seeds_needed.map_or("more than 100".to_owned(), |seeds| seeds.to_string());
            lines.push(format!(
                "power      {seeds} seeds find {smallest:.5} in four of five studies; for what was expected: {needed} seeds"
            ));
        }
    }
    for guardrail in &decision.guardrails {
        let worsening = guardrail
            .worsening
            .map_or("cannot be tested".to_owned(), |[low, high]| format!("worse by [{low:+.5}, {high:+.5}]"));
        lines.push(format!("guardrail  {}: {worsening}, margin {}", guardrail.metric, guardrail.margin));
    }
    let costs: Vec<String> =
        decision.costs.iter().map(|cost| format!("{} x {:.3}", cost.quantity, cost.ratio)).collect();
    if !costs.is_empty() {
        lines.push(format!("costs      {}", costs.join(", ")));
    }
    let family: Vec<String> = decision.family.iter().map(ToString::to_string).collect();
    lines.push(format!("family     {} (corrected together)", family.join(", ")));
    lines.extend(decision.because.iter().map(|reason| format!("because    {reason}")));
    lines.join("\n")
}
