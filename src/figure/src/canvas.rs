//! Lines with dashes, markers, text and framed panels on top of plotters' SVG backend. The backend measures no
//! text, so text is placed by its anchor, and widths needed for a legend are estimated.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Axis;

/// Text of axes and legends: 8.5 pt on paper.
pub(super) const TEXT: i32 = 85;
/// A line of text with its gap.
pub(super) const LINE: i32 = 102;

/// The font of the paper.
pub(super) const FAMILY: &str = "TeX Gyre Termes";
const GRID: RGBColor = RGBColor(222, 222, 222);
/// Axes and text.
pub(super) const INK: RGBColor = RGBColor(30, 30, 30);
/// Reference lines and their text.
pub(super) const GREY: RGBColor = RGBColor(95, 95, 95);

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Point = (i32, i32);

/// The look of one series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub color: RGBColor,
    pub dash: &'static [f64],
    pub marker: Marker,
}

/// The shape that marks a point.
#[derive(Clone, Copy, Debug)]
pub(super) enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
    Ring,
    Cross,
}

impl Marker {
    /// The same, or a disc for the ring, which means "not decided" where rings and discs stand together.
    pub(crate) fn filled(self) -> Self {
        match self {
            Marker::Ring | Marker::Cross => Marker::Circle,
            other => other,
        }
    }
}

/// The look with this number: colours, dash patterns and markers change together, and from the seventh on colours come
/// again with other dashes and markers, so that 36 looks differ.
pub(super) fn look(index: usize) -> Look {
    const LOOKS: [(RGBColor, &[f64], Marker); 6] = [
        (RGBColor(0, 114, 178), &[], Marker::Circle),
        (RGBColor(213, 94, 0), &[62.0, 30.0], Marker::Square),
        (RGBColor(0, 158, 115), &[16.0, 22.0], Marker::Triangle),
        (RGBColor(204, 121, 167), &[70.0, 24.0, 16.0, 24.0], Marker::Diamond),
        (RGBColor(0, 0, 0), &[110.0, 36.0], Marker::Ring),
        (RGBColor(230, 159, 0), &[40.0, 20.0, 16.0, 20.0, 16.0, 20.0], Marker::Cross),
    ];
    let round = index / LOOKS.len();
    let (color, _, _) = LOOKS[index % LOOKS.len()];
    let (_, dash, marker) = LOOKS[(index + round) % LOOKS.len()];
    Look { color, dash, marker }
}

/// Where text is anchored.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Left,
    Middle,
    Right,
}

/// An SVG being drawn.
pub(super) struct Canvas<'a> {
    area: Area<'a>,
}

/// Draws an SVG of `width` by `height` units and returns it.
pub(super) fn svg(width: i32, height: i32, draw: impl FnOnce(&Canvas)) -> String {
    let mut out = String::new();
    {
        let size = (width.unsigned_abs(), height.unsigned_abs());
        let canvas = Canvas { area: SVGBackend::with_string(&mut out, size).into_drawing_area() };
        draw(&canvas);
        canvas.area.present().expect("memory does not fail to write");
    }
    out
}

