//! Timeout for reads from a file system that does not answer, such as NFS with an unreachable
//! server.

use std::io;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use super::Error;

/// Time limit for reading or writing state, which is small.
const ANSWER: Duration = Duration::from_secs(30);

/// Runs `work`, which reads state at `path`, on its own thread and waits up to 30 s. If a system
/// call never returns, its thread stays until the process ends.
///
/// # Errors
/// Those of `work`, and [`Error::NoAnswer`].
pub fn in_time<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    within(ANSWER, path, work)
}

fn within<T: Send + 'static>(
    after: Duration,
    path: &Path,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (done, answer) = sync_channel(1);
    let thread = thread::Builder::new().name("state".to_owned());
    let spawned = thread.spawn(move || {
        if done.send(work()).is_err() {
            tracing::debug!("nobody waits for this answer any more");
        }
    });
    spawned.map_err(Error::read(path))?;
    answer.recv_timeout(after).unwrap_or_else(|error| {
        Err(match error {
            RecvTimeoutError::Timeout => Error::NoAnswer { path: path.to_owned(), after },
            RecvTimeoutError::Disconnected => {
                Error::read(path)(io::Error::other("the thread that read it broke off"))
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::model::Hint;

    #[test]
    fn a_call_that_is_not_answered_ends_with_the_path() {
        let (_never, wait) = std::sync::mpsc::channel::<()>();
        let (begun, path) = (Instant::now(), Path::new("/net/out/result.json"));
        let work = move || {
            // Like a system call to an unreachable server.
            let _unanswered = wait.recv();
            Ok(())
        };
        let error = within(Duration::from_millis(50), path, work).expect_err("no answer");
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert!(matches!(error, Error::NoAnswer { .. }) && error.hint().is_some());
        assert!(error.to_string().contains("/net/out/result.json"), "{error}");
        assert!(within(ANSWER, path, || Ok(7)).is_ok_and(|seven| seven == 7));
    }
}
