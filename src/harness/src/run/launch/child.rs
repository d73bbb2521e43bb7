//! Watching over a process that speaks the trainer's contract, and over those that share its job, until all have ended.
//!
//! Each is a child in a process group of its own, so that Ctrl-C reaches only the supervisor, which passes on the wish:
//! `stop` on the standard input of rank 0 at the first, a kill of all at a person's second.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use harness_core::contract::{self, Failure, Message};
use harness_core::files::{self, FileError};
use harness_record::environment;
use harness_record::format::file;

use super::{Ended, Interrupts, Start};
use crate::run::error::RunError;

/// How long the other ranks have to end by themselves once one of them has ended: whoever loses one may say so.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs `commands` to their end, rank 0 and those that share its job, handing on each message of rank 0. The end of one ends
/// all; so does an error of `on_message` (a full disk, say).
pub(super) fn supervise(
    commands: &mut [Command],
    start: &Start<'_>,
    interrupts: &Interrupts,
    on_message: &mut dyn FnMut(&Message) -> Result<(), RunError>,
) -> Result<Ended, RunError> {
    let begun = Instant::now();
    let program = Path::new(commands[0].get_program()).to_owned();
    let mut ranks = Ranks(Vec::new());
    for (rank, command) in commands.iter_mut().enumerate() {
        let (input, output) = if rank == 0 { (Stdio::piped(), Stdio::piped()) } else { (Stdio::null(), Stdio::null()) };
        command.stdin(input).stdout(output).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(|source| RunError::Trainer { path: program.clone(), source })?;
        let complaints = collect(child.stderr.take().expect("standard error is piped"));
        ranks.0.push(Rank { child, complaints: Some(complaints), cpu_time_s: 0.0, ended: None, is_killed: false });
    }
    let first = &mut ranks.0[0].child;
    let mut input = first.stdin.take();
    let lines = read_lines(first.stdout.take().expect("standard output is piped"));

    let (mut step, mut failure, mut closed, mut asked) = (0, None, false, false);
    let (mut told, mut lost) = (None, None);
    loop {
        if interrupts.is_forced() {
            ranks.kill();
        } else if !asked && interrupts.is_asked() {
            asked = ask_to_stop(&mut input);
        }
        // The end of the only one shows at once, as the end of its output.
        if ranks.0.len() > 1 {
            lost = lost.or_else(|| ranks.lost().map(|rank| (rank, Instant::now())));
        }
        if lost.as_ref().is_some_and(|(_, since)| since.elapsed() > LAST_WORDS) {
            ranks.kill();
        }
        let line = match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        match serde_json::from_str::<Message>(&line) {
            Ok(message) => {
                match &message {
                    Message::Started(s) if s.version != contract::VERSION => {
                        failure = Some(version_failure(s.version));
                        ranks.kill();
                    }
                    Message::Step(line) => step = line.step,
                    Message::Finished(_) | Message::Stopped(_) => closed = true,
                    Message::Failed(f) => failure = Some(f.clone()),
                    _ => {}
                }
                if told.is_none()
                    && let Err(error) = on_message(&message)
                {
                    ranks.kill();
                    told = Some(error);
                }
            }
            // Libraries may write to standard output; only what looks like a message has to be one.
            Err(error) if line.starts_with('{') => {
                failure = Some(contract_failure(&error, step));
                ranks.kill();
            }
            Err(_) => {}
        }
    }
    ranks.wait(interrupts).map_err(|e| FileError::new("wait for", &program, e))?;
    let complaints: Vec<String> = ranks.0.iter_mut().map(Rank::complaints).collect();
    write_complaints(start, &complaints)?;
    if let Some(error) = told {
        return Err(error);
    }
    let status = ranks.0[0].ended.expect("it was waited for");
    // A crash after the closing message is a crash all the same: what it closed with cannot be relied on.
    if failure.is_none() && !(closed && status.success()) {
        failure = Some(death("the trainer", status, step, &complaints[0]));
    }
    // Who lost another rank knows less of it than that one.
    let knows_less = failure.as_ref().is_none_or(|failure| failure.kind == RANK) || ranks.0[0].is_killed;
    let lost = lost.map(|(rank, _)| rank).or_else(|| ranks.lost());
    if let (Some(rank), true) = (lost.filter(|&rank| rank > 0), knows_less) {
        let status = ranks.0[rank].ended.expect("it was waited for");
        failure = Some(death_of_rank(rank, status, step, &complaints[rank]));
    }
    Ok(Ended {
        exit_code: status.code(),
        signal: status.signal(),
        failure,
        wall_time_s: begun.elapsed().as_secs_f64(),
        cpu_time_s: ranks.0.iter().map(|rank| rank.cpu_time_s).sum(),
    })
}

