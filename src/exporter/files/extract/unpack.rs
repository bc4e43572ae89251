//! Extracts the members of an archive, or the packed files of a directory, in one pass.

use std::collections::HashMap;
use std::fs::File;
use std::ops::ControlFlow;

use super::{Extraction, ExtractionSlot, Filled};
use crate::budget::Going;
use crate::exporter::Error;
use crate::exporter::files::expected_sums::Expected;
use crate::exporter::files::ovf_package::{not_taken, small, take_sums};
use crate::exporter::files::store::{Member, Store};
use crate::exporter::files::sums::Digests;
use crate::exporter::files::vm_files::{DescribedVm, DiskBytes, Nvram};
use crate::exporter::nvram::{self, LARGEST as LARGEST_NVRAM};
use crate::exporter::transfer::PartFile;

impl Extraction<'_> {
    /// The member of the store that contains the UEFI variables.
    pub(super) fn variables(&self) -> Option<&String> {
        match &self.described.nvram {
            Some(Nvram::Member(name)) => Some(name),
            _ => None,
        }
    }

    /// Extracts all packed disks and the UEFI variables in one pass over the entire store, which
    /// also detects duplicate names. A VM can start without UEFI variables and CD-ROM images: if
    /// these are missing, a warning is returned.
    pub(super) fn unpack(
        &self,
        store: &Store,
        slots: &mut Vec<ExtractionSlot<'_>>,
    ) -> Result<Filled, Error> {
        let places = places(store, slots)?;
        let variables = self.variables().filter(|name| !places.contains_key(*name));
        let wanted = || places.keys().chain(variables);
        let is_later = |name: &str| self.described.sums.are_in(name);
        let (mut nvram, mut seen, mut told) = (None, Vec::new(), Vec::new());
        let mut visit = |member: Member<'_>| {
            let name = member.name.clone();
            if is_later(&name) {
                take_sums(store, member, &mut told)?;
            } else if let Some(&(disk, chunk)) = places.get(&name) {
                let slot = &mut slots[disk];
                // A disk that an interrupted run has finished is only checked for presence and for
                // duplicates.
                let is_open = slot.stored.is_some();
                let digests =
                    is_open.then(|| self.member(store, slot, chunk, member)).transpose()?;
                seen.push((name, digests));
            } else {
                let content = small(store, member, LARGEST_NVRAM as u64)?;
                seen.push((name.clone(), Some(self.small(store, &name, &content)?)));
                nvram = Some(content);
            }
            Ok(ControlFlow::Continue(()))
        };
        match store {
            Store::Folder(folder) => {
                let mut names: Vec<_> = wanted().collect();
                names.sort_by_key(|name| places.get(*name));
                for name in names {
                    let path = folder.join(name);
                    let failed =
                        |source| Error::File { action: "opening", path: path.clone(), source };
                    let mut file = File::open(&path).map_err(failed)?;
                    let _ = visit(Member { name: name.clone(), content: &mut file })?;
                }
            }
            _ => {
                let is_wanted = |name: &str, _| is_later(name) || wanted().any(|one| one == name);
                store.each_until(&Going::from(self.cancel), &is_wanted, &mut visit)?
            }
        }
        let mut missed = Vec::new();
        for name in wanted().filter(|name| !seen.iter().any(|(seen, _)| seen == *name)) {
            let lacks = store.lacks(name);
            match places.get(name) {
                None => missed.push(nvram::missed(lacks)),
                Some((slot, _)) if slots[*slot].wanted.medium => {
                    missed.push(not_taken(name, lacks));
                }
                Some(_) => return Err(lacks),
            }
        }
        self.leave_out(slots)?;
        let expected = self.check_later(store, &told, seen)?;
        // Only now the checksums are verified.
        if matches!(self.described.sums, Expected::Later { .. }) {
            slots.iter().for_each(|slot| self.note_taken(store, slot));
        }
        Ok((nvram, expected, missed))
    }

    /// Removes CD-ROM images that the store does not contain.
    fn leave_out(&self, slots: &mut Vec<ExtractionSlot<'_>>) -> Result<(), Error> {
        for slot in slots.iter().filter(|slot| slot.wanted.medium && slot.done.is_none()) {
            slot.part.iter().try_for_each(PartFile::discard)?;
        }
        slots.retain(|slot| !slot.wanted.medium || slot.done.is_some());
        Ok(())
    }

    /// Reports a finished disk, so that a later run can reuse it. Disks of a directory are not
    /// reported: their files may change without a trace in the directory itself.
    fn note_taken(&self, store: &Store, slot: &ExtractionSlot<'_>) {
        let is_new = slot.stored.is_some() && !matches!(store, Store::Folder(_));
        if let Some(done) = slot.done.as_ref().filter(|_| is_new) {
            self.note(done.clone());
        }
    }

    /// The digests of a small file, compared with the checksums in the package.
    fn small(&self, store: &Store, name: &str, content: &[u8]) -> Result<Digests, Error> {
        let DescribedVm { sums, prefix, .. } = self.described;
        let mut digests = sums.digests(prefix, name);
        digests.update(content);
        sums.check(store, prefix, name, &digests)?;
        Ok(digests)
    }

    /// Verifies the members that came before their checksums; returns the checksums known now.
    fn check_later(
        &self,
        store: &Store,
        told: &[(String, Vec<u8>)],
        seen: Vec<(String, Option<Digests>)>,
    ) -> Result<Expected, Error> {
        let DescribedVm { sums, prefix, .. } = self.described;
        if !matches!(sums, Expected::Later { .. }) {
            return Ok(sums.clone());
        }
        let expected = sums.known(store, prefix, told)?;
        for (name, digests) in &seen {
            if let Some(digests) = digests {
                expected.check(store, prefix, name, digests)?;
            }
        }
        Ok(expected)
    }

    /// Reads one member of a packed disk, and verifies its checksum.
    fn member(
        &self,
        store: &Store,
        slot: &mut ExtractionSlot<'_>,
        chunk: usize,
        member: Member<'_>,
    ) -> Result<Digests, Error> {
        let name = member.name;
        let Some(packed) = slot.packed.as_mut().filter(|packed| packed.chunks == chunk) else {
            return Err(store.unusable(format!("'{name}' does not come in its order")));
        };
        let DescribedVm { sums, prefix, .. } = self.described;
        let end =
            self.read(member.content, sums.digests(prefix, &name), |bytes| packed.take(bytes));
        slot.stored = Some(packed.read());
        let path = store.path().join(&name);
        let digests = end.map_err(|error| self.read_error(&path, error))?;
        sums.check(store, prefix, &name, &digests)?;
        packed.chunks += 1;
        if packed.chunks == slot.wanted.members().count() {
            self.end(slot, &digests, &path)?;
            if !matches!(sums, Expected::Later { .. }) {
                self.note_taken(store, slot);
            }
        }
        Ok(digests)
    }
}

/// Maps each member to its disk and its chunk of the disk. A file that belongs to two disks is
/// rejected, since no writer produces that.
fn places(
    store: &Store,
    slots: &[ExtractionSlot<'_>],
) -> Result<HashMap<String, (usize, usize)>, Error> {
    let mut places = HashMap::new();
    for (disk, slot) in slots.iter().enumerate() {
        let DiskBytes::Packed { members, .. } = &slot.wanted.content else { continue };
        for (chunk, name) in members.iter().enumerate() {
            if places.insert(name.clone(), (disk, chunk)).is_some() {
                return Err(store.unusable(format!("'{name}' in it is two disks at once")));
            }
        }
    }
    Ok(places)
}
