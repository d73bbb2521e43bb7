//! The program: arguments in, exit code out. The contract with the parent is in [`harness_core::contract`].

use std::os::unix::process::CommandExt;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness_build::BUILD;
use harness_core::config::Device;
use harness_core::contract::{Failure, GeneratedSample, Job, Message, VERSION, exit_code};
use harness_core::files;
use harness_trainer::error::Error;
use harness_trainer::messages::{Outside, Parent};
use harness_trainer::native::collectives::Meeting;
use harness_trainer::ranks::{self, Ranks};
use harness_trainer::{device, generate, native, train};
use serde::{Deserialize, Serialize};

/// How long ranks that were started together wait for each other's beginning.
const START: Duration = Duration::from_secs(5 * 60);
/// How long one that has no job yet waits for rank 0, which may have to make data ready first.
const PREPARATION: Duration = Duration::from_secs(60 * 60);

const HELP: &str = "\
Trains and evaluates language models for `harness`, which is the program for people.

Usage: harness-trainer run JOB.json   run a job: messages as JSON lines on standard output;
                                      a line `stop`, the end of standard input, SIGINT, SIGTERM or
                                      SIGUSR1 ends it in order, with a checkpoint after the step
       harness-trainer join           be a rank that takes its jobs from rank 0
       harness-trainer dismiss        as rank 0: there is no job, and those that wait for one end
       harness-trainer generate       continue token ids: a job as JSON on standard input, a sample a line out
       harness-trainer about          describe the program, libtorch and the GPUs as JSON
       harness-trainer --version
       harness-trainer --help

Started with RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT (as torchrun sets them), or by `srun` with several
tasks, it is one rank of those that train together; rank 0 alone writes messages and files, the others end on SIGTERM.

Exit codes: 0 finished or stopped on request, 1 failed, 2 wrong arguments or an unusable job, 3 another rank was lost.";

fn main() -> ExitCode {
    let environment = |name: &str| std::env::var(name).ok();
    let meeting = ranks::meeting(&environment);
    if let (Ok(Some(_)), Some(gpu)) = (&meeting, ranks::visible_gpu(&environment)) {
        // SAFETY: no other thread has begun.
        unsafe { std::env::set_var("CUDA_VISIBLE_DEVICES", gpu) };
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    ExitCode::from(match words.as_slice() {
        ["run", job] => run(meeting, Some(Path::new(job))),
        ["join"] => run(meeting, None),
        ["dismiss"] => dismiss(meeting),
        ["about"] => about(),
        ["generate"] => generate(),
        ["--version" | "-V"] => {
            println!("harness-trainer {} (contract {VERSION})", BUILD.version);
            exit_code::SUCCESS
        }
        ["--help" | "-h"] => {
            println!("{HELP}");
            exit_code::SUCCESS
        }
        _ => {
            eprintln!(
                "error: expected `run JOB.json`, `join`, `dismiss`, `generate` or `about`\nhint: `harness-trainer --help` says more"
            );
            exit_code::USAGE
        }
    })
}

/// Runs the job of a file, or those of rank 0.
fn run(meeting: Result<Option<Meeting>, Error>, path: Option<&Path>) -> u8 {
    let is_first = meeting.as_ref().is_ok_and(|meeting| meeting.as_ref().is_none_or(|meeting| meeting.rank == 0));
    let parent = if is_first { Parent::listen() } else { Parent::mute() };
    let steps_done = Arc::new(AtomicU64::new(0));
    let on_lost = {
        let (parent, steps_done) = (parent.clone(), Arc::clone(&steps_done));
        move |problem: &str| {
            let failure = Error::Rank(problem.to_owned()).to_failure(steps_done.load(Ordering::Relaxed));
            complain(&failure);
            parent.send(&Message::Failed(failure));
            // What waits for the lost rank would hold up an exit in order.
            native::exit_at_once(exit_code::RANK_LOST)
        }
    };
    // The message of a panic goes to the parent as a failure, not to the terminal.
    panic::set_hook(Box::new(|_| {}));
    let (mut follows, mut watch) = (false, None);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        let Some((job, mut ranks, another)) = meet(meeting?, path)? else { return Ok(None) };
        follows = another;
        watch = ranks.watch(on_lost)?;
        train::run(&job, ranks, &parent, &steps_done).map(Some)
    }));
    let error = match outcome {
        Ok(Ok(None)) => return exit_code::SUCCESS,
        Ok(Ok(Some(closing))) => {
            watch.iter().for_each(|watch| watch.end(None));
            parent.send(&closing);
            if follows && matches!(closing, Message::Finished(_)) {
                eprintln!("error: the next job cannot be joined: {}", join_next());
                return exit_code::FAILED;
            }
            return exit_code::SUCCESS;
        }
        Ok(Err(error)) => error,
        Err(payload) => Error::from_panic(payload),
    };
    let failure = error.to_failure(steps_done.load(Ordering::Relaxed));
    watch.iter().for_each(|watch| watch.end(Some(&failure.message)));
    complain(&failure);
    let code = match failure.kind.as_str() {
        "job" => exit_code::USAGE,
        "rank" => exit_code::RANK_LOST,
        _ => exit_code::FAILED,
    };
    parent.send(&Message::Failed(failure));
    code
}

