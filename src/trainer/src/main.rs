//! The program: arguments in, exit code out. The contract with the parent is in [`harness_core::contract`].

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use harness_build::BUILD;
use harness_core::config::Device;
use harness_core::contract::{GeneratedSample, Job, Message, VERSION, exit_code};
use harness_core::files;
use harness_trainer::error::Error;
use harness_trainer::messages::{Outside, Parent};
use harness_trainer::{device, generate, train};

const HELP: &str = "\
Trains and evaluates language models for `harness`, which is the program for people.

Usage: harness-trainer run JOB.json   run a job: messages as JSON lines on standard output;
                                      a line `stop`, the end of standard input, SIGINT, SIGTERM or
                                      SIGUSR1 ends it in order, with a checkpoint after the step
       harness-trainer generate       continue token ids: a job as JSON on standard input, a sample a line out
       harness-trainer about          describe the program, libtorch and the GPUs as JSON
       harness-trainer --version
       harness-trainer --help

Exit codes: 0 finished or stopped on request, 1 failed, 2 wrong arguments or an unusable job.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    ExitCode::from(match words.as_slice() {
        ["run", job] => run(Path::new(job)),
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
                "error: expected `run JOB.json`, `generate` or `about`\nhint: `harness-trainer --help` says more"
            );
            exit_code::USAGE
        }
    })
}

fn run(path: &Path) -> u8 {
    let parent = Parent::listen();
    let steps_done = AtomicU64::new(0);
    // The message of a panic goes to the parent as a failure, not to the terminal.
    panic::set_hook(Box::new(|_| {}));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| train::run(&read_job(path)?, &parent, &steps_done)));
    let error = match outcome {
        Ok(Ok(closing)) => {
            parent.send(&closing);
            return exit_code::SUCCESS;
        }
        Ok(Err(error)) => error,
        Err(payload) => Error::from_panic(payload),
    };
    let failure = error.to_failure(steps_done.load(Ordering::Relaxed));
    eprintln!("error: {}", failure.message);
    failure.hint.iter().for_each(|hint| eprintln!("hint: {hint}"));
    let code = if failure.kind == "job" { exit_code::USAGE } else { exit_code::FAILED };
    parent.send(&Message::Failed(failure));
    code
}

fn read_job(path: &Path) -> Result<Job, Error> {
    let text = files::read_to_string(path).map_err(|e| Error::Job { problem: e.to_string(), hint: None })?;
    // The version first: a job of another version may well have other fields.
    let version = serde_json::from_str::<serde_json::Value>(&text).ok().and_then(|v| v.get("version")?.as_u64());
    if let Some(version) = version.filter(|&version| version != u64::from(VERSION)) {
        return Err(train::wrong_version(version));
    }
    serde_json::from_str(&text)
        .map_err(|e| Error::Job { problem: format!("`{}` is not a job: {e}", path.display()), hint: None })
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
            eprintln!("error: {}", failure.message);
            failure.hint.iter().for_each(|hint| eprintln!("hint: {hint}"));
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