impl Canvas<'_> {
    fn put(&self, result: Result<(), DrawingAreaErrorKind<std::io::Error>>) {
        result.expect("memory does not fail to write");
    }

    /// A line through `points`.
    pub(crate) fn line(&self, points: &[Point], color: impl Color, width: u32, dash: &[f64]) {
        let style = color.stroke_width(width);
        for part in dashed(points, dash) {
            if part.len() > 1 {
                self.put(self.area.draw(&PathElement::new(part, style)));
            }
        }
    }

    /// A marker, outlined in white so that it stands out from what lies below.
    pub(crate) fn marker(&self, (x, y): Point, marker: Marker, color: RGBColor, radius: i32) {
        let r = radius;
        let polygon = |points: Vec<Point>| Polygon::new(points, color.filled());
        match marker {
            Marker::Circle => self.put(self.area.draw(&Circle::new((x, y), r, color.filled()))),
            Marker::Ring => {
                self.put(self.area.draw(&Circle::new((x, y), r, WHITE.filled())));
                self.put(self.area.draw(&Circle::new((x, y), r, color.stroke_width(9))));
            }
            Marker::Square => {
                let h = r * 9 / 10;
                self.put(self.area.draw(&Rectangle::new([(x - h, y - h), (x + h, y + h)], color.filled())));
            }
            Marker::Triangle => {
                self.put(self.area.draw(&polygon(vec![
                    (x, y - r * 12 / 10),
                    (x + r * 11 / 10, y + r * 8 / 10),
                    (x - r * 11 / 10, y + r * 8 / 10),
                ])));
            }
            Marker::Diamond => {
                let d = r * 13 / 10;
                self.put(self.area.draw(&polygon(vec![(x, y - d), (x + d, y), (x, y + d), (x - d, y)])));
            }
            Marker::Cross => {
                self.line(&[(x - r, y - r), (x + r, y + r)], color, 12, &[]);
                self.line(&[(x - r, y + r), (x + r, y - r)], color, 12, &[]);
            }
        }
    }

    /// A filled outline.
    pub(crate) fn area(&self, outline: Vec<Point>, color: impl Color) {
        if outline.len() > 2 {
            self.put(self.area.draw(&Polygon::new(outline, color.filled())));
        }
    }

    /// A filled rectangle.
    pub(crate) fn fill(&self, from: Point, to: Point, color: impl Color) {
        self.put(self.area.draw(&Rectangle::new([from, to], color.filled())));
    }

    /// Text centred on the height of `at`.
    pub(crate) fn text(&self, text: &str, at: Point, anchor: Anchor, color: RGBColor) {
        self.place(text, at, anchor, color, FontTransform::None);
    }

    /// Text turned to read upwards, centred on `at`.
    pub(crate) fn upward_text(&self, text: &str, at: Point, color: RGBColor) {
        self.place(text, at, Anchor::Middle, color, FontTransform::Rotate270);
    }

    fn place(&self, text: &str, at: Point, anchor: Anchor, color: RGBColor, transform: FontTransform) {
        let h_pos = match anchor {
            Anchor::Left => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        // The backend divides font sizes by 1.24.
        let font = (FAMILY, f64::from(TEXT) * 1.24).into_font().transform(transform);
        let style = TextStyle::from(font).color(&color).pos(Pos::new(h_pos, VPos::Center));
        self.put(self.area.draw_text(&printable(text), &style, at));
    }

    /// A legend in rows below `top`, between `left` and `right`; returns the height it took.
    pub(crate) fn legend(&self, names: &[(&str, Look)], left: i32, right: i32, top: i32, lines: bool) -> i32 {
        let (places, height) = legend_places(names, left, right, lines);
        let sample = sample_width(lines);
        for ((name, look), (x, y)) in names.iter().zip(places) {
            let y = top + y;
            if lines {
                self.line(&[(x, y), (x + sample, y)], look.color, 14, look.dash);
            }
            self.marker((x + sample / 2, y), look.marker, look.color, 24);
            let room = right - left - sample - 35;
            self.text(&fitted(name, room), (x + sample + 35, y), Anchor::Left, INK);
        }
        height
    }
}

/// Letters that a name inside a frame may have; longer ones go into a legend, whole.
const CURVE_LETTERS: usize = 24;
/// Space for the marker before a name inside a frame.
const NAME_SAMPLE: i32 = 66;

fn sample_width(lines: bool) -> i32 {
    if lines { 190 } else { 60 }
}

/// Where the entries of a legend go, from its top, and how high it is.
fn legend_places(names: &[(&str, Look)], left: i32, right: i32, lines: bool) -> (Vec<Point>, i32) {
    if names.len() < 2 {
        // One series needs no legend: the caption names it.
        return (Vec::new(), 30);
    }
    let (mut x, mut y) = (left, LINE / 2);
    let mut places = Vec::new();
    for (index, (name, _)) in names.iter().enumerate() {
        let sample = sample_width(lines) + 35;
        let width = sample + estimated_width(&fitted(name, right - left - sample));
        if index > 0 && x + width > right {
            (x, y) = (left, y + LINE);
        }
        places.push((x, y));
        x += width + 70;
    }
    (places, y + LINE / 2 + 20)
}

/// The height that [`Canvas::legend`] will take.
pub(super) fn legend_height(names: &[(&str, Look)], left: i32, right: i32, lines: bool) -> i32 {
    legend_places(names, left, right, lines).1
}

/// Where the names of curves stand.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Heading {
    /// One curve needs no name: the caption has it.
    Nothing,
    /// Each at its curve: left end and middle of its text.
    AtCurves(Vec<Point>),
    /// In a legend above the frame.
    Legend,
}

