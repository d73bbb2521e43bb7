//! Runs on a rented machine, as a task of SkyPilot: a folder with the commit, the scripts and the YAML that names them.
//!
//! SkyPilot starts a task from scratch when the machine is taken away, and has no limit on what it costs in all. So run folders are
//! copied to a bucket as they grow and back at each start, and the seconds of all starts are counted there.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness_core::config::{Cluster, Limits};
use harness_core::names::Project;
use harness_study::budget::Line;
use harness_study::ledger::Spent;

use super::error::ClusterError;
use super::outside::{call, quoted};
use super::script::{run_of, surroundings};
use super::submission::Task;

/// Seconds between two copies of the run folders.
const KEPT_EVERY_S: u64 = 30;
/// The name of the bundle of git.
pub const BUNDLE: &str = "project.bundle";
/// The folder of a task on the machine, and that of the data.
const THERE: &str = "/tmp/harness-task";
const STORE: &str = "/tmp/harness-store";
/// Where the bucket is mounted.
const KEPT: &str = "/tmp/harness-kept";

/// Runs that are to be rented for.
pub struct Rental<'a> {
    /// What each run asks for.
    pub cluster: &'a Cluster,
    /// The limits of the project, for the price of an hour.
    pub limits: &'a Limits,
    /// The folder of the task on this machine.
    pub folder: PathBuf,
    /// The project in its repository, such as `sub/folder`; empty where it is the repository.
    pub project: PathBuf,
    /// The commit.
    pub commit: &'a str,
    /// The data, by their paths on this machine and in the store.
    pub data: Vec<(PathBuf, PathBuf)>,
    /// The most seconds of the machine that the ledger pays for; none where it states no limit.
    pub limit_s: Option<u64>,
    /// The runs, one after the other.
    pub tasks: &'a [Task],
}

/// The most seconds that lines of a budget pay for on a machine with so many GPUs.
pub fn affordable_s(limits: &Limits, lines: &[Line], gpus: u32) -> Option<u64> {
    let each = if gpus > 0 {
        Spent { gpu_time_s: f64::from(gpus), ..Spent::default() }
    } else {
        Spent { cpu_time_s: 1.0, ..Spent::default() }
    };
    let seconds = lines.iter().filter_map(|line| {
        let per_s = line.quantity.of(&each, limits);
        (per_s > 0.0).then(|| (line.left.max(0.0) / per_s) as u64)
    });
    seconds.min()
}

/// Writes what is checked out, with all that led to it, as one file that git clones from.
pub fn bundle(project: &Project, to: &Path) -> Result<(), ClusterError> {
    let mut git = Command::new("git");
    git.args(["bundle", "create", "--quiet"]).arg(to).arg("HEAD").current_dir(project.root());
    call(&mut git, "").map(drop)
}

