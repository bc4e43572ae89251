//! A mistake in this program ends a run, and does not keep the run from cleaning up: a panic that
//! unwinds past a lease, a snapshot or a domain would leave them behind. So work that has something
//! to undo runs in [`caught`], which turns a panic into an error; and [`cancel_on_panic`] ends
//! all else that the run does, on whatever thread the panic was.

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook};
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

static HAPPENED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether the thread reads foreign bytes with a library, whose panics end nothing.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Work that ended by a panic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bug in hyperexport: {0}")]
pub struct Panicked(String);

impl Panicked {
    fn new(payload: &(dyn Any + Send)) -> Self {
        Self(message(payload).to_owned())
    }
}

/// The end of `work`, with a panic as an error.
///
/// # Errors
/// Those of `work`, and [`Panicked`].
pub fn caught<T, E: From<Panicked>>(
    work: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, E>> {
    // On the heap: each future that holds this one would make room for `work` twice.
    let work = Box::pin(work);
    async {
        // Partial state after a panic belongs to the run, which only cleans up from here on.
        let end = AssertUnwindSafe(work).catch_unwind().await;
        end.unwrap_or_else(|payload| Err(Panicked::new(&*payload).into()))
    }
}

/// The same of work that blocks.
///
/// # Errors
/// As [`caught`].
pub fn caught_here<T, E: From<Panicked>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let end = catch_unwind(AssertUnwindSafe(work));
    end.unwrap_or_else(|payload| Err(Panicked::new(&*payload).into()))
}

/// The same of a library that reads foreign bytes: what breaks it is damaged, and no mistake of
/// ours. The run goes on.
///
/// # Errors
/// Those of `work`, and [`io::ErrorKind::InvalidData`] for a panic.
pub fn contained<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = CONTAINED.replace(true);
    let end = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(before);
    end.unwrap_or_else(|payload| {
        let reason = format!("what reads it broke: {}", message(&*payload));
        Err(io::Error::new(io::ErrorKind::InvalidData, reason))
    })
}

/// From now on a panic on any thread cancels `cancel`, and is told to `tell` in one line.
pub fn cancel_on_panic(cancel: &CancellationToken, tell: fn(&str)) {
    let cancel = cancel.clone();
    set_hook(Box::new(move |panic| {
        if CONTAINED.get() {
            return;
        }
        HAPPENED.store(true, Ordering::Relaxed);
        cancel.cancel();
        tell(&line(panic));
    }));
}

/// Whether a panic ended the run. What it undoes then was not interrupted by anybody.
pub fn happened() -> bool {
    HAPPENED.load(Ordering::Relaxed)
}

/// Where a test wants a panic.
#[cfg(debug_assertions)]
static WANTED: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// Has [`point`] panic at a place, once for all. Builds for users pass that over.
pub fn want(place: &str) {
    #[cfg(debug_assertions)]
    if WANTED.set(place.to_owned()).is_err() {
        tracing::debug!("a panic is wanted already");
    }
    #[cfg(not(debug_assertions))]
    tracing::debug!(place, "a panic is not to be had");
}

/// A place of a run, named by its stage, where a test can have a mistake of ours, to see that all
/// that was begun is undone. Nothing in builds for users.
pub fn point(place: &str) {
    #[cfg(debug_assertions)]
    assert!(WANTED.get().is_none_or(|wanted| wanted != place), "a panic was wanted at {place}");
    #[cfg(not(debug_assertions))]
    let _ = place;
}

fn line(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map(|place| format!(" ({}:{})", place.file(), place.line()));
    format!("{}{}", message(panic.payload()), place.unwrap_or_default())
}

/// What `panic!` was given.
fn message(payload: &(dyn Any + Send)) -> &str {
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no reason was given")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_with_its_reason() {
        let work = async { if true { panic!("sum of {} sizes", 2) } else { Ok(()) } };
        let end: Result<(), Panicked> = caught(work).await;
        let expected = "bug in hyperexport: sum of 2 sizes";
        assert_eq!(end.expect_err("it panicked").to_string(), expected);
        let end: Result<(), Panicked> = caught_here(|| panic!("at once"));
        assert!(end.is_err());
        let end: Result<u32, Panicked> = caught(async { Ok(7) }).await;
        assert_eq!(end, Ok(7));
    }

    #[test]
    fn a_library_that_breaks_ends_nothing() {
        let end: io::Result<()> = contained(|| panic!("index out of bounds"));
        let error = end.expect_err("it panicked");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("index out of bounds"), "{error}");
        assert!(!CONTAINED.get() && contained(|| Ok(1)).is_ok());
    }
}
