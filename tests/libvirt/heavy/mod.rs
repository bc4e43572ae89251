//! Tests that start guests, each of which uses a core.

mod after;
mod remote;
mod unfixed;
