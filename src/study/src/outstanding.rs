//! What proposals have registered and nobody has run.

use std::collections::BTreeMap;

use harness_core::files::FileError;
use harness_core::names::{ExperimentName, Project};
use harness_record::format::Purpose;
use harness_record::select::Traces;
use harness_record::{experiments, load_config};

use crate::adoption::Adoption;
use crate::seeds::{derived, purpose_of, seeded};

/// The derived seeds that proposals register and that no completed run has, by experiment and purpose: of each change, and of what
/// it is held against. What cannot be read registers nothing.
pub fn outstanding(
    project: &Project,
    traces: &Traces,
) -> Result<BTreeMap<(ExperimentName, Purpose), Vec<u64>>, FileError> {
    let mut wanted: BTreeMap<(ExperimentName, Purpose), u32> = BTreeMap::new();
    for name in experiments(project)? {
        let Ok(config) = load_config(project, &name).map(|loaded| loaded.experiment) else { continue };
        // What is adopted or rejected needs no more of them.
        let is_decided = || Adoption::of(project, &name).is_ok_and(|adoption| adoption.is_some());
        if config.expect.is_none() || is_decided() {
            continue;
        }
        for side in config.against().into_iter().chain([&name]) {
            let most = wanted.entry((side.clone(), purpose_of(&config))).or_default();
            *most = config.seeds.max(*most);
        }
    }
    let mut outstanding = BTreeMap::new();
    for ((name, purpose), count) in wanted.into_iter().filter(|(_, count)| *count > 0) {
        let Ok(config) = load_config(project, &name).map(|loaded| loaded.experiment) else { continue };
        let all = derived(project, purpose, u64::from(count))?;
        let missing = seeded(project, &name, &config, purpose, traces)?.missing(&all);
        outstanding.insert((name, purpose), missing);
    }
    Ok(outstanding)
}
