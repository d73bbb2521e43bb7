//! A forest plot: the effect of each change on each metric, with its 95 % interval, metrics of one unit in one panel.
//! What a test decides is drawn filled, what could be noise hollow.

use serde::Serialize;
use serde_json::json;

use super::axis::Axis;
use super::canvas::{self, Anchor, GREY, INK, LINE, Marker, RowPanel, estimated_width};
use super::{COLUMN_WIDTH, Figure, Subject, looks, range};

/// Metrics of one unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// What the horizontal axis shows, with its unit.
    pub label: String,
    /// Whether a negative difference is an improvement.
    pub lower_is_better: bool,
    /// One row for each metric.
    pub rows: Vec<Row>,
}

/// One metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// For each subject, in their order: its effect, where there is one.
    pub effects: Vec<Option<Effect>>,
}

/// A difference from the reference, in the unit of the axis.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// The difference.
    pub difference: f64,
    /// Ends of its 95 % interval.
    #[serde(serialize_with = "super::data::interval")]
    pub interval: Option<[f64; 2]>,
    /// Whether a test, corrected for the family, tells it from zero.
    pub decided: bool,
}

/// Draws the effects of `subjects` against `reference`.
pub fn draw(reference: &str, subjects: &[Subject], groups: &[Group]) -> Figure {
    let names = looks(subjects);
    let pitch = LINE.max(50 * subjects.len() as i32 + 40);
    let legend = canvas::legend_height(&names, 30, COLUMN_WIDTH - 60, false);
    // Rows of all panels stand below each other, so they share the width of their names.
    let labels: Vec<Vec<&str>> = groups.iter().map(|g| g.rows.iter().map(|r| r.name.as_str()).collect()).collect();
    let widest = labels.iter().flatten().map(|l| canvas::row_label_width(l)).max().unwrap_or(0);
    let mut panels = Vec::new();
    let mut top = legend + 15;
    for (group, labels) in groups.iter().zip(&labels) {
        let ends = group.rows.iter().flat_map(|row| row.effects.iter().flatten().flat_map(ends));
        let reach = range(ends).map_or(1.0, |(low, high)| low.abs().max(high.abs())).max(1e-9) * 1.08;
        let x = Axis::linear((-reach, reach), 4, group.label.clone());
        let panel = RowPanel::new(labels, top + LINE, pitch, x).with_label_width(widest);
        top = panel.height() + 25;
        panels.push(panel);
    }
    let height = panels.last().map_or(legend + LINE, RowPanel::height);
    let svg = canvas::svg(COLUMN_WIDTH, height, |canvas| {
        canvas.legend(&names, 30, COLUMN_WIDTH - 60, 0, false);
        for (group, panel) in groups.iter().zip(&panels) {
            panel.draw(canvas);
            let zero = panel.x_at(0.0);
            canvas.line(&[(zero, panel.top()), (zero, panel.bottom())], GREY, 10, &[]);
            let (left, right) = if group.lower_is_better { ("better", "worse") } else { ("worse", "better") };
            let y = panel.top() - LINE / 2 + 8;
            canvas.text(&format!("\u{2190} {left}"), (zero - 40, y), Anchor::Right, GREY);
            let right_end = zero + 40 + estimated_width(right) + 110;
            canvas.text(&format!("{right} \u{2192}"), (right_end.min(COLUMN_WIDTH - 20), y), Anchor::Right, GREY);
            for (index, row) in group.rows.iter().enumerate() {
                for (subject, effect) in row.effects.iter().enumerate() {
                    let Some(effect) = effect.filter(|effect| effect.difference.is_finite()) else { continue };
                    let y = panel.middle(index) + 50 * subject as i32 - 25 * (subjects.len() as i32 - 1);
                    let look = names[subject].1;
                    if let Some([low, high]) = effect.interval {
                        let (low, high) = (panel.x_at(low), panel.x_at(high));
                        canvas.line(&[(low, y), (high, y)], look.color, 10, &[]);
                        for x in [low, high] {
                            canvas.line(&[(x, y - 14), (x, y + 14)], look.color, 10, &[]);
                        }
                    }
                    let marker = if effect.decided { look.marker.filled() } else { Marker::Ring };
                    canvas.marker((panel.x_at(effect.difference), y), marker, look.color, 24);
                }
            }
        }
        if groups.is_empty() {
            canvas.text("nothing to compare", (60, height - LINE / 2), Anchor::Left, INK);
        }
    });
    Figure::of(
        svg,
        alt(reference, subjects, groups),
        &json!({ "reference": reference, "subjects": subjects, "groups": groups }),
    )
}

fn ends(effect: &Effect) -> Vec<f64> {
    effect.interval.map_or(Vec::new(), |i| i.to_vec()).into_iter().chain([effect.difference]).collect()
}

fn alt(reference: &str, subjects: &[Subject], groups: &[Group]) -> String {
    let of = |row: &Row| {
        let effects = subjects.iter().zip(&row.effects).filter_map(|(subject, effect)| {
            let effect = effect.filter(|effect| effect.difference.is_finite())?;
            let interval = effect.interval.map_or(String::new(), |[l, h]| format!(" [{l:+.3}, {h:+.3}]"));
            Some(format!("{} {:+.3}{interval}", subject.name, effect.difference))
        });
        format!("{}: {}", row.name, effects.collect::<Vec<_>>().join(", "))
    };
    let group = |g: &Group| format!("{}: {}", g.label, g.rows.iter().map(of).collect::<Vec<_>>().join("; "));
    let groups: Vec<String> = groups.iter().map(group).collect();
    format!("Differences from {reference} with 95 percent intervals. {}.", groups.join(". "))
}
