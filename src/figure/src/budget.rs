//! Where the budget went: for each experiment the hours of all its runs, those that count and those that do not.

use serde::Serialize;
use serde_json::json;

use super::axis::Axis;
use super::canvas::{self, Anchor, GREY, INK, LINE, RowPanel, look};
use super::{COLUMN_WIDTH, Figure, Subject, range};

/// What one experiment spent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spent {
    /// Which.
    pub subject: Subject,
    /// Hours in optimizer steps of completed runs, and of the segments that they went on from.
    pub training_h: f64,
    /// Hours of completed runs beside that: evaluation (also later, of kept checkpoints), checkpoints, start.
    pub other_h: f64,
    /// Hours of runs that failed or were stopped and not gone on with, or that the paper cannot cite.
    pub lost_h: f64,
    /// Runs of every kind.
    pub runs: usize,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hours {
    /// Hours on a GPU.
    Gpu,
    /// Hours of wall time, where no run had a GPU.
    #[default]
    Wall,
}

/// Draws a bar for each experiment: training dark, the rest of completed runs hatched, lost runs hollow.
pub fn draw(spent: &[Spent], hours: Hours) -> Figure {
    let unit = match hours {
        Hours::Gpu => "GPU time",
        Hours::Wall => "wall time",
    };
    let whole = |s: &Spent| s.training_h + s.other_h + s.lost_h;
    let most = range(spent.iter().map(whole)).map_or(1.0, |r| r.1).max(1e-9);
    // Small studies are counted in minutes.
    let (factor, word) = if most < 2.0 { (60.0, "minutes") } else { (1.0, "hours") };
    let x = Axis::linear((0.0, 1.25 * most * factor), 5, format!("{unit} ({word})").replacen("wall", "Wall", 1));
    let runs = |s: &Spent| format!("{} ({})", s.subject.name, s.runs);
    let labels: Vec<String> = spent.iter().map(runs).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let panel = RowPanel::new(&labels, LINE + 20, LINE + 20, x);
    let svg = canvas::svg(COLUMN_WIDTH, panel.height(), |canvas| {
        let mut left = 60;
        for (kind, name) in
            [(Part::Training, "training"), (Part::Other, "evaluation, other"), (Part::Lost, "lost runs")]
        {
            kind.draw(canvas, (left, LINE / 2 - 28), (left + 90, LINE / 2 + 28), GREY);
            canvas.text(name, (left + 115, LINE / 2), Anchor::Left, INK);
            left += 115 + canvas::estimated_width(name) + 80;
        }
        panel.draw(canvas);
        for (index, s) in spent.iter().enumerate() {
            let (y, color) = (panel.middle(index), look(s.subject.look).color);
            let mut at = 0.0;
            for (part, hours) in [(Part::Training, s.training_h), (Part::Other, s.other_h), (Part::Lost, s.lost_h)] {
                let (from, to) = (panel.x_at(at * factor), panel.x_at((at + hours) * factor));
                if to > from {
                    part.draw(canvas, (from, y - 38), (to, y + 38), color);
                }
                at += hours;
            }
            let text = format!("{:.1}", whole(s) * factor);
            canvas.text(&text, (panel.x_at(at * factor) + 25, y), Anchor::Left, INK);
        }
    });
    let of = |s: &Spent| {
        let shown = |hours: f64| format!("{:.1}", hours * factor);
        format!(
            "{} {} training, {} other, {} lost in {} runs",
            s.subject.name,
            shown(s.training_h),
            shown(s.other_h),
            shown(s.lost_h),
            s.runs
        )
    };
    let texts: Vec<String> = spent.iter().map(of).collect();
    let total: f64 = spent.iter().map(whole).sum::<f64>() * factor;
    let alt = format!("{unit} in {word}, {total:.1} in total: {}.", texts.join("; "));
    Figure::of(svg, alt, &json!({ "hours": unit, "spent": spent }))
}

/// How a part of a bar looks; told apart without colour.
#[derive(Clone, Copy)]
enum Part {
    Training,
    Other,
    Lost,
}

impl Part {
    fn draw(self, canvas: &canvas::Canvas, from: (i32, i32), to: (i32, i32), color: plotters::style::RGBColor) {
        use plotters::style::Color;
        match self {
            Part::Training => canvas.fill(from, to, color),
            Part::Other => canvas.fill(from, to, color.mix(0.35)),
            Part::Lost => {
                let outline = [from, (to.0, from.1), to, (from.0, to.1), from];
                canvas.line(&outline, color, 7, &[]);
                let step = 34;
                let mut x = from.0;
                while x < to.0 {
                    let end = (x + to.1 - from.1).min(to.0);
                    canvas.line(&[(x, to.1), (end, to.1 - (end - x))], color, 5, &[]);
                    x += step;
                }
            }
        }
    }
}
