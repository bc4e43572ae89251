//! Hints that are printed after an error.

/// An error that may come with a hint. The error's text states the cause; the hint is a separate
/// sentence that begins with a verb and can be pasted.
pub trait Hint: std::error::Error {
    /// What to run or do next, if that is known.
    fn hint(&self) -> Option<String>;
}
