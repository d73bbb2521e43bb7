//! Why a queue could not be changed or worked off, with what to do about it.

use std::path::PathBuf;

use harness_core::files::FileError;
use harness_record::git::GitError;

use crate::cluster::ClusterError;
use crate::run::RunError;

/// Why a queue could not be changed or worked off.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Git could not answer.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A run was refused.
    #[error("{}", .0.without_allowances())]
    Run(#[from] RunError),
    /// What was submitted to a cluster could not be read.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The file of the queue is not one that this program reads.
    #[error("`{}` cannot be read: {problem}\nhint: {hint}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
        /// What can be done.
        hint: &'static str,
    },
    /// Another worker has the devices.
    #[error(
        "process {pid} is working this queue off on the same devices already\nhint: `harness queue list` shows what it does; on a machine with several GPUs name another one: `CUDA_VISIBLE_DEVICES=1 harness queue start`"
    )]
    Taken {
        /// The process of the other worker.
        pid: u32,
    },
    /// Nothing in the queue is what was asked for.
    #[error("nothing in the queue is `{asked}`\nhint: `harness queue list` shows the number of each item")]
    Unknown {
        /// What was asked for.
        asked: String,
    },
    /// An item is being worked on.
    #[error("item {id} is running\nhint: `harness queue stop --now` stops it with a checkpoint")]
    Running {
        /// The item.
        id: u64,
    },
    /// Nobody is there to stop.
    #[error("no worker is running\nhint: `harness queue start` starts one")]
    NoWorker,
    /// Something stands in the way of every item, so that the queue waits until it is mended.
    #[error(
        "the queue stops at item {id}, which is kept: {problem}\nhint: then `harness queue start` goes on where it stopped"
    )]
    Stopped {
        /// The item.
        id: u64,
        /// What is in the way, with what mends it.
        problem: String,
    },
}
