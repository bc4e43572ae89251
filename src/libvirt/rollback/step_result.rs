//! Result of an undo step.

use virt::error::ErrorNumber;

/// Result of one step.
pub(in crate::libvirt) enum StepResult {
    Done,
    Gone,
    Left(String),
    /// The object stays because others use it by now, which is no failure.
    Shared(String),
}

/// libvirt's error message.
pub(in crate::libvirt) fn said(error: virt::error::Error) -> String {
    error.message().to_owned()
}

/// An object that no longer exists need not be undone.
pub(in crate::libvirt) fn gone(
    error: virt::error::Error,
    number: ErrorNumber,
) -> Result<StepResult, String> {
    if error.code().is(number) { Ok(StepResult::Gone) } else { Err(said(error)) }
}
