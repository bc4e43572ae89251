//! The outcome of a conversion.

use std::time::Duration;

use serde_json::Value;

use crate::model::{ConvertedDisks, GuestFacts, Proof, Warning};

use super::Error;
use super::plan::ConversionPlan;

/// The outcome of a conversion.
#[derive(Debug)]
pub struct Conversion {
    /// The converted disks; none in a dry run, or when [`super::Stages::convert`] is off.
    pub disks: Option<ConvertedDisks>,
    /// The steps that a real run would take; only in a dry run.
    pub plan: Option<ConversionPlan>,
    /// Problems that did not stop the conversion.
    pub warnings: Vec<Warning>,
    /// Name and version of the converter.
    pub converter: String,
    /// Facts about the guest, read from its disks; none in a dry run.
    pub guest: Option<GuestFacts>,
    /// Changes in the guest, one line each.
    pub changes: Vec<String>,
    /// Proof that the results contain what was exported; none in a dry run.
    pub proof: Option<Proof>,
    /// What the conversion did, in the format of hyper2kvm's report; null in a dry run.
    pub report: Value,
    /// Why the guest was not fixed, where the disks were converted nevertheless.
    pub fix_failure: Option<Error>,
    /// Duration of each step, in order: `prepare`, hyper2kvm's stages, `finish`.
    pub durations: Vec<(String, Duration)>,
}
