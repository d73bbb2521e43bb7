//! The picture of a [`State`] on a terminal, and the same in a few lines of text. Pure: what is seen depends on what is
//! handed in alone.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, Paragraph};

use super::State;
use crate::run::Left;

/// What the state does not know.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Nanoseconds since 1970 now.
    pub now_ns: u128,
    /// What the GPU is doing, if there is one: `97 %, 61 of 79 GiB, 540 W`.
    pub gpu: Option<String>,
}

/// After so many seconds without a step a run is called silent.
const SILENT_S: f64 = 120.0;

/// Draws the whole screen.
pub fn draw(frame: &mut Frame, state: &State, around: &Surroundings) {
    let rows = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(1),
        Constraint::Length(4),
        Constraint::Min(8),
        Constraint::Length(8),
        Constraint::Length(1),
    ]);
    let [title, progress, facts, charts, events, keys] = rows.areas(frame.area());
    frame.render_widget(heading(state, around), title);
    frame.render_widget(bar(state), progress);
    frame.render_widget(Paragraph::new(fact_lines(state, around)), facts);
    draw_charts(frame, state, charts);
    let lines: Vec<Line> = state.events.iter().map(|(at, what)| Line::from(format!("{at}  {what}"))).collect();
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" log ")), events);
    frame.render_widget(
        Paragraph::new("q quits the view; the run continues").style(Style::new().add_modifier(Modifier::DIM)),
        keys,
    );
}

fn heading(state: &State, around: &Surroundings) -> Paragraph<'static> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let open = &state.open;
    let name = Line::from(vec![
        Span::styled(open.experiment.to_string(), bold),
        Span::raw(format!("  run {}  seed {}  ", open.run, open.plan.seed)),
        Span::styled(status(state, around), bold),
    ]);
    Paragraph::new(vec![name, Line::from(state.experiment.title.clone())])
}

fn status(state: &State, around: &Surroundings) -> String {
    if let Some(record) = &state.record {
        return record.status.word().to_owned();
    }
    let silent_s = around.now_ns.saturating_sub(state.changed_ns) as f64 / 1e9;
    match state.last() {
        None => "preparing".to_owned(),
        Some(_) if silent_s > SILENT_S => format!("silent for {}", duration(silent_s)),
        Some(_) => "running".to_owned(),
    }
}

fn bar(state: &State) -> Gauge<'static> {
    let (done, planned) = (state.last().map_or(0, |line| line.step), state.planned_steps().max(1));
    let left = match (&state.record, state.left()) {
        (None, Some(left)) => format!(", {}", left_in_words(left)),
        _ => String::new(),
    };
    Gauge::default()
        .ratio((done as f64 / planned as f64).clamp(0.0, 1.0))
        .label(format!("step {done} of {planned}{left}"))
        .gauge_style(Style::new().fg(Color::Blue).bg(Color::Black))
}

/// What is known in words: loss, speed, device, budget.
fn fact_lines(state: &State, around: &Surroundings) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Some(last) = state.last() {
        let validation =
            state.validation.last().map_or(String::new(), |(_, bits)| format!("  validation {bits:.3} bits/byte"));
        lines.push(Line::from(format!(
            "loss {:.3} nats/token{validation}  learning rate {:.2e}  gradient norm {:.2}",
            last.loss_nats, last.learning_rate, last.gradient_norm
        )));
        let utilization =
            last.model_flops_utilization.map_or(String::new(), |u| format!("  {:.0} % of peak", 100.0 * u));
        let power = last.power_w.map_or(String::new(), |watts| format!("  {watts:.0} W"));
        lines.push(Line::from(format!(
            "{} tokens/s{utilization}  {:.1} GiB{power}  {} tokens done, {} left  {} in training",
            counted(last.tokens_per_s),
            last.memory_bytes as f64 / f64::from(1 << 30),
            counted(last.tokens as f64),
            counted(state.tokens_left() as f64),
            duration(last.wall_time_s)
        )));
    }
    if let Some(started) = &state.started {
        let left = started.flops_per_token * state.tokens_left() as f64;
        lines.push(Line::from(format!(
            "{} parameters on {} ({}); {left:.2e} training FLOPs left",
            counted(started.parameters as f64),
            started
                .about
                .gpus
                .first()
                .filter(|_| started.device.starts_with("cuda"))
                .map_or_else(|| started.device.clone(), |gpu| gpu.name.clone()),
            started.determinism.compute_dtype,
        )));
    }
    lines.push(match &around.gpu {
        Some(gpu) => Line::from(format!("GPU {gpu}")),
        None => Line::default(),
    });
    lines
}

