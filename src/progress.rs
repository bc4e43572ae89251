//! What a run reports while it works. Nothing here knows a terminal: `cli` draws, others listen.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::model::{Stage, Warning};

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A stage begins.
    StageStarted(Stage),
    /// A stage ended, well or not.
    StageFinished(Stage, Duration),
    /// What a stage would make is there already.
    StageKept(Stage),
    /// A task of known or unknown length begins. `task` is unique while it runs: `download disk-0`.
    TaskStarted {
        /// Its name.
        task: String,
        /// Its length, in `unit`, if that is known.
        total: Option<u64>,
        /// What is counted.
        unit: Unit,
    },
    /// How far a task is, from its beginning.
    TaskAdvanced {
        /// Its name.
        task: String,
        /// Position, in the task's unit.
        position: u64,
    },
    /// How much was received for a task so far, in bytes: a disk may be smaller on the wire than
    /// what its guest sees, which the position counts.
    TaskReceived {
        /// Its name.
        task: String,
        /// All bytes, those of broken attempts included.
        bytes: u64,
    },
    /// A task ended, well or not.
    TaskFinished {
        /// Its name.
        task: String,
    },
    /// A line of a child process' output.
    Output {
        /// The program.
        program: &'static str,
        /// The line, without its end.
        line: String,
    },
    /// Something worth a line: what is being done now.
    Note(String),
    /// Something went less than well.
    Warned(Warning),
}

/// What a task counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Hundredths of a percent.
    BasisPoints,
}

/// What every longer piece of work has from its caller: where it reports, and what ends it.
#[derive(Debug, Clone, Copy)]
pub struct Control<'a> {
    /// Where events go.
    pub progress: &'a Progress,
    /// Cancelled when the work is to end early.
    pub cancel: &'a CancellationToken,
}

/// Where events go. Cheap to clone; sending never blocks and never fails.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(Event) + Send + Sync>);

impl Progress {
    /// Events go to `listener`, which must be quick.
    pub fn new(listener: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    /// Nobody listens.
    pub fn none() -> Self {
        Self::new(|_| {})
    }

    /// Reports one event.
    pub fn send(&self, event: Event) {
        (self.0)(event);
    }

    /// Begins a task and returns its handle; the task ends when the handle goes.
    pub fn task(&self, name: impl Into<String>, total: Option<u64>, unit: Unit) -> Task {
        let task = name.into();
        self.send(Event::TaskStarted { task: task.clone(), total, unit });
        Task { task, progress: self.clone() }
    }

    /// Reports a line for people.
    pub fn note(&self, text: impl Into<String>) {
        self.send(Event::Note(text.into()));
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Progress")
    }
}

/// A running task.
#[derive(Debug)]
pub struct Task {
    task: String,
    progress: Progress,
}

impl Task {
    /// Says how far it is, from its beginning, in its unit.
    pub fn at(&self, position: u64) {
        self.progress.send(Event::TaskAdvanced { task: self.task.clone(), position });
    }

    /// Says how many bytes were received for it so far.
    pub fn received(&self, bytes: u64) {
        self.progress.send(Event::TaskReceived { task: self.task.clone(), bytes });
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.progress.send(Event::TaskFinished { task: std::mem::take(&mut self.task) });
    }
}
