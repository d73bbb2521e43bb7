//! One program for all tests of the whole, because linking it takes longer than most of them: `tests/cases/NAME.rs` is
//! `cases::NAME` here, and a test of `cases::repository` fails where a file is missing from the list.
#![expect(clippy::disallowed_methods, reason = "tests set up, read and damage files as they like")]

mod common;

mod cases {
    mod adopt;
    mod anchors;
    mod audit;
    mod budget;
    mod bundle;
    mod cluster;
    mod compare;
    mod dashboard;
    mod data;
    mod demo;
    mod diagnose;
    mod error_rates;
    mod exchange;
    mod go_on;
    mod hostile;
    mod init;
    mod ladder;
    mod library;
    mod lineage;
    mod next;
    mod openings;
    mod output;
    mod pages;
    mod paper;
    mod plan;
    mod plot;
    mod prepare;
    mod queue;
    mod ranks;
    mod records;
    mod replay;
    mod repository;
    mod resume;
    mod runs;
    mod samples;
    mod schemas;
    mod seal;
    mod slices;
    mod study;
    mod submit;
    mod tamper;
    mod tasks;
    mod test_side;
    mod trials;
    mod trunk;
    mod watch;
}
