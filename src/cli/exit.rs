//! Exit codes: what a script may rely on.

use crate::pipeline::RunOutcome;

/// How the command ended, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; a later stage may have warned, unless `--strict`.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Usage error: wrong or missing arguments.
    Usage = 2,
    /// A stage failed, and the results of others stand (a whole run only with `--strict`).
    LaterStage = 3,
    /// Refused before anything changed.
    Refused = 4,
    /// Interrupted by the user (128 + SIGINT).
    Interrupted = 130,
}

impl Exit {
    /// The exit code of a run; a failed later stage counts only if `strict`.
    pub fn of(outcome: RunOutcome, strict: bool) -> Self {
        match outcome {
            RunOutcome::Done | RunOutcome::AlreadyDone => Self::Done,
            RunOutcome::Partial if strict => Self::LaterStage,
            RunOutcome::Partial => Self::Done,
            RunOutcome::Failed => Self::Failed,
            RunOutcome::Refused => Self::Refused,
            RunOutcome::Interrupted => Self::Interrupted,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_later_stage_matters_only_to_the_strict() {
        assert_eq!(Exit::of(RunOutcome::Partial, false), Exit::Done);
        assert_eq!(Exit::of(RunOutcome::Partial, true), Exit::LaterStage);
        assert_eq!(Exit::of(RunOutcome::Refused, true), Exit::Refused);
        assert_eq!(Exit::of(RunOutcome::Done, true) as u8, 0);
        assert_eq!(Exit::of(RunOutcome::AlreadyDone, true) as u8, 0);
        assert_eq!(Exit::of(RunOutcome::Interrupted, false) as u8, 130);
    }
}
