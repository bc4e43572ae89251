//! `--bandwidth-limit-file` while a run works: the file is read again when a signal asks for it,
//! and when it has changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::exporter::BandwidthLimit;
use crate::model::ByteSize;
use crate::progress::Progress;
use crate::settings::read_rate;

/// How often is looked whether the file has changed.
const LOOK: Duration = Duration::from_secs(1);

/// Watches the file on a thread of its own, since its file system may hang. `wanted` are the
/// signals.
pub(super) fn watch(
    path: PathBuf,
    limit: BandwidthLimit,
    progress: Progress,
    wanted: Receiver<()>,
) {
    let mut seen = SeenStates::new(&path);
    let work = move || {
        loop {
            let wanted = match wanted.recv_timeout(LOOK) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if seen.has_settled(state(&path)) || wanted {
                reread(&path, &limit, &progress);
            }
        }
    };
    if let Err(error) = thread::Builder::new().name("bandwidth-limit".to_owned()).spawn(work) {
        tracing::warn!(%error, "the bandwidth limit cannot be watched");
    }
}

/// A limit that makes no sense changes nothing.
fn reread(path: &Path, limit: &BandwidthLimit, progress: &Progress) {
    progress.note(match read_rate(path) {
        Ok(rate) => {
            limit.set(rate);
            let rate = rate.map_or("none".to_owned(), |rate| format!("{}/s", ByteSize(rate)));
            format!("the bandwidth limit is now {rate}")
        }
        Err(reason) => format!("the bandwidth limit stays as it is: {reason}"),
    });
}

/// What tells one state of a file from another: its file system and number, the time of the last
/// change of anything about it, and its length. None where there is no file.
type FileState = Option<(u64, u64, (i64, i64), u64)>;

fn state(path: &Path) -> FileState {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), (found.ctime(), found.ctime_nsec()), found.len()))
}

/// The states in which a file was seen.
#[derive(Debug)]
struct SeenStates {
    /// The last one that counted.
    read: FileState,
    /// The last one.
    last: FileState,
}

impl SeenStates {
    fn new(path: &Path) -> Self {
        let state = state(path);
        Self { read: state, last: state }
    }

    /// Whether the file is another one, and no longer being written: an editor empties a file
    /// before it fills it. A file that is gone is about to come back.
    fn has_settled(&mut self, now: FileState) -> bool {
        let settled = now.is_some() && now == self.last && now != self.read;
        self.last = now;
        if settled {
            self.read = now;
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_as_changed_once_it_is_written() {
        let at = |time, length| Some((1, 7, (time, 0), length));
        let mut seen = SeenStates { read: at(1, 5), last: at(1, 5) };
        let steps = [
            (at(1, 5), false),
            (at(2, 0), false),
            (at(2, 4), false),
            (at(2, 4), true),
            (at(2, 4), false),
            (None, false),
            (None, false),
            (Some((1, 8, (3, 0), 4)), false),
            (Some((1, 8, (3, 0), 4)), true),
        ];
        for (index, (state, changed)) in steps.into_iter().enumerate() {
            assert_eq!(seen.has_settled(state), changed, "step {index}");
        }
    }
}
