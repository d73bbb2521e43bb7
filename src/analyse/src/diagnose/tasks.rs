//! Can the tasks tell models of this size apart? At chance, at the ceiling, or too few items for the differences sought.

use super::{Change, Check, Finding, OWN_CONVENTION, figure};
use crate::{RunAnalysis, TaskResult, Unit};
use harness_statistics::AgainstChance;
use harness_statistics::hypothesis::LEVEL;
use harness_statistics::power::{detectable_paired_shares, detectable_unpaired_shares};

/// Two models of a kind that are close to each other disagree on about this share of a task's items.
const USUAL_DISCORDANCE: f64 = 0.1;

/// Checks each group and each task without one.
pub(super) fn diagnose(analysis: &RunAnalysis) -> Vec<Finding> {
    let alone = analysis.tasks.iter().filter(|task| task.group.is_none());
    let reported = analysis.groups.iter().chain(alone);
    reported
        .flat_map(|task| {
            let members = analysis.tasks.iter().filter(|t| t.group.as_ref() == Some(&task.id));
            let mut members: Vec<&TaskResult> = members.collect();
            if members.is_empty() {
                members.push(task);
            }
            [unanswered(task), at_chance(task, &members), saturated(task, &members), noise(analysis, task)]
        })
        .collect()
}

fn unanswered(task: &TaskResult) -> Finding {
    let check = Check::new(
        "task_unanswered",
        figure::TASKS,
        "an item with a score that is not finite, with a choice longer than the window, or with the same score for right and \
         wrong: it counts as not right",
        "by definition",
    );
    let none = task.unanswered;
    let check = check
        .about(&task.id)
        .evidence("not finite", none.not_finite as f64, Unit::Count)
        .evidence("too long", none.too_long as f64, Unit::Count)
        .evidence("same score", none.ties as f64, Unit::Count)
        .evidence("accuracy", task.quoted_accuracy().mean, Unit::Share)
        .evidence("accuracy if they had been guessed", task.accuracy_if_guessed(), Unit::Share);
    if none.total() == 0 {
        return check.clear("every item is answered");
    }
    let mut changes = Vec::new();
    if none.not_finite > 0 {
        changes.push(Change::free("look at the training first: the model gives no numbers"));
    }
    if none.too_long + none.ties > 0 {
        changes.push(Change::free("a longer `context_length`, or items that differ in what the model sees of them"));
    }
    check.found(format!("{} of {} items are not answered", none.total(), task.items), changes)
}

fn at_chance(task: &TaskResult, members: &[&TaskResult]) -> Finding {
    let check = Check::new(
        "task_at_chance",
        figure::TASKS,
        "the 95 % interval of the accuracy does not lie above that of guessing",
        "Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference",
    );
    let ids = |of: &dyn Fn(&TaskResult) -> bool| -> Vec<&str> {
        members.iter().filter(|task| of(task)).map(|task| task.id.as_str()).collect()
    };
    let says = |task: &TaskResult, wanted: AgainstChance| task.against_chance() == Some(wanted);
    let below = ids(&|task| says(task, AgainstChance::Below));
    let guessed = ids(&|task| says(task, AgainstChance::NotToldApart));
    let check = check
        .about(&task.id)
        .evidence("accuracy", task.quoted_accuracy().mean, Unit::Share)
        .evidence("standard error", task.quoted_accuracy().standard_error, Unit::Share)
        .evidence("chance", task.chance, Unit::Share)
        .evidence("items", task.items as f64, Unit::Count)
        .evidence("tasks at chance", guessed.len() as f64, Unit::Count)
        .evidence("tasks below chance", below.len() as f64, Unit::Count);
    if task.unanswered.total() > 0 {
        return check.not_judged("items are not answered, which counts as wrong");
    }
    if guessed.is_empty() && below.is_empty() {
        return check.clear("better than guessing");
    }
    let kinds = [(&guessed, "not distinguishable from guessing"), (&below, "below chance")];
    let statements: Vec<String> = kinds
        .into_iter()
        .filter(|(ids, _)| !ids.is_empty())
        .map(|(ids, words)| match members.len() {
            1 => words.to_owned(),
            all => format!("{} of {all} tasks {words}: {}", ids.len(), ids.join(", ")),
        })
        .collect();
    let mut changes = vec![
        Change::free("expect no verdict from it at this scale; choose a task that moves, and say so before comparing"),
        Change::free("score more items, if there are (`items_per_task`)"),
    ];
    if !below.is_empty() {
        changes.push(Change::free(
            "look at what the wrong choices have in common, such as their length: another `metric` may not reward it",
        ));
    }
    check.found(statements.join("; "), changes)
}

fn saturated(task: &TaskResult, members: &[&TaskResult]) -> Finding {
    let check = Check::new(
        "task_saturated",
        figure::TASKS,
        "answering every remaining item right would not be found by the exact McNemar test in four of five cases",
        "Duffy 1984, Asymptotic and Exact Power for the McNemar Test",
    );
    let full = |task: &&&TaskResult| {
        let left = 1.0 - task.quoted_accuracy().mean;
        detectable_paired_shares(task.items, left, LEVEL).is_none()
    };
    let saturated: Vec<&str> = members.iter().filter(full).map(|t| t.id.as_str()).collect();
    let check = check.about(&task.id).evidence("accuracy", task.quoted_accuracy().mean, Unit::Share).evidence(
        "tasks saturated",
        saturated.len() as f64,
        Unit::Count,
    );
    if saturated.is_empty() {
        return check.clear("there is room above");
    }
    let statement = format!("no room left to improve: {}", saturated.join(", "));
    check.found(statement, vec![Change::free("take a harder task, or more items")])
}

fn noise(analysis: &RunAnalysis, task: &TaskResult) -> Finding {
    let check = Check::new(
        "task_noise",
        figure::TASKS,
        "the score moves less over the second half of training than two runs have to differ to be told apart on these \
         items, 10 % of them answered differently",
        OWN_CONVENTION,
    );
    let share = task.quoted_accuracy();
    let unpaired = detectable_unpaired_shares(share.mean, task.items);
    let check = check.about(&task.id).evidence("standard error", share.standard_error, Unit::Share).evidence(
        "smallest detectable difference, unpaired",
        unpaired,
        Unit::Share,
    );
    let Some(paired) = detectable_paired_shares(task.items, USUAL_DISCORDANCE, LEVEL) else {
        let statement = format!("{} items cannot tell two close models apart", task.items);
        return check.found(statement, vec![Change::free("score more items, or choose a larger task")]);
    };
    let check = check.evidence("smallest detectable difference, paired", paired, Unit::Share);
    let curve = analysis.task_curves.get(&task.id).map_or(&[][..], Vec::as_slice);
    let half = curve.last().and_then(|last| curve.iter().rev().find(|p| 2 * p.step <= last.step && p.step > 0));
    let (Some(last), Some(half)) = (curve.last(), half) else {
        return check.not_judged("it was not scored in the first half of training");
    };
    let moved = last.value - half.value;
    let check = check.evidence("moved over the second half", moved, Unit::Share);
    if moved.abs() >= paired {
        return check.clear("its movement is larger than the noise of its items");
    }
    check.found(
        format!(
            "a difference below {:.1} points between two runs cannot be seen on {} items",
            100.0 * paired,
            task.items
        ),
        vec![
            Change::free("score more items, or choose a larger task"),
            Change::costing("more seeds: three a side for a claim about training at all", 2.0, analysis),
        ],
    )
}
