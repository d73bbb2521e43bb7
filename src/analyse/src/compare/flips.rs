//! Which items of a task the two sides answer differently: where to look for the reason of a difference.

use serde::Serialize;

use harness_core::task_kind::{Kind, Metric};

use super::rows::shared_tasks;
use super::{CompareError, Side};
use crate::choices::Answer;
use crate::rows::{Items, items};

/// The items of one task, by who answered them right. With several runs a side, an item is answered right when most of
/// the runs do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flips {
    /// The task.
    pub task: String,
    /// What margins are in: `nats`, or `nats/character` or `nats/token` where the task quotes that.
    pub margin_unit: &'static str,
    /// Items that both sides answered right.
    pub both_right: u64,
    /// Items that neither side answered right.
    pub both_wrong: u64,
    /// Items that some run left unanswered; they are in no other count.
    pub unanswered: u64,
    /// Items that only the reference answered right, the largest loss of margin first.
    pub only_reference: Vec<Flip>,
    /// Items that only the other side answered right, the largest gain of margin first.
    pub only_other: Vec<Flip>,
}

/// One item that flipped.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flip {
    /// Its index in the task.
    pub item: u64,
    /// Share of the reference's runs that answered it right.
    pub reference_right: f64,
    /// Share of the other side's runs that did.
    pub other_right: f64,
    /// Mean over the reference's runs of the right answer's lead over the best wrong one, in `margin_unit`.
    pub reference_margin_nats: f64,
    /// The same for the other side.
    pub other_margin_nats: f64,
}

/// The items of a task that flipped.
pub fn flips(reference: &Side, other: &Side, task: &str) -> Result<Flips, CompareError> {
    let mut shared = shared_tasks(reference, other, &mut Vec::new());
    // A document is not answered right or wrong.
    shared.retain(|task| task.kind != Kind::Documents);
    let unknown =
        || CompareError::UnknownTask { task: task.to_owned(), known: shared.iter().map(|t| t.id.clone()).collect() };
    let planned = *shared.iter().find(|t| t.id == task).ok_or_else(unknown)?;
    let margin_unit = match planned.metric {
        Metric::AccuracyPerCharacter => "nats/character",
        Metric::AccuracyPerToken => "nats/token",
        _ => "nats",
    };
    let mut sides: [Vec<Items>; 2] = [Vec::new(), Vec::new()];
    for (side, items_of) in [reference, other].iter().zip(&mut sides) {
        for run in &side.runs {
            let result = run.tasks.iter().find(|t| t.id == task).ok_or_else(unknown)?;
            items_of.push(items(run, planned, result)?);
        }
    }
    let mut flips = Flips {
        task: task.to_owned(),
        margin_unit,
        both_right: 0,
        both_wrong: 0,
        unanswered: 0,
        only_reference: vec![],
        only_other: vec![],
    };
    for (at, &item) in sides[0][0].index.iter().enumerate() {
        let over_runs =
            |runs: &[Items], of: &dyn Fn(&Items) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
        if sides.iter().flatten().any(|run| matches!(run.answers[at], Answer::Unanswered(_))) {
            flips.unanswered += 1;
            continue;
        }
        let is_right = |run: &Items| f64::from(u8::from(run.answers[at] == Answer::Right));
        let right = sides.each_ref().map(|runs| over_runs(runs, &is_right));
        let margin = sides.each_ref().map(|runs| over_runs(runs, &|run| run.margin_nats[at]));
        let flip = Flip {
            item,
            reference_right: right[0],
            other_right: right[1],
            reference_margin_nats: margin[0],
            other_margin_nats: margin[1],
        };
        match (right[0] > 0.5, right[1] > 0.5) {
            (true, true) => flips.both_right += 1,
            (false, false) => flips.both_wrong += 1,
            (true, false) => flips.only_reference.push(flip),
            (false, true) => flips.only_other.push(flip),
        }
    }
    let change = |flip: &Flip| (flip.other_margin_nats - flip.reference_margin_nats).abs();
    for list in [&mut flips.only_reference, &mut flips.only_other] {
        list.sort_by(|a, b| change(b).total_cmp(&change(a)).then(a.item.cmp(&b.item)));
    }
    Ok(flips)
}
