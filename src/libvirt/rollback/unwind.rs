//! The undo stack of an import: each step is recorded before its change, and undone in reverse if a
//! change fails. A persistent journal gets every step first, in case the process dies.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::Error;
use super::undo_step::Undo;

type Note = dyn Fn(&Undo) -> io::Result<()> + Send + Sync;

/// Persistent journal of undo steps, written before each change.
#[derive(Clone)]
pub struct Journal(Arc<Note>);

impl Journal {
    /// A journal that passes each step to `note`, which returns once the step is stored
    /// persistently.
    pub fn new(note: impl Fn(&Undo) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(note))
    }

    /// A journal that stores nothing.
    pub fn none() -> Self {
        Self::new(|_| Ok(()))
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Journal")
    }
}

/// The undo steps recorded so far.
#[derive(Debug, Clone)]
pub(in crate::libvirt) struct Unwind {
    steps: Arc<Mutex<Vec<Undo>>>,
    journal: Journal,
}

impl Unwind {
    pub fn new(journal: &Journal) -> Self {
        Self { steps: Arc::default(), journal: journal.clone() }
    }

    /// Records a step before its change. The step identifies its object by a mark of ours.
    pub fn push(&self, step: Undo) -> Result<(), Error> {
        self.announce(&step)?;
        self.made(step);
        Ok(())
    }

    /// Replaces the last step by a more precise one.
    pub fn correct(&self, step: Undo) -> Result<(), Error> {
        self.announce(&step)?;
        let mut steps = self.lock();
        steps.pop();
        steps.push(step);
        Ok(())
    }

    /// Records a step in the journal only: its object may turn out to belong to someone else.
    pub fn announce(&self, step: &Undo) -> Result<(), Error> {
        (self.journal.0)(step).map_err(Error::Journal)
    }

    /// Adds an announced step to the stack, once its object is ours.
    pub fn made(&self, step: Undo) {
        self.lock().push(step);
    }

    /// All steps, in the order of their recording.
    pub fn steps(&self) -> Vec<Undo> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Undo>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
