//! Errors of stages, and the conversion from other errors.

use super::super::output::report::Failure;
use crate::model::{Hint, Stage};
use crate::panics::Panicked;

/// Error of a stage, as text.
#[derive(Debug)]
pub struct StageError {
    /// Error and its causes, with code and hint.
    pub failure: Failure,
}

impl StageError {
    /// The error of `stage` for `error`, with the hint of `error`.
    pub fn of(stage: Stage, error: &(impl Hint + 'static)) -> Self {
        Self { failure: Failure::of(stage, error) }
    }

    /// The error of `stage` for `error`, with another hint.
    pub fn new(
        stage: Stage,
        error: &(dyn std::error::Error + 'static),
        hint: Option<String>,
    ) -> Self {
        Self { failure: Failure::new(stage, error, hint) }
    }

    /// The error for a panic, a bug of this program.
    pub(in crate::pipeline) fn by_panic(stage: Stage, panicked: &Panicked) -> Self {
        let hint = "report this with the line above; the run was undone";
        Self::new(stage, panicked, Some(hint.to_owned())).coded("panicked")
    }

    /// A rejection by the pipeline itself, with the code `refused`.
    pub fn because(stage: Stage, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let (code, hint) = ("refused".to_owned(), Some(hint.into()));
        let message = message.into();
        Self { failure: Failure { stage, code, message, hint, by_other_flags: false } }
    }

    /// Marks that other flags of the target would help.
    #[must_use]
    pub fn by_other_flags(mut self) -> Self {
        self.failure.by_other_flags = true;
        self
    }

    /// Replaces the hint.
    #[must_use]
    pub fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.failure.hint = Some(hint.into());
        self
    }

    /// Replaces the code, which is stable and in kebab case.
    #[must_use]
    pub fn coded(mut self, code: &str) -> Self {
        code.clone_into(&mut self.failure.code);
        self
    }
}

/// Conversion of an error of another module to that of a stage.
pub(in crate::pipeline) trait At<T> {
    /// Converts the error to one of `stage`, with the error's own hint.
    fn at(self, stage: Stage) -> Result<T, StageError>;
}

impl<T, E: Hint + 'static> At<T> for Result<T, E> {
    fn at(self, stage: Stage) -> Result<T, StageError> {
        self.map_err(|error| StageError::of(stage, &error))
    }
}
