//! `harness man`: the manual pages.

use std::path::PathBuf;

use clap::CommandFactory;
use harness_core::files;

use super::{Failure, Outcome};
use crate::exit_code;

/// Write the manual pages, one for each command, into a folder: `man -l FOLDER/harness-run.1` shows one.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The folder.
    folder: PathBuf,
}

pub(super) fn execute(arguments: &Arguments) -> Outcome {
    let folder = &arguments.folder;
    files::create_folder(folder)?;
    clap_mangen::generate_to(super::Arguments::command(), folder)
        .map_err(|e| Failure::failed(format!("the pages could not be written to `{}`: {e}", folder.display())))?;
    Ok(exit_code::SUCCESS)
}
