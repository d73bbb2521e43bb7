//! The scripts of a submission, as a person would write them: one for `sbatch`; for HTCondor a submit file and the script that
//! it starts.

use std::path::Path;

use harness_core::config::{Cluster, clock};
use harness_record::format::Purpose;

use super::outside::quoted;
use super::submission::Task;
use crate::exit_code::STOPPED as GOES_ON;

/// The exit code that HTCondor takes for [`GOES_ON`].
const CONDOR_GOES_ON: u8 = 85;
/// Seconds before the time limit at which a run is told of it, at most; a tenth of the limit where that is less.
const WARNED_BEFORE_S: u64 = 180;
/// How often HTCondor starts a task again that failed: as a node fails, not as a run does.
const CONDOR_RETRIES: u32 = 2;

/// What the scripts of a submission are made from.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The folder of the project.
    pub root: &'a Path,
    /// The program.
    pub harness: &'a Path,
    /// The trainer.
    pub trainer: &'a Path,
    /// The commit that the runs are of.
    pub commit: &'a str,
    /// The time limit of each run, in seconds.
    pub time_s: Option<u64>,
    /// The runs.
    pub tasks: &'a [Task],
}

/// What a submission is called in lists of the scheduler.
fn title(tasks: &[Task]) -> String {
    let first = tasks.first().map_or("", |task| task.experiment.as_str());
    if tasks.iter().all(|task| task.experiment.as_str() == first) { first.to_owned() } else { format!("{first}-etc") }
}

/// The words after `harness run` that make a task's run.
pub(super) fn run_of(task: &Task) -> String {
    let mut words = vec![task.experiment.to_string()];
    match task.trial {
        Some(trial) => words.push(format!("--trial {trial}")),
        None => {
            words.push(format!("--seed {}", task.seed));
            words.extend((task.purpose != Purpose::Explore).then(|| format!("--purpose {}", task.purpose.word())));
        }
    }
    words.extend(task.over_budget.as_ref().map(|reason| format!("--over-budget {}", quoted(reason))));
    words.join(" ")
}

