//! `harness submit`, `jobs`, `cancel` and `fetch-runs`, with stand-ins for the programs of Slurm, HTCondor and ssh.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::cases::queue::until_checkpoint;
use crate::common::{Project, Ran, TINY, signal, skip, until};

/// A cluster for tests: programs that keep the state of each task in a file, and run nothing by themselves.
struct Box {
    folder: tempfile::TempDir,
}

const SBATCH: &str = r#"
job=$(( $(cat "$BOX/last" 2>/dev/null || echo 4710) + 1 ))
echo $job >"$BOX/last"
mkdir -p "$BOX/jobs/$job"
script=${*: -1}
cp "$script" "$BOX/jobs/$job/script"
pwd >"$BOX/jobs/$job/folder"
last=$(sed -n 's/^#SBATCH --array=0-\([0-9]*\).*/\1/p' "$script")
for task in $(seq 0 "$last"); do echo 'PENDING|Priority' >"$BOX/jobs/$job/$task"; done
echo "$job;box"
"#;

const SQUEUE: &str = r#"
for job in "$BOX"/jobs/*; do
  for task in "$job"/[0-9]*; do echo "$(basename "$job")|$(basename "$task")|$(cat "$task")"; done
done
"#;

const SCANCEL: &str = r#"
for name; do
  job=${name%_*} task=${name#*_}
  [ "$job" = "$name" ] && task='[0-9]*'
  for file in "$BOX/jobs/$job/"$task; do echo 'CANCELLED|None' >"$file"; done
done
"#;

/// A step is told what its script is not.
const SRUN: &str = r#"
while [[ $1 == -* ]]; do shift; done
echo $$ >"$BOX/step"
exec "$@"
"#;

/// A task's own number is that of the job with three digits more.
const SCONTROL: &str = r#"
id=${*: -1}
file=$BOX/jobs/$((id / 1000))/$((id % 1000))
case $1 in
show) # What is cancelled while it runs is on its way to its end.
  echo "JobId=$id JobState=$(cut -d'|' -f1 "$file" | sed s/CANCELLED/COMPLETING/) Reason=None" ;;
requeue) echo 'PENDING|BeginTime' >"$file" ;;
esac
"#;

/// What ssh does with its words, in a home folder of its own. Git and rsync call it too.
const SSH: &str = r#"
user=
while :; do case $1 in -l) user=$2@; shift 2 ;; -o) shift 2 ;; -*) shift ;; *) break ;; esac; done
host=$user$1; shift
echo "$host $*" >>"$BOX/ssh.log"
[ "$host" = me@login ] || { echo "ssh: Could not resolve hostname $host" >&2; exit 255; }
cd "$BOX/my home" && HOME="$BOX/my home" exec sh -c "$*"
"#;

impl Box {
    fn new() -> Self {
        let found = Box { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(found.path("my home")).unwrap();
        for (name, body) in [
            ("sbatch", SBATCH),
            ("squeue", SQUEUE),
            ("scancel", SCANCEL),
            ("scontrol", SCONTROL),
            ("ssh", SSH),
            ("srun", SRUN),
            ("sacct", "exit 1"),
        ] {
            found.program(name, body);
        }
        // A profile that talks, and a PATH that only it knows.
        let profile = format!("echo Welcome to the cluster\nexport PATH='{}':$PATH\n", found.path("bin").display());
        fs::write(found.path("my home/.bash_profile"), profile).unwrap();
        found
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str, body: &str) {
        fs::create_dir_all(self.path("bin")).unwrap();
        let path = self.path("bin").join(name);
        let text = format!("#!/bin/bash\nBOX='{}'\n{body}", self.folder.path().display());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn search_path(&self) -> String {
        format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap())
    }

    fn command(&self, project: &Project, arguments: &[&str]) -> Command {
        let mut command = project.command(arguments);
        command.env("PATH", self.search_path());
        command
    }

    fn harness(&self, project: &Project, arguments: &[&str]) -> Ran {
        Ran::of(self.command(project, arguments).output().unwrap())
    }

    fn json(&self, project: &Project, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.harness(project, arguments).expect(0).stdout).unwrap()
    }

    /// The states of all tasks, as `harness jobs` tells them.
    fn states(&self, project: &Project) -> Vec<String> {
        let told = self.json(project, &["jobs", "--all", "--json"]);
        let tasks = told["submissions"].as_array().unwrap().iter().flat_map(|s| s["tasks"].as_array().unwrap());
        tasks.map(|task| task["state"].as_str().unwrap().to_owned()).collect()
    }

    fn set(&self, job: u32, task: u32, state: &str) {
        fs::write(self.path(&format!("jobs/{job}/{task}")), format!("{state}|None\n")).unwrap();
    }

    /// The command by which the scheduler starts a task.
    fn task(&self, project: &Project, job: u32, task: u32) -> Command {
        self.set(job, task, "RUNNING");
        let folder = fs::read_to_string(self.path(&format!("jobs/{job}/folder"))).unwrap();
        let mut bash = self.command(project, &[]);
        let mut command = Command::new("bash");
        command.arg(self.path(&format!("jobs/{job}/script"))).current_dir(folder.trim()).env_clear();
        command.envs(bash.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("SLURM_ARRAY_TASK_ID", task.to_string()).env("SLURM_JOB_ID", format!("{job}{task:03}"));
        bash.stdin(Stdio::null());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The process of the step that runs.
    fn step(&self) -> u32 {
        fs::read_to_string(self.path("step")).unwrap().trim().parse().unwrap()
    }

    /// Runs a task to its end, as the scheduler does.
    fn run(&self, project: &Project, job: u32, task: u32) -> Ran {
        let ran = Ran::of(self.task(project, job, task).output().unwrap());
        let is_again = fs::read_to_string(self.path(&format!("jobs/{job}/{task}"))).unwrap().starts_with("PENDING");
        if !is_again {
            self.set(job, task, if ran.code == 0 { "COMPLETED" } else { "FAILED" });
        }
        ran
    }
}

/// A project with data of its own that are ready, and a plain cluster.
fn project() -> Project {
    let project = Project::new();
    fs::remove_file(project.path(".harness")).unwrap();
    project.write("cluster.toml", "time = \"01:00:00\"\nmemory = \"2G\"\nmax_parallel = 2\n");
    project.commit("Name a cluster");
    project.harness(&["data", "prepare", "tiny"]).expect(0);
    project
}

fn status(run: &Path) -> String {
    Project::json(&run.join("record.json"))["status"].as_str().unwrap().to_owned()
}

#[test]
fn what_begins_from_a_trunk_is_submitted_once_its_trunk_is_there() {
    let (project, slurm) = (project(), Box::new());
    let constant = "[schedule]\nkind = \"constant\"\n";
    project.write("experiments/long/experiment.toml", &format!("{TINY}\n{constant}"));
    let cool = "extends = \"long\"\ntrunk = { experiment = \"long\", step = 12 }\n\n[training]\nsteps = 16\n";
    project.write("experiments/cool/experiment.toml", cool);
    project.commit("A trunk and what begins from it");
    let submit = ["submit", "cool", "--seed", "3"];
    let refused = slurm.harness(&project, &submit).expect(2).stderr;
    assert!(refused.contains("`cool` cannot begin from step 12 of `long`"), "{refused}");
    project.harness(&["run", "long"]).expect(0);
    slurm.harness(&project, &submit).expect(0);
    slurm.run(&project, 4711, 0).expect(0);
    let open = Project::json(&project.latest("cool").join("open.json"));
    assert_eq!(open["resumed_from"]["experiment"], "long");
}

#[test]
fn what_is_submitted_runs_from_its_commit_and_jobs_tells_what_became_of_it() {
    let (project, slurm) = (project(), Box::new());
    let commit = project.git(&["rev-parse", "HEAD"]).trim().to_owned();
    let submit = ["submit", "tiny", "--seed", "1", "--seed", "2", "--purpose", "confirm"];
    let said = slurm.harness(&project, &submit).expect(0).stdout;
    assert!(said.starts_with("submitted to Slurm: job 4711, 2 runs, 1 h"), "{said}");
    assert_eq!(slurm.states(&project), ["queued"; 2]);
    let table = slurm.harness(&project, &["jobs"]).expect(0).stdout;
    assert!(table.contains("4711_1") && table.contains("confirm") && table.contains("Priority"), "{table}");

    // The same again is the same; others wait their turn in the ledger.
    let again = slurm.harness(&project, &submit).expect(0);
    assert!(
        again.stdout.contains("nothing is missing") && again.stderr.contains("submitted already"),
        "{}",
        again.all()
    );
    let promised = slurm.json(&project, &["budget", "--json"])["promised"].clone();
    assert_eq!(
        (promised[1]["task"].as_str(), promised[1]["cost"]["cpu_time_s"].as_f64()),
        (Some("4711_1"), Some(3600.0))
    );

    // The tree is edited on: the runs do not see it.
    project.write("experiments/tiny/experiment.toml", &TINY.replace("steps = 20", "steps = 24"));
    project.harness(&["queue", "remove", "--ended"]).expect(0);
    slurm.run(&project, 4711, 0).expect(0);
    let first = project.latest("tiny");
    let open = Project::json(&first.join("open.json"));
    assert_eq!((open["code"]["commit"].as_str(), &open["code"]["dirty"]), (Some(&*commit), &Value::Bool(false)));
    assert_eq!((open["plan"]["seed"].as_u64(), open["plan"]["purpose"].as_str()), (Some(1), Some("confirm")));
    assert_eq!(open["host"]["slurm_job_id"], "4711000");
    assert!(open["not_citable_because"].is_null(), "{open}");
    assert_eq!(slurm.states(&project), ["done", "queued"]);
    let shown = slurm.json(&project, &["jobs", "--json"]);
    let task = &shown["submissions"][0]["tasks"][0];
    assert_eq!(task["run"].as_str(), first.file_name().unwrap().to_str());

    // Stopped by the system: the task is queued again, and goes on.
    let running = slurm.task(&project, 4711, 1).env("STAND_IN", "slow").spawn().unwrap();
    until_checkpoint(&project, 2);
    signal(slurm.step(), Signal::USR1);
    let stopped = project.wait(running).expect(0);
    assert!(stopped.stderr.contains("stopping after this step"), "{}", stopped.stderr);
    assert_eq!(status(&project.latest("tiny")), "interrupted");
    assert_eq!(slurm.states(&project), ["done", "queued"]);
    slurm.run(&project, 4711, 1).expect(0);
    // Once more does nothing.
    slurm.run(&project, 4711, 1).expect(0);
    assert_eq!((project.runs("tiny").len(), slurm.states(&project)), (3, vec!["done".to_owned(); 2]));
    let last = Project::json(&project.latest("tiny").join("open.json"));
    assert_eq!(last["resumed_from"]["run"].as_str(), project.runs("tiny")[1].file_name().unwrap().to_str());

    // What has ended needs no checkout, and is shown when it is asked for.
    assert_eq!(fs::read_dir(project.path(".harness/worktrees")).unwrap().count(), 0);
    assert!(slurm.harness(&project, &["jobs"]).expect(0).stdout.contains("nothing is submitted"));
    assert!(slurm.json(&project, &["budget", "--json"])["promised"].as_array().unwrap().is_empty());
    project.git(&["checkout", "-q", "experiments/tiny/experiment.toml"]);
    project.harness(&["audit"]).expect(0);

    // From now on it is known how long a run takes there.
    project.write("cluster.toml", "");
    let planned = slurm.json(&project, &["submit", "tiny", "--seed", "9", "--dry-run", "--json"]);
    assert_eq!(planned["time_s"].as_u64(), Some(360));
}

#[test]
fn what_would_not_reach_a_node_is_refused_before() {
    let (project, slurm) = (Project::new(), Box::new());
    fs::remove_file(project.path(".harness")).unwrap();
    let refused = |arguments: &[&str], code: i32, words: &[&str]| {
        let ran = slurm.harness(&project, arguments).expect(code);
        assert!(words.iter().all(|word| ran.stderr.contains(word)), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("--allow"), "no such option: {}", ran.stderr);
    };
    refused(&["submit", "tiny"], 2, &["no `cluster.toml`", "hint: `harness submit --init`"]);
    assert_eq!(slurm.harness(&project, &["submit", "--init"]).expect(0).stdout, "cluster.toml\n");
    refused(&["submit", "--init"], 2, &["there is a `cluster.toml` already"]);
    project.write("cluster.toml", "cpus = 0\n");
    refused(&["submit", "tiny"], 2, &["cluster.toml:1:8", "hint: state 1 or more"]);
    project.write("cluster.toml", "");
    refused(&["submit", "tiny"], 3, &["corpus `tiny` is not ready", "hint: `harness data prepare tiny`"]);
    project.harness(&["data", "prepare", "tiny"]).expect(0);
    refused(&["submit", "tiny"], 2, &["how long one of `tiny` takes", "hint: state one in cluster.toml"]);
    project.write("cluster.toml", "gpus = 1\ntime = \"01:00:00\"\n");
    refused(&["submit", "tiny"], 2, &["`training.device` is \"cpu\"", "hint: set `training.device"]);
    let auto = TINY.replace("device = \"cpu\"\n", "");
    project.write("experiments/tiny/experiment.toml", &auto);
    project.commit("Use what there is");
    // Which libtorch a program is linked with shows on a machine without a GPU too.
    slurm.program("ldd", "echo \"  libtorch_cpu.so => $BOX/libtorch_cpu.so (0x0001)\"");
    refused(&["submit", "tiny"], 2, &["libtorch of the trainer is one for processors alone", "LIBTORCH=cuda"]);
    fs::write(slurm.path("libtorch_cuda.so"), "").unwrap();
    slurm.harness(&project, &["submit", "tiny", "--dry-run"]).expect(0);
    project.write("experiments/tiny/experiment.toml", &auto.replace("[training]", "[training]\ndevice = \"cuda\""));
    project.commit("Use a GPU");
    project.write("cluster.toml", "time = \"01:00:00\"\n");
    let planned = slurm.harness(&project, &["plan", "tiny"]).expect(0).stderr;
    assert!(planned.contains("`harness submit` refuses it: `training.device` is \"cuda\""), "{planned}");
    refused(&["submit", "tiny"], 2, &["cluster.toml asks for no GPU", "hint: state `gpus = 1`"]);
    project.write("experiments/tiny/experiment.toml", TINY);
    project.commit("Use the processor");
    project.write("idea.txt", "an idea\n");
    refused(&["submit", "tiny"], 2, &["idea.txt", "hint: commit these files"]);
    fs::remove_file(project.path("idea.txt")).unwrap();
    refused(&["submit", "tyni"], 2, &["tyni"]);
    project.write("experiments/budget.toml", "cpu_hours = 0.0\n");
    refused(&["submit", "tiny"], 2, &["nothing is left of the 0.00 CPU hours", "--over-budget"]);
    fs::remove_file(project.path("experiments/budget.toml")).unwrap();
    slurm.program(
        "sbatch",
        "echo 'sbatch: error: first' >&2; echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1",
    );
    refused(
        &["submit", "tiny"],
        1,
        &["`sbatch` failed: sbatch: error: invalid partition specified: gpu", "hint: compare"],
    );
    slurm.program("sbatch", "echo thanks");
    refused(&["submit", "tiny"], 1, &["no number of a job, but `thanks`"]);
    assert_eq!(fs::read_dir(project.path(".harness/cluster")).unwrap().count(), 0, "nothing is left of them");
    assert!(slurm.harness(&project, &["jobs", "--all"]).expect(0).stdout.contains("nothing is submitted"));
    refused(&["cancel", "4711"], 2, &["nothing that was submitted is `4711`"]);
    refused(&["fetch-runs"], 2, &["names no login node"]);
}

#[test]
fn what_runs_would_not_use_of_what_is_asked_for_is_said_and_what_they_cannot_have_refused() {
    let (project, slurm) = (project(), Box::new());
    // A libtorch that serves CUDA, as far as anybody looks.
    slurm.program("ldd", "echo \"  libtorch_cpu.so => $BOX/libtorch_cpu.so (0x0001)\"");
    fs::write(slurm.path("libtorch_cuda.so"), "").unwrap();
    let told = |devices: &str, cluster: &str, arguments: &[&str], code: i32| {
        let config = TINY.replace("device = \"cpu\"\n", devices).replace("batch_size = 2\n", "batch_size = 8\n");
        assert!(config.contains("batch_size = 8\n"));
        project.write("experiments/tiny/experiment.toml", &config);
        if !project.git(&["status", "--porcelain", "experiments"]).is_empty() {
            project.commit("Share the work");
        }
        project.write("cluster.toml", &format!("time = \"01:00:00\"\n{cluster}"));
        slurm.harness(&project, arguments).expect(code).stderr
    };
    let dry = ["submit", "tiny", "--dry-run"];
    // What stands idle is said, wherever it is asked for; and what to change.
    let idle = "cluster.toml asks for 4 GPUs for each run, and `tiny` computes on 1 (`training.devices`): the other 3 are idle";
    for arguments in [&dry[..], &["submit", "tiny", "--seed", "9"], &["plan", "tiny"]] {
        let said = told("", "gpus = 4\n", arguments, 0);
        assert!(said.contains(idle), "{arguments:?}: {said}");
        assert!(said.contains("hint: set `training.devices = \"all\"`, or state `gpus = 1` in cluster.toml"), "{said}");
    }
    let said = told("devices = 3\nbatch_size_stages = []\n", "gpus = 4\n", &["plan", "tiny"], 0);
    assert!(said.contains("cannot be shared out equally among 3 processes"), "{said}");
    let said = told("devices = 2\n", "scheduler = \"htcondor\"\ngpus = 3\n", &dry, 0);
    assert!(said.contains("`tiny` computes on 2 (`training.devices`): the other one is idle, and paid for"), "{said}");
    // What fits is left alone.
    for (devices, cluster) in [
        ("devices = \"all\"\n", "gpus = 4\n"),
        ("devices = 4\n", "gpus = 4\n"),
        ("", "gpus = 1\n"),
        ("", "nodes = 2\ngpus = 2\ncpus = 2\n"),
        ("devices = 2\n", "nodes = 2\ngpus = 2\ncpus = 2\n"),
        ("device = \"cpu\"\ndevices = 2\n", "cpus = 4\n"),
        ("device = \"cpu\"\ndevices = \"all\"\n", ""),
        ("device = \"cpu\"\n", ""),
    ] {
        assert_eq!(told(devices, cluster, &dry, 0), "", "{devices} {cluster}");
    }
    // Processes that Slurm starts are not those of `training.devices`; and several share what cores there are.
    let said = told("devices = 4\n", "nodes = 2\ngpus = 2\ncpus = 2\n", &dry, 0);
    assert!(said.contains("among the 4 processes that cluster.toml has Slurm start"), "{said}");
    let said = told("device = \"cpu\"\ndevices = 2\n", "cpus = 1\n", &dry, 0);
    assert!(said.contains("asks for 1 core: they wait for each other\nhint: state `cpus = "), "{said}");
    // What is certain to fail on a node is refused here.
    let refused = told("devices = 4\n", "gpus = 2\n", &dry, 2);
    assert!(refused.contains("`training.devices` of `tiny` is 4, and cluster.toml asks for 2 GPUs only"), "{refused}");
    assert!(
        refused.contains("hint: state `gpus = 4` in cluster.toml, or set `training.devices` to \"all\""),
        "{refused}"
    );
    let refused = told("devices = \"all\"\n", "gpus = 3\n", &dry, 2);
    assert!(refused.contains("cannot be shared out equally among 3 processes"), "{refused}");
    // From a laptop before anything goes there.
    let away = "host = \"me@nowhere\"\nfolder = \"thesis\"\ngpus = 2\n";
    assert!(told("devices = 4\n", away, &["submit", "tiny"], 2).contains("asks for 2 GPUs only"));
    assert!(told("", away, &dry, 0).contains("the other one is idle"));
}

#[test]
fn what_is_cancelled_stays_so_and_what_the_scheduler_ended_is_told() {
    let (project, slurm) = (project(), Box::new());
    let seeds: Vec<String> = (1..=5).map(|seed| format!("--seed={seed}")).collect();
    let submit: Vec<&str> = ["submit", "tiny"].into_iter().chain(seeds.iter().map(String::as_str)).collect();
    slurm.harness(&project, &submit).expect(0);
    // It runs, and is cancelled while it does: its own signal brings it to a checkpoint, and it is not queued again.
    let running = slurm.task(&project, 4711, 0).env("STAND_IN", "slow").spawn().unwrap();
    until_checkpoint(&project, 1);
    assert_eq!(slurm.harness(&project, &["cancel", "4711_0"]).expect(0).stdout, "cancelled: 4711_0\n");
    signal(slurm.step(), Signal::TERM);
    project.wait(running).expect(75);
    slurm.set(4711, 1, "TIMEOUT");
    slurm.set(4711, 2, "OUT_OF_MEMORY");
    slurm.set(4711, 3, "COMPLETED");
    assert_eq!(slurm.states(&project), ["cancelled", "stopped", "failed", "failed", "queued"]);
    let table = slurm.harness(&project, &["jobs", "--all"]).expect(0).stdout;
    for reason in ["its time was over", "needed more than `memory`", "it ended without a run"] {
        assert!(table.contains(reason), "{table}");
    }
    // A failed run is told with its reason.
    let failed = Ran::of(slurm.task(&project, 4711, 4).env("STAND_IN", "fail:5").output().unwrap());
    assert_eq!(failed.code, 1);
    slurm.set(4711, 4, "FAILED");
    let shown = slurm.json(&project, &["jobs", "--all", "--json"]);
    let last = &shown["submissions"][0]["tasks"][4];
    assert_eq!(last["state"], "failed");
    assert!(last["run"].is_string() && last["reason"].is_string(), "{last}");
    assert_eq!(slurm.harness(&project, &["cancel", "--all"]).expect(0).stdout, "nothing of it is open\n");
    // What was cancelled is submitted again, and goes on.
    slurm.harness(&project, &["submit", "tiny", "--seed", "1"]).expect(0);
    slurm.run(&project, 4712, 0).expect(0);
    assert!(!Project::json(&project.latest("tiny").join("open.json"))["resumed_from"].is_null());
    assert_eq!(slurm.states(&project).last().unwrap(), "done");
    // So is what has failed since anybody asked after it.
    slurm.harness(&project, &["submit", "tiny", "--seed", "6"]).expect(0);
    slurm.set(4713, 0, "NODE_FAIL");
    let again = slurm.harness(&project, &["submit", "tiny", "--seed", "6"]).expect(0).stdout;
    assert!(again.starts_with("submitted to Slurm: job 4714"), "{again}");
    slurm.run(&project, 4714, 0).expect(0);
    // What the scheduler has forgotten is known by its record, or not at all.
    slurm.harness(&project, &["submit", "tiny", "--seed", "7", "--seed", "8"]).expect(0);
    slurm.run(&project, 4715, 0).expect(0);
    fs::remove_dir_all(slurm.path("jobs/4715")).unwrap();
    assert_eq!(slurm.states(&project)[6..], ["stopped", "done", "done", "stopped"]);
}

#[test]
fn the_trials_of_a_study_are_submitted_one_a_task() {
    let (project, slurm) = (project(), Box::new());
    project
        .harness(&[
            "study",
            "new",
            "decay",
            "--over",
            "tiny",
            "--vary",
            "optimizer.weight_decay=0.0,0.1",
            "--trials",
            "2",
        ])
        .expect(0);
    project.commit("Plan a study");
    slurm.harness(&project, &["submit", "--study", "decay"]).expect(0);
    let tasks = slurm.states(&project).len() as u32;
    assert!(tasks >= 2, "{tasks}");
    (0..tasks).for_each(|task| drop(slurm.run(&project, 4711, task).expect(0)));
    assert!(slurm.states(&project).iter().all(|state| state == "done"));
    let again = slurm.run(&project, 4711, 0).expect(0);
    assert!(again.stderr.contains("nothing to do"), "{}", again.stderr);
    assert!(slurm.harness(&project, &["submit", "--study", "decay"]).expect(0).stdout.contains("nothing is missing"));
    assert_eq!(project.runs("decay").len() as u32, tasks);
}

#[test]
fn scripts_are_such_as_a_person_would_write() {
    let (project, slurm) = (project(), Box::new());
    let all = "gpus = 2\ngpu_type = \"a100\"\ncpus = 8\nmemory = \"32G\"\ntime = \"1-02:00:00\"\npartition = \"gpu\"\naccount = \"lab\"\n\
               constraint = \"a|b\"\nmax_parallel = 2\nmodules = [\"cuda/12.4\", \"gcc\"]\nenvironment = [\"export TMPDIR=/scratch/$USER\"]\n\
               container = \"my image.sif\"\n";
    let auto = TINY.replace("device = \"cpu\"\n", "");
    project.write("experiments/tiny/experiment.toml", &auto);
    project.commit("Use what there is");
    let script = |text: &str| {
        project.write("cluster.toml", text);
        let submit = [
            "submit",
            "tiny",
            "--seed",
            "1",
            "--seed",
            "2",
            "--purpose",
            "tune",
            "--over-budget",
            "it's late",
            "--dry-run",
        ];
        let printed = slurm.harness(&project, &submit).expect(0).stdout;
        printed.replace(project.path("").canonicalize().unwrap().to_str().unwrap(), "/project")
    };
    let filters = [
        (r"\b[0-9a-f]{40}\b", "[commit]"),
        (r"\S*/examples/stand-in-trainer", "[trainer]"),
        (r"\S*/debug/harness", "[harness]"),
    ];
    insta::with_settings!({ filters => filters, prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("submit_slurm", script(all));
        let condor = all.replace("partition = \"gpu\"\n", "").replace("a|b", "TARGET.HasCVMFS");
        insta::assert_snapshot!("submit_htcondor", script(&format!("scheduler = \"htcondor\"\n{condor}")));
    });
    assert!(slurm.harness(&project, &["jobs"]).expect(0).stdout.contains("nothing is submitted"));
    // A plain cluster asks for little.
    let plain = script("time = \"01:00:00\"\n");
    assert!(
        plain.contains("#SBATCH --time=01:00:00\n") && !plain.contains("gres") && !plain.contains("module"),
        "{plain}"
    );
}