/// A frame with two axes.
pub(super) struct Panel {
    pub left: i32,
    pub top: i32,
    pub right: i32,
    pub bottom: i32,
    pub x: Axis,
    pub y: Axis,
}

impl Panel {
    /// Where a pair of values lies. Values beyond the axes are put on the frame.
    pub(crate) fn point(&self, x: f64, y: f64) -> Point {
        (self.x_at(x), self.y_at(y))
    }

    /// The horizontal place of a value.
    pub(crate) fn x_at(&self, x: f64) -> i32 {
        self.left + libm::round(self.x.position(x).clamp(0.0, 1.0) * f64::from(self.right - self.left)) as i32
    }

    /// The vertical place of a value.
    pub(crate) fn y_at(&self, y: f64) -> i32 {
        self.bottom - libm::round(self.y.position(y).clamp(0.0, 1.0) * f64::from(self.bottom - self.top)) as i32
    }

    /// Grid, frame, ticks and labels. `x_texts` is false where another panel below has the texts.
    pub(crate) fn draw(&self, canvas: &Canvas, x_texts: bool) {
        for (value, text) in &self.y.ticks {
            let y = self.y_at(*value);
            canvas.line(&[(self.left, y), (self.right, y)], GRID, 5, &[]);
            canvas.text(text, (self.left - 28, y), Anchor::Right, INK);
        }
        for (value, text) in &self.x.ticks {
            let x = self.x_at(*value);
            canvas.line(&[(x, self.bottom), (x, self.bottom + 22)], INK, 6, &[]);
            if x_texts {
                canvas.text(text, (x, self.bottom + 75), Anchor::Middle, INK);
            }
        }
        canvas.line(&[(self.left, self.top), (self.left, self.bottom), (self.right, self.bottom)], INK, 7, &[]);
        if x_texts {
            canvas.text(&self.x.label, ((self.left + self.right) / 2, self.bottom + 175), Anchor::Middle, INK);
        }
        canvas.upward_text(&self.y.label, (45, (self.top + self.bottom) / 2), INK);
    }

    /// The band between two curves that have the same places.
    pub(crate) fn band(&self, canvas: &Canvas, low: &[(f64, f64)], high: &[(f64, f64)], color: RGBColor) {
        let mut outline: Vec<Point> = low.iter().map(|&(x, y)| self.point(x, y)).collect();
        outline.extend(high.iter().rev().map(|&(x, y)| self.point(x, y)));
        outline.dedup();
        canvas.area(outline, color.mix(0.2));
    }

