//! Where the loss lies: the mean loss of each slice of the held-out tokens. With one subject the losses themselves; with
//! more, the difference of each from the first, because slices differ far more from each other than models do.

use serde::Serialize;
use serde_json::json;

use super::axis::Axis;
use super::canvas::{self, Anchor, GREY, INK, LINE, Marker, RowPanel};
use super::tasks::INTERVAL;
use super::{COLUMN_WIDTH, Estimate, Figure, Subject, looks, range};

/// One way of cutting the tokens into slices.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cut {
    /// Its name, such as `position in context`.
    pub name: String,
    /// Its slices, in their order.
    pub rows: Vec<Row>,
}

/// One slice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Share of all tokens, from 0 to 1.
    pub share: f64,
    /// With one subject its mean loss in nats per token; with more, for each but the first the difference from the
    /// first. `None` where a subject has no such slice.
    pub losses: Vec<Option<Estimate>>,
}

/// Draws all cuts below each other, on one axis. Slices that no subject has a loss for are left out.
pub fn draw(subjects: &[Subject], cuts: &[Cut]) -> Figure {
    let is_known = |row: &&Row| row.losses.iter().flatten().any(|loss| loss.mean.is_finite());
    let known = |cut: &Cut| Cut { name: cut.name.clone(), rows: cut.rows.iter().filter(is_known).cloned().collect() };
    let cuts: Vec<Cut> = cuts.iter().map(known).filter(|cut| !cut.rows.is_empty()).collect();
    let difference = subjects.len() > 1;
    let shown = if difference { &subjects[1..] } else { subjects };
    let names = looks(shown);
    let label = if difference { "Difference in loss (nats per token)" } else { "Loss (nats per token)" };
    let ends = cuts.iter().flat_map(|c| &c.rows).flat_map(|r| r.losses.iter().flatten()).flat_map(|e| {
        let half = INTERVAL * e.standard_error;
        [e.mean - half, e.mean + half]
    });
    let (low, high) = range(ends).unwrap_or((0.0, 1.0));
    let x = if difference {
        Axis::around((low.min(0.0), high.max(0.0)), 4, label)
    } else {
        Axis::linear((0.0, 1.05 * high), 5, label)
    };
    let pitch = (LINE - 6).max(46 * shown.len() as i32 + 30);
    let legend = if difference { canvas::legend_height(&names, 30, COLUMN_WIDTH - 60, false) } else { 30 };
    let mut labels: Vec<String> = Vec::new();
    for cut in &cuts {
        labels.push(cut.name.clone());
        let decimals = |share: f64| usize::from(share < 0.01);
        labels.extend(cut.rows.iter().map(|r| format!("{} ({:.*} %)", r.name, decimals(r.share), 100.0 * r.share)));
    }
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let headings: Vec<usize> = cuts
        .iter()
        .scan(0, |at, cut| {
            let heading = *at;
            *at += cut.rows.len() + 1;
            Some(heading)
        })
        .collect();
    let panel = RowPanel::new(&labels, legend + 10, pitch, x).with_headings(&headings);
    let svg = canvas::svg(COLUMN_WIDTH, panel.height(), |canvas| {
        if difference {
            canvas.legend(&names, 30, COLUMN_WIDTH - 60, 0, false);
        }
        panel.draw(canvas);
        let zero = panel.x_at(0.0);
        if difference {
            canvas.line(&[(zero, panel.top()), (zero, panel.bottom())], GREY, 10, &[]);
        }
        if cuts.is_empty() {
            canvas.text("no per-token losses", (60, legend), Anchor::Left, INK);
        }
        for (cut, heading) in cuts.iter().zip(&headings) {
            for (index, row) in cut.rows.iter().enumerate() {
                for (subject, loss) in row.losses.iter().enumerate() {
                    let Some(loss) = loss.filter(|loss| loss.mean.is_finite()) else { continue };
                    let y = panel.middle(heading + 1 + index) + 46 * subject as i32 - 23 * (shown.len() as i32 - 1);
                    let look = names[subject].1;
                    let half = INTERVAL * loss.standard_error;
                    let (from, to) = (panel.x_at(loss.mean - half), panel.x_at(loss.mean + half));
                    canvas.line(&[(from, y), (to, y)], look.color, 10, &[]);
                    // Without an error nothing is decided.
                    let undecided = difference && (half == 0.0 || loss.mean.abs() <= half);
                    let marker = if undecided { Marker::Ring } else { look.marker.filled() };
                    canvas.marker((panel.x_at(loss.mean), y), marker, look.color, 22);
                }
            }
        }
    });
    let row = |row: &Row| {
        let losses: Vec<String> = row.losses.iter().flatten().map(|e| format!("{:.3}", e.mean)).collect();
        format!("{} {}", row.name, losses.join(", "))
    };
    let of = |cut: &Cut| format!("{}: {}", cut.name, cut.rows.iter().map(row).collect::<Vec<_>>().join("; "));
    let texts: Vec<String> = cuts.iter().map(of).collect();
    let whose: Vec<&str> = shown.iter().map(|s| s.name.as_str()).collect();
    let alt = format!("{label} of {}. {}.", whose.join(", "), texts.join(". "));
    Figure::of(svg, alt, &json!({ "subjects": shown, "slices": cuts }))
}
