//! Storage pools and volumes: looked up, created, filled and read.

pub(super) mod content;
pub(super) mod copy;
pub(super) mod default_pool;
pub(super) mod download;
pub(super) mod found_volume;
pub(super) mod pool;
pub(super) mod pool_kind;
pub(super) mod pool_ready;
pub(super) mod pool_use;
pub(super) mod space;
pub(super) mod upload;
pub(super) mod volume;
pub(super) mod wanted;
