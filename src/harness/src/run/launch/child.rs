//! Watching over a process that speaks the trainer's contract, until it has ended.
//!
//! It is a child in a process group of its own, so that Ctrl-C reaches only the supervisor, which passes on the wish:
//! `stop` on the child's standard input at the first, a kill at a person's second.

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

/// Runs `command` to its end, handing each message on. An error of `on_message` (a full disk, say) kills it.
pub(super) fn supervise(
    command: &mut Command,
    start: &Start<'_>,
    interrupts: &Interrupts,
    on_message: &mut dyn FnMut(&Message) -> Result<(), RunError>,
) -> Result<Ended, RunError> {
    let begun = Instant::now();
    let program = Path::new(command.get_program()).to_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|source| RunError::Trainer { path: program.clone(), source })?;
    let mut input = child.stdin.take();
    let lines = read_lines(child.stdout.take().expect("standard output is piped"));
    let complaints = collect(child.stderr.take().expect("standard error is piped"));

    let (mut step, mut failure, mut closed, mut asked) = (0, None, false, false);
    let mut told = None;
    loop {
        if interrupts.is_forced() {
            drop(child.kill());
        } else if !asked && interrupts.is_asked() {
            asked = ask_to_stop(&mut input);
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
                        drop(child.kill());
                    }
                    Message::Step(line) => step = line.step,
                    Message::Finished(_) | Message::Stopped(_) => closed = true,
                    Message::Failed(f) => failure = Some(f.clone()),
                    _ => {}
                }
                if told.is_none()
                    && let Err(error) = on_message(&message)
                {
                    drop(child.kill());
                    told = Some(error);
                }
            }
            // Libraries may write to standard output; only what looks like a message has to be one.
            Err(error) if line.starts_with('{') => {
                failure = Some(contract_failure(&error, step));
                drop(child.kill());
            }
            Err(_) => {}
        }
    }
    let cpu_time_s = cpu_time_s(child.id());
    let status = wait(&mut child, interrupts).map_err(|e| FileError::new("wait for", &program, e))?;
    let complaints = complaints.join().unwrap_or_default();
    write_complaints(start, &complaints)?;
    if let Some(error) = told {
        return Err(error);
    }
    // A crash after the closing message is a crash all the same: what it closed with cannot be relied on.
    if failure.is_none() && !(closed && status.success()) {
        failure = Some(death(status.code(), status.signal(), step, &complaints));
    }
    Ok(Ended {
        exit_code: status.code(),
        signal: status.signal(),
        failure,
        wall_time_s: begun.elapsed().as_secs_f64(),
        cpu_time_s,
    })
}

/// Waits for a child that has closed its output, unless it is to be ended at once.
fn wait(child: &mut Child, interrupts: &Interrupts) -> std::io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if interrupts.is_forced() {
            drop(child.kill());
        }
        thread::sleep(Duration::from_millis(5));
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

fn write_complaints(start: &Start<'_>, text: &str) -> Result<(), RunError> {
    if text.is_empty() {
        return Ok(());
    }
    let text = environment::scrub(text, start.root);
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

fn death(exit_code: Option<i32>, signal: Option<i32>, step: u64, complaints: &str) -> Failure {
    let last = complaints.lines().rev().find(|line| !line.trim().is_empty());
    let said = last.map_or(String::new(), |line| format!("; its last output: {}", line.trim()));
    let (kind, message, hint) = match (signal, exit_code) {
        (Some(9), _) => {
            (KILLED, format!("the trainer was killed (signal 9) after step {step}{said}"), OUT_OF_MEMORY_HINT)
        }
        (Some(signal), _) => (
            "crashed",
            format!("the trainer was killed by signal {signal} after step {step}{said}"),
            "see trainer.log in the run folder; `--resume` continues the run",
        ),
        (None, code) => (
            "crashed",
            format!(
                "the trainer exited with code {} after step {step}, without a closing message{said}",
                code.unwrap_or(-1)
            ),
            "see trainer.log in the run folder",
        ),
    };
    Failure { kind: kind.to_owned(), message, hint: Some(hint.to_owned()), step }
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
