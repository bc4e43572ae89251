//! Exports from files: packages, images, manifests.

#[path = "../support/mod.rs"]
mod support;

mod backports;
mod boxes;
mod broken;
mod images;
mod manifest;
mod media;
mod moved;
mod packages;
mod private;
mod proof;
mod rewriting;
mod spellings;
mod streamed;
mod sums;
mod whole;
