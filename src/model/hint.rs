//! What helps after an error, next to what the error says.

/// An error that may know what the user can do about it. Its text says what is so; the hint is a
/// sentence of its own that begins with a verb and can be pasted.
pub trait Hint: std::error::Error {
    /// What to type or do next, where that is known.
    fn hint(&self) -> Option<String>;
}
