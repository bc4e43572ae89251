//! A VMDK of several files in an archive: its members are extracted, and then joined.

use std::fs::File;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Extraction;
use crate::budget::Going;
use crate::exporter::files::store::Store;
use crate::exporter::files::sums::Digests;
use crate::exporter::files::vm_files::{DiskBytes, WantedDisk};
use crate::exporter::transfer::PartFile;
use crate::exporter::{Error, FinishedDisk, uuids};
use crate::model::DiskFormat;
use crate::state::WORK_PREFIX;

/// Maximum bytes by which a part may exceed its extent of the disk, for its tables.
const MOST_TABLES: u64 = 64 << 20;

impl Extraction<'_> {
    /// Extracts the members from the archive, the descriptor first, and joins them.
    pub(super) fn join_packed(
        &self,
        wanted: &WantedDisk,
        members: &[String],
        part: &PartFile,
    ) -> Result<FinishedDisk, Error> {
        let Some(store) = &self.described.store else { return Err(self.odd(wanted)) };
        let folder = self.unpacked(store, wanted, members)?;
        let descriptor = members.first().ok_or_else(|| self.odd(wanted))?;
        let path = folder.path().join(base(descriptor));
        let place = || store.path().join(descriptor);
        let of_archive = |error| match error {
            // Errors of the temporary directory are reported as errors of the archive.
            Error::Unusable { reason, .. } => Error::Unusable { path: place(), reason },
            Error::File { action, source, .. } => Error::File { action, path: place(), source },
            error => error,
        };
        match DiskBytes::of_image(&path, DiskFormat::Vmdk).map_err(of_archive)? {
            DiskBytes::Split(path) => {
                let joined = self.join(wanted, &path, part).map_err(of_archive)?;
                Ok(FinishedDisk { uuid: uuids::of_image(&path, DiskFormat::Vmdk), ..joined })
            }
            _ => Err(self.odd(wanted)),
        }
    }

    /// Extracts the members into a temporary directory in the output directory.
    fn unpacked(
        &self,
        store: &Store,
        wanted: &WantedDisk,
        members: &[String],
    ) -> Result<TempDir, Error> {
        let failed = |source| Error::File {
            action: "writing into",
            path: self.directory.to_owned(),
            source,
        };
        let folder = tempfile::Builder::new().prefix(WORK_PREFIX).tempdir_in(self.directory);
        let folder = folder.map_err(failed)?;
        let most = (wanted.capacity / 16).saturating_mul(17).saturating_add(MOST_TABLES);
        let mut left: Vec<_> = members.iter().collect();
        let is_wanted = |name: &str, _| members.iter().any(|member| member == name);
        store.each_until(&Going::from(self.cancel), &is_wanted, &mut |member| {
            let path = folder.path().join(base(&member.name));
            // Members of the same name in different directories are not parts of one disk.
            let mut file = File::create_new(&path).map_err(failed)?;
            let mut bytes = 0;
            let mut content = member.content.take(most + 1);
            let read = self.read(&mut content, Digests::with(&[]), |buffer| {
                bytes += buffer.len() as u64;
                file.write_all(buffer)
            });
            read.map_err(|error| self.read_error(&store.path().join(&member.name), error))?;
            if bytes > most {
                let reason = format!("'{}' in it is longer than its disk", member.name);
                return Err(store.unusable(reason));
            }
            left.retain(|name| **name != member.name);
            Ok(if left.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        match left.first() {
            Some(name) => Err(store.lacks(name)),
            None => Ok(folder),
        }
    }

    fn odd(&self, wanted: &WantedDisk) -> Error {
        let reason = "it is not a VMDK of several files".into();
        Error::Unusable { path: self.place(wanted), reason }
    }
}

fn base(name: &str) -> PathBuf {
    Path::new(name).file_name().map(PathBuf::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::exporter::BandwidthLimit;
    use crate::exporter::files::file_settings::FileChoice;
    use crate::exporter::files::images::machine;
    use crate::exporter::files::vm_files::DescribedVm;
    use crate::model::DiskId;
    use crate::progress::Progress;

    /// An archive whose first member is not needed.
    fn archive(path: &Path) {
        let mut header = tar::Header::new_gnu();
        header.set_path("junk").expect("fits");
        header.set_size(64 << 20);
        header.set_cksum();
        let mut out = GzEncoder::new(File::create(path).expect("created"), Compression::fast());
        out.write_all(header.as_bytes()).expect("written");
        io::copy(&mut io::repeat(0).take(64 << 20), &mut out).expect("written");
        out.finish().expect("written");
    }

    #[test]
    fn what_is_passed_over_ends_with_the_run() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("box.tar.gz");
        archive(&path);
        let members = ["disk.vmdk".to_owned()];
        let content = DiskBytes::PackedSplit { members: members.to_vec() };
        let wanted = WantedDisk::disk(DiskId::from_index(0), DiskFormat::Vmdk, 512, content);
        let described = DescribedVm {
            store: Store::archive(&path).expect("readable"),
            ..machine("box".to_owned(), Vec::new(), vec![wanted.clone()], &FileChoice::default())
        };
        let cancel = CancellationToken::new();
        cancel.cancel();
        let (tell, _told) = tokio::sync::mpsc::unbounded_channel();
        let taking = Extraction {
            described: &described,
            directory: dir.path(),
            progress: &Progress::none(),
            cancel: &cancel,
            limit: &BandwidthLimit::default(),
            rewrite: None,
            whole: &[],
            tell: &tell,
        };
        let store = described.store.as_ref().expect("an archive");
        let error = taking.unpacked(store, &wanted, &members).expect_err("cancelled");
        assert!(matches!(error, Error::Cancelled), "{error}");
    }
}
