//! Progress reports of a run. This module does not know the terminal: `cli` draws, other code may
//! listen.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::model::{Stage, Warning};

/// A progress report of a run.
#[derive(Debug, Clone)]
pub enum Event {
    /// A stage begins.
    StageStarted(Stage),
    /// A stage ended, successfully or not, after this time.
    StageFinished(Stage, Duration),
    /// The result of a stage exists already and is reused.
    StageKept(Stage),
    /// A task of known or unknown length begins. `task` is unique while it runs: `download disk-0`.
    TaskStarted {
        /// Unique name of the task.
        task: String,
        /// Length of the task, in `unit`, if known.
        total: Option<u64>,
        /// Unit of `total` and of the task's positions.
        unit: Unit,
    },
    /// A task has reached a position.
    TaskAdvanced {
        /// Unique name of the task.
        task: String,
        /// Distance from the task's beginning, in its unit.
        position: u64,
    },
    /// Bytes received over the network for a task so far. The position counts bytes that the guest
    /// sees, of which a disk may transfer fewer.
    TaskReceived {
        /// Unique name of the task.
        task: String,
        /// Bytes in total, including those of failed attempts.
        bytes: u64,
    },
    /// A task ended, successfully or not.
    TaskFinished {
        /// Unique name of the task.
        task: String,
    },
    /// A line of a child process' output.
    Output {
        /// Name of the program.
        program: &'static str,
        /// Line without its line break.
        line: String,
    },
    /// A message about the current activity, in one line.
    Note(String),
    /// A warning about a problem that does not end the run.
    Warned(Warning),
}

/// Unit of a task's length and positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Hundredths of a percent.
    BasisPoints,
}

/// Reporting and cancellation, which every longer function gets from its caller.
#[derive(Debug, Clone, Copy)]
pub struct Control<'a> {
    /// Receiver of events.
    pub progress: &'a Progress,
    /// Token whose cancellation ends the work early.
    pub cancel: &'a CancellationToken,
}

/// Receiver of events. Cheap to clone; sending never blocks and never fails.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(Event) + Send + Sync>);

impl Progress {
    /// Passes events to `listener`, which must return quickly.
    pub fn new(listener: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    /// Discards all events.
    pub fn none() -> Self {
        Self::new(|_| {})
    }

    /// Reports one event.
    pub fn send(&self, event: Event) {
        (self.0)(event);
    }

    /// Begins a task and returns its handle; the task ends when the handle is dropped.
    pub fn task(&self, name: impl Into<String>, total: Option<u64>, unit: Unit) -> Task {
        let task = name.into();
        self.send(Event::TaskStarted { task: task.clone(), total, unit });
        Task { task, progress: self.clone() }
    }

    /// Reports a message of one line.
    pub fn note(&self, text: impl Into<String>) {
        self.send(Event::Note(text.into()));
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Progress")
    }
}

/// Handle of a running task.
#[derive(Debug)]
pub struct Task {
    task: String,
    progress: Progress,
}

impl Task {
    /// Reports the distance from the task's beginning, in its unit.
    pub fn at(&self, position: u64) {
        self.progress.send(Event::TaskAdvanced { task: self.task.clone(), position });
    }

    /// Reports the bytes received for the task so far.
    pub fn received(&self, bytes: u64) {
        self.progress.send(Event::TaskReceived { task: self.task.clone(), bytes });
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.progress.send(Event::TaskFinished { task: std::mem::take(&mut self.task) });
    }
}
