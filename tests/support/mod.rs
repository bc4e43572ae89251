//! Code that several test files share.
#![allow(dead_code, reason = "no test file uses all of it")]
#![allow(clippy::print_stdout, reason = "a skipped test says why")]

pub mod daemon;
pub mod export;
pub mod ext4;
pub mod files;
pub mod guest;
pub mod guests;
pub mod hyper2kvm;
pub mod import;
pub mod job;
pub mod journal;
pub mod libvirtd;
pub mod schema;
pub mod seed;
pub mod sshd;
pub mod vcsim;