/// A process of those that share a job.
struct Rank {
    child: Child,
    complaints: Option<thread::JoinHandle<String>>,
    /// As last seen.
    cpu_time_s: f64,
    ended: Option<ExitStatus>,
    /// By the supervisor.
    is_killed: bool,
}

impl Rank {
    /// Looks whether it has ended.
    fn look(&mut self) -> std::io::Result<bool> {
        if self.ended.is_none() {
            self.cpu_time_s = cpu_time_s(self.child.id()).max(self.cpu_time_s);
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended.is_some())
    }

    fn kill(&mut self) {
        if !self.look().unwrap_or(false) {
            self.is_killed = true;
            drop(self.child.kill());
        }
    }

    /// What it wrote for people, once it has ended.
    fn complaints(&mut self) -> String {
        self.complaints.take().and_then(|reader| reader.join().ok()).unwrap_or_default()
    }

    /// Whether it was the end of the others, too: it ended otherwise than in order, and nobody before it.
    fn is_to_blame(&self) -> bool {
        let for_others = i32::from(contract::exit_code::RANK_LOST);
        self.ended.is_some_and(|status| !status.success() && status.code() != Some(for_others)) && !self.is_killed
    }
}

/// All of them; none outlives this.
struct Ranks(Vec<Rank>);

impl Ranks {
    fn kill(&mut self) {
        self.0.iter_mut().for_each(Rank::kill);
    }

    /// The first that has ended and is to blame.
    fn lost(&mut self) -> Option<usize> {
        self.0.iter_mut().for_each(|rank| drop(rank.look()));
        self.0.iter().position(Rank::is_to_blame)
    }

