//! A program that reads what somebody else wrote: with an end to its time and its memory, without the environment, without
//! the network.

use std::io::{self, Read};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a program may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Seconds of computing, over all its threads. Four times as many may pass.
    pub compute_s: u64,
    /// Memory that it may write to, and the largest file that it may make.
    pub memory_bytes: u64,
}

/// The most that is read of what a program prints.
const PRINTED_BYTES: u64 = 64 << 20;

/// Runs a command to its end, or to that of what it may take.
pub(crate) fn output(command: &mut Command, limits: Limits) -> io::Result<Output> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path);
    // Whatever asks for a package of the network gets no connection.
    for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(proxy, "http://127.0.0.1:9");
    }
    let none = std::env::temp_dir().join("harness-has-no-packages");
    command.env("TYPST_PACKAGE_PATH", &none).env("TYPST_PACKAGE_CACHE_PATH", &none);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    confine(&child, limits)?;
    let (stdout, stderr) = (all_of(child.stdout.take()), all_of(child.stderr.take()));
    let status = match wait(&mut child, Duration::from_secs(4 * limits.compute_s)) {
        Ok(status) => status,
        Err(error) => {
            child.kill()?;
            child.wait()?;
            return Err(error);
        }
    };
    let printed = |from: thread::JoinHandle<Vec<u8>>| from.join().unwrap_or_default();
    Ok(Output { status, stdout: printed(stdout), stderr: printed(stderr) })
}

/// What a program prints, up to a bound; the pipe is closed behind it.
fn all_of(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            let _ = pipe.take(PRINTED_BYTES).read_to_end(&mut bytes);
        }
        bytes
    })
}

fn wait(child: &mut Child, at_most: Duration) -> io::Result<std::process::ExitStatus> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if begun.elapsed() > at_most {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Only Linux lets a parent do this without code between fork and exec; elsewhere the time that passes is the limit.
#[cfg(target_os = "linux")]
fn confine(child: &Child, limits: Limits) -> io::Result<()> {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    for (resource, most) in [
        (Resource::Cpu, limits.compute_s),
        (Resource::Data, limits.memory_bytes),
        (Resource::Fsize, limits.memory_bytes),
        (Resource::Core, 0),
    ] {
        match prlimit(pid, resource, Rlimit { current: Some(most), maximum: Some(most) }) {
            // It has ended already.
            Err(rustix::io::Errno::SRCH) => {}
            other => drop(other?),
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn confine(_: &Child, _: Limits) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limits: Limits) -> io::Result<Output> {
        output(Command::new("sh").args(["-c", script]), limits)
    }

    #[test]
    fn a_program_gets_neither_the_environment_nor_endless_time_nor_memory() {
        let limits = Limits { compute_s: 1, memory_bytes: 64 << 20 };
        let patient = Limits { compute_s: 60, ..limits };
        let heard = shell("echo $HOME-$https_proxy", patient).unwrap();
        assert_eq!(String::from_utf8(heard.stdout).unwrap(), "-http://127.0.0.1:9\n");
        if cfg!(target_os = "linux") {
            assert!(!shell("while :; do :; done", limits).unwrap().status.success());
            let doubled = "a=xxxxxxxxxxxxxxxx; while :; do a=$a$a; done";
            assert!(!shell(doubled, patient).unwrap().status.success());
        }
        let slept = shell("exec sleep 60", limits).unwrap_err();
        assert_eq!(slept.kind(), io::ErrorKind::TimedOut);
    }
}
