//! What the machine and the programs are. Reads `/proc` and the environment by an allow-list; keeps no secret, no
//! user name and no absolute path.

use std::env;
use std::net::ToSocketAddrs;
use std::path::Path;
use std::process::Command;

use harness_core::build::Build;
use harness_core::files::{self, FileError};
use harness_core::names::RunId;
use harness_core::{Digest, ranks};

use super::format::{Binaries, Host, Scheduler};

/// The machine this process runs on.
pub fn host() -> Host {
    let system = rustix::system::uname();
    let text = |c: &std::ffi::CStr| c.to_string_lossy().into_owned();
    Host {
        os: os_name(),
        kernel: format!("{} {}", text(system.sysname()), text(system.release())),
        libc: libc_name(),
        cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| env::consts::ARCH.to_owned()),
        cores: std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
        memory_bytes: field("/proc/meminfo", "MemTotal").and_then(|t| kibibytes(&t)).unwrap_or(0),
        hostname_sha256: Digest::of(system.nodename().to_bytes()),
        slurm_job_id: env::var("SLURM_JOB_ID").ok(),
    }
}

/// The two programs and what they were built from; `build` as the running one says of itself.
pub fn binaries(
    build: &Build,
    trainer: &Path,
    trainer_built_from_sha256: String,
    root: &Path,
    committed_sources: Option<Digest>,
) -> Result<Binaries, FileError> {
    // The program that runs, also after its file has been replaced by another build.
    let own = Path::new("/proc/self/exe");
    let lock = root.join("Cargo.lock");
    Ok(Binaries {
        harness_sha256: Digest::of_file(own)?,
        trainer_sha256: Digest::of_file(trainer)?,
        cargo_lock_sha256: if lock.is_file() { Some(Digest::of_file(&lock)?) } else { None },
        harness_version: build.version.to_owned(),
        built_from_sha256: build.source_sha256.to_owned(),
        trainer_built_from_sha256,
        committed_sources_sha256: committed_sources,
        rustc: build.rustc.to_owned(),
        profile: build.profile.to_owned(),
    })
}

/// The folder of the user.
pub fn home() -> Option<std::path::PathBuf> {
    env::var_os("HOME").filter(|home| !home.is_empty()).map(Into::into)
}

/// The queue of a cluster that started this process, if one did.
pub fn scheduler() -> Option<Scheduler> {
    let set = |name: &str| env::var(name).ok();
    let of_array = || Some(format!("{}_{}", set("SLURM_ARRAY_JOB_ID")?, set("SLURM_ARRAY_TASK_ID")?));
    let job = of_array().or_else(|| set("SLURM_JOB_ID"))?;
    let number = |name: &str| set(name)?.parse::<u32>().ok();
    let restarts = number("SLURM_RESTART_COUNT").unwrap_or(0);
    let gpus = number("SLURM_GPUS_ON_NODE").map(|gpus| gpus * number("SLURM_JOB_NUM_NODES").unwrap_or(1));
    Some(Scheduler { name: "slurm".to_owned(), job, restarts, gpus: gpus.filter(|gpus| *gpus > 0) })
}

/// When the machine is taken from this process, where whoever lends it says so: `HARNESS_END_TIME`, in seconds since 1970,
/// or else the job's end as Slurm tells it.
pub fn end_time() -> Result<Option<jiff::Timestamp>, EndTimeError> {
    let at = |text: &str| jiff::Timestamp::from_second(text.trim().parse().ok()?).ok();
    if let Ok(text) = env::var("HARNESS_END_TIME") {
        return at(&text).map(Some).ok_or(EndTimeError(text));
    }
    let Ok(job) = env::var("SLURM_JOB_ID") else { return Ok(None) };
    if let Some(told) = env::var("SLURM_JOB_END_TIME").ok().as_deref().and_then(at) {
        return Ok(Some(told));
    }
    // Without a format of its own it tells the time of day where it runs.
    let mut asked = Command::new("scontrol");
    let asked = asked.args(["show", "job", "--oneliner", &job]).env("SLURM_TIME_FORMAT", "%s").output();
    let told = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    Ok(told.split_whitespace().find_map(|field| field.strip_prefix("EndTime=")).and_then(at))
}

/// Where Slurm reaches the first node of the step that this process is a task of, where neither `MASTER_ADDR` says it nor the node's
/// name leads there.
pub fn first_node_address() -> Option<String> {
    if env::var_os("MASTER_ADDR").is_some() {
        return None;
    }
    let node = ranks::first_host(&env::var("SLURM_STEP_NODELIST").ok()?)?;
    if (node.as_str(), 0).to_socket_addrs().is_ok() {
        return None;
    }
    let told = Command::new("scontrol").args(["show", "node", "--oneliner", &node]).output().ok()?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    told.split_whitespace().find_map(|field| field.strip_prefix("NodeAddr=")).map(str::to_owned)
}

/// `HARNESS_END_TIME` is no time.
#[derive(Debug, thiserror::Error)]
#[error("HARNESS_END_TIME is `{0}`\nhint: give the end in seconds since 1970, as `date -d '+2 hours' +%s` prints them")]
pub struct EndTimeError(String);

/// Now, in UTC, to the second.
pub fn now() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Now as the beginning of a run id: `20261123T081500123Z`, to the millisecond, so that ids sort by age.
pub fn now_compact() -> String {
    let now = jiff::Timestamp::now();
    let now = now.round(jiff::Unit::Millisecond).unwrap_or(now);
    format!("{now:.3}").replace(['-', ':', '.'], "")
}

/// The id of a run that is opened now, and now.
pub fn new_run() -> (RunId, String) {
    let run = RunId::new(&now_compact(), entropy());
    let opened_at = opened_at(&run).expect("the id begins with a time");
    (run, opened_at.to_string())
}

/// When a run of this id was opened, to the second; nothing of an id that no run of ours has.
pub fn opened_at(run: &RunId) -> Option<jiff::Timestamp> {
    let time = run.as_str().split('-').next().filter(|time| time.is_ascii() && time.len() == 19)?;
    let (date, time) = (&time[..8], &time[8..15]);
    format!("{date}{time}Z").parse().ok()
}

/// Random bits that tell apart runs opened in the same millisecond, on one machine or several.
pub fn entropy() -> u32 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds this from the system's random source.
    std::collections::hash_map::RandomState::new().build_hasher().finish() as u32
}

/// A text without the paths of this machine, which must not reach a record.
pub fn scrub(text: &str, root: &Path) -> String {
    let mut out = text.replace(&root.display().to_string(), ".");
    if let Ok(home) = env::var("HOME")
        && home.len() > 1
    {
        out = out.replace(&home, "~");
    }
    out
}

fn os_name() -> String {
    let release = files::read_to_string(Path::new("/etc/os-release")).unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| env::consts::OS.to_owned(), |n| n.trim_matches('"').to_owned())
}

fn libc_name() -> String {
    let maps = files::read_to_string(Path::new("/proc/self/maps")).unwrap_or_default();
    if maps.contains("ld-musl") {
        return "musl".to_owned();
    }
    let ldd = Command::new("ldd").arg("--version").output();
    let text = ldd.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
    text.lines().next().map_or_else(|| "unknown".to_owned(), str::to_owned)
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = files::read_to_string(Path::new(path)).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn kibibytes(text: &str) -> Option<u64> {
    text.trim_end_matches("kB").trim().parse::<u64>().ok().map(|k| k * 1024)
}
