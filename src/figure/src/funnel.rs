//! From raw text to the training side: what each stage of the corpus leaves of the bytes that were read.

use serde::Serialize;
use serde_json::json;

use super::axis::Axis;
use super::canvas::{self, Anchor, INK, LINE, RowPanel, look};
use super::{COLUMN_WIDTH, Figure};

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Documents left after it.
    pub documents: u64,
    /// Bytes left after it.
    pub bytes: u64,
}

/// Draws a bar for each stage. The first is what was read.
pub fn draw(stages: &[Stage]) -> Figure {
    let whole = stages.first().map_or(1, |s| s.bytes).max(1) as f64;
    let share = |s: &Stage| 100.0 * s.bytes as f64 / whole;
    let x = Axis::linear((0.0, 125.0), 5, "Bytes left (% of what was read)").with_ticks_up_to(100.0);
    let names: Vec<String> = stages.iter().map(|s| s.name.replace('_', " ")).collect();
    let labels: Vec<&str> = names.iter().map(String::as_str).collect();
    let panel = RowPanel::new(&labels, 15, LINE, x);
    let svg = canvas::svg(COLUMN_WIDTH, panel.height(), |canvas| {
        panel.draw(canvas);
        let color = look(0).color;
        for (index, stage) in stages.iter().enumerate() {
            let (y, end) = (panel.middle(index), panel.x_at(share(stage)));
            canvas.fill((panel.x_at(0.0), y - 30), (end, y + 30), color);
            canvas.text(&format!("{:.1}", share(stage)), (end + 25, y), Anchor::Left, INK);
        }
    });
    let of = |s: &Stage| format!("{} {:.1} percent, {} documents", s.name, share(s), s.documents);
    let texts: Vec<String> = stages.iter().map(of).collect();
    let alt = format!("Bytes left after each stage of the corpus: {}.", texts.join("; "));
    Figure::of(svg, alt, &json!({ "stages": stages }))
}
