//! Names of the files that a conversion leaves beside its results.

/// What hyper2kvm said.
pub(super) const HYPER2KVM_LOG: &str = "hyper2kvm.log";
/// What libguestfs said.
pub(super) const NATIVE_LOG: &str = "convert.log";
/// Names of the files in the output directory that keep what was said, whichever program converts.
pub const LOGS: [&str; 2] = [HYPER2KVM_LOG, NATIVE_LOG];

/// Name of the file in the output directory that tells what a conversion did, in the shape of
/// hyper2kvm's `report.json` 1.0.
pub const REPORT: &str = "report.json";
