//! Experiments under what they extend, each with its effect and interval: what a project tried, and what it kept.

use serde::Serialize;
use serde_json::json;

use super::axis::Axis;
use super::canvas::{self, Anchor, GREY, INK, LINE, Marker, RowPanel, estimated_width, fitted};
use super::{COLUMN_WIDTH, Figure, Subject, range};

/// One experiment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Which.
    pub subject: Subject,
    /// How many of the rows it descends from.
    pub depth: usize,
    /// Its difference from what it is held against, with its interval, where the runs give one.
    #[serde(serialize_with = "effect")]
    pub effect: Option<(f64, Option<[f64; 2]>)>,
    /// Whether the difference is by the rule that the experiment registered; else it is exploratory.
    pub registered: bool,
    /// What became of it, in a word; empty where nothing did.
    pub outcome: String,
}

fn effect<S: serde::Serializer>(effect: &Option<(f64, Option<[f64; 2]>)>, serializer: S) -> Result<S::Ok, S::Error> {
    let ends = |(difference, ends): (f64, Option<[f64; 2]>)| json!({ "difference": difference, "low": ends.map(|e| e[0]), "high": ends.map(|e| e[1]) });
    effect.map(ends).serialize(serializer)
}

/// A step to the right for each generation.
const INDENT: i32 = 70;

/// Draws the rows in their order, which has children after their parents. `label` names the axis with its unit.
pub fn draw(rows: &[Row], label: &str, lower_is_better: bool) -> Figure {
    let widest = |row: &Row| INDENT * row.depth as i32 + estimated_width(&row.subject.name);
    let names = rows.iter().map(widest).max().unwrap_or(0).min(COLUMN_WIDTH / 2);
    let outcomes = rows.iter().map(|row| estimated_width(&row.outcome)).max().unwrap_or(0);
    let ends = rows.iter().filter_map(|row| row.effect).flat_map(|(difference, interval)| {
        interval.map_or(Vec::new(), |ends| ends.to_vec()).into_iter().chain([difference])
    });
    let reach = range(ends).map_or(1.0, |(low, high)| low.abs().max(high.abs())).max(1e-9) * 1.08;
    // Outcomes stand at the right, beyond every interval.
    let frame = COLUMN_WIDTH - 60 - names - 60;
    let room = f64::from(outcomes + 60) / f64::from((frame - outcomes - 60).max(200));
    let ticks = libm::ceil(5.0 * (1.0 + room)) as u32;
    let x =
        Axis::linear((-reach, reach * (1.0 + 2.0 * room)), ticks, label).with_ticks_up_to(reach).without_text_at_zero();
    let blank = vec![""; rows.len()];
    let panel = RowPanel::new(&blank, LINE, LINE, x).with_label_width(names);
    let svg = canvas::svg(COLUMN_WIDTH, panel.height(), |canvas| {
        panel.draw(canvas);
        let zero = panel.x_at(0.0);
        canvas.line(&[(zero, panel.top()), (zero, panel.bottom())], GREY, 10, &[]);
        let (left, right) = if lower_is_better { ("better", "worse") } else { ("worse", "better") };
        let y = panel.top() - LINE / 2 + 8;
        canvas.text(&format!("\u{2190} {left}"), (zero - 40, y), Anchor::Right, GREY);
        canvas.text(&format!("{right} \u{2192}"), (zero + 40, y), Anchor::Left, GREY);
        for (at, row) in rows.iter().enumerate() {
            let (y, x) = (panel.middle(at), 20 + INDENT * row.depth as i32);
            let parent = rows[..at].iter().rposition(|above| above.depth + 1 == row.depth);
            if let Some(parent) = parent {
                let trunk = x - INDENT + 12;
                canvas.line(&[(trunk, panel.middle(parent) + 45), (trunk, y), (x - 12, y)], GREY, 7, &[]);
            }
            canvas.text(&fitted(&row.subject.name, names - x + 40), (x, y + 8), Anchor::Left, INK);
            canvas.text(&row.outcome, (COLUMN_WIDTH - 75, y + 8), Anchor::Right, GREY);
            let Some((difference, interval)) = row.effect.filter(|(difference, _)| difference.is_finite()) else {
                continue;
            };
            let look = canvas::look(row.subject.look);
            if let Some([low, high]) = interval {
                let (low, high) = (panel.x_at(low), panel.x_at(high));
                canvas.line(&[(low, y), (high, y)], look.color, 10, &[]);
                for x in [low, high] {
                    canvas.line(&[(x, y - 14), (x, y + 14)], look.color, 10, &[]);
                }
            }
            let marker = if row.registered { look.marker.filled() } else { Marker::Ring };
            canvas.marker((panel.x_at(difference), y), marker, look.color, 24);
        }
    });
    let told = |row: &Row| {
        let effect = row.effect.map_or(String::new(), |(difference, interval)| {
            let ends = interval.map_or(String::new(), |[low, high]| format!(" [{low:+.4}, {high:+.4}]"));
            format!(" {difference:+.4}{ends}{}", if row.registered { "" } else { ", exploratory" })
        });
        let outcome = if row.outcome.is_empty() { String::new() } else { format!(", {}", row.outcome) };
        format!("{}{effect}{outcome}", row.subject.name)
    };
    let texts: Vec<String> = rows.iter().map(told).collect();
    let alt = format!("{label}, each experiment from what it is held against: {}.", texts.join("; "));
    Figure::of(svg, alt, &json!({ "label": label, "experiments": rows }))
}
