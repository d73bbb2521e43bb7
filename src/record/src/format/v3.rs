//! Versions 2 and 3 of `record.json`: no list of the files that nothing else names.

use harness_core::contract;
use harness_core::names::RunId;
use serde::Deserialize;

use super::{Resources, Retention, Status};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    format: u32,
    run: RunId,
    status: Status,
    failure: Option<contract::Failure>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    ended_at: String,
    started: Option<contract::Started>,
    evaluations: Vec<contract::Evaluation>,
    checkpoints: Vec<contract::Checkpoint>,
    retention: Option<Retention>,
    skipped: Vec<contract::Skipped>,
    closing: Option<contract::Closing>,
    resources: Resources,
}

impl From<Record> for super::Record {
    fn from(old: Record) -> Self {
        super::Record {
            format: old.format,
            run: old.run,
            status: old.status,
            failure: old.failure,
            exit_code: old.exit_code,
            signal: old.signal,
            ended_at: old.ended_at,
            started: old.started,
            evaluations: old.evaluations,
            checkpoints: old.checkpoints,
            retention: old.retention,
            skipped: old.skipped,
            closing: old.closing,
            resources: old.resources,
            files: Vec::new(),
        }
    }
}
