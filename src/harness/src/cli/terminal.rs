//! What the commands share on the terminal: errors, progress, tables.

use std::io::{self, IsTerminal, Write, stderr, stdout};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width};
use harness_core::contract::{Message, Unanswered};
use harness_core::scores::StepLine;
use harness_corpus::{Progress, Unit};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

use super::Failure;
use super::wrap::wrapped;
use crate::exit_code;
use crate::run::{Interrupts, RunError, Watcher, Workload, timed};
use crate::watch::view::left_in_words;
use harness_record::format::Open;

/// Prints an error: its lines, with `hint:` where it has one.
pub(super) fn complain(message: &str) {
    tell(&format!("error: {message}"));
}

/// Prints words to standard output. Whoever closes the pipe (`| head`) has read enough, and the program ends quietly; whatever
/// else keeps it from being written (a full disk, say) ends the program with a message.
pub(super) fn say(text: &str) {
    print(&format!("{}\n", wrapped(&plain(text), columns_of(&stdout()))));
}

/// Prints what another program or a file is to take over: line by line as it is, however narrow the terminal.
pub(super) fn say_exactly(text: &str) {
    print(&format!("{}\n", plain(text)));
}

/// How many columns a terminal has; of what is none there is no end.
fn columns_of(stream: &impl AsFd) -> usize {
    rustix::termios::tcgetwinsize(stream).map_or(usize::MAX, |size| match size.ws_col {
        0 => usize::MAX,
        columns => columns.into(),
    })
}

/// Prints an answer as JSON, its fields in the order in which they are declared.
pub(super) fn say_json(answer: &impl Serialize) {
    say_exactly(&serde_json::to_string_pretty(answer).expect("answers are plain data"));
}

/// Prints an answer as JSON where that is asked for, else in words.
pub(super) fn say_as(json: bool, answer: &impl Serialize, text: impl FnOnce() -> String) {
    if json { say_json(answer) } else { say(&text()) }
}

fn print(text: &str) {
    let mut out = stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        std::process::exit(lost_output(&error).into());
    }
}

/// Prints what clap answers by itself: help and version to standard output, what is wrong with a command line to standard
/// error. Gives the exit code.
pub(super) fn answer(answer: &clap::Error) -> u8 {
    let code = u8::try_from(answer.exit_code()).unwrap_or(exit_code::USAGE);
    match answer.print().and_then(|()| stdout().flush()) {
        Err(error) if !answer.use_stderr() => lost_output(&error),
        _ => code,
    }
}

/// The exit code where standard output could not be written.
fn lost_output(error: &io::Error) -> u8 {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return exit_code::SUCCESS;
    }
    complain(&format!("could not write to standard output: {error}"));
    exit_code::CONTRADICTION
}

/// Prints a line of progress to standard error.
pub(super) fn tell(text: &str) {
    let text = plain(text);
    let _ = stderr().write_all(format!("{}\n", wrapped(&text, columns_of(&stderr()))).as_bytes());
}

/// Whether somebody sits there who can answer.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && stderr().is_terminal()
}

/// Asks until the answer can be read; an empty one is none. Whoever ends the input wants to stop.
pub(super) fn ask<T>(question: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, Failure> {
    loop {
        let _ = stderr().write_all(format!("{}: ", plain(question)).as_bytes());
        let mut answer = String::new();
        let length = io::stdin().read_line(&mut answer);
        if length.map_err(|error| Failure::failed(format!("could not read the answer: {error}")))? == 0 {
            return Err(Failure { message: "stopped, nothing was made".to_owned(), exit_code: exit_code::INTERRUPTED });
        }
        match answer.trim() {
            "" => return Ok(None),
            text => match read(text) {
                Ok(value) => return Ok(Some(value)),
                Err(problem) => complain(&problem),
            },
        }
    }
}

/// Text of records and files as it may reach a terminal: without control characters and marks of direction, with
/// which a hostile record could erase or reorder what an audit says of it.
fn plain(text: &str) -> String {
    let harmful = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.trim_end_matches('\n').chars().map(|c| if harmful(c) { '\u{fffd}' } else { c }).collect()
}

/// A p-value as a cell of a table.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.001 { "<.001".to_owned() } else { format!("{p:.3}") }
}