    /// Waits for all, after rank 0 has closed its output; a wish to end at once kills them, and so does an end of rank 0 that
    /// they do not follow.
    fn wait(&mut self, interrupts: &Interrupts) -> std::io::Result<()> {
        let mut since = None;
        loop {
            let mut all = true;
            for rank in &mut self.0 {
                all &= rank.look()?;
            }
            if all {
                return Ok(());
            }
            if self.0[0].ended.is_some() {
                since.get_or_insert_with(Instant::now);
            }
            if interrupts.is_forced() || since.is_some_and(|since| since.elapsed() > LAST_WORDS) {
                self.kill();
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        for rank in self.0.iter_mut().filter(|rank| rank.ended.is_none()) {
            drop(rank.child.kill());
            drop(rank.child.wait());
        }
    }
}

fn ask_to_stop(input: &mut Option<ChildStdin>) -> bool {
    if let Some(pipe) = input {
        let _ = pipe.write_all(b"stop\n").and_then(|()| pipe.flush());
    }
    true
}

fn read_lines(output: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(output);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

/// Reads to the end, and keeps the beginning and the end of what is long: there is what was wrong first, and last.
fn collect(mut output: impl std::io::Read + Send + 'static) -> thread::JoinHandle<String> {
    const HALF_BYTES: usize = 1 << 19;
    thread::spawn(move || {
        let (mut first, mut last, mut left_out, mut buffer) = (Vec::new(), VecDeque::new(), 0, [0u8; 8192]);
        while let Ok(read @ 1..) = output.read(&mut buffer) {
            let room = read.min(HALF_BYTES - first.len());
            first.extend_from_slice(&buffer[..room]);
            last.extend(&buffer[room..read]);
            let surplus = last.len().saturating_sub(HALF_BYTES);
            last.drain(..surplus);
            left_out += surplus;
        }
        let gap = if left_out == 0 { String::new() } else { format!("\n[{left_out} bytes left out]\n") };
        String::from_utf8_lossy(&first).into_owned() + &gap + &String::from_utf8_lossy(last.make_contiguous())
    })
}

/// Lines of ranks after the first say whose they are.
fn write_complaints(start: &Start<'_>, complaints: &[String]) -> Result<(), RunError> {
    let others = (1..).zip(&complaints[1..]).flat_map(|(rank, text): (usize, &String)| {
        text.lines().map(move |line| format!("[rank {rank}] {line}\n")).collect::<Vec<_>>()
    });
    let text = complaints[0].clone() + &others.collect::<String>();
    if text.is_empty() {
        return Ok(());
    }
    let text = environment::scrub(&text, start.root);
    Ok(files::write(&start.folder.join(file::TRAINER_OUTPUT), text.as_bytes())?)
}

/// User and system seconds of a process, which Linux still tells of one that has ended but was not waited for.
fn cpu_time_s(pid: u32) -> f64 {
    let stat = files::read_to_string(Path::new(&format!("/proc/{pid}/stat"))).unwrap_or_default();
    // Fields 14 and 15 of proc(5), counted after the program's name, which may hold blanks.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).filter_map(|t| t.parse().ok()).collect();
    ticks.iter().sum::<f64>() / rustix::param::clock_ticks_per_second() as f64
}

fn version_failure(found: u32) -> Failure {
    Failure {
        kind: "contract".to_owned(),
        message: format!("the trainer speaks version {found} of the contract, harness speaks {}", contract::VERSION),
        hint: Some(format!("build both programs from the same commit: `{}`", harness_build::MAKE)),
        step: 0,
    }
}

fn contract_failure(error: &serde_json::Error, step: u64) -> Failure {
    Failure {
        kind: "contract".to_owned(),
        message: format!("the trainer wrote a message that harness cannot read: {error}"),
        hint: Some(format!("build both programs from the same commit: `{}`", harness_build::MAKE)),
        step,
    }
}

/// The kind of failure of a trainer that was ended by signal 9.
pub(super) const KILLED: &str = "killed";
/// The system ends a process by the same signal when its memory is full.
const OUT_OF_MEMORY_HINT: &str = "`--resume` continues the run; if nobody killed it, the system ran out of memory: free \
                                  some first, or start a new run with a smaller `training.micro_batch_size`";

/// The kind of failure of a run that lost a rank, and of one whose lost rank said why.
const RANK: &str = "rank";
const RANK_FAILED: &str = "rank_failed";

fn death(who: &str, status: ExitStatus, step: u64, complaints: &str) -> Failure {
    let last = complaints.lines().rev().find(|line| !line.trim().is_empty());
    let said = last.map_or(String::new(), |line| format!("; its last output: {}", line.trim()));
    let (kind, message, hint) = match (status.signal(), status.code()) {
        (Some(9), _) => (KILLED, format!("{who} was killed (signal 9) after step {step}{said}"), OUT_OF_MEMORY_HINT),
        (Some(signal), _) => (
            "crashed",
            format!("{who} was killed by signal {signal} after step {step}{said}"),
            "see trainer.log in the run folder; `--resume` continues the run",
        ),
        (None, code) => (
            "crashed",
            format!("{who} exited with code {} after step {step}, without a closing message{said}", code.unwrap_or(-1)),
            "see trainer.log in the run folder",
        ),
    };
    Failure { kind: kind.to_owned(), message, hint: Some(hint.to_owned()), step }
}

/// Why a rank after the first has ended: what it said itself, where it could.
fn death_of_rank(rank: usize, status: ExitStatus, step: u64, complaints: &str) -> Failure {
    let after = |sign: &str| complaints.lines().rev().find_map(|line| line.strip_prefix(sign));
    match after("error: ") {
        Some(problem) if status.code().is_some() => Failure {
            kind: RANK_FAILED.to_owned(),
            message: format!("rank {rank}: {problem}"),
            hint: after("hint: ").map(str::to_owned),
            step,
        },
        _ => death(&format!("rank {rank}"), status, step, complaints),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_complaint_the_beginning_and_the_end_are_kept() {
        let short = "a warning\nthe last words\n";
        assert_eq!(collect(short.as_bytes()).join().unwrap(), short);
        let long = format!("first\n{}last words\n", "the same warning\n".repeat(200_000));
        let length = long.len();
        let kept = collect(std::io::Cursor::new(long)).join().unwrap();
        assert!(kept.starts_with("first\n") && kept.ends_with("the same warning\nlast words\n"));
        assert!(kept.contains(&format!("[{} bytes left out]", length - (1 << 20))), "{}", kept.len());
    }
}
