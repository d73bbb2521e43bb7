//! Which tasks are shown, and how figures and tables call them.

use harness_analyse::{RunAnalysis, TaskResult};

/// Tasks that count on their own: groups, and tasks without one, in the order of the record.
pub fn headline_tasks(analysis: &RunAnalysis) -> Vec<&TaskResult> {
    let mut seen = Vec::new();
    let mut out = Vec::new();
    for task in &analysis.tasks {
        match &task.group {
            None => out.push(task),
            Some(group) if !seen.contains(&group) => {
                seen.push(group);
                out.extend(analysis.groups.iter().find(|g| &g.id == group));
            }
            Some(_) => {}
        }
    }
    out
}

/// The title of a task or group, else its name.
pub fn title_of_task(task: &TaskResult) -> String {
    if task.title.trim().is_empty() { task_title(&task.id) } else { task_title(task.title.trim()) }
}

/// The title of a task beside the others of its group, which share theirs: its own name, without the group's.
pub fn title_in_group(task: &TaskResult) -> String {
    match &task.group {
        None => title_of_task(task),
        Some(group) => {
            let own = task.id.strip_prefix(group.as_str()).map(|own| own.trim_start_matches(['.', '-', '_']));
            task_title(own.unwrap_or(&task.id))
        }
    }
}

/// A metric on an axis: the words of the one that most are judged by, else its key.
pub(super) fn metric_title(metric: &str) -> String {
    if metric == "validation.bits_per_byte" { "Validation bits per byte".to_owned() } else { metric.to_owned() }
}

/// A name as it is written in the literature, else without its underscores.
pub fn task_title(id: &str) -> String {
    let known = [
        ("blimp", "BLiMP"),
        ("lambada", "LAMBADA"),
        ("piqa", "PIQA"),
        ("arc-easy", "ARC-Easy"),
        ("hellaswag", "HellaSwag"),
        ("copa", "COPA"),
    ];
    known
        .iter()
        .find(|(name, _)| *name == id)
        .map_or_else(|| id.replace(['_', '.'], " "), |(_, title)| (*title).to_owned())
}
