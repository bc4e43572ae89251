//! The VM of a package that is meant, and where its disks are.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Component, Path};

use percent_encoding::percent_decode_str;

use super::{OvfDisk, Package, System};
use crate::exporter::Error;
use crate::exporter::files::Choice;
use crate::exporter::files::described::{Content, Described, Nvram, Wanted};
use crate::exporter::files::store::{Store, plain};
use crate::model::{DiskFormat, Stage, Warning};

impl Package {
    /// The VM that is meant, and where its disks are. Blocks.
    ///
    /// # Errors
    /// [`Error::Unusable`] when it cannot be told which one, or a disk cannot be had.
    pub(in crate::exporter::files) fn describe(&self, choice: &Choice) -> Result<Described, Error> {
        let system = self.choose(choice.vm.as_deref())?;
        if system.disks.is_empty() {
            let unused = match self.unused.as_slice() {
                [] => String::new(),
                names => format!("; nothing in its hardware uses {}", names.join(", ")),
            };
            return Err(self.store.unusable(format!("its VM has no disk{unused}")));
        }
        let disks = system.vm.disks.iter().zip(&system.disks);
        let disks: Result<Vec<_>, Error> = disks
            .map(|(disk, file)| {
                let format = match &file.href {
                    None => DiskFormat::Qcow2,
                    Some(href) => {
                        let unknown =
                            || Error::UnknownFormat { path: self.store.path().join(href) };
                        choice.format.or(file.format).ok_or_else(unknown)?
                    }
                };
                let content = self.content(file, format)?;
                let (id, capacity) = (disk.id.clone(), file.capacity);
                Ok(Wanted { id, format, capacity, content, stored: file.size })
            })
            .collect();
        let disks = disks?;
        let nvram = system.nvram.as_ref().map(|href| self.small_file(href)).transpose()?;
        let least = self.check_members(&disks, nvram.as_deref())?;
        let mut warnings = Vec::new();
        if !self.unused.is_empty() {
            let text = format!(
                "the package holds {}, which the hardware of no VM in it uses: not exported",
                self.unused.join(", ")
            );
            warnings.push(Warning::new(Stage::Export, "disk-not-used", text));
        }
        let mut vm = system.vm.clone();
        for (disk, wanted) in vm.disks.iter_mut().zip(&disks) {
            disk.uuid = wanted.uuid();
        }
        Ok(Described {
            vm,
            tells_nics: true,
            disks,
            warnings,
            method: self.method,
            store: Some(self.store.clone()),
            prefix: self.prefix.clone(),
            sums: self.sums.clone(),
            nvram: nvram.map(Nvram::Member),
            least,
        })
    }

    /// Looks whether an archive whose list is soon read has what its descriptor names; says how many
    /// bytes an export of it writes at least.
    fn check_members(&self, disks: &[Wanted], nvram: Option<&str>) -> Result<u64, Error> {
        if matches!(self.store, Store::Folder(_)) || self.store.is_stream() {
            return Ok(0);
        }
        let copied: HashSet<&str> =
            disks.iter().filter(|disk| !disk.is_compressed()).flat_map(Wanted::members).collect();
        let least = Cell::new(0_u64);
        let mut missing: HashSet<&str> = nvram.into_iter().collect();
        missing.extend(disks.iter().flat_map(Wanted::members));
        let missing = RefCell::new(missing);
        let is_wanted = |name: &str, size| {
            if missing.borrow_mut().remove(name) && copied.contains(name) {
                least.set(least.get().saturating_add(size));
            }
            false
        };
        self.store.each(&is_wanted, &mut |_| Ok(ControlFlow::Continue(())))?;
        match missing.into_inner().iter().min() {
            Some(name) => Err(self.store.lacks(name)),
            None => Ok(least.get()),
        }
    }

    fn choose(&self, vm: Option<&str>) -> Result<&System, Error> {
        let which = || Error::WhichVm { path: self.store.path().to_owned(), names: self.names() };
        let only = |is_meant: &dyn Fn(&System) -> bool| {
            let mut meant = self.systems.iter().filter(|one| is_meant(one));
            meant.next().filter(|_| meant.next().is_none())
        };
        let found = match vm {
            None => only(&|_| true),
            // An id tells two of one name apart.
            Some(name) => {
                only(&|one| one.vm.name == name).or_else(|| only(&|one| one.vm.id == name))
            }
        };
        found.ok_or_else(which)
    }

    /// The names of all VMs, with their ids where a name is that of two.
    fn names(&self) -> Vec<String> {
        let is_twice = |name: &str| self.systems().filter(|vm| vm.name == name).count() > 1;
        let named = self.systems().map(|vm| match is_twice(&vm.name) {
            true => format!("'{}' (--vm {})", vm.name, vm.id),
            false => format!("'{}'", vm.name),
        });
        named.collect()
    }

    fn content(&self, file: &OvfDisk, format: DiskFormat) -> Result<Content, Error> {
        let Store::Folder(folder) = &self.store else {
            let members: Vec<String> =
                file.hrefs().iter().map(|href| self.member(href)).collect::<Result<_, _>>()?;
            return Ok(match members.is_empty() {
                true => Content::Empty,
                false => Content::Packed { members, gzip: file.gzip },
            });
        };
        let members: Vec<String> =
            file.hrefs().iter().map(|href| self.beside(folder, href)).collect::<Result<_, _>>()?;
        match members.as_slice() {
            [] => Ok(Content::Empty),
            [only] if !file.gzip => Content::of_image(&folder.join(only), format),
            _ => Ok(Content::Packed { members, gzip: file.gzip }),
        }
    }

    fn small_file(&self, href: &str) -> Result<String, Error> {
        match &self.store {
            Store::Folder(folder) => self.beside(folder, href),
            _ => self.member(href),
        }
    }

    /// The member of the archive that a reference means: its name, or percent-encoded.
    fn member(&self, href: &str) -> Result<String, Error> {
        let decoded = percent_decode_str(href).decode_utf8_lossy();
        if href.contains("://") {
            return Err(self.store.unusable(format!("'{href}' is not in it")));
        }
        Ok(format!("{}{}", self.prefix, plain(&decoded)))
    }

    /// The path below the folder that a reference means, which does not lead out of it.
    fn beside(&self, folder: &Path, href: &str) -> Result<String, Error> {
        let decoded = percent_decode_str(href).decode_utf8_lossy().into_owned();
        let name = plain(if folder.join(href).is_file() { href } else { &decoded });
        let outside = || self.store.unusable(format!("its file '{href}' is not in its folder"));
        let is_plain =
            Path::new(&name).components().all(|part| matches!(part, Component::Normal(_)));
        if !is_plain || name.contains("://") || name.is_empty() || name.contains('\0') {
            return Err(outside());
        }
        let path = folder.join(&name);
        let real = path.canonicalize().map_err(|source| Error::File {
            action: "open",
            path: path.clone(),
            source,
        })?;
        let root = folder.canonicalize().map_err(|source| self.store.failed(source))?;
        if real.starts_with(&root) && real.is_file() { Ok(name) } else { Err(outside()) }
    }
}