    /// Where the names of curves can stand inside the frame, each above its own curve and clear of all others, or
    /// `None` unless all find room. Gives the left end and the middle of each text.
    fn room_for_names(&self, names: &[(&str, Look)], curves: &[Vec<(f64, f64)>]) -> Option<Vec<Point>> {
        if names.iter().any(|(name, _)| name.chars().count() > CURVE_LETTERS) {
            return None;
        }
        let placed: Vec<Vec<Point>> =
            curves.iter().map(|c| c.iter().map(|&(x, y)| self.point(x, y)).collect()).collect();
        let mut taken: Vec<(Point, Point)> = Vec::new();
        let mut places = Vec::new();
        for (index, (name, _)) in names.iter().enumerate() {
            let width = NAME_SAMPLE + estimated_width(name);
            let own = &placed[index];
            let reach = self.right - self.left;
            let candidate = |share: i32, above: bool| {
                let right = self.right - 20 - reach * share / 100;
                let (left, middle) = (right - width, right - width / 2);
                // The nearest edge of the text lies on the extreme that its own curve has below or above it.
                let spans = |p: &&Point| p.0 >= left - 20 && p.0 <= right + 20;
                let heights = own.iter().filter(spans).map(|p| p.1);
                let near = own.iter().min_by_key(|p| (p.0 - middle).abs()).map(|p| p.1);
                let edge = if above { heights.min().or(near)? - 20 } else { heights.max().or(near)? + 20 + LINE };
                Some(((left, edge - LINE + 14), (right, edge)))
            };
            // A name beside several curves would not say which of them it means.
            let alone = |from: Point, to: Point| {
                let others = placed.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, c)| c);
                let (above, below) = ((from.0, from.1 - LINE), (to.0, to.1 + LINE));
                let passes_near = |c: &Vec<Point>| c.windows(2).any(|pair| passes(pair[0], pair[1], above, below));
                !others.into_iter().any(passes_near)
            };
            let free = |(from, to): &(Point, Point)| {
                let inside = from.0 > self.left + 15 && from.1 > self.top && to.1 < self.bottom - 15;
                let apart = taken.iter().all(|(f, t)| to.0 < f.0 || from.0 > t.0 || to.1 < f.1 || from.1 > t.1);
                let crosses = |c: &Vec<Point>| c.windows(2).any(|pair| passes(pair[0], pair[1], *from, *to));
                inside && apart && !placed.iter().any(crosses) && alone(*from, *to)
            };
            let shares = (0..12).map(|k| k * 6).flat_map(|share| [(share, true), (share, false)]);
            let found = shares.filter_map(|(share, above)| candidate(share, above)).find(|place| free(place))?;
            places.push((found.0.0, (found.0.1 + found.1.1) / 2));
            taken.push(found);
        }
        Some(places)
    }

    /// The panel with room above it for a legend, unless the names of its curves find room at the curves.
    pub(crate) fn headed(mut self, names: &[(&str, Look)], curves: &[Vec<(f64, f64)>]) -> (Self, Heading) {
        self.top = 30;
        if names.len() < 2 {
            return (self, Heading::Nothing);
        }
        if let Some(places) = self.room_for_names(names, curves) {
            return (self, Heading::AtCurves(places));
        }
        self.top = legend_height(names, self.left, self.right, true);
        (self, Heading::Legend)
    }

    /// The names as [`Panel::headed`] decided. To be drawn after the curves.
    pub(crate) fn draw_names(&self, canvas: &Canvas, names: &[(&str, Look)], heading: &Heading) {
        match heading {
            Heading::Nothing => {}
            Heading::Legend => {
                canvas.legend(names, self.left, self.right, 0, true);
            }
            Heading::AtCurves(places) => {
                for ((name, look), &(x, y)) in names.iter().zip(places) {
                    canvas.marker((x + 26, y), look.marker, look.color, 22);
                    canvas.text(name, (x + NAME_SAMPLE, y), Anchor::Left, INK);
                }
            }
        }
    }

    /// A curve of values in the units of the axes.
    pub(crate) fn curve(&self, canvas: &Canvas, points: &[(f64, f64)], color: impl Color, width: u32, dash: &[f64]) {
        let mut placed: Vec<Point> = points.iter().map(|&(x, y)| self.point(x, y)).collect();
        placed.dedup();
        canvas.line(&placed, color, width, dash);
    }

    /// A cross where a curve ends early, because no later value is finite.
    pub(crate) fn early_end(&self, canvas: &Canvas, points: &[(f64, f64)]) {
        if let Some(&(x, y)) = points.last() {
            canvas.marker(self.point(x, y), Marker::Cross, INK, 34);
        }
    }

    /// A horizontal reference line with its name above it: at the right, or further left where `curves` leave room.
    pub(crate) fn reference(&self, canvas: &Canvas, value: f64, name: &str, curves: &[Vec<(f64, f64)>]) {
        let y = self.y_at(value);
        canvas.line(&[(self.left, y), (self.right, y)], GREY, 8, &[24.0, 24.0]);
        let (width, reach) = (estimated_width(name), self.right - self.left);
        let (top, bottom) = (y - 88, y - 14);
        let crossed = |right: i32| {
            let placed = curves.iter().map(|c| c.iter().map(|p| self.point(p.0, p.1)).collect::<Vec<_>>());
            placed.into_iter().any(|curve| {
                curve.windows(2).any(|pair| passes(pair[0], pair[1], (right - 20 - width, top), (right, bottom)))
            })
        };
        let places = [0, 25, 45, 65].map(|share| self.right - reach * share / 100);
        let right = places.into_iter().find(|right| !crossed(*right)).unwrap_or(self.right);
        canvas.fill((right - 20 - width, top), (right, bottom), WHITE.mix(0.85));
        canvas.text(name, (right - 10, y - 50), Anchor::Right, GREY);
    }
}

/// Whether the straight line from `a` to `b` passes through a box, looked at in steps of its width.
fn passes(a: Point, b: Point, from: Point, to: Point) -> bool {
    const STEPS: i32 = 64;
    (0..=STEPS).any(|k| {
        let (x, y) = (a.0 + (b.0 - a.0) * k / STEPS, a.1 + (b.1 - a.1) * k / STEPS);
        (from.0..=to.0).contains(&x) && (from.1..=to.1).contains(&y)
    })
}

