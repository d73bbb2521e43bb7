//! `cluster.toml`, at the root of a project: the cluster that runs are submitted to, and what each of them asks for there.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AllDevices, ConfigError, Device, Devices, Source, TrainingConfig, parse_file};
use crate::files;
use crate::names::Project;

/// The file, as shown to people.
const PATH: &str = "cluster.toml";

/// A cluster, and what each run asks for there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// What schedules the runs.
    pub scheduler: Scheduler,
    /// The login node as `ssh` knows it, such as `me@login.example.org`. Left out on the login node itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The folder of the project on the login node, absolute or from the home folder there; with `host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The program on the login node, absolute or from `folder`; with `host`.
    pub program: String,
    /// The partition (Slurm). Left out, the scheduler chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// The account that pays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What a node must have, in the scheduler's words: `a100|h100` (Slurm), `TARGET.GPUs_Capability >= 8.0` (HTCondor).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
    /// Nodes that share each run (Slurm).
    pub nodes: u32,
    /// Processes of each run on each node that Slurm starts as tasks of one step, one for each GPU. Left out, it is one process
    /// on one node, which starts others by `training.devices`; of several nodes one for each GPU, or one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks_per_node: Option<u32>,
    /// GPUs of each run, on each of its nodes.
    pub gpus: u32,
    /// Their type, as the scheduler names it, such as `a100`. One that `harness plan --gpu` knows gives the time of a first run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_type: Option<String>,
    /// Processor cores of each run, on each of its nodes.
    pub cpus: u32,
    /// Memory of each run, on each of its nodes, such as `32G`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// The time limit of each run, as `HH:MM:SS` or `D-HH:MM:SS`. Left out, it is what runs took there, with a third on top.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The most runs of a submission at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    /// What `module load` loads before a run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    /// An image that the run is started in by `apptainer exec`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Lines of bash before a run, such as `export TMPDIR=/scratch/$USER`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
}

/// What schedules the runs of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheduler {
    /// Slurm: `sbatch`.
    #[default]
    Slurm,
    /// HTCondor: `condor_submit`.
    Htcondor,
}

impl Scheduler {
    /// The word in files.
    pub fn word(self) -> &'static str {
        match self {
            Scheduler::Slurm => "slurm",
            Scheduler::Htcondor => "htcondor",
        }
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheduler::Slurm => "Slurm",
            Scheduler::Htcondor => "HTCondor",
        })
    }
}

/// A plain cluster: one core a run, and whatever else the scheduler gives by itself.
impl Default for Cluster {
    fn default() -> Self {
        Cluster {
            scheduler: Scheduler::Slurm,
            host: None,
            folder: None,
            program: "target/release/harness".to_owned(),
            partition: None,
            account: None,
            constraint: None,
            nodes: 1,
            tasks_per_node: None,
            gpus: 0,
            gpu_type: None,
            cpus: 1,
            memory: None,
            time: None,
            max_parallel: None,
            modules: Vec::new(),
            container: None,
            environment: Vec::new(),
        }
    }
}

/// A first mistake: dotted key, problem, hint.
type Mistake = (&'static str, String, &'static str);

