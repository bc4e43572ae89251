//! The stack of what an import has made so far: noted before each act, undone in reverse when
//! one fails. A journal outside gets every step first, for the case that the process dies.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::Error;
use super::undo_step::Undo;

type Note = dyn Fn(&Undo) -> io::Result<()> + Send + Sync;

/// Where steps are noted outside of the process before they are taken.
#[derive(Clone)]
pub struct Journal(Arc<Note>);

impl Journal {
    /// Steps go to `note`, which returns when they will outlast the process.
    pub fn new(note: impl Fn(&Undo) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(note))
    }

    /// Nobody keeps them.
    pub fn none() -> Self {
        Self::new(|_| Ok(()))
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Journal")
    }
}

/// The steps so far.
#[derive(Debug, Clone)]
pub(in crate::libvirt) struct Unwind {
    steps: Arc<Mutex<Vec<Undo>>>,
    journal: Journal,
}

impl Unwind {
    /// No steps yet.
    pub fn new(journal: &Journal) -> Self {
        Self { steps: Arc::default(), journal: journal.clone() }
    }

    /// Adds a step, before what it undoes is done: it names something by a mark of ours.
    pub fn push(&self, step: Undo) -> Result<(), Error> {
        self.announce(&step)?;
        self.made(step);
        Ok(())
    }

    /// Puts a step in the place of the last one, of which more is known by now.
    pub fn correct(&self, step: Undo) -> Result<(), Error> {
        self.announce(&step)?;
        let mut steps = self.lock();
        steps.pop();
        steps.push(step);
        Ok(())
    }

    /// Notes a step in the journal alone: what it names may yet turn out to be somebody else's.
    pub fn announce(&self, step: &Undo) -> Result<(), Error> {
        (self.journal.0)(step).map_err(Error::Journal)
    }

    /// Adds a step that was announced, once what it names is ours.
    pub fn made(&self, step: Undo) {
        self.lock().push(step);
    }

    /// All steps, in their order.
    pub fn steps(&self) -> Vec<Undo> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Undo>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