impl Rental<'_> {
    /// The files of the folder, but for the bundle.
    pub fn files(&self) -> Vec<(&'static str, String)> {
        vec![("task.yaml", self.yaml()), ("setup.sh", self.setup()), ("run.sh", self.run())]
    }

    fn yaml(&self) -> String {
        let Cluster { gpus, gpu_type, cpus, .. } = self.cluster;
        // What a double-quoted text of JSON is, it is in YAML.
        let text = |value: &str| serde_json::to_string(value).expect("a text is JSON");
        let mut lines = vec![
            format!("# Written by `harness export skypilot`: {} of commit {}.", self.count(), self.commit),
            "#   sky jobs launch task.yaml".to_owned(),
            "# starts it, again and again where the machine is taken away; each run goes on from its last copy in the"
                .to_owned(),
            format!("# bucket, where the run folders are at the end as well: {KEPT}/experiments/*/runs."),
            format!("name: harness-{}", self.tasks[0].experiment),
            "resources:".to_owned(),
        ];
        if *gpus > 0 {
            let of = gpu_type.as_deref().unwrap_or("A100").to_uppercase();
            lines.push(format!("  accelerators: {of}:{gpus}"));
        }
        lines.push(format!("  cpus: {cpus}+"));
        lines.extend(self.cluster.memory_mib().map(|mebibytes| format!("  memory: {}+", mebibytes.div_ceil(1024))));
        let price = match gpus {
            0 => self.limits.price_per_cpu_hour,
            gpus => self.limits.price_per_gpu_hour.map(|price| price * f64::from(*gpus)),
        };
        if let Some(price) = price {
            let currency = &self.limits.currency;
            lines.push(format!(
                "  # The price of experiments/budget.toml, in {currency}; SkyPilot counts in US dollars."
            ));
            lines.push(format!("  max_hourly_cost: {price}"));
        }
        lines.push("file_mounts:".to_owned());
        lines.push(format!("  {THERE}: {}", text(&self.folder.to_string_lossy())));
        for (here, there) in &self.data {
            let there = format!("{STORE}/{}", there.display());
            lines.push(format!("  {}: {}", text(&there), text(&here.to_string_lossy())));
        }
        lines.push(format!("  {KEPT}:"));
        lines.push(format!(
            "    name: harness-{}-{}",
            self.tasks[0].experiment,
            self.commit.get(..12).unwrap_or(self.commit)
        ));
        lines.push("    mode: MOUNT_CACHED".to_owned());
        lines.push(format!("setup: bash {THERE}/setup.sh"));
        lines.push(format!("run: bash {THERE}/run.sh"));
        format!("{}\n", lines.join("\n"))
    }

    fn count(&self) -> String {
        if self.tasks.len() == 1 { "one run".to_owned() } else { format!("{} runs", self.tasks.len()) }
    }

    /// What both scripts begin with: where things are, which a test may say otherwise.
    fn places(&self) -> String {
        let project = if self.project.as_os_str().is_empty() {
            String::new()
        } else {
            format!("/{}", self.project.to_string_lossy().trim_end_matches('/'))
        };
        format!(
            "task=${{HARNESS_TASK:-{THERE}}} store=${{HARNESS_STORE:-{STORE}}} kept=${{HARNESS_KEPT:-{KEPT}}}\n\
             repository=${{HARNESS_REPOSITORY:-$HOME/harness-project}}\n\
             project=$repository{}\n",
            if project.is_empty() { String::new() } else { quoted(&project) }
        )
    }

    fn setup(&self) -> String {
        let cuda = if self.cluster.gpus > 0 { "cuda" } else { "cpu" };
        format!(
            "#!/bin/bash\n\
             # Written by `harness export skypilot`: the code of the commit, the data, and the programs.\n\
             set -e\n\
             {}{}\n\
             [ -d \"$repository/.git\" ] || git clone --quiet \"$task/{BUNDLE}\" \"$repository\"\n\
             git -C \"$repository\" checkout --quiet --detach {}\n\
             mkdir -p \"$project/.harness\"\n\
             [ ! -d \"$store\" ] || cp -r \"$store/.\" \"$project/.harness/\"\n\
             cd \"$project\"\n\
             if [ -z \"$HARNESS_PROGRAM\" ]; then\n    \
             command -v cargo >/dev/null || curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y\n    \
             [ ! -f \"$HOME/.cargo/env\" ] || . \"$HOME/.cargo/env\"\n    \
             make setup build PROFILE=release LIBTORCH={cuda}\n\
             fi\n",
            self.places(),
            surroundings(self.cluster).join("\n"),
            self.commit
        )
    }

    fn run(&self) -> String {
        let limit = match self.limit_s {
            Some(seconds) => {
                format!("# What experiments/budget.toml pays for, over all starts together.\nlimit_s={seconds}\n")
            }
            None => "# experiments/budget.toml states no limit.\nlimit_s=\n".to_owned(),
        };
        let runs: String = self.tasks.iter().map(|task| format!("one {} || worst=$?\n", run_of(task))).collect();
        format!(
            "#!/bin/bash\n\
             # Written by `harness export skypilot`: {count} of commit {commit}.\n\
             {places}{surroundings}\n\
             {limit}\
             every_s=${{HARNESS_KEPT_EVERY_S:-{KEPT_EVERY_S}}}\n\
             program=${{HARNESS_PROGRAM:-$project/target/release/harness}}\n\
             cd \"$project\" || exit 1\n\
             mkdir -p \"$kept/experiments\" || exit 1\n\
             # What an earlier start of this task has left.\n\
             rsync --archive \"$kept/experiments/\" experiments/\n\
             spent_s=$(cat \"$kept/seconds\" 2>/dev/null || echo 0)\n\
             worst=0\n\
             \n\
             # What names other files is put there last, and as it was before those were copied, so that nothing is named that\n\
             # is not there, whenever the machine is taken away.\n\
             only() {{ rsync --archive --prune-empty-dirs --include='*/' --include=\"$1\" --exclude='*' \"$2\" \"$3\"; }}\n\
             keep() {{\n    \
             for name in MANIFEST record.json log.jsonl; do only \"$name\" experiments \"$kept/.round/\"; done\n    \
             find experiments -mindepth 2 -maxdepth 2 -name runs -print0 |\n        \
             rsync --archive --recursive --inplace --from0 --files-from=- --exclude=MANIFEST --exclude=.MANIFEST.tmp \\\n        \
             --exclude=record.json --exclude=log.jsonl . \"$kept/\"\n    \
             for name in log.jsonl record.json MANIFEST; do only \"$name\" \"$kept/.round/experiments\" \"$kept/\"; done\n    \
             echo \"$spent_s\" >\"$kept/seconds\"\n\
             }}\n\
             \n\
             is_over() {{ [ -n \"$limit_s\" ] && [ \"$spent_s\" -ge \"$limit_s\" ]; }}\n\
             \n\
             one() {{\n    \
             if is_over; then echo 'the budget pays for no more of this machine' >&2; return 1; fi\n    \
             \"$program\" run \"$@\" --commit {commit} --go-on &\n    \
             run=$!\n    \
             trap 'kill -TERM \"$run\"' TERM\n    \
             while kill -0 \"$run\" 2>/dev/null; do\n        \
             sleep \"$every_s\" &\n        \
             wait -n \"$run\" \"$!\" 2>/dev/null\n        \
             spent_s=$((spent_s + every_s))\n        \
             keep\n        \
             if is_over; then kill -TERM \"$run\" 2>/dev/null; fi\n    \
             done\n    \
             wait \"$run\"\n    \
             code=$?\n    \
             keep\n    \
             return \"$code\"\n\
             }}\n\
             \n\
             {runs}exit \"$worst\"\n",
            count = self.count(),
            commit = self.commit,
            places = self.places(),
            surroundings = surroundings(self.cluster).join("\n"),
        )
    }
}

#[cfg(test)]
mod tests {
    use harness_core::config::Limits;
    use harness_study::budget::Quantity;

    use super::*;

    #[test]
    fn the_least_of_the_limits_says_how_long_a_machine_is_paid_for() {
        let limits = Limits { price_per_gpu_hour: Some(2.0), currency: "EUR".to_owned(), ..Limits::default() };
        let line = |quantity, left| Line {
            quantity,
            phase: None,
            limit: 100.0,
            spent: 0.0,
            committed: 0.0,
            left,
            used_up_at: None,
        };
        let lines = [line(Quantity::GpuHours, 10.0), line(Quantity::Money, 12.0), line(Quantity::CpuHours, 0.0)];
        assert_eq!(affordable_s(&limits, &lines, 1), Some(6 * 3600));
        assert_eq!(affordable_s(&limits, &lines, 4), Some(3600 * 12 / 8));
        assert_eq!(affordable_s(&limits, &lines, 0), Some(0));
        assert_eq!(affordable_s(&limits, &[], 1), None);
        assert_eq!(affordable_s(&limits, &[line(Quantity::Money, -3.0)], 1), Some(0));
    }
}
