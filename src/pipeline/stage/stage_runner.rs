//! Runs stages: sends their events, measures their time, and records their results in the report.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::super::output::output_lock::OutputDir;
use super::super::output::records;
use super::super::output::report::{self, RunOutcome, RunReport, StageStatus};
use super::stage_error::StageError;
use crate::manifest;
use crate::model::{Stage, Warning, WarningCode, chain};
use crate::panics::{self, Panicked, caught};
use crate::pipeline::output::save::save;
use crate::progress::{Control, Event, Progress};
use crate::state::Folder;

/// State that all stages of a run share.
pub struct StageRunner<'a> {
    /// Report of the run so far.
    pub report: RunReport,
    /// Receiver of the events.
    pub progress: &'a Progress,
    /// Cancelled when the user interrupts the run.
    pub cancel: &'a CancellationToken,
    /// Descriptor of the output directory, once it is locked.
    pub folder: Option<Folder>,
}

impl<'a> StageRunner<'a> {
    /// A runner that records its stages in `report`; the output directory is not locked yet.
    pub fn new(report: RunReport, progress: &'a Progress, cancel: &'a CancellationToken) -> Self {
        Self { report, progress, cancel, folder: None }
    }

    /// Progress and cancellation, for the work of a stage.
    pub fn control(&self) -> Control<'a> {
        Control { progress: self.progress, cancel: self.cancel }
    }

    /// Runs `work` as `stage`, and records its duration and result. Returns `None` on an error.
    pub fn stage<T>(
        &mut self,
        stage: Stage,
        work: impl Future<Output = Result<T, StageError>>,
    ) -> impl Future<Output = Option<T>> {
        self.stage_as(stage, StageStatus::Done, work)
    }

    /// As [`Self::stage`], with another status for success.
    pub fn stage_as<T>(
        &mut self,
        stage: Stage,
        good: StageStatus,
        work: impl Future<Output = Result<T, StageError>>,
    ) -> impl Future<Output = Option<T>> {
        // Boxed at once: stages are nested, and their futures would overflow the stack.
        self.run(stage, good, Box::pin(work))
    }

    async fn run<T>(
        &mut self,
        stage: Stage,
        good: StageStatus,
        work: Pin<Box<impl Future<Output = Result<T, StageError>>>>,
    ) -> Option<T> {
        self.progress.send(Event::StageStarted(stage));
        let begun = Instant::now();
        let done = caught(async { Ok::<_, Panicked>(work.await) }).await;
        let done = done.unwrap_or_else(|panicked| Err(StageError::by_panic(stage, &panicked)));
        let took = begun.elapsed();
        self.progress.send(match (&done, good) {
            (Ok(_), StageStatus::Kept) => Event::StageKept(stage),
            _ => Event::StageFinished(stage, took),
        });
        match done {
            Ok(value) => {
                self.report.stage(stage, good, took);
                Some(value)
            }
            Err(stopped) => {
                self.report.stage(stage, StageStatus::Failed, took);
                self.report.errors.push(stopped.failure);
                None
            }
        }
    }

    /// Records a stage that did not run, with its status.
    pub fn without(&mut self, stage: Stage, status: StageStatus) {
        if status == StageStatus::Kept {
            self.progress.send(Event::StageKept(stage));
        }
        self.report.stage(stage, status, std::time::Duration::ZERO);
    }

    /// Sends a warning as an event, and adds it to the report.
    pub fn warn(&mut self, warning: Warning) {
        self.progress.send(Event::Warned(warning.clone()));
        self.report.warnings.push(warning);
    }

    /// Sends warnings as events, and adds them to the report.
    pub fn warn_all(&mut self, warnings: impl IntoIterator<Item = Warning>) {
        warnings.into_iter().for_each(|warning| self.warn(warning));
    }

    /// As [`Self::warn_all`], without warnings that the report already has.
    pub fn warn_news(&mut self, warnings: impl IntoIterator<Item = Warning>) {
        for warning in warnings {
            if !self.report.warnings.contains(&warning) {
                self.warn(warning);
            }
        }
    }

    /// The outcome of a run that did not succeed: `outcome`, or interrupted by the user.
    pub fn ended(&self, outcome: RunOutcome) -> RunOutcome {
        let by_user = self.cancel.is_cancelled() && !panics::happened();
        if by_user { RunOutcome::Interrupted } else { outcome }
    }

    /// Ends the run: writes `result.json` if `keep` is set, then unlocks the output directory. In
    /// this order, a kill in between leaves the lock file and a result, never neither.
    pub fn close(mut self, outcome: RunOutcome, claim: Option<OutputDir>, keep: bool) -> RunReport {
        self.report = self.report.finish(outcome);
        let unsaved = keep && !self.save(&self.report.clone());
        let stays = |claim: &OutputDir| {
            unsaved || claim.stays || !keep && claim.is_of_dead_run() && self.is_unknown()
        };
        if let Some(claim) = claim.filter(|claim| !stays(claim))
            && let Err(error) = claim.release()
        {
            self.warn(Warning::new(Stage::Export, WarningCode::MarkerStays, chain(&error)));
        }
        self.report
    }

    /// Writes the report so far to `output`, for the run after a kill. Staged files get their
    /// result when they replace the old ones.
    pub fn save_so_far(&mut self, output: &Path) {
        if output != self.report.output {
            return;
        }
        self.save(&self.report.clone().finish(RunOutcome::Interrupted));
    }

    /// Writes `report` as the result of the run; warns if that fails. Returns whether the result
    /// was written.
    fn save(&mut self, report: &RunReport) -> bool {
        let saved = save_result(report, self.folder.as_ref());
        if let Err(error) = &saved {
            let text = format!("writing {}: {error}", report::FILE_NAME);
            self.warn(Warning::new(Stage::Export, WarningCode::ResultNotSaved, text));
        }
        saved.is_ok()
    }

    /// Whether only the lock file of a killed run proves that the export belongs to hyperexport.
    fn is_unknown(&self) -> bool {
        let is_there = |name: &str| self.report.output.join(name).exists();
        is_there(manifest::FILE_NAME) && !is_there(report::FILE_NAME)
    }
}

fn save_result(report: &RunReport, folder: Option<&Folder>) -> std::io::Result<()> {
    records::keep_unrecorded(&report.output)?;
    let ended = |stage: Stage| {
        report.stages.iter().any(|ran| {
            ran.stage == stage && matches!(ran.status, StageStatus::Done | StageStatus::Failed)
        })
    };
    let recorded = if report.domain.is_some() && ended(Stage::Libvirt) {
        records::write(report)
    } else if ended(Stage::Start) {
        records::started(report)
    } else if ended(Stage::Source) {
        records::of_source(report)
    } else {
        Ok(())
    };
    let text = serde_json::to_vec_pretty(report)?;
    // One of the two files has the undo steps of the run.
    recorded.and(match folder {
        Some(folder) => folder.save(report::FILE_NAME, &text),
        None => save(&report.output.join(report::FILE_NAME), &text),
    })
}
