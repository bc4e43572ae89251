//! How an undo step ends.

use virt::error::ErrorNumber;

/// How one step ended.
pub(in crate::libvirt) enum StepResult {
    Done,
    Gone,
    Left(String),
    /// As [`Self::Left`], of something that others use by now, which is no failure.
    Shared(String),
}

/// libvirt's own words.
pub(in crate::libvirt) fn said(error: virt::error::Error) -> String {
    error.message().to_owned()
}

/// What is gone already needs not be undone.
pub(in crate::libvirt) fn gone(
    error: virt::error::Error,
    number: ErrorNumber,
) -> Result<StepResult, String> {
    if error.code().is(number) { Ok(StepResult::Gone) } else { Err(said(error)) }
}
