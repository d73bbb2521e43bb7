//! What a prepared corpus holds: token shards, the ledger of every document, lengths, baselines, and the manifest that
//! gathers them.

mod baselines;
mod describe;
mod encode;
mod funnel;
mod ledger;
mod lengths;

pub(crate) use describe::describe;
pub(crate) use encode::{SideWriter, Sides, SourceSizes, Written};
pub(crate) use ledger::write_ledger;
pub(crate) use lengths::{LengthCounter, SideOf};
