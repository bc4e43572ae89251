//! The state of a running conversion.

use std::path::Path;

use crate::manifest::Manifest;
use crate::progress::Progress;

use super::Settings;
use super::tools::qemu_img::Tools;
use super::tools::work::WorkDir;

pub(super) struct ConversionRun<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) settings: &'a Settings,
    pub(super) progress: &'a Progress,
    pub(super) tools: &'a Tools,
    pub(super) work: &'a WorkDir,
    pub(super) output: &'a Path,
}
