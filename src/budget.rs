//! Limits that all readers of foreign bytes share.
//!
//! Limits on single items do not bound the total: ten thousand chunks of two thousand disks are
//! eighty gigabytes of names. The total cost of an input is therefore one [`Budget`], from which
//! every loop draws while the input is read. A loop that follows tables of an image draws from a
//! [`TableBudget`]. [`Going`] lets a blocking loop end when the user interrupts the run.

use std::error::Error;
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

/// Limit on the cost of an input in one unit, and the amount that is left.
#[derive(Debug, Clone)]
pub struct Budget {
    what: &'static str,
    most: u64,
    left: u64,
}

/// An input costs more than its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {most} {what}")]
pub struct Exhausted {
    what: &'static str,
    most: u64,
}

impl Budget {
    /// A budget of `most` units of `what`, a plural: "files", "bytes of names".
    pub const fn new(most: u64, what: &'static str) -> Self {
        Self { what, most, left: most }
    }

    /// Subtracts `amount` from the budget. After an error nothing is left.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub fn draw(&mut self, amount: u64) -> Result<(), Exhausted> {
        match self.left.checked_sub(amount) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(Exhausted { what: self.what, most: self.most })
            }
        }
    }
}

impl From<Exhausted> for io::Error {
    fn from(exhausted: Exhausted) -> Self {
        Self::new(ErrorKind::InvalidData, exhausted)
    }
}

impl From<Exhausted> for String {
    fn from(exhausted: Exhausted) -> Self {
        exhausted.to_string()
    }
}

/// Bytes of a file that its tables, or its blocks of data, may occupy. Each byte belongs to one of
/// them, so their total length is at most that of the file. If it is larger, some overlap, and a
/// small file would cause hours of work. A clone draws from the same budget.
#[derive(Debug, Clone)]
pub struct TableBudget {
    left: Arc<AtomicU64>,
    fault: &'static str,
}

impl TableBudget {
    /// Budget for the tables of a file of `length` bytes.
    pub fn of_tables(length: u64) -> Self {
        Self {
            left: Arc::new(length.into()),
            fault: "its tables are cut off, or lie over each other",
        }
    }

    /// Budget for the blocks of data of a file of `length` bytes.
    pub fn of_data(length: u64) -> Self {
        Self {
            left: Arc::new(length.into()),
            fault: "its data is cut off, or lies over each other",
        }
    }

    /// Subtracts the length of a table or block, in bytes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] if the total length exceeds that of the file.
    pub fn draw(&mut self, bytes: u64) -> io::Result<()> {
        let draw = |left: u64| left.checked_sub(bytes);
        let drawn = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, draw);
        drawn.map(drop).map_err(|_| io::Error::new(ErrorKind::InvalidData, self.fault))
    }
}

/// Cancellation of blocking work. The default is never cancelled.
#[derive(Debug, Clone, Default)]
pub struct Going(Option<CancellationToken>);

impl Going {
    /// Checks whether the work may continue.
    ///
    /// # Errors
    /// [`ErrorKind::ConnectionAborted`] after the run was cancelled. Not `Interrupted`, upon which
    /// the readers of the standard library retry.
    pub fn check(&self) -> io::Result<()> {
        match &self.0 {
            Some(cancel) if cancel.is_cancelled() => {
                Err(io::Error::new(ErrorKind::ConnectionAborted, LoopStopped))
            }
            _ => Ok(()),
        }
    }
}

impl Going {
    /// As [`Self::check`] in a loop over entries, but only at every 4096th entry: checking costs
    /// more than reading an entry.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_at(&self, entry: u64) -> io::Result<()> {
        if entry.is_multiple_of(1 << 12) { self.check() } else { Ok(()) }
    }
}

impl From<&CancellationToken> for Going {
    fn from(cancel: &CancellationToken) -> Self {
        Self(Some(cancel.clone()))
    }
}

/// A reader that fails after the run was cancelled, for decompressors without an end.
#[derive(Debug)]
pub struct Watched<R> {
    reader: R,
    going: Going,
}

impl<R> Watched<R> {
    /// Reads from `reader` until `going` is cancelled.
    pub fn new(reader: R, going: &Going) -> Self {
        Self { reader, going: going.clone() }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.going.check()?;
        self.reader.read(buffer)
    }
}

/// Whether [`Going::check`] caused `error`, directly or through wrapping errors.
pub fn is_stop(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<LoopStopped>() {
            return true;
        }
        // `source` of an `io::Error` would skip the error inside it.
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    false
}

#[derive(Debug, thiserror::Error)]
#[error("the run was interrupted")]
struct LoopStopped;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_drawn_to_its_end_and_not_beyond() {
        let mut budget = Budget::new(3, "files");
        assert_eq!(budget.draw(2), Ok(()));
        assert_eq!(budget.draw(1), Ok(()));
        let error = budget.draw(1).expect_err("nothing is left");
        assert_eq!(error.to_string(), "more than 3 files");
        assert!(Budget::new(3, "files").draw(u64::MAX).is_err());
    }

    #[test]
    fn tables_are_no_longer_than_their_file() {
        let mut budget = TableBudget::of_tables(1024);
        let mut of_another_thread = budget.clone();
        assert!(budget.draw(1023).is_ok());
        assert!(of_another_thread.draw(1).is_ok());
        assert_eq!(budget.draw(1).expect_err("too long").kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn work_ends_when_the_run_is_cancelled() {
        let cancel = CancellationToken::new();
        let going = Going::from(&cancel);
        assert!(going.check().is_ok() && Going::default().check().is_ok());
        cancel.cancel();
        assert!(is_stop(&going.check().expect_err("cancelled")));
        let wrapped = going.check().expect_err("cancelled");
        assert!(is_stop(&io::Error::new(ErrorKind::InvalidData, wrapped)));
        assert!(!is_stop(&io::Error::from(ErrorKind::ConnectionAborted)));
    }
}
