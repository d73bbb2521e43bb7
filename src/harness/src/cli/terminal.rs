//! What the commands share on the terminal: errors, progress, tables.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use harness_core::contract::Message;
use harness_corpus::{Progress, Unit};
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::record::format::Open;
use crate::run::{Interrupts, Watcher};

/// Prints an error: its lines, with `hint:` where it has one.
pub fn complain(message: &str) {
    let mut lines = message.lines();
    let mut text = format!("error: {}\n", lines.next().unwrap_or_default());
    lines.for_each(|line| text.push_str(&format!("{line}\n")));
    let _ = stderr().write_all(text.as_bytes());
}

/// Prints to standard output; a closed pipe (`| head`) ends the program quietly.
pub fn say(text: &str) {
    let mut out = stdout();
    if out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).is_err() {
        std::process::exit(0);
    }
}

/// Prints a line of progress to standard error.
pub fn tell(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

/// A plain table: the first column left, all others right aligned.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(header.to_vec());
    table.add_rows(rows.iter().cloned());
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_cell_alignment(if index == 0 { CellAlignment::Left } else { CellAlignment::Right });
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Counts Ctrl-C, hang-up and termination from now on instead of dying from them. Call once.
pub fn watch_interrupts() -> Interrupts {
    let count: Interrupts = Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let counter = Arc::clone(&count);
        // SAFETY: the handler adds to an atomic and writes one constant to standard error, both of which are
        // async-signal-safe.
        let registered = unsafe {
            signal_hook::low_level::register(signal, move || {
                let before = counter.fetch_add(1, Ordering::Relaxed);
                let text: &[u8] = if before == 0 {
                    b"\nstopping after this step and a checkpoint; once more to force it\n"
                } else {
                    b"\nkilling the trainer; the record will be sealed\n"
                };
                let _ = rustix::io::write(rustix::stdio::stderr(), text);
            })
        };
        registered.expect("these signals can be caught");
    }
    count
}

/// Draws progress: bars on a terminal, lines now and then elsewhere.
pub struct Screen {
    interactive: bool,
    bar: Option<ProgressBar>,
    stage: String,
    steps: u64,
    begun: Instant,
    last_line: Instant,
}

impl Screen {
    /// Draws on standard error.
    pub fn new() -> Self {
        let now = Instant::now();
        let interactive = stderr().is_terminal();
        Screen { interactive, bar: None, stage: String::new(), steps: 0, begun: now, last_line: now }
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
        if let Some(bar) = &self.bar {
            bar.inc(count);
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

    fn opened(&mut self, open: &Open, steps: u64) {
        self.close();
        tell(&format!(
            "run {} of {} at commit {}",
            open.run,
            open.experiment,
            open.code.commit.get(..12).unwrap_or("")
        ));
        (self.steps, self.begun) = (steps, Instant::now());
        self.open_bar(Some(steps), "step {pos}/{len} [{bar:25}] {msg} eta {eta}");
    }

    fn message(&mut self, message: &Message) {
        match message {
            Message::Started(started) => {
                let text = format!(
                    "training {} parameters on {} ({}, {} threads)",
                    started.parameters,
                    started.device,
                    started.determinism.compute_dtype,
                    started.determinism.intra_op_threads
                );
                self.line(&text);
            }
            Message::Step(line) => {
                let text = format!("loss {:.3} nats/token, {:.0} tokens/s", line.loss_nats, line.tokens_per_s);
                match &self.bar {
                    Some(bar) => {
                        bar.set_position(line.step);
                        bar.set_message(text);
                    }
                    None if self.last_line.elapsed() >= Duration::from_secs(5) || line.step == self.steps => {
                        self.last_line = Instant::now();
                        let share = line.step as f64 / self.steps.max(1) as f64;
                        let left = self.begun.elapsed().as_secs_f64() * (1.0 / share - 1.0);
                        tell(&format!("step {}/{}: {text}, about {left:.0} s left", line.step, self.steps));
                    }
                    None => {}
                }
            }
            Message::Evaluation(evaluation) => {
                let count = evaluation.files.len();
                self.line(&format!(
                    "step {}: evaluated ({count} files, {:.1} s)",
                    evaluation.step, evaluation.wall_time_s
                ));
            }
            Message::Checkpoint(checkpoint) => {
                let size = checkpoint.file.size_bytes as f64 / f64::from(1 << 20);
                self.line(&format!("step {}: checkpoint ({size:.1} MiB)", checkpoint.step));
            }
            Message::Finished(_) | Message::Stopped(_) | Message::Failed(_) => self.close(),
        }
    }
}