/// Text of records and files as a part of one line: with the break of a line in it, a name could write lines of an audit.
pub(super) fn one_line(text: &str) -> String {
    text.replace(['\n', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'], "\u{fffd}")
}

/// A plain table: the first column left, all others right aligned.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    aligned(header, rows, CellAlignment::Right)
}

/// A plain table of words: all columns left aligned.
pub(super) fn columns(header: &[&str], rows: &[Vec<String>]) -> String {
    aligned(header, rows, CellAlignment::Left)
}

fn aligned(header: &[&str], rows: &[Vec<String>], others: CellAlignment) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(header.to_vec());
    table.add_rows(rows.iter().cloned());
    // No word is broken, and nothing of the first column, which may be a tree: what is still wider than the terminal stays so.
    let fewest = unbroken(header, rows).map(|letters| letters + 2);
    let width = u16::try_from(columns_of(&stdout())).unwrap_or(u16::MAX) - 1;
    if fewest.clone().sum::<u16>() <= width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        let bounds = fewest.map(|columns| ColumnConstraint::LowerBoundary(Width::Fixed(columns)));
        table.set_constraints(bounds);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_cell_alignment(if index == 0 { CellAlignment::Left } else { others });
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Letters of what is not broken in each column: the longest cell of the first, the longest word of the others.
fn unbroken(header: &[&str], rows: &[Vec<String>]) -> impl Iterator<Item = u16> + Clone {
    let mut most = vec![0; header.len()];
    let rows = rows.iter().map(|row| row.iter().map(String::as_str).collect());
    for row in std::iter::once(header.to_vec()).chain(rows) {
        for (column, (most, cell)) in most.iter_mut().zip(row).enumerate() {
            let letters = |text: &str| u16::try_from(text.chars().count()).unwrap_or(u16::MAX / 64);
            let words = cell.split(' ').map(letters).max().unwrap_or_default();
            *most = (if column == 0 { letters(cell) } else { words }).max(*most);
        }
    }
    most.into_iter()
}

/// The same as a Markdown table.
pub(super) fn markdown(header: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let escape = |cell: &str| cell.replace('|', "\\|");
    let mut lines = vec![line(header.iter().map(|h| escape(h)).collect())];
    lines.push(line(header.iter().map(|_| "---".to_owned()).collect()));
    lines.extend(rows.iter().map(|row| line(row.iter().map(|cell| escape(cell)).collect())));
    lines.join("\n")
}

/// How a piece of text stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shade {
    /// As all else.
    Plain,
    /// Green: what became better.
    Better,
    /// Red: what became worse.
    Worse,
}

/// Prints pieces of text as one line, in colours if that goes to a terminal that wants them (<https://no-color.org>).
pub(super) fn say_shaded(pieces: &[(String, Shade)]) {
    let coloured = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut line = String::new();
    for (text, shade) in pieces {
        match shade {
            Shade::Better if coloured => line.push_str(&format!("\u{1b}[32m{}\u{1b}[0m", plain(text))),
            Shade::Worse if coloured => line.push_str(&format!("\u{1b}[31m{}\u{1b}[0m", plain(text))),
            _ => line.push_str(&plain(text)),
        }
    }
    print(&format!("{line}\n"));
}

/// What a signal does now.
static PHASE: AtomicU8 = AtomicU8::new(ENDS);
/// It ends the program, as it would without us.
const ENDS: u8 = 0;
/// The same, but where it is the system's, by the exit code that says that the command can be given again.
const LEAVES: u8 = 1;
/// It is kept as a wish to stop.
const ASKS: u8 = 2;
/// The system's is put off, so that a run is sealed; a person's ends the program.
const WAITS: u8 = 3;
/// Whether the system's signal was put off.
static IS_PUT_OFF: AtomicBool = AtomicBool::new(false);

/// The wishes to stop of this process, which signals are from the first call on.
fn wishes() -> &'static Interrupts {
    static WISHES: OnceLock<Interrupts> = OnceLock::new();
    WISHES.get_or_init(|| {
        let wishes = Interrupts::default();
        for signal in [SIGINT, SIGHUP, SIGTERM, SIGUSR1] {
            let wishes = wishes.clone();
            let by_system = matches!(signal, SIGTERM | SIGUSR1);
            // SAFETY: the handler touches atomics, writes a constant to standard error, exits without cleaning up, or
            // restores the default and raises the signal again: all of it is async-signal-safe.
            let registered = unsafe {
                signal_hook::low_level::register(signal, move || {
                    let text: &[u8] = match (PHASE.load(Ordering::Relaxed), by_system) {
                        (ASKS, true) if wishes.ask_by_system(signal) => {
                            b"\nthe system asks to stop: stopping after this step and a checkpoint\n"
                        }
                        (ASKS, true) => return,
                        (ASKS, false) if wishes.ask_by_person() => b"\nkilling the trainer; the run will be sealed\n",
                        (ASKS, false) => b"\nstopping after this step and a checkpoint; press again to force it\n",
                        (WAITS, true) => return IS_PUT_OFF.store(true, Ordering::Relaxed),
                        (LEAVES, true) => signal_hook::low_level::exit(exit_code::STOPPED.into()),
                        _ => return drop(signal_hook::low_level::emulate_default_handler(signal)),
                    };
                    let _ = rustix::io::write(rustix::stdio::stderr(), text);
                })
            };
            registered.expect("these signals can be caught");
        }
        wishes
    })
}