impl Cluster {
    /// Reads the file of a project as it is today, whatever commit plans are read from; none where there is none.
    pub fn load(project: &Project) -> Result<Option<Self>, ConfigError> {
        match files::read_to_string(&project.cluster_file()) {
            Ok(text) => Self::parse(text).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads and checks the text of the file.
    pub fn parse(text: String) -> Result<Self, ConfigError> {
        let sources = [Source { name: None, path: PATH.to_owned(), text }];
        let cluster: Cluster = parse_file(&sources)?;
        cluster
            .check()
            .map_err(|(key, problem, hint)| ConfigError::at_key(&sources, key, problem, Some(hint.to_owned())))?;
        Ok(cluster)
    }

    /// The time limit that it states, in seconds.
    pub fn time_s(&self) -> Option<u64> {
        self.time.as_deref().and_then(seconds)
    }

    /// Processes of a run on each node that the scheduler starts.
    pub fn tasks_per_node(&self) -> u32 {
        self.tasks_per_node.unwrap_or(if self.nodes > 1 { self.gpus.max(1) } else { 1 })
    }

    /// Processes that the scheduler starts of each run. One alone starts others by `training.devices`.
    pub fn processes(&self) -> u32 {
        self.nodes * self.tasks_per_node()
    }

    /// Processes that share each run of these choices: those that the scheduler starts, or one alone with the others that it starts by
    /// `training.devices`.
    pub fn ranks(&self, training: &TrainingConfig) -> u32 {
        match training.devices {
            _ if self.processes() > 1 => self.processes(),
            Devices::Count(count) => count.get(),
            Devices::All(AllDevices::All) if training.device == Device::Cpu => 1,
            Devices::All(AllDevices::All) => self.gpus.max(1),
        }
    }

    fn check(&self) -> Result<(), Mistake> {
        self.check_place()?;
        self.check_resources()?;
        self.check_shares()?;
        let plain = |text: &str, also: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || also.contains(c);
            !text.is_empty() && !text.starts_with('-') && text.chars().all(allowed)
        };
        for (key, text) in [("partition", &self.partition), ("account", &self.account), ("gpu_type", &self.gpu_type)] {
            if let Some(text) = text.as_ref().filter(|text| !plain(text, "_-.,:/@")) {
                let hint = "write it as the scheduler prints it: `sinfo`, `sacctmgr show associations`";
                return Err((key, format!("`{text}` is no name that a scheduler gives"), hint));
            }
        }
        if let Some(module) = self.modules.iter().find(|module| !plain(module, "_-.+/=@:")) {
            return Err(("modules", format!("`{module}` is no module"), "write it as `module avail` prints it"));
        }
        let one_line = |text: &str| !text.trim().is_empty() && !text.chars().any(char::is_control);
        for (key, text) in [("constraint", &self.constraint), ("container", &self.container)] {
            if text.as_ref().is_some_and(|text| !one_line(text) || text.starts_with('-')) {
                return Err((
                    key,
                    "it is empty, starts with `-` or goes over a line".to_owned(),
                    "write it on one line",
                ));
            }
        }
        if self.scheduler == Scheduler::Slurm
            && let Some(text) = self.constraint.as_ref().filter(|text| !plain(text, "_-.,:&|*()[]@"))
        {
            let hint = "features as `sinfo --format=%f` prints them, joined by `&` or `|`, without blanks";
            return Err(("constraint", format!("`{text}` is no constraint of Slurm"), hint));
        }
        if self.environment.iter().any(|line| line.chars().any(|c| c.is_control() && c != '\t')) {
            let hint = "write each line of bash as an element of its own";
            return Err(("environment", "an element goes over a line".to_owned(), hint));
        }
        Ok(())
    }

    fn check_place(&self) -> Result<(), Mistake> {
        if let Some(host) = &self.host {
            let fits = |c: char| c.is_ascii_alphanumeric() || "@._-:[]".contains(c);
            if host.is_empty() || host.starts_with('-') || !host.chars().all(fits) {
                let hint =
                    "write what `ssh` takes, such as \"me@login.example.org\"; ports and keys go into ~/.ssh/config";
                return Err(("host", format!("`{host}` is no destination of ssh"), hint));
            }
            if self.folder.is_none() {
                let hint = "name the folder of the project there: `folder = \"thesis\"`, from your home folder on";
                return Err(("host", "it has no folder".to_owned(), hint));
            }
        }
        if let Some(folder) = &self.folder {
            let is_line = !folder.is_empty() && !folder.chars().any(char::is_control);
            if !is_line || folder.starts_with(['-', '~']) || folder.split('/').any(|part| part == "..") {
                let hint = "an absolute folder, or one from your home folder on: \"thesis\" instead of \"~/thesis\"";
                return Err(("folder", format!("`{folder}` is no folder that can be used"), hint));
            }
            if self.host.is_none() {
                let hint = "state `host` as well; on the login node itself leave out both";
                return Err(("folder", "it has no host".to_owned(), hint));
            }
        }
        if self.program.is_empty() || self.program.starts_with('-') || self.program.chars().any(char::is_control) {
            return Err(("program", "it names no program".to_owned(), "leave it out for target/release/harness"));
        }
        Ok(())
    }

    fn check_resources(&self) -> Result<(), Mistake> {
        const MOST: u32 = 4096;
        if self.cpus == 0 || self.cpus > MOST {
            return Err(("cpus", format!("{} is no number of cores", self.cpus), "state 1 or more"));
        }
        if self.gpus > 64 {
            return Err((
                "gpus",
                format!("no node has {} GPUs", self.gpus),
                "state the GPUs of one run on one node; `nodes` takes several of these",
            ));
        }
        if self.gpu_type.is_some() && self.gpus == 0 {
            return Err(("gpu_type", "no GPU is asked for".to_owned(), "state `gpus = 1` as well"));
        }
        if self.max_parallel == Some(0) {
            return Err(("max_parallel", "nothing would run".to_owned(), "state 1 or more; leave it out for no limit"));
        }
        if let Some(text) = self.memory.as_ref().filter(|text| mebibytes(text).is_none()) {
            return Err(("memory", format!("`{text}` is no amount of memory"), "for example \"32G\" or \"500M\""));
        }
        if let Some(text) = self.time.as_ref().filter(|text| seconds(text).is_none_or(|s| s < 60)) {
            let hint = "at least a minute, as \"HH:MM:SS\" or \"D-HH:MM:SS\": eight hours are \"08:00:00\"";
            return Err(("time", format!("`{text}` is no time"), hint));
        }
        if self.scheduler == Scheduler::Htcondor && self.partition.is_some() {
            let hint = "leave it out; what a machine must have goes into `constraint`";
            return Err(("partition", "HTCondor has no partitions".to_owned(), hint));
        }
        Ok(())
    }

    /// How the processes of a run share its nodes.
    fn check_shares(&self) -> Result<(), Mistake> {
        const MOST: u32 = 1024;
        let (nodes, tasks) = (self.nodes, self.tasks_per_node());
        if nodes == 0 || nodes > MOST {
            return Err(("nodes", format!("{nodes} is no number of nodes"), "state 1 or more"));
        }
        if tasks == 0 || tasks > MOST {
            return Err(("tasks_per_node", format!("{tasks} is no number of processes"), "state 1 or more"));
        }
        if nodes * tasks == 1 {
            return Ok(());
        }
        if self.scheduler == Scheduler::Htcondor {
            let key = if nodes > 1 { "nodes" } else { "tasks_per_node" };
            let hint = "leave it out; `training.devices` shares a run out among the GPUs of one machine";
            return Err((key, "HTCondor starts one process of a run, on one machine".to_owned(), hint));
        }
        if self.gpus > 0 && tasks != self.gpus {
            let problem = format!("{tasks} processes on a node of {} GPUs, each of which serves one", self.gpus);
            return Err(("tasks_per_node", problem, "leave it out, and it is one for each GPU"));
        }
        if !self.cpus.is_multiple_of(tasks) {
            let problem = format!("{} cannot be shared out equally among {tasks} processes", self.cpus);
            return Err(("cpus", problem, "state a multiple of the processes on a node: `tasks_per_node`, or `gpus`"));
        }
        Ok(())
    }

    /// The memory that it states, in mebibytes.
    pub fn memory_mib(&self) -> Option<u64> {
        self.memory.as_deref().and_then(mebibytes)
    }
}

/// `32G`, `500M` in mebibytes.
fn mebibytes(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "M" => 1,
        "G" => 1 << 10,
        "T" => 1 << 20,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|amount| *amount > 0)
}

