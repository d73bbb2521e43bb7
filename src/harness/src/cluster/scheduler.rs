//! The schedulers, by the programs that they come with. What they print is read by the functions here that take text.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use harness_core::config::Scheduler;
use serde::Deserialize;

use super::error::ClusterError;
use super::outside::{call, run};
use super::submission::State;

/// What a scheduler says of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How far it is.
    pub state: State,
    /// Why, in its words.
    pub reason: Option<String>,
}

/// What a scheduler says, by job and task.
pub(super) type Sight = BTreeMap<(String, u32), Seen>;

/// Hands the script in `folder` over. Gives the number of the job.
pub(super) fn hand_over(scheduler: Scheduler, folder: &Path, script: &str) -> Result<String, ClusterError> {
    let (program, arguments): (&str, &[&str]) = match scheduler {
        Scheduler::Slurm => ("sbatch", &["--parsable"]),
        Scheduler::Htcondor => ("condor_submit", &["-terse"]),
    };
    let printed = call(Command::new(program).args(arguments).arg(script).current_dir(folder), "")?;
    let job = match scheduler {
        // `4711`, or `4711;cluster` where there are several.
        Scheduler::Slurm => printed.lines().last().and_then(|line| line.split(';').next()),
        // `12.0 - 12.5`
        Scheduler::Htcondor => printed.lines().last().and_then(|line| line.split('.').next()),
    };
    let job = job.map(str::trim).filter(|job| !job.is_empty() && job.bytes().all(|b| b.is_ascii_digit()));
    job.map(str::to_owned).ok_or_else(|| ClusterError::Outside {
        program: program.to_owned(),
        said: format!("it gave no number of a job, but `{}`", printed.trim()),
        hint: "look with `squeue` or `condor_q` whether it took the runs all the same".to_owned(),
    })
}

/// Takes tasks of a job back, all if none is named.
pub(super) fn take_back(scheduler: Scheduler, job: &str, tasks: Option<&[u32]>) -> Result<(), ClusterError> {
    let (program, between) = match scheduler {
        Scheduler::Slurm => ("scancel", '_'),
        Scheduler::Htcondor => ("condor_rm", '.'),
    };
    let mut command = Command::new(program);
    match tasks {
        None => command.arg(job),
        Some(tasks) => command.args(tasks.iter().map(|task| format!("{job}{between}{task}"))),
    };
    call(&mut command, "").map(drop)
}

/// What a scheduler says of the tasks of these jobs. One that it has forgotten is not among them.
pub(super) fn look(scheduler: Scheduler, jobs: &[&str]) -> Result<Sight, ClusterError> {
    if jobs.is_empty() {
        return Ok(Sight::new());
    }
    let mut sight = Sight::new();
    // The last that speaks of a task is the one that knows it best.
    let mut tell = |seen: Sight| sight.extend(seen.into_iter().filter(|((job, _), _)| jobs.contains(&job.as_str())));
    match scheduler {
        Scheduler::Slurm => {
            // What slurmctld has forgotten the accounting may still know, where there is one.
            let sacct = ["--noheader", "--parsable2", "--allocations", "--format=JobID,State", "--jobs"];
            if let Ok(output) = run(Command::new("sacct").args(sacct).arg(jobs.join(",")), "") {
                tell(by_sacct(&String::from_utf8_lossy(&output.stdout)));
            }
            let squeue = ["--noheader", "--array", "--me", "--states=all", "--format=%F|%K|%T|%r"];
            tell(by_squeue(&call(Command::new("squeue").args(squeue), "")?));
        }
        Scheduler::Htcondor => {
            let attributes = ["-json", "-attributes", "ClusterId,ProcId,JobStatus,ExitCode,HoldReason"];
            if let Ok(output) = run(Command::new("condor_history").args(jobs).args(attributes), "") {
                tell(by_condor(&String::from_utf8_lossy(&output.stdout)));
            }
            tell(by_condor(&call(Command::new("condor_q").args(jobs).args(attributes), "")?));
        }
    }
    Ok(sight)
}

/// The state that Slurm calls by a word, such as `RUNNING` or `CANCELLED by 1000`.
fn slurm_state(word: &str) -> Option<(State, Option<&'static str>)> {
    let word = word.split([' ', '+']).next().unwrap_or(word);
    Some(match word {
        "PENDING" | "CONFIGURING" | "REQUEUED" | "REQUEUE_HOLD" | "REQUEUE_FED" | "SPECIAL_EXIT" | "RESV_DEL_HOLD" => {
            (State::Queued, None)
        }
        "RUNNING" | "COMPLETING" | "SUSPENDED" | "STOPPED" | "SIGNALING" | "STAGE_OUT" | "RESIZING" => {
            (State::Running, None)
        }
        "COMPLETED" => (State::Done, None),
        "CANCELLED" | "REVOKED" => (State::Cancelled, None),
        "FAILED" => (State::Failed, Some("it ended with an error; its log says which")),
        "OUT_OF_MEMORY" => (State::Failed, Some("it needed more than `memory` of cluster.toml")),
        "TIMEOUT" | "DEADLINE" => (State::Stopped, Some("its time was over")),
        "PREEMPTED" => (State::Stopped, Some("it was preempted")),
        "NODE_FAIL" | "BOOT_FAIL" => (State::Stopped, Some("its node failed")),
        _ => return None,
    })
}