/// A frame whose vertical axis is a list of names: one row each.
pub(super) struct RowPanel {
    /// The lines of each name.
    labels: Vec<Vec<String>>,
    /// Rows that only name what follows: their text stands at the left, without a stripe.
    headings: Vec<usize>,
    left: i32,
    top: i32,
    /// The height of each row.
    heights: Vec<i32>,
    x: Axis,
}

impl RowPanel {
    /// Rows of `pitch` units, or more where a name takes two lines, below `top`.
    pub(crate) fn new(labels: &[&str], top: i32, pitch: i32, x: Axis) -> Self {
        let widest = labels.iter().map(|l| row_label_width(l)).max().unwrap_or(0);
        let labels: Vec<Vec<String>> = labels.iter().map(|l| wrapped(l)).collect();
        let heights = labels.iter().map(|lines| pitch.max(LINE_PITCH * lines.len() as i32 + 8)).collect();
        let panel = RowPanel { labels, headings: Vec::new(), left: 0, top, heights, x };
        panel.with_label_width(widest)
    }

    /// The same with another width for the names, so that panels below each other line up.
    pub(crate) fn with_label_width(mut self, width: i32) -> Self {
        self.left = (width + 60).min(super::COLUMN_WIDTH * 6 / 10);
        self
    }

    /// The same with some rows as headings.
    pub(crate) fn with_headings(mut self, headings: &[usize]) -> Self {
        self.headings = headings.to_vec();
        let rows = self.labels.iter().enumerate().filter(|(index, _)| !headings.contains(index));
        let widest = rows.flat_map(|(_, lines)| lines).map(|line| estimated_width(line)).max().unwrap_or(0);
        self.with_label_width(widest)
    }

    /// The upper end of the frame.
    pub(crate) fn top(&self) -> i32 {
        self.top
    }

    /// The height of a drawing that ends with this panel.
    pub(crate) fn height(&self) -> i32 {
        self.bottom() + 235
    }

    /// The lower end of the frame.
    pub(crate) fn bottom(&self) -> i32 {
        self.top + self.heights.iter().sum::<i32>() + 20
    }

    /// The middle of a row.
    pub(crate) fn middle(&self, index: usize) -> i32 {
        self.top + 10 + self.heights[..index].iter().sum::<i32>() + self.heights[index] / 2
    }

    /// The horizontal place of a value.
    pub(crate) fn x_at(&self, value: f64) -> i32 {
        self.frame().x_at(value)
    }

    fn frame(&self) -> Panel {
        let y = Axis::linear((0.0, 1.0), 1, "");
        let right = super::COLUMN_WIDTH - 60;
        Panel { left: self.left, top: self.top, right, bottom: self.bottom(), x: self.x.clone(), y }
    }

    /// Stripes, names, ticks and frame.
    pub(crate) fn draw(&self, canvas: &Canvas) {
        let frame = self.frame();
        for (index, lines) in self.labels.iter().enumerate() {
            let (middle, half) = (self.middle(index), self.heights[index] / 2);
            if self.headings.contains(&index) {
                canvas.fill((0, middle - half), (frame.right, middle + half), WHITE);
                canvas.text(&lines.join(" "), (10, middle + 8), Anchor::Left, GREY);
                canvas.line(&[(10, middle + half - 2), (frame.right, middle + half - 2)], GRID, 7, &[]);
                continue;
            }
            if index % 2 == 1 {
                canvas.fill((frame.left, middle - half), (frame.right, middle + half), RGBColor(243, 243, 243));
            }
            let first = middle - LINE_PITCH * (lines.len() as i32 - 1) / 2;
            for (line, at) in lines.iter().zip(0..) {
                canvas.text(line, (frame.left - 30, first + LINE_PITCH * at), Anchor::Right, INK);
            }
        }
        for (value, text) in &frame.x.ticks {
            let x = frame.x_at(*value);
            canvas.line(&[(x, frame.top), (x, frame.bottom)], GRID, 5, &[]);
            canvas.line(&[(x, frame.bottom), (x, frame.bottom + 22)], INK, 6, &[]);
            canvas.text(text, (x, frame.bottom + 75), Anchor::Middle, INK);
        }
        canvas.line(&[(frame.left, frame.top), (frame.left, frame.bottom), (frame.right, frame.bottom)], INK, 7, &[]);
        // The label may be wider than the frame: it is kept within the drawing.
        let half = estimated_width(&frame.x.label) / 2;
        let middle = ((frame.left + frame.right) / 2).min(super::COLUMN_WIDTH - half - 20).max(half + 20);
        canvas.text(&frame.x.label, (middle, frame.bottom + 175), Anchor::Middle, INK);
    }
}

