//! `report.json` of a conversion of our own, in the shape of hyper2kvm's (its version 1.0).

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::convert::Error;
use crate::manifest::Manifest;
use crate::model::{ConvertedDisks, Warning, chain};

/// The stages that ran, as they are told of.
#[derive(Debug, Default)]
pub(super) struct StageLog(Map<String, Value>, Vec<(String, Duration)>);

impl StageLog {
    /// Notes how a stage ended: what it found or did, or why it failed.
    pub(super) fn note(&mut self, name: &str, took: Duration, end: Result<Value, &Error>) {
        match end {
            Ok(result) => self.note_done(name, took, Some(result), None),
            Err(error) => self.note_done(name, took, None, Some(error)),
        }
    }

    /// The same of a stage that failed and did something all the same.
    pub(super) fn note_done(
        &mut self,
        name: &str,
        took: Duration,
        result: Option<Value>,
        failure: Option<&Error>,
    ) {
        let mut stage = json!({ "success": failure.is_none(), "duration": took.as_secs_f64() });
        if let Some(result) = result {
            stage["result"] = result;
        }
        if let Some(error) = failure {
            stage["error"] = Value::from(chain(error));
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
