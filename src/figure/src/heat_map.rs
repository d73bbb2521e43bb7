//! Heat maps of places in the model over training steps. The colours run from dark blue to yellow with ever more
//! lightness (after cividis: Nuñez, Anderton and Renslow 2018, PLOS ONE 13(7), made for readers with colour-blindness),
//! so that a greyscale print orders them the same way.

use plotters::style::RGBColor;

use super::axis::Axis;
use super::canvas::{self, Anchor, Canvas, INK, LINE, Panel, estimated_width, shortened};
use super::{COLUMN_WIDTH, range};

/// One map: a value for each place and step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Map<'a> {
    /// Stands above the map.
    pub title: String,
    /// Names of the rows, from the input of the model to its output.
    pub places: &'a [String],
    /// The steps of the columns, ascending.
    pub steps: &'a [f64],
    /// For each place, for each step; `None` where there is no number.
    pub values: Vec<Vec<Option<f64>>>,
    /// Whether colours stand for powers of ten.
    pub logarithmic: bool,
}

const ROW: i32 = 60;
/// Columns are merged beyond this number: more cannot be told apart at column width.
const MOST_COLUMNS: usize = 90;

/// The height of a map with its title and colour key.
fn height(map: &Map) -> i32 {
    LINE + 10 + row_height(map) * map.places.len() as i32 + 400
}

/// Rows are as high as their text where few, and share what fits where many.
fn row_height(map: &Map) -> i32 {
    let rows = map.places.len().max(1) as i32;
    if rows <= 14 { LINE } else { (14 * LINE / rows).max(ROW / 2) }
}

/// Draws maps one below the other.
pub(super) fn draw(maps: &[Map]) -> String {
    let whole = maps.iter().map(height).sum::<i32>().max(LINE);
    canvas::svg(COLUMN_WIDTH, whole, |canvas| {
        let mut top = 0;
        for map in maps {
            draw_one(canvas, map, top);
            top += height(map);
        }
    })
}

fn draw_one(canvas: &Canvas, map: &Map, top: i32) {
    let key = Key::of(map);
    let labels: Vec<String> = map.places.iter().map(|p| shortened(p, 18)).collect();
    let left = labels.iter().map(|l| estimated_width(l)).max().unwrap_or(0) + 50;
    let right = COLUMN_WIDTH - 100;
    canvas.text(&shortened(&map.title, 60), (left.min(60), top + LINE / 2), Anchor::Left, INK);
    let row = row_height(map);
    let above = top + LINE + 10;
    let bottom = above + row * map.places.len() as i32;
    let columns = merged(map);
    let edges = |column: usize, of: usize| left + (right - left) * column as i32 / of.max(1) as i32;
    // The lowest row is the input of the model, as models are drawn.
    for (place, cells) in columns.iter().enumerate() {
        let y = bottom - row * (place as i32 + 1);
        for (column, cell) in cells.iter().enumerate() {
            let (from, to) = (edges(column, cells.len()), edges(column + 1, cells.len()));
            match cell {
                // A little beyond its edges, where the next cell covers it: or light would show between them.
                Some(value) => canvas.fill((from, y - 4), ((to + 4).min(right), y + row), key.color(*value)),
                None => canvas.line(&[(from, y + row), (to, y)], INK, 3, &[]),
            }
        }
    }
    // Where rows are too low for every name, every second or third has one.
    let every = (LINE * 9 / 10 + row - 1) / row;
    for (place, label) in labels.iter().enumerate().filter(|(place, _)| *place as i32 % every == 0) {
        canvas.text(label, (left - 28, bottom - row * place as i32 - row / 2), Anchor::Right, INK);
    }
    let (first, last) = range(map.steps.iter().copied()).unwrap_or((0.0, 1.0));
    let x = Axis::linear((first, last), 5, "Optimizer step").whole();
    let frame = Panel { left, top: above, right, bottom, x, y: Axis::linear((0.0, 1.0), 1, "") };
    for (value, text) in &frame.x.ticks {
        let x = frame.x_at(*value);
        canvas.line(&[(x, bottom), (x, bottom + 22)], INK, 6, &[]);
        canvas.text(text, (x, bottom + 75), Anchor::Middle, INK);
    }
    canvas.line(&[(left, above), (left, bottom), (right, bottom)], INK, 7, &[]);
    canvas.text("Optimizer step", ((left + right) / 2, bottom + 165), Anchor::Middle, INK);
    key.draw(canvas, left, right, bottom + 265);
}