fn draw_charts(frame: &mut Frame, state: &State, area: Rect) {
    let [left, right] = Layout::horizontal([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(area);
    let loss: Vec<(f64, f64)> = averaged(state, left.width, |i| state.steps[i].loss_nats);
    chart(frame, left, " training loss (nats/token) ", &loss, Color::Blue);
    let halves = Layout::vertical([Constraint::Percentage(50), Constraint::Percentage(50)]);
    let [above, below] = halves.areas(right);
    let validation: Vec<(f64, f64)> = state.validation.iter().map(|&(step, bits)| (step as f64, bits)).collect();
    chart(frame, above, " validation (bits/byte) ", &validation, Color::Yellow);
    let speed = averaged(state, right.width, |i| state.steps[i].tokens_per_s);
    chart(frame, below, " tokens/s ", &speed, Color::Green);
}

/// Means over stretches of steps, two for each column of the screen.
fn averaged(state: &State, columns: u16, value: impl Fn(usize) -> f64) -> Vec<(f64, f64)> {
    let stretch = state.steps.len().div_ceil(2 * usize::from(columns).max(1)).max(1);
    let indices: Vec<usize> = (0..state.steps.len()).collect();
    let mean = |part: &[usize]| {
        let known: Vec<f64> = part.iter().map(|i| value(*i)).filter(|v| v.is_finite()).collect();
        let last = state.steps[*part.last()?].step as f64;
        (!known.is_empty()).then(|| (last, known.iter().sum::<f64>() / known.len() as f64))
    };
    indices.chunks(stretch).filter_map(mean).collect()
}

fn chart(frame: &mut Frame, area: Rect, title: &'static str, points: &[(f64, f64)], color: Color) {
    let block = Block::bordered().title(title);
    let finite: Vec<(f64, f64)> = points.iter().copied().filter(|p| p.1.is_finite()).collect();
    let Some(&(last, now)) = finite.last() else {
        frame.render_widget(Paragraph::new("nothing yet").block(block), area);
        return;
    };
    let first = finite[0].0;
    let low = finite.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
    let high = finite.iter().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max);
    let margin = (0.05 * (high - low)).max(1e-9 + 1e-3 * high.abs());
    let (low, high) = (low - margin, high + margin);
    let data = Dataset::default()
        .marker(Marker::Braille)
        .graph_type(if finite.len() > 1 { GraphType::Line } else { GraphType::Scatter })
        .style(Style::new().fg(color))
        .data(&finite);
    let chart = Chart::new(vec![data])
        .block(block.title_bottom(format!(" now {} ", label(now))))
        .x_axis(
            Axis::default()
                .bounds([first, last.max(first + 1.0)])
                .labels([format!("{first:.0}"), format!("{last:.0}")]),
        )
        .y_axis(Axis::default().bounds([low, high]).labels(labels([low, (low + high) / 2.0, high])));
    frame.render_widget(chart, area);
}

fn label(value: f64) -> String {
    if value.abs() >= 1000.0 { counted(value) } else { format!("{value:.2}") }
}

/// Labels of one axis: under one prefix, with as many decimals as it takes to tell them apart.
fn labels(values: [f64; 3]) -> [String; 3] {
    let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let (power, prefix, fewest) = prefix(largest).map_or((1.0, "", 2), |(power, prefix)| (power, prefix, 1));
    let shown = |decimals| values.map(|value| format!("{:.decimals$}{prefix}", value / power));
    let is_told_apart = |[low, middle, high]: &[String; 3]| low != middle && middle != high;
    (fewest..9).map(shown).find(is_told_apart).unwrap_or_else(|| shown(9))
}

/// A count with a prefix: `41.2 k`.
fn counted(value: f64) -> String {
    match prefix(value) {
        Some((power, prefix)) => format!("{:.1}{prefix}", value / power),
        None => format!("{value:.0}"),
    }
}

fn prefix(value: f64) -> Option<(f64, &'static str)> {
    let prefixes = [(1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")];
    prefixes.into_iter().find(|(power, _)| value.abs() >= *power)
}

/// A time in its two largest units: `2 d 3 h`, `3 h 20 min`, `5 min 0 s`; of a few seconds one decimal.
pub fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{:.1} s", seconds.max(0.0));
    }
    let seconds = seconds as u64;
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// How long it goes on: `about 5 min 0 s left`.
pub fn left_in_words(left: Left) -> String {
    let time = duration(left.seconds);
    match left.untimed_evaluations {
        0 => format!("about {time} left"),
        1 => format!("about {time} left, plus one evaluation that takes an unknown time"),
        many => format!("about {time} left, plus {many} evaluations that take an unknown time"),
    }
}

/// The same in a few lines, for where there is no terminal.
pub fn summary(state: &State, around: &Surroundings) -> String {
    let open = &state.open;
    let (done, planned) = (state.last().map_or(0, |line| line.step), state.planned_steps());
    let mut lines = vec![
        format!("{} run {} (seed {}): {}", open.experiment, open.run, open.plan.seed, status(state, around)),
        match (&state.record, state.left()) {
            (None, Some(left)) => format!("step {done} of {planned}, {}", left_in_words(left)),
            _ => format!("step {done} of {planned}"),
        },
    ];
    let facts = fact_lines(state, around).into_iter().map(|line| line.to_string()).filter(|line| !line.is_empty());
    lines.extend(facts);
    lines.extend(state.events.last().map(|(at, what)| format!("{at} {what}")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::labels;

    #[test]
    fn labels_of_an_axis_differ_and_share_a_prefix() {
        assert_eq!(labels([1.85, 2.6, 3.35]), ["1.85", "2.60", "3.35"]);
        assert_eq!(labels([1.8501, 1.8503, 1.8505]), ["1.8501", "1.8503", "1.8505"]);
        assert_eq!(labels([990.0, 1005.0, 1020.0]), ["0.99 k", "1.00 k", "1.02 k"]);
        assert_eq!(labels([20_400.0, 20_500.0, 20_600.0]), ["20.4 k", "20.5 k", "20.6 k"]);
    }
}
