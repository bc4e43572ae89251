//! Bookkeeping around a stage: its events, its time, its end in the report.

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

/// What every stage of a run needs.
pub struct StageRunner<'a> {
    /// What is known so far.
    pub report: RunReport,
    /// Where events go.
    pub progress: &'a Progress,
    /// Cancelled when the user wants to stop.
    pub cancel: &'a CancellationToken,
    /// The output directory, once it is claimed.
    pub folder: Option<Folder>,
}

impl<'a> StageRunner<'a> {
    /// An empty ledger.
    pub fn new(report: RunReport, progress: &'a Progress, cancel: &'a CancellationToken) -> Self {
        Self { report, progress, cancel, folder: None }
    }

    /// What work of a stage needs.
    pub fn control(&self) -> Control<'a> {
        Control { progress: self.progress, cancel: self.cancel }
    }

    /// Runs `work` as `stage`, and notes how long it took and how it ended.
    pub fn stage<T>(
        &mut self,
        stage: Stage,
        work: impl Future<Output = Result<T, StageError>>,
    ) -> impl Future<Output = Option<T>> {
        self.stage_as(stage, StageStatus::Done, work)
    }

    /// The same for work whose good end has a name of its own.
    pub fn stage_as<T>(
        &mut self,
        stage: Stage,
        good: StageStatus,
        work: impl Future<Output = Result<T, StageError>>,
    ) -> impl Future<Output = Option<T>> {
        // On the heap at once: stages are nested, and their futures would outgrow the stack.
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

    /// Notes a stage that did not run.
    pub fn without(&mut self, stage: Stage, status: StageStatus) {
        if status == StageStatus::Kept {
            self.progress.send(Event::StageKept(stage));
        }
        self.report.stage(stage, status, std::time::Duration::ZERO);
    }

    /// Tells and keeps a warning.
    pub fn warn(&mut self, warning: Warning) {
        self.progress.send(Event::Warned(warning.clone()));
        self.report.warnings.push(warning);
    }

    /// Tells and keeps warnings.
    pub fn warn_all(&mut self, warnings: impl IntoIterator<Item = Warning>) {
        warnings.into_iter().for_each(|warning| self.warn(warning));
    }

    /// The same for those alone that the report does not have yet.
    pub fn warn_news(&mut self, warnings: impl IntoIterator<Item = Warning>) {
        for warning in warnings {
            if !self.report.warnings.contains(&warning) {
                self.warn(warning);
            }
        }
    }

    /// How a run ended that did not come to its good end.
    pub fn ended(&self, outcome: RunOutcome) -> RunOutcome {
        let by_user = self.cancel.is_cancelled() && !panics::happened();
        if by_user { RunOutcome::Interrupted } else { outcome }
    }

    /// Ends the run: `result.json` is written if it is to be kept, then the output directory is
    /// given free. In this order: a kill in between leaves a marker and a result, never neither.
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

    /// Writes what is known so far to `output` for the run after a kill. Files that are made beside
    /// an old export get their result when they take its place.
    pub fn save_so_far(&mut self, output: &Path) {
        if output != self.report.output {
            return;
        }
        self.save(&self.report.clone().finish(RunOutcome::Interrupted));
    }

    /// Writes `report` as the result of the run; warns where that fails. Returns whether it is
    /// written.
    fn save(&mut self, report: &RunReport) -> bool {
        let saved = save_result(report, self.folder.as_ref());
        if let Err(error) = &saved {
            let text = format!("writing {}: {error}", report::FILE_NAME);
            self.warn(Warning::new(Stage::Export, WarningCode::ResultNotSaved, text));
        }
        saved.is_ok()
    }

    /// Whether the marker of a killed run alone tells that the export in the directory is ours.
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
    // One of the two tells how to undo the run.
    recorded.and(match folder {
        Some(folder) => folder.save(report::FILE_NAME, &text),
        None => save(&report.output.join(report::FILE_NAME), &text),
    })
}
