//! Programs outside of this one: `sbatch` and its like, `ssh`, `rsync`, `git`. Each failure of theirs becomes an error with the
//! last line that they said.

use std::io::{ErrorKind, Write};
use std::process::{Command, Output, Stdio};
use std::thread;

use super::error::ClusterError;

/// Runs a command to its end with `input` on its standard input. Gives what it printed, whatever its exit code.
pub(super) fn run(command: &mut Command, input: &str) -> Result<Output, ClusterError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => ClusterError::NoProgram { program: program.clone(), hint: hint(&program).to_owned() },
        _ => {
            ClusterError::Outside { program: program.clone(), said: error.to_string(), hint: hint(&program).to_owned() }
        }
    };
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let (mut pipe, input) = (child.stdin.take().expect("standard input is piped"), input.to_owned());
    // Who reads no more of it has ended, and says why itself.
    let writer = thread::spawn(move || drop(pipe.write_all(input.as_bytes())));
    let output = child.wait_with_output().map_err(failed);
    let _ = writer.join();
    output
}

/// The same, where an exit code but 0 is an error. Gives the standard output.
pub(super) fn call(command: &mut Command, input: &str) -> Result<String, ClusterError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = run(command, input)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let hint = hint(&program).to_owned();
    Err(ClusterError::Outside { program, said: last_line(&output), hint })
}

/// The last that a program said, on standard error or else on standard output; of `rsync` what it says before it sums up.
pub(super) fn last_line(output: &Output) -> String {
    let of = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let said = text.lines().rev().map(str::trim).filter(|line| !line.is_empty());
        let last = said.clone().find(|line| !line.starts_with("rsync error: ")).or(said.clone().next());
        last.map(str::to_owned)
    };
    let said = of(&output.stderr).or_else(|| of(&output.stdout));
    said.unwrap_or_else(|| format!("it said nothing and ended with {}", output.status))
}

/// What can be done where a program is missing or fails.
pub(super) fn hint(program: &str) -> &'static str {
    match program {
        "ssh" => {
            "`ssh HOST true`, with the `host` of cluster.toml, has to work first; keys, ports and jump hosts go into ~/.ssh/config"
        }
        "rsync" => "`rsync` has to be installed here and on the login node",
        "git" => "`git` has to be installed here and on the login node, and the folder there has to be yours",
        "condor_submit" | "condor_q" | "condor_rm" => {
            "run this on a machine that submits to the pool, or name one as `host` in cluster.toml"
        }
        "sbatch" => {
            "compare cluster.toml with `sinfo` and `sacctmgr show associations`; from a laptop name the login node as `host`"
        }
        _ => "run this on the login node, or name it as `host` in cluster.toml",
    }
}

/// A text as one word of bash, whatever it holds.
pub fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@+%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_is_one_word_of_bash_and_the_same_text() {
        for text in ["plain-1.0", "a b", "it's", "", "$HOME `x` \"y\"", "a\nb", "*", "~", "\\", "ü!", "-n"] {
            let script = format!("printf '%s|' {}", quoted(text));
            let said = call(&mut Command::new("bash"), &script).unwrap();
            assert_eq!(said, format!("{text}|"), "{}", quoted(text));
        }
    }

    #[test]
    fn failures_are_told_with_the_last_line_and_a_hint() {
        let failed =
            call(&mut Command::new("bash"), "echo one >&2; echo 'the last' >&2; echo out; exit 3").unwrap_err();
        assert!(failed.to_string().starts_with("`bash` failed: the last\nhint: "), "{failed}");
        let silent = call(&mut Command::new("bash"), "exit 4").unwrap_err();
        assert!(silent.to_string().contains("it said nothing and ended with exit status: 4"), "{silent}");
        let absent = call(&mut Command::new("no-such-program-of-ours"), "").unwrap_err();
        assert!(
            absent.to_string().starts_with("there is no `no-such-program-of-ours` on this machine\nhint: "),
            "{absent}"
        );
    }
}
