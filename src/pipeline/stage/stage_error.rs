//! How a stage failed, in words, and the way there from an error.

use super::super::output::report::Failure;
use crate::model::{Hint, Stage};
use crate::panics::Panicked;

/// A failed stage, in words.
#[derive(Debug)]
pub struct StageError {
    /// The error and its causes.
    pub failure: Failure,
}

impl StageError {
    /// What `error` says, with its own hint.
    pub fn of(stage: Stage, error: &(impl Hint + 'static)) -> Self {
        Self { failure: Failure::of(stage, error) }
    }

    /// What `error` says, with another hint than its own.
    pub fn new(
        stage: Stage,
        error: &(dyn std::error::Error + 'static),
        hint: Option<String>,
    ) -> Self {
        Self { failure: Failure::new(stage, error, hint) }
    }

    /// A mistake of this program.
    pub(in crate::pipeline) fn by_panic(stage: Stage, panicked: &Panicked) -> Self {
        let hint = "report this with the line above; the run was undone";
        Self::new(stage, panicked, Some(hint.to_owned())).coded("panicked")
    }

    /// A refusal of our own.
    pub fn because(stage: Stage, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let (code, hint) = ("refused".to_owned(), Some(hint.into()));
        let message = message.into();
        Self { failure: Failure { stage, code, message, hint, by_other_flags: false } }
    }

    /// The same where the way out are other flags of the target.
    #[must_use]
    pub fn by_other_flags(mut self) -> Self {
        self.failure.by_other_flags = true;
        self
    }

    /// The same with what to type next.
    #[must_use]
    pub fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.failure.hint = Some(hint.into());
        self
    }

    /// The same with a code of its own, stable and in kebab case.
    #[must_use]
    pub fn coded(mut self, code: &str) -> Self {
        code.clone_into(&mut self.failure.code);
        self
    }
}

/// The way from the error of another room to that of a stage.
pub(in crate::pipeline) trait At<T> {
    /// The same, whose error is one of `stage` with its own hint.
    fn at(self, stage: Stage) -> Result<T, StageError>;
}

impl<T, E: Hint + 'static> At<T> for Result<T, E> {
    fn at(self, stage: Stage) -> Result<T, StageError> {
        self.map_err(|error| StageError::of(stage, &error))
    }
}
