//! Domains: defined, started, watched, replaced, and identified as ours.

pub(super) mod console;
pub(super) mod define;
pub(super) mod identity;
pub(super) mod replace;
pub(super) mod run_owner;
pub(super) mod snapshot;
pub(super) mod start;
pub(super) mod test_define;
pub(super) mod unused;
pub(super) mod watch;
