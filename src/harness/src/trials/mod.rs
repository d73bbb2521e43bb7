//! Studies as they are run: what their trials will take ([`cost`]).

pub mod cost;