/// A state with the reason of the scheduler, or else ours.
fn seen(word: &str, reason: &str) -> Option<Seen> {
    let (state, why) = slurm_state(word)?;
    let says_nothing = matches!(reason, "" | "None" | "(null)" | "NonZeroExitCode");
    let reason = if state == State::Queued && !says_nothing { Some(reason) } else { why };
    Some(Seen { state, reason: reason.map(str::to_owned) })
}

/// `squeue --array --format=%F|%K|%T|%r`
fn by_squeue(text: &str) -> Sight {
    let line = |line: &str| {
        let [job, task, state, reason] = line.splitn(4, '|').map(str::trim).collect::<Vec<_>>().try_into().ok()?;
        Some(((job.to_owned(), task.parse().ok()?), seen(state, reason)?))
    };
    text.lines().filter_map(line).collect()
}

/// `sacct --parsable2 --allocations --format=JobID,State`
fn by_sacct(text: &str) -> Sight {
    let line = |line: &str| {
        let (id, state) = line.split_once('|')?;
        let (job, task) = id.split_once('_')?;
        Some(((job.to_owned(), task.parse().ok()?), seen(state.trim(), "")?))
    };
    text.lines().filter_map(line).collect()
}

/// `condor_q -json` and `condor_history -json`; nothing at all where there is no job.
fn by_condor(text: &str) -> Sight {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Ad {
        cluster_id: u64,
        proc_id: u32,
        job_status: u32,
        exit_code: Option<i64>,
        hold_reason: Option<String>,
    }
    let ads: Vec<Ad> = serde_json::from_str(text.trim()).unwrap_or_default();
    let seen = |ad: Ad| {
        let (state, reason) = match ad.job_status {
            1 => (State::Queued, None),
            2 | 6 | 7 => (State::Running, None),
            3 => (State::Cancelled, None),
            4 if ad.exit_code.unwrap_or(0) == 0 => (State::Done, None),
            4 => (State::Failed, Some("it ended with an error; its log says which".to_owned())),
            5 => (State::Queued, ad.hold_reason.map(|reason| format!("held: {reason}"))),
            _ => return None,
        };
        Some(((ad.cluster_id.to_string(), ad.proc_id), Seen { state, reason }))
    };
    ads.into_iter().filter_map(seen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(sight: &Sight) -> Vec<String> {
        let line = |((job, task), seen): (&(String, u32), &Seen)| {
            format!("{job}_{task} {} {}", seen.state.word(), seen.reason.as_deref().unwrap_or("-"))
        };
        sight.iter().map(line).collect()
    }

    #[test]
    fn squeue_is_read_task_by_task() {
        let text = "4711|0|RUNNING|None\n4711|1|PENDING|Priority\n4711|2|COMPLETED|None\n4711|3|CANCELLED|None\n\
                    4712|N/A|RUNNING|None\n4711|4|TIMEOUT|TimeLimit\n4711|5|PENDING|Resources, more|x\nnonsense\n";
        assert_eq!(
            shown(&by_squeue(text)),
            [
                "4711_0 running -",
                "4711_1 queued Priority",
                "4711_2 done -",
                "4711_3 cancelled -",
                "4711_4 stopped its time was over",
                "4711_5 queued Resources, more|x"
            ]
        );
    }

    #[test]
    fn sacct_is_read_without_the_steps_of_a_job() {
        let text = "4711_0|COMPLETED\n4711_1|CANCELLED by 1000\n4711_2|OUT_OF_MEMORY\n4711_3|NODE_FAIL\n4711|RUNNING\n\
                    4711_[4-5]|PENDING\n";
        assert_eq!(
            shown(&by_sacct(text)),
            [
                "4711_0 done -",
                "4711_1 cancelled -",
                "4711_2 failed it needed more than `memory` of cluster.toml",
                "4711_3 stopped its node failed"
            ]
        );
    }

    #[test]
    fn condor_is_read_by_its_numbers() {
        let text = r#"[{"ClusterId":12,"ProcId":0,"JobStatus":4,"ExitCode":0},{"ClusterId":12,"ProcId":1,"JobStatus":4,"ExitCode":1},
            {"ClusterId":12,"ProcId":2,"JobStatus":5,"HoldReason":"no disk"},{"ClusterId":12,"ProcId":3,"JobStatus":2}]"#;
        assert_eq!(
            shown(&by_condor(text)),
            [
                "12_0 done -",
                "12_1 failed it ended with an error; its log says which",
                "12_2 queued held: no disk",
                "12_3 running -"
            ]
        );
        assert_eq!(by_condor("\n"), Sight::new());
    }
}