/// `HH:MM:SS`, `D-HH:MM:SS` in seconds.
fn seconds(text: &str) -> Option<u64> {
    let (days, clock) = text.split_once('-').unwrap_or(("0", text));
    let parts: Vec<&str> = clock.split(':').collect();
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let [hours, minutes, seconds] = parts.as_slice() else { return None };
    let (hours, minutes, seconds) = (number(hours)?, number(minutes)?, number(seconds)?);
    let is_clock = minutes < 60 && seconds < 60 && (!text.contains('-') || hours < 24) && hours < 10_000;
    is_clock.then_some(86_400 * number(days).filter(|days| *days < 1000)? + 3600 * hours + 60 * minutes + seconds)
}

/// Seconds as `HH:MM:SS`, which every scheduler reads.
pub fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A `cluster.toml` to begin with: what a plain cluster needs, and every other key with what it is for.
pub fn cluster_template(scheduler: Scheduler) -> String {
    let partition = match scheduler {
        Scheduler::Slurm => "# partition = \"gpu\"               # see `sinfo`; left out, Slurm chooses\n",
        Scheduler::Htcondor => "",
    };
    let nodes = match scheduler {
        Scheduler::Slurm => {
            "# nodes = 1                       # that share a run, with a process for each GPU\n\
             # tasks_per_node = 1              # processes on each node that Slurm starts, where it is another number\n"
        }
        Scheduler::Htcondor => "",
    };
    let constraint = match scheduler {
        Scheduler::Slurm => "a100|h100",
        Scheduler::Htcondor => "TARGET.GPUs_Capability >= 8.0",
    };
    format!(
        "#:schema experiments/schema/cluster.json\n\
         # The cluster that `harness submit` hands runs to. Take the `#` from the lines that you need.\n\
         scheduler = \"{}\"\n\n\
         # From a laptop: the login node as ssh knows it, and the folder of the project there.\n\
         # host = \"me@login.example.org\"\n\
         # folder = \"thesis\"               # from your home folder on\n\
         # program = \"target/release/harness\"\n\n\
         # What each run asks for, on each of its nodes.\n\
         cpus = 1\n\
         # gpus = 1\n\
         # gpu_type = \"a100\"\n\
         # memory = \"32G\"\n\
         {nodes}\
         # time = \"08:00:00\"               # left out: what runs took there, with a third on top\n\
         {partition}\
         # account = \"my-group\"            # who pays\n\
         # constraint = \"{constraint}\"\n\
         # max_parallel = 4                # the most runs of a submission at a time\n\n\
         # What comes before each run.\n\
         # modules = [\"cuda/12.4\"]\n\
         # environment = [\"export TMPDIR=/scratch/$USER\"]\n\
         # container = \"image.sif\"         # started in it by apptainer\n",
        scheduler.word()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_read_and_what_is_left_out_is_plain() {
        let text = "partition = \"gpu\"\ngpus = 2\ngpu_type = \"a100-40gb\"\ncpus = 8\nmemory = \"32G\"\ntime = \"1-02:03:04\"\n\
                    modules = [\"cuda/12.4\"]\nconstraint = \"[a|b]&c\"\nhost = \"me@login\"\nfolder = \"my thesis\"\n";
        let cluster = Cluster::parse(text.to_owned()).unwrap();
        assert_eq!((cluster.time_s(), cluster.memory_mib()), (Some(93_784), Some(32_768)));
        assert_eq!(Cluster::parse(String::new()).unwrap(), Cluster::default());
        assert_eq!(clock(93_784), "26:03:04");
    }

    #[test]
    fn the_templates_are_plain_clusters_and_so_are_they_with_every_line_taken_in() {
        for scheduler in [Scheduler::Slurm, Scheduler::Htcondor] {
            let text = cluster_template(scheduler);
            assert_eq!(Cluster::parse(text.clone()).unwrap(), Cluster { scheduler, ..Cluster::default() });
            let is_key = |line: &str| line.strip_prefix("# ").is_some_and(|rest| rest.contains(" = "));
            let all: String =
                text.lines().map(|line| format!("{}\n", if is_key(line) { &line[2..] } else { line })).collect();
            let cluster = Cluster::parse(all).unwrap();
            assert_eq!(cluster.gpus, 1);
            let known = serde_json::to_value(&cluster).unwrap().as_object().unwrap().len();
            let of_slurm = if scheduler == Scheduler::Htcondor { 2 } else { 0 };
            assert_eq!(known, 18 - of_slurm, "every key is in the template");
        }
    }

    #[test]
    fn a_mistake_is_shown_at_its_line_and_column() {
        for (text, problem, place) in [
            ("cpus = 1\npartitions = \"x\"\n", "did you mean `partition`?", "cluster.toml:2:14"),
            ("scheduler = \"sge\"\n", "unknown value `sge`", "cluster.toml:1:13"),
            ("cpus = 0\n", "`cpus`: 0 is no number of cores", "cluster.toml:1:8"),
            ("gpus = 100\n", "no node has 100 GPUs", "cluster.toml:1:8"),
            ("gpu_type = \"a100\"\n", "no GPU is asked for", "cluster.toml:1:12"),
            ("memory = \"32\"\n", "`32` is no amount of memory", "cluster.toml:1:10"),
            ("time = \"90\"\n", "`90` is no time", "cluster.toml:1:8"),
            ("time = \"1-24:00:00\"\n", "is no time", "cluster.toml:1:8"),
            ("time = \"00:00:10\"\n", "at least a minute", "cluster.toml:1:8"),
            ("max_parallel = 0\n", "nothing would run", "cluster.toml:1:16"),
            ("nodes = 0\n", "0 is no number of nodes", "cluster.toml:1:9"),
            ("tasks_per_node = 0\n", "0 is no number of processes", "cluster.toml:1:18"),
            ("cpus = 2\nnodes = 2\ngpus = 4\n", "`cpus`: 2 cannot be shared out equally among 4", "cluster.toml:1:8"),
            ("gpus = 4\ntasks_per_node = 2\n", "2 processes on a node of 4 GPUs", "cluster.toml:2:18"),
            ("scheduler = \"htcondor\"\nnodes = 2\n", "HTCondor starts one process of a run", "cluster.toml:2:9"),
            ("partition = \"a b\"\n", "is no name that a scheduler gives", "cluster.toml:1:13"),
            ("account = \"x\\n#SBATCH --mail\"\n", "is no name", "cluster.toml:1:11"),
            ("constraint = \"a b\"\n", "is no constraint of Slurm", "cluster.toml:1:14"),
            ("modules = [\"a; rm\"]\n", "`a; rm` is no module", "cluster.toml:1:11"),
            ("environment = [\"a\\nb\"]\n", "goes over a line", "cluster.toml:1:15"),
            ("host = \"-oProxyCommand=x\"\nfolder = \"a\"\n", "is no destination of ssh", "cluster.toml:1:8"),
            ("host = \"login\"\n", "it has no folder", "cluster.toml:1:8"),
            ("folder = \"thesis\"\n", "it has no host", "cluster.toml:1:10"),
            ("host = \"login\"\nfolder = \"~/thesis\"\n", "\"thesis\" instead of \"~/thesis\"", "cluster.toml:2:10"),
            ("scheduler = \"htcondor\"\npartition = \"x\"\n", "HTCondor has no partitions", "cluster.toml:2:13"),
        ] {
            let refused = Cluster::parse(text.to_owned()).unwrap_err().to_string();
            assert!(refused.contains(problem) && refused.contains(place), "{text}: {refused}");
            assert!(refused.contains("hint: "), "{refused}");
        }
    }
}
