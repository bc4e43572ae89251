//! Measures hyper2kvm's progress with an image. Its own percentages are guesses: it divides by the
//! size of the disk, so that a sparse one jumps from 20 to 100. Instead, the file that it writes is
//! measured: `<out>/<disk>.qcow2.part` grows to about the size that its work image occupies.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::progress::{Progress, Task, Unit};

use super::super::tools::work::WorkDir;

/// Time between two measurements.
const POLL: Duration = Duration::from_millis(500);
/// Bytes of a block as stat(2) counts them.
const BLOCK: u64 = 512;

/// The image that is being written, if any. Clones share the state.
#[derive(Debug, Clone)]
pub(in crate::convert) struct OutputProgress {
    progress: Progress,
    images: PathBuf,
    out: PathBuf,
    current: Arc<Mutex<Option<ImageProgress>>>,
}

#[derive(Debug)]
struct ImageProgress {
    part: PathBuf,
    total: u64,
    task: Task,
}

impl OutputProgress {
    /// Starts without an image; images are written below `work`.
    pub(in crate::convert) fn new(progress: &Progress, work: &WorkDir) -> Self {
        Self::between(progress, work.images(), work.out())
    }

    fn between(progress: &Progress, images: PathBuf, out: PathBuf) -> Self {
        Self { progress: progress.clone(), images, out, current: Arc::default() }
    }

    /// hyper2kvm has started to write the image of this disk.
    pub(in crate::convert) fn begin(&self, disk: &str) {
        self.end();
        let name = format!("{disk}.qcow2");
        let total = fs::metadata(self.images.join(&name)).map_or(0, |image| image.blocks() * BLOCK);
        let task = self.progress.task(format!("convert {disk}"), Some(total), Unit::Bytes);
        let part = self.out.join(format!("{name}.part"));
        *self.lock() = Some(ImageProgress { part, total, task });
    }

    /// hyper2kvm has stopped writing images.
    pub(in crate::convert) fn end(&self) {
        // The task is dropped after the lock is released.
        drop(self.lock().take());
    }

    /// Reports the progress for as long as the future is polled.
    pub(in crate::convert) async fn report(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(POLL).await;
            self.look();
        }
    }

    fn look(&self) {
        if let Some(ImageProgress { part, total, task }) = &*self.lock()
            && let Ok(written) = fs::metadata(part)
        {
            task.at((written.blocks() * BLOCK).min(*total));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<ImageProgress>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(in crate::convert) fn nowhere(progress: &Progress) -> OutputProgress {
    OutputProgress::between(progress, "/no/such".into(), "/no/such".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Event;

    #[test]
    fn the_file_that_grows_tells_how_far_it_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        let progress = Progress::new(move |event| {
            if let Event::TaskAdvanced { position, .. } = event {
                sink.lock().expect("whole").push(position);
            }
        });
        let (images, out) = (dir.path().join("images"), dir.path().join("out"));
        fs::create_dir(&images).expect("made");
        fs::create_dir(&out).expect("made");
        fs::write(images.join("disk-0.qcow2"), vec![1; 64 << 10]).expect("written");
        let converting = OutputProgress::between(&progress, images, out.clone());
        converting.look();
        converting.begin("disk-0");
        converting.look();
        fs::write(out.join("disk-0.qcow2.part"), vec![1; 16 << 10]).expect("written");
        converting.look();
        converting.end();
        converting.look();
        assert_eq!(*seen.lock().expect("whole"), [16 << 10]);
    }
}
