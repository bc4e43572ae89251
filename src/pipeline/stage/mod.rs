//! The stages of a run, one file each, and what they share.

pub(super) mod addresses;
pub(super) mod again;
pub(super) mod asked;
pub(super) mod conversion;
pub(super) mod export;
pub(super) mod fence;
pub(super) mod guest;
pub(super) mod import;
pub(super) mod kept_domain;
pub(super) mod package;
pub(super) mod preflight;
pub(super) mod privileges;
pub(super) mod ready;
pub(super) mod recovery;
pub(super) mod snapshots;
pub(super) mod source_after;
pub(super) mod source_power;
pub(super) mod stage_error;
pub(super) mod stage_runner;
pub(super) mod start;
pub(super) mod stream;
pub(super) mod target;
pub(super) mod target_check;
pub(super) mod windows;
