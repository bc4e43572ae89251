//! What a conversion gives.

use std::time::Duration;

use serde_json::Value;

use crate::model::{ConvertedDisks, GuestFacts, Proof, Warning};

use super::Error;
use super::plan::ConversionPlan;

/// What a conversion gave.
#[derive(Debug)]
pub struct Conversion {
    /// The converted disks; none in a dry run, or when [`Stages::convert`] is off.
    pub disks: Option<ConvertedDisks>,
    /// What would have been done, in a dry run.
    pub plan: Option<ConversionPlan>,
    /// What went less than well.
    pub warnings: Vec<Warning>,
    /// Name and version of the converter.
    pub converter: String,
    /// What the disks say of the guest; none in a dry run.
    pub guest: Option<GuestFacts>,
    /// What is another in the guest, a line for each change.
    pub changes: Vec<String>,
    /// What shows that the results hold what was exported; none in a dry run.
    pub proof: Option<Proof>,
    /// What was done, in the shape of hyper2kvm's report; null in a dry run.
    pub report: Value,
    /// Why the guest was not fixed, where the disks were converted all the same.
    pub fix_failure: Option<Error>,
    /// How long each step took, in order: `prepare`, hyper2kvm's stages, `finish`.
    pub durations: Vec<(String, Duration)>,
}
