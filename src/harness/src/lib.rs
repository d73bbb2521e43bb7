//! The program `harness`: plans, launches and supervises the trainer, keeps the records, computes every statistic,
//! draws the figures, writes the paper and audits all of it. Links no libtorch.
//!
//! In the order of the flow: [`git`] and [`run`] make a [`record`]; [`watch`] looks at it while it grows; [`analyse`]
//! computes from sealed records only; [`exchange`] hands models to other programs; [`figure`], [`plot`], [`report`] and
//! [`dashboard`] show; [`audit`] follows every number back; [`cli`] is the only room that prints.

pub mod analyse;
pub mod audit;
pub mod cli;
pub mod dashboard;
pub mod exchange;
pub mod exit_code;
pub mod figure;
pub mod git;
pub mod plot;
pub mod record;
pub mod report;
pub mod run;
pub mod watch;
