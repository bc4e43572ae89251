//! `report.json` of a conversion of our own, in the shape of hyper2kvm's (its version 1.0).

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::convert::Error;
use crate::manifest::Manifest;
use crate::model::{ConvertedDisks, Warning, chain};

/// The stages that ran, as they are told of.
#[derive(Debug, Default)]
pub(super) struct Stages(Map<String, Value>, Vec<(String, Duration)>);

impl Stages {
    /// Notes how a stage ended: what it found or did, or why it failed.
    pub(super) fn note(&mut self, name: &str, took: Duration, end: Result<Value, &Error>) {
        let mut stage = json!({ "success": end.is_ok(), "duration": took.as_secs_f64() });
        match end {
            Ok(result) => stage["result"] = result,
            Err(error) => stage["error"] = Value::from(chain(error)),
        }
        self.0.insert(name.to_owned(), stage);
        self.1.push((name.to_owned(), took));
    }

    /// How long each took.
    pub(super) fn durations(&self) -> Vec<(String, Duration)> {
        self.1.clone()
    }

    /// The whole report.
    pub(super) fn report(
        self,
        converter: &str,
        manifest: &Manifest,
        disks: Option<&ConvertedDisks>,
        warnings: &[Warning],
    ) -> Value {
        let failed = |stage: &&Value| stage["success"] == false;
        let errors: Vec<_> = self.0.iter().filter(|(_, stage)| failed(stage)).collect();
        let errors: Vec<_> = errors
            .into_iter()
            .map(|(name, stage)| json!({ "stage": name, "message": stage["error"] }))
            .collect();
        let artifacts = disks.iter().flat_map(|disks| &disks.0).map(|disk| {
            json!({
                "type": "converted_disk",
                "path": disk.path,
                "disk_id": disk.id,
                "format": disk.format,
                "size_bytes": disk.allocated,
                "boot_order_hint": disk.boot_order,
                "fixed": disk.fixed,
            })
        });
        let source = manifest.source.as_ref();
        json!({
            "version": "1.0",
            "timestamp": jiff::Timestamp::now().to_string(),
            "converter": converter,
            "pipeline": {
                "success": errors.is_empty(),
                "duration_seconds": self.1.iter().map(|(_, took)| took.as_secs_f64()).sum::<f64>(),
                "stages": self.0,
            },
            "artifacts": artifacts.collect::<Vec<_>>(),
            "warnings": warnings,
            "errors": errors,
            "input_manifest": {
                "manifest_version": manifest.manifest_version,
                "source_provider": source.and_then(|source| source.provider.clone()),
                "source_vm_id": source.and_then(|source| source.vm_id.clone()),
                "source_vm_name": manifest.vm_name(),
            },
        })
    }
}
