//! Tests that start guests: one at a time, since each takes all cores.

mod after;
mod remote;
