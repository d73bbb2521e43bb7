//! The program `harness`: plans, launches and supervises the trainer, watches its runs, shows what came of them and
//! audits all of it.
//!
//! Comes in: a command line, in the folder of a project. Goes out: run folders, pages, checks, text for a terminal. It
//! must never have: tch, libtorch.
//!
//! In the order of the flow: [`anchor`] ties a run to the world outside, [`run`] makes a record, [`replay`] computes it again, [`trials`] those of a study, [`cluster`] hands them to a scheduler, [`queue`] runs them one after the other; [`watch`] looks at it while it grows; [`exchange`] hands models to
//! other programs; [`dashboard`] shows every run; [`audit`] follows every number back; [`bundle`] packs what the paper rests on; [`new_project`] begins another project; [`cli`] is the only room that
//! prints. What is computed and shown comes from the crates `harness-analyse`, `harness-figure` and `harness-report`.

pub mod anchor;
pub mod audit;
pub mod bundle;
pub mod cli;
pub mod cluster;
pub mod dashboard;
pub mod exchange;
pub mod exit_code;
pub mod new_project;
pub mod queue;
pub mod replay;
pub mod run;
pub mod trials;
pub mod watch;
