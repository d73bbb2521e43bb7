//! Figures as SVG text: plain slices come in, a [`Figure`] goes out, and the same input gives the same bytes on
//! every machine. It must never have: a run, a file other than the fonts of a PNG, a system font.
//!
//! Lengths are tenths of a point at the size at which the paper places the figure, so that text of 85 units is
//! 8.5 pt on paper. Colours are those of Okabe and Ito (2008, Color Universal Design), and every series also has a
//! dash pattern and a marker of its own, so that figures can be read in greyscale. Who has which look is the caller's
//! choice, made once for all figures of a report: [`Subject::look`].

mod axis;
mod band;
mod canvas;
mod data;
mod heat_map;
mod progress;

pub mod activations;
pub mod budget;
pub mod calibration;
pub mod delta;
pub mod forest;
pub mod funnel;
pub mod ladder;
pub mod lengths;
pub mod optimisation;
pub mod parameters_loss;
pub mod png;
pub mod probe;
pub mod slices;
pub mod spending;
pub mod study;
pub mod task_curves;
pub mod tasks;
pub mod tensor_norms;
pub mod throughput;
pub mod training_loss;
pub mod tree;
pub mod validation;

pub use progress::Progress;

use serde::Serialize;

/// A finished figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The drawing, an SVG document whose text stays text.
    pub svg: String,
    /// What is seen, in words, for readers who do not see it.
    pub alt: String,
    /// What is drawn, as a table in CSV.
    pub data: String,
}

impl Figure {
    /// A drawing with its words and what it was drawn from.
    fn of(svg: String, alt: String, drawn_from: &serde_json::Value) -> Figure {
        Figure { svg, alt, data: data::csv(drawn_from) }
    }

    /// The figure with its title and its words inside the drawing too, where readers who do not see it look for them, also
    /// when the file is passed on alone.
    pub fn described(mut self, title: &str) -> Figure {
        if let Some((tag, drawing)) = self.svg.split_once('>') {
            let (title, alt) = (escaped(title), escaped(&self.alt));
            self.svg = format!("{tag} role=\"img\">\n<title>{title}</title>\n<desc>{alt}</desc>{drawing}");
        }
        self
    }
}

/// Text as it stands between tags of XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// What is drawn: an experiment, or a single run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Shown in the legend.
    pub name: String,
    /// Which colour, dash pattern and marker it has: the same number in every figure of a report.
    pub look: usize,
}

/// In data a subject is its name.
impl Serialize for Subject {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

/// The curves of one subject, one for each seed. Points are in ascending order of their first coordinate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// Whose.
    pub subject: Subject,
    /// For each seed: (progress, value).
    #[serde(serialize_with = "data::seeds")]
    pub seeds: Vec<Vec<(f64, f64)>>,
}

impl Curve {
    /// Whether a seed has values that are not finite up to its end, so that its curve ends early.
    fn ends_early(&self) -> bool {
        self.seeds.iter().any(|seed| seed.last().is_some_and(|point| !point.1.is_finite()))
    }

    /// What is to be said of values that are not finite; nothing without any.
    fn gap(&self, progress: Progress) -> Option<String> {
        let broken: Vec<&Vec<(f64, f64)>> =
            self.seeds.iter().filter(|seed| seed.iter().any(|p| !p.1.is_finite())).collect();
        // The seed that goes wrong first.
        let first = |seed: &&Vec<(f64, f64)>| seed.iter().find(|p| !p.1.is_finite()).map_or(f64::INFINITY, |p| p.0);
        let seed = broken.iter().copied().min_by(|a, b| first(a).total_cmp(&first(b)))?;
        let whose = match self.seeds.len() {
            1 => self.subject.name.clone(),
            seeds => format!("{} of the {seeds} seeds of {}", broken.len(), self.subject.name),
        };
        let (from, words) = (first(&seed), progress.words());
        let for_good = seed.iter().skip_while(|p| p.1.is_finite()).all(|p| !p.1.is_finite());
        Some(if for_good {
            format!("{whose}: no finite value from {from:.0} {words} on, where the curve ends")
        } else {
            format!("{whose}: values that are not finite are left out, the first at {from:.0} {words}")
        })
    }
}