impl Plan<'_> {
    /// The script for `sbatch`. Its logs go where it was handed over from: the folder of the submission.
    pub fn slurm(&self) -> String {
        let Cluster { partition, account, constraint, nodes, gpus, gpu_type, cpus, max_parallel, .. } = self.cluster;
        let processes = self.cluster.tasks_per_node();
        let cpus = cpus / processes;
        let at_once = max_parallel.map_or(String::new(), |most| format!("%{most}"));
        let mut asked = vec![
            format!("--job-name={}", title(self.tasks)),
            format!("--array=0-{}{at_once}", self.tasks.len().saturating_sub(1)),
            format!("--nodes={nodes}"),
            format!("--ntasks-per-node={processes}"),
            format!("--cpus-per-task={cpus}"),
        ];
        asked.extend(self.cluster.memory_mib().map(|mebibytes| format!("--mem={mebibytes}M")));
        if *gpus > 0 {
            asked.push(match gpu_type {
                Some(of) => format!("--gres=gpu:{of}:{gpus}"),
                None => format!("--gres=gpu:{gpus}"),
            });
        }
        asked.extend(self.time_s.map(|seconds| format!("--time={}", clock(seconds))));
        asked.extend(partition.as_ref().map(|name| format!("--partition={name}")));
        asked.extend(account.as_ref().map(|name| format!("--account={name}")));
        asked.extend(constraint.as_ref().map(|text| format!("--constraint=\"{text}\"")));
        // A run that was stopped is the same task again, and its log goes on.
        asked.extend(["--requeue", "--open-mode=append", "--output=%a.log"].map(str::to_owned));
        asked.extend(self.time_s.map(|seconds| format!("--signal=USR1@{}", WARNED_BEFORE_S.min(seconds / 10))));
        // Of processes that share a run, the end of one is that of all, which they do not all notice by themselves.
        let together = if self.cluster.processes() > 1 { "--kill-on-bad-exit=1 " } else { "" };
        let asked: String = asked.iter().map(|option| format!("#SBATCH {option}\n")).collect();
        format!(
            "#!/bin/bash\n{asked}{}\n\
             # Before the end, of its time or for others, Slurm tells the step, which stops with a checkpoint; this waits for it.\n\
             trap : USR1 TERM\n\
             srun --quiet {together}--cpus-per-task={cpus} {}\n\
             code=$?\n\
             # Stopped before its end: the same task is started again. Slurm does so itself with what it takes off a node, and\n\
             # what somebody took back stays so; both are not running any more.\n\
             if [ \"$code\" = {GOES_ON} ]; then\n    \
             case $(scontrol show job \"$SLURM_JOB_ID\") in\n    \
             *JobState=RUNNING* | *Reason=TimeLimit*) scontrol requeue \"$SLURM_JOB_ID\" && exit 0 ;;\n    \
             esac\n\
             fi\n\
             exit \"$code\"\n",
            self.body("$SLURM_ARRAY_TASK_ID"),
            self.command()
        )
    }

    /// The submit file for `condor_submit`, which starts [`Self::condor_task`].
    pub fn condor(&self) -> String {
        let Cluster { account, constraint, gpus, gpu_type, cpus, max_parallel, .. } = self.cluster;
        let mut lines = vec![
            format!("# {}", self.heading()),
            "universe = vanilla".to_owned(),
            "executable = /bin/bash".to_owned(),
            "transfer_executable = False".to_owned(),
            "arguments = task.sh $(Process)".to_owned(),
            format!("batch_name = {}", title(self.tasks)),
            // Project and data lie on a disk that all nodes see.
            "should_transfer_files = NO".to_owned(),
            "output = $(Process).log".to_owned(),
            "error = $(Process).log".to_owned(),
            "log = condor.log".to_owned(),
            format!("request_cpus = {cpus}"),
        ];
        lines.extend(self.cluster.memory_mib().map(|mebibytes| format!("request_memory = {mebibytes}M")));
        if *gpus > 0 {
            lines.push(format!("request_gpus = {gpus}"));
            lines.extend(gpu_type.as_ref().map(|of| format!("require_gpus = regexp(\"{of}\", DeviceName, \"i\")")));
        }
        lines.extend(self.time_s.map(|seconds| format!("allowed_execute_duration = {seconds}")));
        lines.extend(constraint.as_ref().map(|text| format!("requirements = {text}")));
        lines.extend(account.as_ref().map(|name| format!("accounting_group = {name}")));
        lines.extend(max_parallel.map(|most| format!("max_materialize = {most}")));
        // With this code a run has been stopped with a checkpoint, and is started again.
        lines.push(format!("checkpoint_exit_code = {CONDOR_GOES_ON}"));
        lines.push(format!("max_retries = {CONDOR_RETRIES}"));
        lines.push(format!("queue {}", self.tasks.len()));
        format!("{}\n", lines.join("\n"))
    }

    /// What HTCondor starts, with the number of the task.
    pub fn condor_task(&self) -> String {
        // The time is that of one start: what goes on with this code has as much again. HTCondor tells no job when its time ends.
        let ends = self.time_s.map_or(String::new(), |seconds| {
            format!(
                "# A run that knows when its time ends stops before that, with a checkpoint.\n\
                 export HARNESS_END_TIME=$(($(date +%s) - SECONDS + {seconds}))\n"
            )
        });
        format!(
            "#!/bin/bash\n{}\n\
             {ends}{} &\n\
             program=$!\n\
             # What tells of the end is told on: the run stops with a checkpoint.\n\
             trap 'kill -TERM \"$program\" 2>/dev/null' TERM\n\
             while kill -0 \"$program\" 2>/dev/null; do wait \"$program\"; done\n\
             wait \"$program\"\n\
             code=$?\n\
             # Stopped before its end: HTCondor starts the same task again.\n\
             [ \"$code\" = {GOES_ON} ] && code={CONDOR_GOES_ON}\n\
             exit \"$code\"\n",
            self.body("$1"),
            self.command()
        )
    }

    fn heading(&self) -> String {
        let runs = if self.tasks.len() == 1 { "one run".to_owned() } else { format!("{} runs", self.tasks.len()) };
        format!("Written by `harness submit`: {runs} of commit {}, one a task.", self.commit)
    }

    /// From the choice of the run to the folder that it is started in.
    fn body(&self, task: &str) -> String {
        let mut lines = vec![format!("# {}", self.heading()), String::new(), format!("case {task} in")];
        lines.extend(self.tasks.iter().map(|task| format!("{}) run=({}) ;;", task.task, run_of(task))));
        lines.push(format!("*) echo \"there is no task {task}\" >&2; exit 2 ;;"));
        lines.push("esac".to_owned());
        lines.extend(self.surroundings());
        let path = |path: &Path| quoted(&path.to_string_lossy());
        lines.push(String::new());
        lines.push(format!("cd {} || exit 1", path(self.root)));
        lines.join("\n")
    }

    /// The run, with `run` as the body chose it.
    fn command(&self) -> String {
        let path = |path: &Path| quoted(&path.to_string_lossy());
        let container = self.cluster.container.as_ref().map_or(String::new(), |image| {
            let gpus = if self.cluster.gpus > 0 { "--nv " } else { "" };
            format!("apptainer exec {gpus}--bind {} {} ", path(self.root), quoted(image))
        });
        let (harness, trainer) = (path(self.harness), path(self.trainer));
        format!("{container}{harness} run \"${{run[@]}}\" --commit {} --go-on --trainer {trainer}", self.commit)
    }

    /// What comes before a run.
    fn surroundings(&self) -> Vec<String> {
        surroundings(self.cluster)
    }
}

/// The lines that load what programs need on the cluster; none where nothing is named.
pub(super) fn surroundings(cluster: &Cluster) -> Vec<String> {
    let mut lines = Vec::new();
    if !cluster.modules.is_empty() {
        lines.push(format!("module load {}", cluster.modules.join(" ")));
    }
    lines.extend(cluster.environment.iter().cloned());
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    lines
}
