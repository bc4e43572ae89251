//! Names of the files that a conversion writes beside its results.

/// Log of hyper2kvm's output.
pub(super) const HYPER2KVM_LOG: &str = "hyper2kvm.log";
/// Log of libguestfs' output.
pub(super) const NATIVE_LOG: &str = "convert.log";
/// Names of the log files in the output directory, for each converter.
pub const LOGS: [&str; 2] = [HYPER2KVM_LOG, NATIVE_LOG];

/// Name of the conversion's report in the output directory, in the format of hyper2kvm's
/// `report.json` 1.0.
pub const REPORT: &str = "report.json";
