//! Exit codes of `harness`. 1 means "ran well and found a difference", as in grep and diff.

/// It holds, or it was done.
pub const SUCCESS: u8 = 0;
/// An audit found a contradiction, or a run or report did not succeed.
pub const CONTRADICTION: u8 = 1;
/// The command line or a file written by the user was wrong; nothing was done.
pub const USAGE: u8 = 2;
/// An audit found nothing wrong, but something is missing (a file, a pruned checkpoint, data not here).
pub const INCOMPLETE: u8 = 3;
/// An audit found nothing wrong, and a run has no anchor although one was asked for.
pub const UNANCHORED: u8 = 5;
/// A run was interrupted and sealed as such.
pub const INTERRUPTED: u8 = 130;
/// A run was stopped before its end on request of the system (its time ends, or it was preempted) and sealed as such, or
/// nothing was opened yet: the same command goes on, a run with `--go-on`. It is `EX_TEMPFAIL` of sysexits.h, "try again".
pub const STOPPED: u8 = 75;