/// From now on a signal of the system ends the program by the exit code that says that the command can be given again.
pub(super) fn leave_when_system_asks() {
    wishes();
    PHASE.store(LEAVES, Ordering::Relaxed);
}

/// Keeps Ctrl-C, hang-up and the system's signals in what it gives back, until [`stop_counting`].
pub(super) fn count_interrupts() -> Interrupts {
    wishes().reset();
    PHASE.store(ASKS, Ordering::Relaxed);
    wishes().clone()
}

/// From now on a wish to stop ends the program again.
pub(super) fn stop_counting() {
    PHASE.store(ENDS, Ordering::Relaxed);
}

/// How often a stage says where it is when it has no terminal to draw on.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Draws progress: bars on a terminal, lines now and then elsewhere.
pub(super) struct Screen {
    interactive: bool,
    bar: Option<ProgressBar>,
    stage: String,
    /// Units of the stage: all, as far as that is known, and those that are done.
    total: Option<u64>,
    done: u64,
    /// What the run is to do, its rows so far, and the steps and seconds of its evaluations.
    workload: Workload,
    rows: Vec<StepLine>,
    evaluations: Vec<(u64, f64)>,
    begun: Instant,
    last_line: Instant,
}

impl Screen {
    /// Draws on standard error.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let interactive = stderr().is_terminal();
        Screen {
            interactive,
            bar: None,
            stage: String::new(),
            total: None,
            done: 0,
            workload: Workload::default(),
            rows: Vec::new(),
            evaluations: Vec::new(),
            begun: now,
            last_line: now,
        }
    }

    fn line(&mut self, text: &str) {
        match &self.bar {
            Some(bar) if self.interactive => bar.suspend(|| tell(text)),
            _ => tell(text),
        }
    }

    fn close(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn open_bar(&mut self, total: Option<u64>, template: &str) {
        self.close();
        if !self.interactive {
            return;
        }
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        self.bar = Some(bar);
    }
}

impl Progress for Screen {
    fn begin(&mut self, stage: &str, total: Option<u64>, unit: Unit) {
        self.stage = stage.to_owned();
        (self.total, self.done, self.begun, self.last_line) = (total, 0, Instant::now(), Instant::now());
        let counted = match (unit, total) {
            (_, None) => "{spinner} {msg}",
            (Unit::Bytes, _) => "{msg} [{bar:30}] {bytes}/{total_bytes} eta {eta}",
            _ => "{msg} [{bar:30}] {pos}/{len} eta {eta}",
        };
        self.open_bar(total, counted);
        match &self.bar {
            Some(bar) => bar.set_message(stage.to_owned()),
            None => tell(stage),
        }
    }

    fn advance(&mut self, count: u64) {
        self.done += count;
        match (&self.bar, self.total) {
            (Some(bar), _) => bar.inc(count),
            (None, Some(total)) if self.last_line.elapsed() >= BETWEEN_LINES && self.done > 0 => {
                self.last_line = Instant::now();
                let share = (self.done as f64 / total.max(1) as f64).min(1.0);
                let left = self.begun.elapsed().as_secs_f64() * (1.0 / share - 1.0);
                tell(&format!("{}: {:.0} %, about {left:.0} s left", self.stage, 100.0 * share));
            }
            (None, _) => {}
        }
    }

    fn end(&mut self) {
        self.close();
    }

    fn note(&mut self, message: &str) {
        self.line(message);
    }
}

impl Watcher for Screen {
    fn progress(&mut self) -> &mut dyn Progress {
        self
    }

