//! `report.json` of hyperexport's own conversion, in the format of hyper2kvm's report (version
//! 1.0).

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::convert::Error;
use crate::manifest::Manifest;
use crate::model::{
    ByteSize, ConvertedDisk, ConvertedDisks, DiskFormat, DiskId, GuestDrivers, Proof, Sha256Digest,
    Warning, chain,
};

use super::beginning::Beginning;
use super::fix::{Change, FoundInterface};
use super::inspect::Guest;

/// The report of a conversion by hyperexport itself.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ConversionReport<'a> {
    /// Version of the format of hyper2kvm's report: `1.0`.
    version: &'static str,
    /// When the report was written (RFC 3339).
    timestamp: jiff::Timestamp,
    /// Name and version of the converter.
    converter: &'a str,
    /// The stages of the conversion.
    pipeline: ConverterPipeline,
    /// The converted disks; empty where no disk was converted.
    artifacts: Vec<Artifact>,
    /// The warnings of the conversion.
    warnings: &'a [Warning],
    /// The stages that failed.
    errors: Vec<StageFailure>,
    /// The manifest that was converted.
    input_manifest: InputManifest<'a>,
    /// The proof that the converted disks contain what was exported, except for the blocks that FIX
    /// changed (docs/proof.md); null where no disk was converted.
    proof: Option<&'a Proof>,
    /// The volumes of the domain that were read back and verified. The field is added when the
    /// domain is defined.
    #[serde(skip_serializing_if = "Option::is_none")]
    volumes: Option<Vec<ReportedVolume>>,
}

/// A volume of the domain that was read back and verified.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReportedVolume {
    /// Id of the VM's disk.
    pub disk_id: DiskId,
    /// Name of the volume in its storage pool.
    pub name: String,
    /// Hash of the content as the guest sees it (docs/proof.md).
    pub content: Sha256Digest,
}

/// The stages of a conversion.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ConverterPipeline {
    /// Whether no stage failed.
    success: bool,
    /// Duration of all stages in seconds.
    duration_seconds: f64,
    /// The stages that ran.
    stages: StageLog,
}

/// A converted disk.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Artifact {
    /// Kind of the artifact, always `converted_disk`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Absolute path of the image.
    path: PathBuf,
    /// Id of the disk in the manifest.
    disk_id: DiskId,
    /// Format of the image.
    format: DiskFormat,
    /// Bytes that the image occupies in the file system, without holes.
    size_bytes: ByteSize,
    /// 0 is the boot disk, the others follow.
    boot_order_hint: u32,
    /// Whether the guest on the disks was made ready for virtio.
    fixed: bool,
}

impl Artifact {
    fn of(disk: &ConvertedDisk) -> Self {
        Self {
            kind: "converted_disk",
            path: disk.path.clone(),
            disk_id: disk.id.clone(),
            format: disk.format,
            size_bytes: disk.allocated,
            boot_order_hint: disk.boot_order,
            fixed: disk.fixed,
        }
    }
}

/// A stage that failed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct StageFailure {
    /// Name of the stage, as in `pipeline.stages`.
    stage: &'static str,
    /// The error and its causes, separated by `: `.
    message: String,
}

/// The manifest that was converted.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct InputManifest<'a> {
    /// Version of the manifest's format.
    manifest_version: &'a str,
    /// Provider of the source, `vsphere`, `local`, …; null where the manifest names none.
    source_provider: Option<&'a str>,
    /// Id of the VM at the source; null where the manifest names none.
    source_vm_id: Option<&'a str>,
    /// Display name of the VM.
    source_vm_name: &'a str,
}

/// The stages that ran, in their order.
// Boxed: the log is part of large futures.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct StageLog {
    /// Conversion of the images to qcow2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) convert: Option<Box<ConverterStage<ConvertResult>>>,
    /// Detection of the operating system on the disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inspect: Option<Box<ConverterStage<Guest>>>,
    /// Changes that make the guest ready for virtio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<Box<ConverterStage<FixResult>>>,
    /// Verification of the results.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) validate: Option<Box<ConverterStage<ValidateResult>>>,
}

/// The result of a stage.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct ConverterStage<T> {
    /// Whether the stage succeeded.
    success: bool,
    /// Duration of the stage in seconds.
    duration: f64,
    /// The findings or changes of the stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<T>,
    /// Why the stage failed: the error and its causes, separated by `: `.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl<T> ConverterStage<T> {
    /// A stage with its result, or with the reason of its failure.
    pub(super) fn ended(took: Duration, end: Result<T, &Error>) -> Option<Box<Self>> {
        match end {
            Ok(result) => Self::done(took, Some(result), None),
            Err(error) => Self::done(took, None, Some(error)),
        }
    }

    /// A stage that failed and still has a result.
    pub(super) fn done(
        took: Duration,
        result: Option<T>,
        failure: Option<&Error>,
    ) -> Option<Box<Self>> {
        let (success, duration) = (failure.is_none(), took.as_secs_f64());
        let error = failure.map(|error| chain(error));
        Some(Box::new(Self { success, duration, result, error }))
    }

    /// Duration of the stage in seconds, and why it failed.
    fn end(&self) -> (f64, Option<&str>) {
        (self.duration, self.error.as_deref())
    }
}