/// Letters that a line of the name of a row may have.
const ROW_LETTERS: usize = 32;
/// From line to line of such a name.
const LINE_PITCH: i32 = 88;

/// The name of a row in at most two lines.
fn wrapped(label: &str) -> Vec<String> {
    let letters: Vec<char> = label.chars().collect();
    if letters.len() <= ROW_LETTERS {
        return vec![label.to_owned()];
    }
    // After the last blank or hyphen that the first line has room for.
    let breaks = letters[..=ROW_LETTERS].iter().rposition(|c| matches!(c, ' ' | '-' | '_' | '.'));
    let Some(at) = breaks.filter(|at| *at > 0) else { return vec![shortened(label, ROW_LETTERS)] };
    let at = if letters[at] == ' ' { at } else { (at + 1).min(ROW_LETTERS) };
    let text = |letters: &[char]| letters.iter().collect::<String>().trim().to_owned();
    vec![text(&letters[..at]), shortened(&text(&letters[at..]), ROW_LETTERS)]
}

/// The width that the name of a row takes.
pub(super) fn row_label_width(label: &str) -> i32 {
    wrapped(label).iter().map(|line| estimated_width(line)).max().unwrap_or(0)
}

/// Space left of a frame for the label of the vertical axis and its tick texts.
pub(super) fn left_margin(axis: &Axis) -> i32 {
    let widest = axis.ticks.iter().map(|(_, text)| estimated_width(text)).max().unwrap_or(0);
    45 + LINE / 2 + widest + 40
}

/// About the width of a text in units: Times needs a little less than half its size for the average letter.
pub(super) fn estimated_width(text: &str) -> i32 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | 't' | 'f' | 'I' | '.' | ',' | '\'' | ' ' | ':' | ';' | '|' => 0.28,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.82,
        '…' | '—' => 1.0,
        c if c.is_ascii_uppercase() => 0.68,
        c if c.is_ascii() => 0.49,
        _ => 0.6,
    };
    libm::ceil(text.chars().map(em).sum::<f64>() * f64::from(TEXT)) as i32
}

/// At most `most` characters, cut in the middle: names of tasks differ at their ends.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= most {
        return text.to_owned();
    }
    let (head, tail) = (most / 2, most - most / 2 - 1);
    letters[..head].iter().chain(['…'].iter()).chain(&letters[letters.len() - tail..]).collect()
}

/// The text, cut in the middle if it is wider than that.
pub(super) fn fitted(text: &str, width: i32) -> String {
    let mut letters = text.chars().count();
    let mut shown = text.to_owned();
    while estimated_width(&shown) > width && letters > 3 {
        letters -= 1;
        shown = shortened(text, letters);
    }
    shown
}

/// Without control characters, which XML cannot hold.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') { ' ' } else { c }).collect()
}

/// Cuts a line into dashes. `dash` holds lengths of ink and gap in turn; empty for a whole line.
fn dashed(points: &[Point], dash: &[f64]) -> Vec<Vec<Point>> {
    if dash.is_empty() {
        return vec![points.to_vec()];
    }
    let (mut parts, mut part) = (Vec::new(), Vec::new());
    let (mut index, mut left) = (0, dash[0]);
    for pair in points.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let (dx, dy) = (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
        let length = libm::hypot(dx, dy);
        let mut done = 0.0;
        while done < length {
            let at =
                |d: f64| (from.0 + libm::round(dx * d / length) as i32, from.1 + libm::round(dy * d / length) as i32);
            let ink = index % 2 == 0;
            let step = left.min(length - done);
            if ink && part.is_empty() {
                part.push(at(done));
            }
            done += step;
            left -= step;
            if ink {
                part.push(at(done));
            }
            if left <= 1e-9 {
                index = (index + 1) % dash.len();
                left = dash[index];
                parts.push(std::mem::take(&mut part));
            }
        }
    }
    parts.push(part);
    parts.retain(|p| p.len() > 1);
    parts
}
