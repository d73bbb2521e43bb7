//! Version 2 of `open.json`: no purpose, study or seed rule, no launch, no heads, no segments.

use harness_core::Digest;
use harness_core::names::{ExperimentName, RunId};
use serde::Deserialize;

use super::{
    Binaries, Code, Continuation, Data, Evaluated, Host, Launch, Launcher, PassedOver, PlanFile, Purpose, Spent, Task,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Open {
    format: u32,
    run: RunId,
    experiment: ExperimentName,
    opened_at: String,
    resumed_from: Option<Origin>,
    #[serde(default)]
    evaluates: Option<Evaluated>,
    not_citable_because: Option<String>,
    plan: Plan,
    code: Code,
    binaries: Binaries,
    host: Host,
    data: Data,
    tasks: Vec<Task>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Origin {
    run: RunId,
    root: Digest,
    step: u64,
    checkpoint_sha256: Digest,
    weights_sha256: Digest,
    spent: Spent,
    passed_over: Vec<PassedOver>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    seed: u64,
    config_sha256: Digest,
    plan_sha256: Digest,
    files: Vec<PlanFile>,
    order: String,
}

impl From<Open> for super::Open {
    fn from(old: Open) -> Self {
        super::Open {
            format: old.format,
            run: old.run,
            experiment: old.experiment,
            opened_at: old.opened_at,
            resumed_from: old.resumed_from.map(|from| Continuation {
                experiment: None,
                run: from.run,
                root: from.root,
                step: from.step,
                checkpoint_sha256: from.checkpoint_sha256,
                weights_sha256: from.weights_sha256,
                segments: Vec::new(),
                spent: from.spent,
                passed_over: from.passed_over,
            }),
            evaluates: old.evaluates,
            heads: Vec::new(),
            not_citable_because: old.not_citable_because,
            plan: super::Plan {
                purpose: Purpose::Explore,
                study: None,
                seed: old.plan.seed,
                seed_rule: None,
                over_budget: None,
                config_sha256: old.plan.config_sha256,
                plan_sha256: old.plan.plan_sha256,
                files: old.plan.files,
                order: old.plan.order,
            },
            code: old.code,
            binaries: old.binaries,
            // There was no other way.
            launch: Launch { launcher: Launcher::Local, world_size: 1, scheduler: None },
            host: old.host,
            data: old.data,
            tasks: old.tasks,
        }
    }
}