fn complain(failure: &Failure) {
    eprintln!("error: {}", failure.message);
    failure.hint.iter().for_each(|hint| eprintln!("hint: {hint}"));
}

/// Tells the ranks that wait for a job that there is none.
fn dismiss(meeting: Result<Option<Meeting>, Error>) -> u8 {
    let told = Told { job: None, follows: false };
    let dismissed = meeting.and_then(|meeting| {
        let Some(meeting) = meeting else { return Ok(()) };
        let ranks = Ranks::join(&meeting, START)?;
        ranks.post("job", &serde_json::to_string(&told).expect("plain values are JSON"))?;
        ranks.leave()
    });
    match dismissed {
        Ok(()) => exit_code::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.to_failure(0).message);
            exit_code::FAILED
        }
    }
}

/// What rank 0 tells ranks that have no file of the job.
#[derive(Serialize, Deserialize)]
struct Told {
    /// None where there is none.
    job: Option<String>,
    /// When it has finished, another one follows.
    follows: bool,
}

/// The job, the ranks that run it, and whether this process is to join in another one afterwards; nothing where rank 0 has no
/// job. One that waits for it ends when it is told to.
fn meet(meeting: Option<Meeting>, path: Option<&Path>) -> Result<Option<(Job, Ranks, bool)>, Error> {
    let Some(path) = path else {
        let meeting = meeting.filter(|meeting| meeting.rank > 0).ok_or_else(|| Error::Job {
            problem: "`join` is for ranks after the first of those that are started together".to_owned(),
            hint: Some("run the job by `harness-trainer run JOB.json`".to_owned()),
        })?;
        let begun = Instant::now();
        native::end_on_stop_signal(true);
        let (ranks, told) = loop {
            let found = Ranks::join(&meeting, PREPARATION).and_then(|ranks| Ok((ranks.take("job")?, ranks)));
            match found {
                Ok((told, ranks)) => break (ranks, told),
                // The store of the job before this one goes away while somebody asks it.
                Err(Error::Rank(_)) if begun.elapsed() < PREPARATION => thread::sleep(Duration::from_millis(200)),
                Err(error) => return Err(error),
            }
        };
        native::end_on_stop_signal(false);
        let unreadable = |e| Error::Job { problem: format!("what rank 0 tells is unreadable: {e}"), hint: None };
        let told: Told = serde_json::from_str(&told).map_err(unreadable)?;
        let Some(job) = told.job else {
            ranks.leave()?;
            return Ok(None);
        };
        return Ok(Some((parse_job(&job, "the job of rank 0")?, ranks, told.follows)));
    };
    let text = files::read_to_string(path).map_err(|e| Error::Job { problem: e.to_string(), hint: None })?;
    let job = parse_job(&text, &format!("`{}`", path.display()))?;
    let Some(meeting) = meeting else { return Ok(Some((job, Ranks::alone(), false))) };
    let ranks = Ranks::join(&meeting, START)?;
    if ranks.is_first() {
        let told = Told { job: Some(text), follows: std::env::var_os("HARNESS_FOLLOWS").is_some() };
        ranks.post("job", &serde_json::to_string(&told).expect("plain values are JSON"))?;
    }
    Ok(Some((job, ranks, false)))
}

/// Becomes a fresh process for the next job. Gives the error if it cannot.
fn join_next() -> std::io::Error {
    let number = std::env::var("HARNESS_JOB").ok().and_then(|number| number.parse().ok()).unwrap_or(0u32);
    let program = std::env::current_exe().unwrap_or_else(|_| "harness-trainer".into());
    Command::new(program).arg("join").env("HARNESS_JOB", (number + 1).to_string()).exec()
}

fn parse_job(text: &str, name: &str) -> Result<Job, Error> {
    // The version first: a job of another version may well have other fields.
    let version = serde_json::from_str::<serde_json::Value>(text).ok().and_then(|v| v.get("version")?.as_u64());
    if let Some(version) = version.filter(|&version| version != u64::from(VERSION)) {
        return Err(Error::wrong_version(version));
    }
    serde_json::from_str(text).map_err(|e| Error::Job { problem: format!("{name} is not a job: {e}"), hint: None })
}

fn generate() -> u8 {
    let job = std::io::read_to_string(std::io::stdin()).map_err(|e| e.to_string());
    let job = job.and_then(|text| serde_json::from_str(&text).map_err(|e| e.to_string()));
    let job = job.map_err(|problem| Error::Job { problem: format!("the job is unreadable: {problem}"), hint: None });
    let print =
        |sample: &GeneratedSample| println!("{}", serde_json::to_string(sample).expect("plain values are JSON"));
    match job.and_then(|job| generate::run(&job, &mut { print })) {
        Ok(()) => exit_code::SUCCESS,
        Err(error) => {
            let failure = error.to_failure(0);
            complain(&failure);
            if failure.kind == "job" { exit_code::USAGE } else { exit_code::FAILED }
        }
    }
}

fn about() -> u8 {
    let described = device::choose(Device::Auto).and_then(|chosen| {
        let libraries = device::libraries(&device::library_paths()?, false)?;
        Ok(device::about(chosen.cuda_absent_because, libraries))
    });
    match described {
        Ok(about) => {
            println!("{}", serde_json::to_string_pretty(&about).expect("a plain struct is JSON"));
            exit_code::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            exit_code::FAILED
        }
    }
}
