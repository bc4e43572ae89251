//! Makes the work image of a VMDK. A streamOptimized one, as an export writes it, is read front to
//! back and inflated on all cores, in less than half of the time that `qemu-img` takes. A VMDK
//! whose descriptor names other files is joined here, too: `qemu-img` would open any file named
//! there.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crate::budget::Going;
use crate::image::vmdk::{Header, SECTOR};
use crate::image::{self, OutputFormat, Rewriter, Split};
use crate::model::DiskFormat;
use crate::progress::{Progress, Task, Unit};

use super::super::Error;
use super::qemu_img::{Image, NewQcow2, Tools};

/// Bytes read at once.
const BLOCK: usize = 1 << 20;

impl Tools {
    /// Copies an image into a new qcow2 file, and reports the progress: by hyperexport where
    /// possible, by `qemu-img` for all other formats.
    pub(in crate::convert) async fn work_image(
        &self,
        from: Image<'_>,
        new: &NewQcow2,
        progress: &Progress,
    ) -> Result<(), Error> {
        let to = &new.path;
        if from.format == DiskFormat::Vmdk {
            let task = progress.task(&new.task, Some(new.capacity.0), Unit::Bytes);
            let (tools, path, new) = (self.clone(), from.path.to_owned(), new.clone());
            let work = move || tools.rewrite(&path, &new, &task);
            let done = tokio::task::spawn_blocking(work).await;
            if done
                .map_err(|join| Error::io(format!("writing {}", to.display()))(join.into()))??
            {
                return Ok(());
            }
        }
        let joined = to.with_extension("joined");
        match (self.joined(from, &joined).await?, new.compression) {
            (None, _) => self.to_qcow2(from, new, progress).await,
            (Some(_), None) => {
                let renamed = std::fs::rename(&joined, to);
                renamed.map_err(Error::io(format!("renaming {}", joined.display())))
            }
            (Some(whole), _) => {
                self.to_qcow2(whole, new, progress).await?;
                let removed = std::fs::remove_file(&joined);
                removed.map_err(Error::io(format!("removing {}", joined.display())))
            }
        }
    }

    /// A VMDK of several files, joined as a qcow2 at `to`; none for any other image, which is a
    /// single file already.
    pub(in crate::convert) async fn joined<'a>(
        &self,
        from: Image<'_>,
        to: &'a Path,
    ) -> Result<Option<Image<'a>>, Error> {
        let reading = || Error::io(format!("reading {}", from.path.display()));
        if from.format != DiskFormat::Vmdk || image::is_single_vmdk(from.path).map_err(reading())? {
            return Ok(None);
        }
        let (tools, path, target) = (self.clone(), from.path.to_owned(), to.to_owned());
        let work = move || tools.join(&path, &target);
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|join| Error::io(format!("writing {}", to.display()))(join.into()))??;
        Ok(Some(Image { path: to, format: DiskFormat::Qcow2 }))
    }

    /// Blocks the calling thread.
    fn join(&self, from: &Path, to: &Path) -> Result<(), Error> {
        let split = Split::open(from).map_err(Error::io(format!("reading {}", from.display())))?;
        let write = Error::io(format!("writing {}", to.display()));
        let file = File::options().read(true).write(true).create_new(true).open(to);
        let going = Going::from(&self.cancel);
        let done = split.write(file.map_err(write)?, &going, |_| {
            self.may_go_on().map_err(|_| ErrorKind::Interrupted.into())
        });
        done.map(drop).or_else(|error| {
            self.may_go_on()?;
            Err(broken(error, from, to))
        })
    }

    /// Checks that the run is neither cancelled nor timed out.
    fn may_go_on(&self) -> Result<(), Error> {
        if self.cancel.is_cancelled() {
            Err(Error::Cancelled)
        } else if self.deadline.elapsed() > Duration::ZERO {
            Err(Error::TimedOut { after: self.timeout })
        } else {
            Ok(())
        }
    }

    /// Returns whether the VMDK is of a kind that can be read from front to back. Blocks the
    /// calling thread.
    fn rewrite(
        &self,
        from: &Path,
        NewQcow2 { path: to, compression, capacity, .. }: &NewQcow2,
        task: &Task,
    ) -> Result<bool, Error> {
        let read = |source| Error::io(format!("reading {}", from.display()))(source);
        let mut stream = File::open(from).map_err(read)?;
        if !is_stream(&stream).map_err(read)? {
            return Ok(false);
        }
        let write = |source| Error::io(format!("writing {}", to.display()))(source);
        let file = File::options().read(true).write(true).create_new(true).open(to);
        let mut rewriter =
            Rewriter::new(file.map_err(write)?, capacity.0, OutputFormat::Qcow2(*compression));
        let mut buffer = vec![0; BLOCK];
        loop {
            self.may_go_on()?;
            let length = stream.read(&mut buffer).map_err(read)?;
            if length == 0 {
                break;
            }
            rewriter.push(&buffer[..length]).map_err(|error| broken(error, from, to))?;
            task.at(rewriter.reached());
        }
        let ended = rewriter.finish(|bytes, offset| stream.read_exact_at(bytes, offset));
        ended.map_err(|error| broken(error, from, to))?;
        task.at(capacity.0);
        Ok(true)
    }
}

fn broken(error: image::Error, from: &Path, to: &Path) -> Error {
    match error {
        image::Error::Write(source) => Error::io(format!("writing {}", to.display()))(source),
        source => Error::Image { path: from.to_owned(), source },
    }
}

/// Whether the file is a streamOptimized VMDK with grains of the usual size.
fn is_stream(file: &File) -> std::io::Result<bool> {
    let mut sector = [0; SECTOR as usize];
    match file.read_exact_at(&mut sector, 0) {
        Ok(()) => Ok(Header::read(&sector).is_ok_and(|header| header.has_usual_grains())),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
