//! A throwaway Slurm on this machine: tests/cluster/slurmbox.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::{repository, skip};

/// A controller and two virtual nodes, `n1` and `n2`, with a processor each or more; gone with this value.
pub(crate) struct Slurm {
    folder: TempDir,
    port: u16,
    processors: u32,
}

impl Slurm {
    /// Starts one; none where Slurm is not installed, or this is not root.
    pub(crate) fn start() -> Option<Self> {
        Self::with_processors(1)
    }

    /// Starts one whose nodes claim so many processors each, whatever the machine has.
    pub(crate) fn with_processors(processors: u32) -> Option<Self> {
        let installed = ["slurmctld", "slurmd", "munged", "srun"].iter().all(|program| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
        });
        if !installed || !rustix::process::getuid().is_root() {
            skip("slurm", "as root: `apt-get install --no-install-recommends slurmctld slurmd slurm-client munge`");
            return None;
        }
        // Sockets lie in it, whose paths have to be short.
        let folder = tempfile::Builder::new().prefix("slurm").tempdir_in("/tmp").unwrap();
        let free = |port: &u16| (*port..port + 20).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
        // Jobs of a young Slurm meet at ports just above 20,000.
        let first = 21_000 + (std::process::id() % 1000) as u16 * 20;
        let port = (first..60_000).step_by(20).find(free).expect("ports are free");
        let slurm = Slurm { folder, port, processors };
        slurm.slurmbox(&["start"]);
        Some(slurm)
    }

    fn slurmbox(&self, arguments: &[&str]) {
        let mut command = Command::new(repository().join("tests/cluster/slurmbox"));
        command.args(arguments).env("SLURMBOX", self.folder.path()).env("SLURMBOX_PORT", self.port.to_string());
        command.env("SLURMBOX_CPUS", self.processors.to_string());
        let output = command.output().unwrap();
        assert!(output.status.success(), "slurmbox {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The variable by which the programs of Slurm find it, and its value.
    pub(crate) fn variable(&self) -> (&'static str, String) {
        ("SLURM_CONF", self.folder.path().join("slurm.conf").display().to_string())
    }

    /// Runs a program of Slurm, in a folder. Gives what it prints.
    pub(crate) fn call(&self, folder: &Path, program: &str, arguments: &[&str]) -> String {
        let (name, value) = self.variable();
        let output: Output =
            Command::new(program).args(arguments).env(name, value).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Kills a node with all that runs on it.
    pub(crate) fn kill_node(&self, node: &str) {
        self.slurmbox(&["kill-node", node.trim_start_matches('n')]);
    }

    /// Brings it back.
    pub(crate) fn start_node(&self, node: &str) {
        self.slurmbox(&["start-node", node.trim_start_matches('n')]);
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log/slurmctld.log")).unwrap_or_default();
            eprintln!("slurmctld: {log}");
        }
        self.slurmbox(&["stop"]);
    }
}