/// The result of `convert`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct ConvertResult {
    /// Number of converted disks.
    disks_converted: usize,
    /// Format of the converted disks, always `qcow2`.
    output_format: &'static str,
    /// The converted disks, one entry each.
    converted_disks: Vec<DiskReference>,
}

/// A reference to a disk.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct DiskReference {
    /// Id of the disk in the manifest.
    disk_id: DiskId,
}

impl ConvertResult {
    /// The result for converted disks with these ids.
    pub(super) fn of(disks: impl Iterator<Item = DiskId>) -> Self {
        let converted_disks: Vec<_> = disks.map(|disk_id| DiskReference { disk_id }).collect();
        Self { disks_converted: converted_disks.len(), output_format: "qcow2", converted_disks }
    }
}

/// The result of `fix`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub(super) enum FixResult {
    /// The guest was changed.
    Guest {
        /// The disk that the guest boots from.
        boot_disk_id: Option<DiskId>,
        /// Changes in the guest.
        changes: Vec<Change>,
        /// Names of the kernels that boot from virtio, the default first.
        bootable_kernels: Vec<String>,
        /// The drivers of the guest; null where they could not be read.
        drivers: Option<GuestDrivers>,
        /// The network cards of the guest.
        network: Vec<FoundInterface>,
    },
    /// The system could not be read, and only its boot loader was completed.
    Loader {
        /// Changes in the EFI system partitions.
        changes: Vec<Change>,
    },
}

/// The result of `validate`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct ValidateResult {
    /// Number of verified disks.
    disks_validated: usize,
    /// Whether all disks passed; always true, since a disk that fails ends the conversion.
    all_passed: bool,
    /// The verified disks, one entry each.
    validation_results: Vec<ValidatedDisk>,
}

/// A disk that was verified.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ValidatedDisk {
    /// Id of the disk in the manifest.
    disk_id: DiskId,
    /// Result of the check, always `passed`.
    integrity_check: &'static str,
    /// The boot-relevant content at the beginning of the disk.
    beginning: Beginning,
}

impl ValidateResult {
    /// The result for disks that all passed, with their beginnings.
    pub(super) fn passed(disks: &[(DiskId, Beginning)]) -> Self {
        let validated = |(id, start): &(DiskId, Beginning)| ValidatedDisk {
            disk_id: id.clone(),
            integrity_check: "passed",
            beginning: start.clone(),
        };
        let validation_results = disks.iter().map(validated).collect();
        Self { disks_validated: disks.len(), all_passed: true, validation_results }
    }
}

impl StageLog {
    /// Name, seconds and failure of each stage that ran, in their order.
    fn each(&self) -> impl Iterator<Item = (&'static str, f64, Option<&str>)> {
        let ends = [
            ("convert", self.convert.as_deref().map(ConverterStage::end)),
            ("inspect", self.inspect.as_deref().map(ConverterStage::end)),
            ("fix", self.fix.as_deref().map(ConverterStage::end)),
            ("validate", self.validate.as_deref().map(ConverterStage::end)),
        ];
        ends.into_iter().filter_map(|(name, end)| end.map(|(took, error)| (name, took, error)))
    }

    /// Duration of each stage that ran.
    pub(super) fn durations(&self) -> Vec<(String, Duration)> {
        let took = |(name, took, _): (&str, _, _)| (name.to_owned(), Duration::from_secs_f64(took));
        self.each().map(took).collect()
    }

    /// Builds the complete report.
    pub(super) fn report(
        self,
        converter: &str,
        manifest: &Manifest,
        results: Option<(&ConvertedDisks, &Proof)>,
        warnings: &[Warning],
    ) -> Value {
        let failure = |(stage, _, error): (_, _, Option<&str>)| {
            Some(StageFailure { stage, message: error?.to_owned() })
        };
        let errors: Vec<_> = self.each().filter_map(failure).collect();
        let duration_seconds = self.each().map(|(_, took, _)| took).sum();
        let disks = results.iter().flat_map(|(disks, _)| &disks.0);
        let source = manifest.source.as_ref();
        json!(ConversionReport {
            version: "1.0",
            timestamp: jiff::Timestamp::now(),
            converter,
            pipeline: ConverterPipeline {
                success: errors.is_empty(),
                duration_seconds,
                stages: self,
            },
            artifacts: disks.map(Artifact::of).collect(),
            warnings,
            errors,
            input_manifest: InputManifest {
                manifest_version: &manifest.manifest_version,
                source_provider: source.and_then(|source| source.provider.as_deref()),
                source_vm_id: source.and_then(|source| source.vm_id.as_deref()),
                source_vm_name: manifest.vm_name(),
            },
            proof: results.map(|(_, proof)| proof),
            volumes: None,
        })
    }
}

/// The schema of the report.
#[cfg(test)]
pub(crate) fn schema(generator: schemars::SchemaGenerator) -> schemars::Schema {
    generator.into_root_schema_for::<ConversionReport<'static>>()
}
