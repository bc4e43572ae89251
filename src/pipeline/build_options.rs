//! Manifest fields that describe the conversion to come.

use std::collections::BTreeMap;
use std::path::Path;

use crate::convert as converter;
use crate::manifest::{BuildOptions, PipelineFlags};

/// The values that the manifest gets besides the facts of the export; without a conversion, all
/// stages are off.
pub fn build_options(conversion: Option<&converter::Settings>, output: &Path) -> BuildOptions {
    let stages = conversion.map(|settings| settings.stages);
    let created_at = jiff::Timestamp::now();
    let on = |pick: fn(&converter::Stages) -> bool| stages.as_ref().is_some_and(pick);
    BuildOptions {
        pipeline: PipelineFlags {
            inspect: on(|s| s.inspect),
            fix: on(|s| s.fix),
            convert: on(|s| s.convert),
            validate: on(|s| s.validate),
            compress_level: conversion
                .and_then(|settings| settings.compression.map(|kind| kind.level())),
        },
        output_dir: output.to_owned(),
        job_id: format!("{}-{}", created_at.as_second(), std::process::id()),
        created_at,
        tags: BTreeMap::new(),
    }
}