/// What the words of a figure say of its curves beside their ends: over how many seeds they are means, and where they end
/// early or have gaps. Begins with a blank where it says something.
fn remarks(curves: &[Curve], progress: Progress) -> String {
    let mut remarks = String::new();
    let several = curves.iter().filter(|c| c.seeds.len() > 1);
    let seeds: Vec<String> = several.map(|c| format!("{} of {}", c.seeds.len(), c.subject.name)).collect();
    if !seeds.is_empty() {
        remarks.push_str(&format!(
            " Lines are means over seeds, {}; bands reach from the lowest seed to the highest.",
            seeds.join(", ")
        ));
    }
    let gaps: Vec<String> = curves.iter().filter_map(|c| c.gap(progress)).collect();
    if !gaps.is_empty() {
        remarks.push_str(&format!(" {}.", gaps.join("; ")));
    }
    remarks
}

/// A mean with its standard error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Its standard error; 0 where there is none.
    pub standard_error: f64,
}

/// Width of one ACL column: 7.7 cm in tenths of a point.
const COLUMN_WIDTH: i32 = 2183;

/// The first and last of the finite values, or `None` without any.
fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|v| v.is_finite()).fold(None, |seen, v| match seen {
        None => Some((v, v)),
        Some((low, high)) => Some((low.min(v), high.max(v))),
    })
}

/// At most `most` points: the least and the largest value of each stretch, so that peaks stay.
fn thinned(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let points: Vec<(f64, f64)> = points.iter().copied().filter(|p| p.0.is_finite() && p.1.is_finite()).collect();
    if points.len() <= most {
        return points;
    }
    let stretch = points.len().div_ceil((most / 2).max(1));
    let mut kept = Vec::new();
    for part in points.chunks(stretch) {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let (Some(low), Some(high)) = (part.iter().min_by(by_value), part.iter().max_by(by_value)) else { continue };
        let (first, second) = if low.0 <= high.0 { (low, high) } else { (high, low) };
        kept.push(*first);
        if first != second {
            kept.push(*second);
        }
    }
    kept
}

/// A moving average over `window` points on each side. At the beginning, where curves are steep, as many before as after,
/// so that it does not lag; at the end, where they are flat, it reaches back as far as elsewhere, so that it does not jump
/// to the last single value.
fn smoothed(points: &[(f64, f64)], window: usize) -> Vec<(f64, f64)> {
    let points: Vec<(f64, f64)> = points.iter().copied().filter(|p| p.1.is_finite()).collect();
    let mean = |at: usize| {
        let back = window.min(at);
        let ahead = back.min(points.len() - 1 - at);
        let near = &points[at - back..=at + ahead];
        (points[at].0, near.iter().map(|p| p.1).sum::<f64>() / near.len() as f64)
    };
    (0..points.len()).map(mean).collect()
}

/// A look for pages that draw themselves: the colour as `#0072b2`, and lengths of ink and gap in turn in pixels.
pub fn css_look(look: usize) -> (String, Vec<u32>) {
    let look = canvas::look(look);
    let (r, g, b) = (look.color.0, look.color.1, look.color.2);
    (format!("#{r:02x}{g:02x}{b:02x}"), look.dash.iter().map(|length| (length / 10.0) as u32).collect())
}

/// Names with their looks, for a legend.
fn looks<'a>(subjects: impl IntoIterator<Item = &'a Subject>) -> Vec<(&'a str, canvas::Look)> {
    subjects.into_iter().map(|s| (s.name.as_str(), canvas::look(s.look))).collect()
}

/// How many points on each side are averaged over a run of that many steps.
fn window(points: usize) -> usize {
    (points / 60).clamp(1, 100)
}

#[cfg(test)]
mod tests;
