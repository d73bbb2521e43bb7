//! `harness completions`: what a shell needs to complete the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Outcome, terminal};
use crate::exit_code;

/// Print the script that lets a shell complete commands and options.
///
/// For bash: harness completions bash > ~/.local/share/bash-completion/completions/harness
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The shell.
    shell: Shell,
}

pub(super) fn execute(arguments: &Arguments) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::Arguments::command(), "harness", &mut script);
    terminal::say_exactly(String::from_utf8_lossy(&script).trim_end());
    Ok(exit_code::SUCCESS)
}
