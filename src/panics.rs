//! A bug in hyperexport ends a run, but not the cleanup: a panic that unwinds past a lease, a
//! snapshot or a domain would leave them behind. Work that must be rolled back therefore runs in
//! [`caught`], which turns a panic into an error. [`cancel_on_panic`] cancels all other work of the
//! run, whichever thread panicked.

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
    /// Whether this thread runs library code on foreign bytes, whose panics do not end the run.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// A panic that ended a piece of work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bug in hyperexport: {0}")]
pub struct Panicked(String);

impl Panicked {
    fn new(payload: &(dyn Any + Send)) -> Self {
        Self(message(payload).to_owned())
    }
}

/// Runs `work` and turns a panic into an error.
///
/// # Errors
/// Those of `work`, and [`Panicked`].
pub fn caught<T, E: From<Panicked>>(
    work: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, E>> {
    // On the heap: each future that contains this one would reserve space for `work` twice.
    let work = Box::pin(work);
    async {
        // State after a panic belongs to the run, which only cleans up from here on.
        let end = AssertUnwindSafe(work).catch_unwind().await;
        end.unwrap_or_else(|payload| Err(Panicked::new(&*payload).into()))
    }
}

/// As [`caught`], for blocking work.
///
/// # Errors
/// As [`caught`].
pub fn caught_here<T, E: From<Panicked>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let end = catch_unwind(AssertUnwindSafe(work));
    end.unwrap_or_else(|payload| Err(Panicked::new(&*payload).into()))
}

/// As [`caught_here`], for a library that parses foreign bytes: a panic means damaged input, not a
/// bug in hyperexport. The run continues.
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

/// From now on a panic on any thread cancels `cancel` and passes a line about itself to `tell`.
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

/// Whether a panic ended the run. The cleanup then must not report an interruption by the user.
pub fn happened() -> bool {
    HAPPENED.load(Ordering::Relaxed)
}

/// Place at which a test requests a panic.
#[cfg(debug_assertions)]
static WANTED: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// Makes [`point`] panic at `place`; only the first call counts. Release builds ignore the request.
pub fn want(place: &str) {
    #[cfg(debug_assertions)]
    if WANTED.set(place.to_owned()).is_err() {
        tracing::debug!("a panic is wanted already");
    }
    #[cfg(not(debug_assertions))]
    tracing::debug!(place, "a panic is not to be had");
}

/// Place in a run, named by its stage, where a test can inject a panic to check that the cleanup is
/// complete. Does nothing in release builds.
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

/// Message of a panic.
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