/// The map with at most [`MOST_COLUMNS`] columns: the mean of those that fall together.
fn merged(map: &Map) -> Vec<Vec<Option<f64>>> {
    let together = map.steps.len().div_ceil(MOST_COLUMNS).max(1);
    let mean = |cells: &[Option<f64>]| {
        let known: Vec<f64> = cells.iter().flatten().copied().filter(|v| v.is_finite()).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    map.values.iter().map(|row| row.chunks(together).map(mean).collect()).collect()
}

/// Which value has which colour.
struct Key {
    axis: Axis,
}

impl Key {
    fn of(map: &Map) -> Self {
        let all = || map.values.iter().flatten().flatten().copied();
        let axis = if map.logarithmic {
            Axis::logarithmic(range(all().filter(|v| *v > 0.0)).unwrap_or((0.1, 1.0)), "").with_texts(power_text)
        } else {
            // Where all are the same, such as a share of dead units that is always 0, the key still has two ends.
            let (low, high) = range(all()).unwrap_or((0.0, 1.0));
            Axis::linear((low, if high > low { high } else { low + 1.0 }), 3, "")
        };
        Key { axis }
    }

    fn color(&self, value: f64) -> RGBColor {
        shade(self.axis.position(value))
    }

    fn draw(&self, canvas: &Canvas, left: i32, right: i32, y: i32) {
        const PARTS: i32 = 48;
        let edge = |part: i32| left + (right - left) * part / PARTS;
        for part in 0..PARTS {
            let color = shade((f64::from(part) + 0.5) / f64::from(PARTS));
            canvas.fill((edge(part), y - 40), (edge(part + 1), y), color);
        }
        let mut free_from = i32::MIN;
        for (value, text) in &self.axis.ticks {
            let x = left + libm::round(self.axis.position(*value) * f64::from(right - left)) as i32;
            let half = estimated_width(text) / 2;
            canvas.line(&[(x, y), (x, y + 16)], INK, 6, &[]);
            if x - half > free_from {
                canvas.text(text, (x.min(COLUMN_WIDTH - half - 5), y + 60), Anchor::Middle, INK);
                free_from = x + half + 30;
            }
        }
    }
}

/// A number of a logarithmic key: small and large ones as powers of ten.
fn power_text(value: f64) -> String {
    if (0.01..1000.0).contains(&value) {
        format!("{}", (value * 1e6).round() / 1e6)
    } else {
        format!("{value:.0e}").replace('-', "\u{2212}")
    }
}

/// The colour at a place from 0 to 1.
fn shade(place: f64) -> RGBColor {
    const STOPS: [(f64, f64, f64); 5] =
        [(0.0, 34.0, 78.0), (65.0, 77.0, 107.0), (124.0, 123.0, 120.0), (188.0, 175.0, 111.0), (254.0, 232.0, 56.0)];
    let at = place.clamp(0.0, 1.0) * (STOPS.len() - 1) as f64;
    let index = (at as usize).min(STOPS.len() - 2);
    let share = at - index as f64;
    let mix = |a: f64, b: f64| libm::round(a + share * (b - a)) as u8;
    let (a, b) = (STOPS[index], STOPS[index + 1]);
    RGBColor(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lighter_means_more() {
        // Rec. 709 luma, which is what a greyscale print keeps.
        let luma = |c: RGBColor| 0.2126 * f64::from(c.0) + 0.7152 * f64::from(c.1) + 0.0722 * f64::from(c.2);
        let lumas: Vec<f64> = (0..=100).map(|k| luma(shade(f64::from(k) / 100.0))).collect();
        assert!(lumas.windows(2).all(|pair| pair[1] > pair[0]), "{lumas:?}");
    }
}
