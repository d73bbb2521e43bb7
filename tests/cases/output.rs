//! What is written to standard output arrives, or the exit code says that it did not.

use std::fs::File;
use std::process::Stdio;

use crate::common::{Project, Ran};

/// What a command gives whose output goes to a full disk.
fn on_a_full_disk(project: &Project, arguments: &[&str]) -> Ran {
    let full = File::options().write(true).open("/dev/full").unwrap();
    Ran::of(project.command(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap())
}

#[test]
fn a_full_disk_is_no_success() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    project.harness(&["run", "tiny", "--seed", "4"]).expect(0);
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["plan", "--help"],
        &["runs"],
        &["show", "tiny"],
        &["show", "tiny", "--values", "--json"],
        &["plan", "tiny", "--json"],
        &["plan", "tiny"],
        &["plot", "--list"],
        &["watch", "tiny"],
        &["diagnose", "tiny", "--json"],
        &["audit"],
        &["slices", "tiny"],
        &["run", "tiny", "--seed", "5"],
    ] {
        let ran = on_a_full_disk(&project, arguments).expect(1);
        assert!(
            ran.stderr.contains("could not write to standard output: No space left"),
            "{arguments:?}: {}",
            ran.stderr
        );
    }
    // The run itself is sealed all the same.
    assert_eq!(project.runs("tiny").len(), 3);
    project.harness(&["audit"]).expect(0);
}

#[test]
fn whoever_has_read_enough_ends_a_command_quietly() {
    let project = Project::new();
    for arguments in [&["--help"][..], &["show", "tiny"], &["plan", "tiny", "--json"]] {
        let mut child = project.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ran = Ran::of(child.wait_with_output().unwrap()).expect(0);
        assert_eq!(ran.stderr, "", "{arguments:?}");
    }
}
