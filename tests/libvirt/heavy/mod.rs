//! Tests that start guests, each of which takes a core.

mod after;
mod remote;
mod unfixed;
