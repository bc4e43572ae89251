//! Verifies the checksums of a package without extracting a file.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::ovf_package::take_sums;
use super::store::{Member, Store};
use super::sums::{Digests, summed};
use super::vm_files::{DescribedVm, DiskBytes, Nvram};
use crate::budget::{Going, is_stop};
use crate::exporter::Error;
use crate::image::Split;
use crate::progress::{Progress, Unit};

/// Reads all files of a package that have a checksum.
pub(super) struct Checking<'a> {
    pub(super) described: &'a DescribedVm,
    pub(super) progress: &'a Progress,
    pub(super) cancel: &'a CancellationToken,
}

impl Checking<'_> {
    /// Verifies the files, and returns their number; `None` if there are no checksums. Blocks.
    ///
    /// # Errors
    /// [`Error::WrongSum`], [`Error::Unusable`], [`Error::File`], [`Error::Cancelled`].
    pub(super) fn check(&self) -> Result<Option<usize>, Error> {
        let DescribedVm { sums, prefix, store: Some(store), .. } = self.described else {
            return Ok(None);
        };
        let names = self.names(store)?;
        let wanted = |name: &str| names.iter().any(|one| one == name);
        let (mut seen, mut told) = (Vec::new(), Vec::new());
        let mut visit = |member: Member<'_>| {
            if sums.are_in(&member.name) {
                take_sums(store, member, &mut told)?;
            } else {
                let name = member.name.clone();
                seen.push((name, self.digests(store, member)?));
            }
            Ok(ControlFlow::Continue(()))
        };
        if let Store::Folder(folder) = store {
            for name in &names {
                let mut file = open(&folder.join(name))?;
                let _ = visit(Member { name: name.clone(), content: &mut file })?;
            }
        } else {
            let is_wanted = |name: &str, _| sums.are_in(name) || wanted(name);
            store.each_until(&Going::from(self.cancel), &is_wanted, &mut visit)?;
        }
        let known = sums.known(store, prefix, &told)?;
        seen.retain(|(name, _)| known.may_be_of(prefix, name));
        for (name, digests) in &seen {
            known.check(store, prefix, name, digests)?;
        }
        Ok(Some(seen.len()).filter(|count| *count > 0))
    }

    /// The files of the VM that may have a checksum.
    fn names(&self, store: &Store) -> Result<Vec<String>, Error> {
        let DescribedVm { sums, prefix, nvram, .. } = self.described;
        let relative = |path: &Path| {
            path.strip_prefix(store.path()).unwrap_or(path).to_string_lossy().into_owned()
        };
        let mut names = Vec::new();
        for disk in self.described.images() {
            match &disk.content {
                DiskBytes::Packed { members, .. } | DiskBytes::PackedSplit { members } => {
                    names.extend(members.iter().cloned());
                }
                DiskBytes::InPlace(path) => names.push(relative(path)),
                DiskBytes::Split(path) => {
                    let files = Split::files(path).map_err(|source| failed(path, source))?;
                    names.extend(files.iter().map(|file| relative(file)));
                }
                DiskBytes::Empty => {}
            }
        }
        if let Some(Nvram::Member(name)) = nvram {
            names.push(name.clone());
        }
        names.retain(|name| sums.may_be_of(prefix, name));
        Ok(names)
    }

    fn digests(&self, store: &Store, member: Member<'_>) -> Result<Digests, Error> {
        let DescribedVm { sums, prefix, .. } = self.described;
        let digests = sums.digests(prefix, &member.name);
        let task = self.progress.task(format!("check {}", member.name), None, Unit::Bytes);
        let mut read = 0;
        let end = summed(member.content, digests, |bytes| {
            read += bytes.len() as u64;
            task.at(read);
            if self.cancel.is_cancelled() { Err(ErrorKind::Interrupted.into()) } else { Ok(()) }
        });
        end.map_err(|error| match error.kind() {
            ErrorKind::Interrupted => Error::Cancelled,
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => store.unusable(error.to_string()),
            _ if is_stop(&error) => Error::Cancelled,
            _ => failed(&store.path().join(&member.name), error),
        })
    }
}

fn open(path: &PathBuf) -> Result<File, Error> {
    File::open(path).map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::File { action: "reading", path: path.to_owned(), source }
}
