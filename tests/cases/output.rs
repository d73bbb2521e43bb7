//! What is written to standard output arrives, or the exit code says that it did not; and what it is, whole.

use std::fs::File;
use std::process::Stdio;

use crate::cases::lineage;
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

/// What is other on each machine and in each run, and what stands for it: run ids, commits and digests, durations, and
/// blanks that make room for them.
const FILTERS: [(&str, &str); 6] = [
    (r"[0-9]{8}T[0-9]{9}Z-[0-9a-f]{8}", "[run]"),
    (r"\b[0-9a-f]{7,8}\b", "[digest]"),
    (r"about [0-9][^)]*\)", "about [time])"),
    (r"(?m)^wall time .*$", "wall time [times]"),
    (r"(?m)^costs      wall time x [0-9.]+\n", ""),
    (r"(?m) +(x1\.00|-) +equal$", "  $1  equal"),
];

#[test]
fn whole_commands_say_what_they_said_before() {
    let project = lineage::project();
    insta::with_settings!({ filters => FILTERS, prepend_module_to_snapshot => false, omit_expression => true }, {
        for command in [
            &["compare", "tiny", "warm"][..],
            &["runs"],
            &["show", "warm"],
            &["plan", "warm"],
            &["diagnose", "warm"],
            &["decide", "warm"],
            &["tree"],
            &["status"],
        ] {
            let ran = project.harness(command).expect(0);
            insta::assert_snapshot!(format!("stdout_of_{}", command[0]), ran.stdout);
        }
    });
}