#[test]
fn condor_starts_a_task_again_that_was_stopped() {
    let (project, condor) = (project(), Box::new());
    project.write("cluster.toml", "scheduler = \"htcondor\"\ntime = \"00:01:00\"\n");
    condor.program("condor_submit", "pwd >\"$BOX/pwd\"; cp job.sub \"$BOX\"; echo '12.0 - 12.0'");
    condor.program("condor_q", "cat \"$BOX/ads\" 2>/dev/null");
    condor.program("condor_history", "exit 1");
    condor.program("condor_rm", "echo \"$@\" >\"$BOX/removed\"");
    let said = condor.harness(&project, &["submit", "tiny"]).expect(0).stdout;
    assert!(said.starts_with("submitted to HTCondor: job 12, one run, 1 min"), "{said}");
    let folder = fs::read_to_string(condor.path("pwd")).unwrap();
    let task_of = |script: &str| {
        let mut command = condor.command(&project, &[]);
        let environment: Vec<_> = command.get_envs().filter_map(|(n, v)| Some((n.to_owned(), v?.to_owned()))).collect();
        command = Command::new("bash");
        command.args([script, "0"]).current_dir(folder.trim()).env_clear().envs(environment);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let task = || task_of("task.sh");
    let running = task().env("STAND_IN", "slow").spawn().unwrap();
    until_checkpoint(&project, 1);
    fs::write(condor.path("ads"), r#"[{"ClusterId":12,"ProcId":0,"JobStatus":2}]"#).unwrap();
    assert_eq!(condor.states(&project), ["running"]);
    signal(running.id(), Signal::TERM);
    project.wait(running).expect(85);
    // It sees by itself that its time ends, and has as much again at its next start.
    let script = fs::read_to_string(Path::new(folder.trim()).join("task.sh")).unwrap();
    let short = Path::new(folder.trim()).join("short.sh");
    assert!(script.contains("export HARNESS_END_TIME=$(($(date +%s) - SECONDS + 60))\n"), "{script}");
    fs::write(&short, script.replace(" + 60)", " + 11)")).unwrap();
    let stopped = Ran::of(task_of("short.sh").env("STAND_IN", "slow").output().unwrap()).expect(85);
    assert!(stopped.stderr.contains("the time that the machine is lent for ends"), "{}", stopped.stderr);
    let kind = Project::json(&project.latest("tiny").join("record.json"))["failure"]["kind"].clone();
    assert_eq!(kind, "time_limit");
    Ran::of(task().output().unwrap()).expect(0);
    assert_eq!((condor.states(&project), project.runs("tiny").len()), (vec!["done".to_owned()], 3));
    condor.harness(&project, &["submit", "tiny", "--seed", "8"]).expect(0);
    condor.harness(&project, &["cancel", "12"]).expect(0);
    assert_eq!(fs::read_to_string(condor.path("removed")).unwrap(), "12\n");
}

/// Whether a laptop and a login node can speak here.
fn has_rsync() -> bool {
    let found = Command::new("rsync").arg("--version").output().is_ok();
    if !found {
        skip("rsync", "install rsync");
    }
    found
}

#[test]
fn a_laptop_submits_over_ssh_and_brings_the_runs_back() {
    if !has_rsync() {
        return;
    }
    let (laptop, there) = (project(), Box::new());
    // What is slow is so for ten seconds.
    let rarely = TINY
        .replace("every = 5", "every = 200")
        .replace("every = 10", "every = 200")
        .replace("checkpoint_every = 4", "checkpoint_every = 50");
    let long = |steps: u32| rarely.replace("steps = 20", &format!("steps = {steps}"));
    laptop.write("experiments/tiny/experiment.toml", &long(200));
    laptop.commit("Train for longer");
    let program = env!("CARGO_BIN_EXE_harness");
    let file = |host: &str, program: &str| {
        format!("host = \"{host}\"\nfolder = \"it's my thesis\"\nprogram = \"{program}\"\ntime = \"01:00:00\"\n")
    };
    laptop.write("cluster.toml", &file("elsewhere", program));
    let refused = there.harness(&laptop, &["submit", "tiny"]).expect(1);
    assert!(
        refused.stderr.contains("`ssh` failed: ssh: Could not resolve hostname elsewhere\nhint: `ssh HOST true`"),
        "{}",
        refused.stderr
    );
    laptop.write("idea.txt", "an idea\n");
    let refused = there.harness(&laptop, &["submit", "tiny"]).expect(2);
    assert!(refused.stderr.contains("idea.txt"), "{}", refused.stderr);
    fs::remove_file(laptop.path("idea.txt")).unwrap();
    laptop.write("cluster.toml", &file("me@login", "target/release/harness"));
    let refused = there.harness(&laptop, &["submit", "tiny"]).expect(2);
    assert!(refused.stderr.contains("on me@login: there is no program `target/release/harness`"), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: `harness submit NAME... --set-up`"), "{}", refused.stderr);

    laptop.write("cluster.toml", &file("me@login", program));
    let said = there.harness(&laptop, &["submit", "tiny", "--seed", "1", "--seed", "2"]).expect(0).stdout;
    assert!(said.starts_with("submitted to Slurm on me@login: job 4711, 2 runs"), "{said}");
    let home = there.path("my home/it's my thesis");
    let commit = laptop.git(&["rev-parse", "HEAD"]);
    let head = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(&home).output().unwrap();
    assert_eq!(String::from_utf8(head.stdout).unwrap(), commit);
    assert!(!home.join(".harness/downloads").exists(), "only what is read is sent");
    assert_eq!(there.states(&laptop), ["queued"; 2]);
    assert_eq!(there.json(&laptop, &["budget", "--json"])["promised"].as_array().unwrap().len(), 2);

    there.run(&laptop, 4711, 0).expect(0);
    let running = there.task(&laptop, 4711, 1).env("STAND_IN", "slow").spawn().unwrap();
    let runs = || {
        fs::read_dir(home.join("experiments/tiny/runs")).map_or(0, |runs| {
            runs.filter(|run| !run.as_ref().unwrap().file_name().to_string_lossy().starts_with('.')).count()
        })
    };
    until("a second run", || runs() == 2);
    assert_eq!(there.states(&laptop), ["done", "running"]);
    let table = there.harness(&laptop, &["jobs"]).expect(0).stdout;
    assert!(table.contains("hint: `harness fetch-runs` brings 1 that are done and not here"), "{table}");

    // The sealed one comes, the open one stays; nothing of it is overwritten.
    let fetched = there.harness(&laptop, &["fetch-runs"]).expect(0).stdout;
    assert!(
        fetched.contains("1 fetched from me@login and verified, 0 here already, 1 not sealed there yet"),
        "{fetched}"
    );
    assert_eq!(laptop.runs("tiny").len(), 1);
    assert!(!laptop.latest("tiny").join("checkpoints").exists());
    assert_eq!(there.harness(&laptop, &["cancel", "4711_1"]).expect(0).stdout, "cancelled: 4711_1\n");
    signal(there.step(), Signal::TERM);
    laptop.wait(running).expect(75);
    assert_eq!(there.states(&laptop), ["done", "cancelled"]);
    // Without its checkpoints a run is as after a clone: nothing is wrong, and something is not here.
    let audited = laptop.harness(&["audit"]).expect(3);
    assert!(!audited.stdout.contains("contradiction"), "{}", audited.stdout);

    // Its record is committed here, and the next commit goes there all the same.
    laptop.commit("Keep the run");
    there.harness(&laptop, &["submit", "tiny", "--seed", "3"]).expect(0);
    there.run(&laptop, 4712, 0).expect(0);
    let again = there.json(&laptop, &["fetch-runs", "--checkpoints", "--json"])["runs"].clone();
    // That of the cancelled task is sealed as well.
    assert_eq!((again["fetched"].as_array().unwrap().len(), again["here"].as_array().unwrap().len()), (2, 1));
    assert!(laptop.latest("tiny").join("checkpoints").exists());
    laptop.harness(&["audit"]).expect(3);

    // What is not what was sealed is not taken over, and what is here stays as it is.
    there.harness(&laptop, &["submit", "tiny", "--seed", "4"]).expect(0);
    there.run(&laptop, 4713, 0).expect(0);
    let mut all: Vec<PathBuf> =
        fs::read_dir(home.join("experiments/tiny/runs")).unwrap().map(|run| run.unwrap().path()).collect();
    all.sort();
    crate::common::flip(&all.last().unwrap().join("steps.csv"), 40);
    let refused = there.harness(&laptop, &["fetch-runs"]).expect(1);
    assert!(refused.stderr.contains("it is not what was sealed: `steps.csv`"), "{}", refused.stderr);
    let here = laptop.runs("tiny").len();
    fs::write(laptop.runs("tiny")[0].join("MANIFEST"), "other\n").unwrap();
    let refused = there.harness(&laptop, &["fetch-runs"]).expect(1);
    assert!(refused.stderr.contains("here is another of this name"), "{}", refused.stderr);
    assert_eq!(laptop.runs("tiny").len(), here);

    // What somebody changed there by hand is neither lost nor run.
    fs::write(home.join("experiments/tiny/experiment.toml"), long(8)).unwrap();
    laptop.git(&["checkout", "-q", "--", "."]);
    laptop.write("experiments/tiny/experiment.toml", &long(24));
    laptop.commit("Train longer");
    let refused = there.harness(&laptop, &["submit", "tiny"]).expect(2);
    assert!(refused.stderr.contains("files in the folder there differ from their commit"), "{}", refused.stderr);
    assert!(refused.stderr.contains("experiments/tiny/experiment.toml"), "{}", refused.stderr);
}

#[test]
fn a_branch_comes_from_the_login_node_with_or_without_its_trunk() {
    if !has_rsync() {
        return;
    }
    let (laptop, there) = (project(), Box::new());
    laptop.write("experiments/long/experiment.toml", &format!("{TINY}\n[schedule]\nkind = \"constant\"\n"));
    let cool = "extends = \"long\"\ntrunk = { experiment = \"long\", step = 12 }\n\n[training]\nsteps = 16\n";
    laptop.write("experiments/cool/experiment.toml", cool);
    let program = env!("CARGO_BIN_EXE_harness");
    let cluster = format!("host = \"me@login\"\nfolder = \"thesis\"\nprogram = \"{program}\"\ntime = \"01:00:00\"\n");
    laptop.write("cluster.toml", &cluster);
    laptop.commit("A trunk and what begins from it");

    // What is not known here is said, and refused there before anything is submitted.
    let planned = there.harness(&laptop, &["submit", "cool", "--dry-run"]).expect(0).stderr;
    let expected =
        "`cool`, seed 3, begins from step 12 of `long`: its run, checkpoint and data are looked for on me@login";
    assert!(planned.contains(expected) && planned.contains("it has no run of seed 3 to explore"), "{planned}");
    let refused = there.harness(&laptop, &["submit", "cool"]).expect(2).stderr;
    assert!(refused.contains("on me@login: `cool` cannot begin from step 12 of `long`: it has no run"), "{refused}");
    assert!(there.states(&laptop).is_empty());
    for (experiment, job) in [("long", 4711), ("cool", 4712)] {
        there.harness(&laptop, &["submit", experiment]).expect(0);
        there.run(&laptop, job, 0).expect(0);
    }

    // The branch alone: its record stands by itself, and what it begins from is missing, not wrong.
    let (runs, away) = (there.path("my home/thesis/experiments/long/runs"), there.path("away"));
    fs::rename(&runs, &away).unwrap();
    let fetched = there.harness(&laptop, &["fetch-runs"]).expect(0).stdout;
    assert!(fetched.contains("1 fetched from me@login and verified"), "{fetched}");
    let audited = laptop.harness(&["audit"]).expect(3).stdout;
    assert!(audited.contains("it begins from: is missing") && audited.contains("nothing contradicts"), "{audited}");
    laptop.harness(&["show", "cool"]).expect(0);

    // With its trunk, which arrives after it, the two fit each other.
    fs::rename(&away, &runs).unwrap();
    let fetched = there.harness(&laptop, &["fetch-runs"]).expect(0).stdout;
    assert!(fetched.contains("1 fetched from me@login and verified, 1 here already"), "{fetched}");
    let audited: Value = serde_json::from_str(&laptop.harness(&["audit", "--json"]).expect(3).stdout).unwrap();
    let trunk = laptop.latest("long").file_name().unwrap().to_str().unwrap().to_owned();
    let what = format!("run {trunk} it begins from");
    let check = audited["checks"].as_array().unwrap().iter().find(|check| check["what"] == *what);
    assert_eq!(check.expect(&what)["outcome"], "holds");

    // Here its checkpoint is missing, so that another branch begins there, where it is.
    laptop.commit("Keep the runs");
    let refused = laptop.harness(&["run", "cool"]).expect(2).stderr;
    assert!(refused.contains("the file is missing"), "{refused}");
    let submitted = there.harness(&laptop, &["submit", "cool", "--purpose", "explore", "--seed", "3"]).expect(0);
    assert!(submitted.stdout.contains("submitted to Slurm on me@login"), "{}", submitted.all());
    let told = submitted.stderr;
    assert!(told.contains("by the runs that are here, `cool` cannot begin"), "{told}");
}

#[test]
fn a_rented_machine_goes_on_where_the_one_before_it_was_taken_away() {
    if !has_rsync() {
        return;
    }
    let (project, place) = (project(), Box::new());
    // Ten seconds where each step takes its time: long enough to be taken away in the middle.
    project.write("experiments/tiny/experiment.toml", &TINY.replace("steps = 20", "steps = 200"));
    project.commit("Train longer");
    project.write("experiments/budget.toml", "cpu_hours = 2.0\n");
    let folder = place.path("task");
    let export = ["export", "skypilot", "tiny", folder.to_str().unwrap(), "--seed", "1", "--seed", "2"];
    place.harness(&project, &export).expect(0);
    let refused = place.harness(&project, &export).expect(2);
    assert!(refused.stderr.contains("is not empty"), "{}", refused.stderr);
    let yaml = fs::read_to_string(folder.join("task.yaml")).unwrap();
    for line in [
        "name: harness-tiny\n",
        "  cpus: 1+\n",
        "  memory: 2+\n",
        "    mode: MOUNT_CACHED\n",
        "/tmp/harness-store/corpora/tiny/",
    ] {
        assert!(yaml.contains(line), "{line}: {yaml}");
    }
    let run = fs::read_to_string(folder.join("run.sh")).unwrap();
    assert!(run.contains("limit_s=7200\n"), "{run}");

    // The data arrive by their folders.
    for line in yaml.lines().filter(|line| line.contains("harness-store")) {
        let (there, here) = line.trim().split_once(": ").unwrap();
        let there = there.trim_matches('"').replace("/tmp/harness-store", place.path("store").to_str().unwrap());
        fs::create_dir_all(Path::new(&there).parent().unwrap()).unwrap();
        assert!(Command::new("cp").args(["-r", here.trim_matches('"'), &there]).status().unwrap().success());
    }
    let script = |name: &str| {
        let mut command = Command::new("bash");
        command
            .arg(folder.join(name))
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap())
            .env("HOME", place.path("my home"));
        command
            .env("HARNESS_TASK", &folder)
            .env("HARNESS_STORE", place.path("store"))
            .env("HARNESS_KEPT", place.path("kept"));
        command
            .env("HARNESS_REPOSITORY", place.path("repository"))
            .env("HARNESS_PROGRAM", env!("CARGO_BIN_EXE_harness"));
        command.env("HARNESS_KEPT_EVERY_S", "1").env("TMPDIR", place.path("my home"));
        command.envs(
            project
                .command(&[])
                .get_envs()
                .filter(|(name, _)| *name == "HARNESS_TRAINER")
                .filter_map(|(n, v)| Some((n, v?))),
        );
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    Ran::of(script("setup.sh").output().unwrap()).expect(0);
    let kept = || {
        let runs = fs::read_dir(place.path("kept/experiments/tiny/runs"));
        let mut runs: Vec<PathBuf> = runs.map_or(Vec::new(), |runs| runs.map(|run| run.unwrap().path()).collect());
        runs.sort();
        runs
    };
    // The machine is taken away once a checkpoint is kept.
    let mut machine = script("run.sh");
    std::os::unix::process::CommandExt::process_group(&mut machine, 0);
    let machine = machine.env("STAND_IN", "slow").spawn().unwrap();
    // With the rows of its steps, that is: they are kept in the same round as the log that tells of it, whose end `seconds` shows.
    let rounds =
        || fs::read_to_string(place.path("kept/seconds")).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let mut told_at = None;
    until("a checkpoint is kept", || {
        let log = kept().first().and_then(|run| fs::read_to_string(run.join("log.jsonl")).ok());
        if told_at.is_none() && log.is_some_and(|log| log.contains("\"event\":\"checkpoint\"")) {
            told_at = rounds();
        }
        told_at.is_some_and(|then| rounds() > Some(then + 1))
    });
    let group = rustix::process::Pid::from_raw(i32::try_from(machine.id()).unwrap()).unwrap();
    rustix::process::kill_process_group(group, Signal::KILL).unwrap();
    drop(machine.wait_with_output());
    // The trainer has a group of its own; it ends when nobody reads what it says.
    fs::remove_dir_all(place.path("repository")).unwrap();
    Ran::of(script("setup.sh").output().unwrap()).expect(0);
    let went_on = Ran::of(script("run.sh").output().unwrap()).expect(0);
    let runs = kept();
    assert_eq!(runs.len(), 3, "{runs:?}");
    let second = Project::json(&runs[1].join("open.json"));
    assert_eq!(second["resumed_from"]["run"].as_str(), runs[0].file_name().unwrap().to_str(), "{}", went_on.all());
    assert_eq!((status(&runs[1]), status(&runs[2])), ("completed".to_owned(), "completed".to_owned()));
    assert!(fs::read_to_string(place.path("kept/seconds")).unwrap().trim().parse::<u64>().unwrap() >= 2);

    // What the budget does not pay for is not begun.
    fs::write(place.path("kept/seconds"), "7200\n").unwrap();
    let over = Ran::of(script("run.sh").output().unwrap()).expect(1);
    assert!(over.stderr.contains("the budget pays for no more of this machine"), "{}", over.stderr);
    project.write("experiments/budget.toml", "cpu_hours = 0.0\n");
    place.harness(&project, &["export", "skypilot", "tiny", place.path("other").to_str().unwrap()]).expect(2);
}

#[test]
fn a_laptop_has_the_programs_built_there_for_what_runs_ask_for() {
    if !has_rsync() {
        return;
    }
    let (laptop, there) = (project(), Box::new());
    laptop.write("experiments/tiny/experiment.toml", &TINY.replace("device = \"cpu\"\n", ""));
    let makefile = "setup:\n\t@echo set up for $(LIBTORCH)\nbuild: setup\n\tmkdir -p target/$(PROFILE)\n\tln -sf BUILT target/$(PROFILE)/harness\n";
    laptop.write("Makefile", &makefile.replace("BUILT", env!("CARGO_BIN_EXE_harness")));
    let ignored = fs::read_to_string(laptop.path(".gitignore")).unwrap();
    laptop.write(".gitignore", &format!("{ignored}/target\n"));
    laptop.commit("Build there");
    laptop.write("cluster.toml", "host = \"me@login\"\nfolder = \"thesis\"\ntime = \"01:00:00\"\ngpus = 1\n");
    let refused = there.harness(&laptop, &["submit", "tiny"]).expect(2);
    assert!(refused.stderr.contains("there is no program `target/release/harness`"), "{}", refused.stderr);
    let said = there.harness(&laptop, &["submit", "tiny", "--set-up"]).expect(0);
    assert!(said.stderr.contains("set up for cuda\n"), "{}", said.all());
    assert!(said.stdout.starts_with("submitted to Slurm on me@login: job 4711, one run"), "{}", said.stdout);
    there.run(&laptop, 4711, 0).expect(0);
    assert_eq!(there.states(&laptop), ["done"]);
}

/// Holds files against the parsers of HTCondor and SkyPilot: prints what each understood.
const PARSERS: &str = r#"
import json, sys, warnings
warnings.simplefilter("ignore")
import htcondor, sky
names = ["Args", "RequestCpus", "RequestMemory", "JobMaxRetries", "SuccessCheckpointExitCode", "AllowedExecuteDuration"]
ads = [[str(ad[name]) for name in names] for ad in htcondor.Submit(open(sys.argv[1]).read()).jobs(clusterid=1)]
task = sky.Task.from_yaml(sys.argv[2])
asked = next(iter(task.resources))
print(json.dumps({
    "ads": ads, "name": task.name, "setup": task.setup, "run": task.run, "cpus": asked.cpus, "memory": asked.memory,
    "gpus": asked.accelerators, "mounts": len(task.file_mounts),
    "kept": {path: storage.mode.value for path, storage in task.storage_mounts.items()},
}))
"#;

#[test]
fn the_parsers_of_htcondor_and_skypilot_read_what_is_written_for_them() {
    let Some(python) = std::env::var_os("HARNESS_FORMS") else {
        skip("forms", "set `HARNESS_FORMS` to a Python that has `skypilot` and `htcondor<25`");
        return;
    };
    let (project, place) = (project(), Box::new());
    project.write("experiments/tiny/experiment.toml", &TINY.replace("device = \"cpu\"\n", ""));
    project.commit("Use what there is");
    project.write("experiments/budget.toml", "gpu_hours = 2.0\nprice_per_gpu_hour = 1.25\ncurrency = \"USD\"\n");
    let asked =
        "scheduler = \"htcondor\"\ngpus = 2\ngpu_type = \"a100\"\ncpus = 8\nmemory = \"32G\"\ntime = \"1-02:00:00\"\n";
    project.write("cluster.toml", asked);
    let seeds = ["--seed", "1", "--seed", "2"];
    let dry = [&["submit", "tiny", "--dry-run", "--json"], &seeds[..]].concat();
    let script = &place.json(&project, &dry)["scripts"][0];
    assert_eq!(script["name"], "job.sub");
    fs::write(place.path("job.sub"), script["text"].as_str().unwrap()).unwrap();
    let folder = place.path("task");
    place
        .harness(&project, &[&["export", "skypilot", "tiny", folder.to_str().unwrap()], &seeds[..]].concat())
        .expect(0);

    let mut parsers = Command::new(python);
    parsers.args(["-c", PARSERS]).arg(place.path("job.sub")).arg(folder.join("task.yaml"));
    parsers.env("CONDOR_CONFIG", "/dev/null").env("HOME", place.path("my home")).current_dir(place.path("my home"));
    let printed = Ran::of(parsers.output().unwrap()).expect(0).stdout;
    let read: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    let ad = |task| serde_json::json!([format!("task.sh {task}"), "8", "32768", "2", "85", "93600"]);
    assert_eq!(read["ads"], serde_json::json!([ad(0), ad(1)]));
    assert_eq!((&read["name"], &read["cpus"], &read["memory"]), (&"harness-tiny".into(), &"8+".into(), &"32+".into()));
    assert_eq!(read["gpus"], serde_json::json!({ "A100": 2 }));
    assert_eq!(read["run"], "bash /tmp/harness-task/run.sh");
    assert_eq!(read["kept"], serde_json::json!({ "/tmp/harness-kept": "MOUNT_CACHED" }));
}
