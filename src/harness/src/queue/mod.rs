//! Runs that wait for their turn: a [`Queue`] of [`Item`]s in one small file, and a [`Worker`] that works it off on this
//! machine, each item from a checkout of the commit that it was added at, so that the working tree is free for the next
//! change. Whatever ends a worker, Ctrl-C, a full disk, a reboot, the next one finds in the records how far each item
//! came.

mod error;
mod estimate;
mod item;
mod list;
mod promised;
mod worker;

pub use error::QueueError;
pub use estimate::{Estimate, Estimates};
pub use item::{Devices, Item, State, WorkerEntry};
pub use list::{Added, Content, FORMAT, Queue};
pub use promised::{Promise, promised, queued};
pub use worker::{Contexts, End, Worker};