    fn opened(&mut self, open: &Open, workload: &Workload) -> Result<Interrupts, RunError> {
        self.close();
        tell(&format!(
            "run {} of {} at commit {}",
            open.run,
            open.experiment,
            open.code.commit.get(..12).unwrap_or("")
        ));
        if let Some(reason) = &open.not_citable_because {
            tell(&format!("the paper cannot cite this run: {reason}"));
        }
        (self.workload, self.rows, self.evaluations) = (workload.clone(), Vec::new(), Vec::new());
        if IS_PUT_OFF.load(Ordering::Relaxed) {
            std::process::exit(exit_code::STOPPED.into());
        }
        self.open_bar(Some(workload.steps), "step {pos}/{len} [{bar:25}] {msg}");
        Ok(count_interrupts())
    }

    fn closed(&mut self) {
        self.close();
        PHASE.store(WAITS, Ordering::Relaxed);
    }

    fn message(&mut self, message: &Message) {
        match message {
            Message::Started(started) => {
                let (dtype, threads) = (&started.determinism.compute_dtype, started.determinism.intra_op_threads);
                let ranks = started.ranks.as_ref().map_or(String::new(), |ranks| {
                    format!(" in {} processes over {}", ranks.each.len(), ranks.backend)
                });
                let text = format!(
                    "training {} parameters on {}{ranks} ({dtype}, {threads} threads)",
                    started.parameters, started.device
                );
                self.line(&text);
            }
            Message::Step(line) => {
                self.rows.push(line.clone());
                let is_due = self.last_line.elapsed() >= Duration::from_secs(5) || line.step == self.workload.steps;
                if self.bar.is_none() && !is_due {
                    return;
                }
                let left = self.workload.left(&self.rows, &self.evaluations).map(left_in_words);
                let left = left.map_or(String::new(), |left| format!(", {left}"));
                let text = format!("loss {:.3} nats/token, {:.0} tokens/s{left}", line.loss_nats, line.tokens_per_s);
                match &self.bar {
                    Some(bar) => {
                        bar.set_position(line.step);
                        bar.set_message(text);
                    }
                    None => {
                        self.last_line = Instant::now();
                        tell(&format!("step {}/{}: {text}", line.step, self.workload.steps));
                    }
                }
            }
            Message::Skipped(skipped) => {
                let (step, what, value) = (skipped.step, &skipped.what, &skipped.value);
                self.line(&format!("step {step}: skipped, its {what} is {value}; {}", skipped.diagnosis));
            }
            Message::TensorNorms { .. } | Message::Activations { .. } => {}
            Message::Evaluation(evaluation) => {
                self.evaluations.push(timed(evaluation));
                let (count, seconds) = (evaluation.files.len(), evaluation.wall_time_s);
                let left_out = left_out(&evaluation.unanswered);
                self.line(&format!("step {}: evaluated ({count} files, {seconds:.1} s){left_out}", evaluation.step));
            }
            Message::Checkpoint(checkpoint) => {
                let size = checkpoint.file.size_bytes as f64 / f64::from(1 << 20);
                self.line(&format!("step {}: checkpoint ({size:.1} MiB)", checkpoint.step));
            }
            Message::Finished(_) | Message::Stopped(_) | Message::Failed(_) => self.close(),
        }
    }
}

/// What an evaluation could not score as it was asked, over all its files.
fn left_out(unanswered: &[Unanswered]) -> String {
    let sum = |of: fn(&Unanswered) -> u64| unanswered.iter().map(of).sum::<u64>();
    let counts = [
        (sum(|file| file.not_finite), "rows are not finite"),
        (sum(|file| file.too_long), "choices are longer than the context, so they are not scored"),
        (sum(|file| file.context_cut), "contexts are cut from the left"),
    ];
    counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("; {count} {what}")).collect()
}

#[cfg(test)]
mod tests {
    use harness_core::contract::Unanswered;

    use super::{left_out, plain};

    #[test]
    fn what_was_not_scored_is_said() {
        let file = |too_long, context_cut| Unanswered { rows: 9, too_long, context_cut, ..Unanswered::default() };
        let said = left_out(&[file(2, 0), file(1, 4)]);
        assert_eq!(
            said,
            "; 3 choices are longer than the context, so they are not scored; 4 contexts are cut from the left"
        );
        assert_eq!(left_out(&[]), "");
    }

    #[test]
    fn records_cannot_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[2K\rb\u{202e}c\nd\te\n"), "a\u{fffd}[2K\u{fffd}b\u{fffd}c\nd\te");
    }
}
