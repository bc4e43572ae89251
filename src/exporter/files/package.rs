//! An OVF package: its descriptor, and where its files are.

use std::fs::File;
use std::io::{Read, Take};
use std::ops::ControlFlow;
use std::path::{Component, Path};

use percent_encoding::percent_decode_str;

use super::described::{Content, Described, Nvram, Sums as Expected, Wanted};
use super::store::{Member, Store};
use super::sums::{Digests, Sums};
use super::{Choice, ovf};
use crate::exporter::Error;
use crate::model::{DiskFormat, ExportMethod, SourceVm};

/// Longest descriptor, in bytes. Those of large vApps have some 200 KiB.
const LONGEST_OVF: u64 = 8 << 20;
/// Longest file of sums, in bytes.
pub(super) const LONGEST_MF: u64 = 1 << 20;

/// A VM of a package.
#[derive(Debug, Clone)]
pub(super) struct System {
    pub(super) vm: SourceVm,
    /// In the order of the VM's disks.
    pub(super) disks: Vec<OvfDisk>,
    /// The file of its UEFI variables beside the descriptor, if there is one.
    pub(super) nvram: Option<String>,
}

/// The file of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OvfDisk {
    /// What it is called beside the descriptor; several when it comes in chunks, none when the
    /// disk is empty.
    pub(super) hrefs: Vec<String>,
    /// Whether it is gzip-compressed.
    pub(super) gzip: bool,
    /// Its format, if descriptor or name tell.
    pub(super) format: Option<DiskFormat>,
    /// Size that the guest sees, in bytes; 0 when the descriptor does not say.
    pub(super) capacity: u64,
}

/// A package that was looked into.
#[derive(Debug)]
pub(super) struct Package {
    store: Store,
    /// Path of the folder of the descriptor inside the store, with a `/` behind it unless empty.
    prefix: String,
    systems: Vec<System>,
    sums: Expected,
    method: ExportMethod,
}

/// The small files of a package.
#[derive(Default)]
struct Found {
    ovfs: Vec<(String, Vec<u8>)>,
    sums: Vec<(String, Vec<u8>)>,
}

impl Package {
    /// Reads the descriptor of an archive. Blocks.
    ///
    /// # Errors
    /// [`Error::Unusable`], [`Error::WrongSum`], [`Error::File`].
    pub(super) fn of_archive(store: Store, ignore_checksums: bool) -> Result<Self, Error> {
        let mut found = Found::default();
        // One that is a stream is read to its descriptor only, which comes first by the standard.
        let stream = store.is_stream();
        store.each(
            &|name| has_extension(name, "ovf") || has_extension(name, "mf"),
            &mut |member| {
                let is_ovf = has_extension(&member.name, "ovf");
                let (most, list) = match is_ovf {
                    true => (LONGEST_OVF, &mut found.ovfs),
                    false => (LONGEST_MF, &mut found.sums),
                };
                list.push((member.name.clone(), small(&store, member, most)?));
                Ok(if stream && is_ovf {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            },
        )?;
        let depth = |name: &str| name.matches('/').count();
        let least = found.ovfs.iter().map(|(name, _)| depth(name)).min();
        found.ovfs.retain(|(name, _)| Some(depth(name)) == least);
        let names: Vec<_> = found.ovfs.iter().map(|(name, _)| name.clone()).collect();
        match <[_; 1]>::try_from(found.ovfs) {
            Ok([(name, text)]) => {
                let read_all = !stream || !found.sums.is_empty();
                let sums = read_all.then_some(found.sums);
                Self::new(store, &name, &text, sums, (ExportMethod::Ova, ignore_checksums))
            }
            Err(_) if names.is_empty() => Err(store.unusable("there is no OVF descriptor in it")),
            Err(_) => {
                Err(store.unusable(format!("it holds several packages: {}", names.join(", "))))
            }
        }
    }

    /// Reads a descriptor that lies in a folder. Blocks.
    ///
    /// # Errors
    /// As those of [`Package::of_archive`].
    pub(super) fn of_folder(path: &Path, ignore_checksums: bool) -> Result<Self, Error> {
        let store = Store::Folder(path.parent().unwrap_or(Path::new("/")).to_owned());
        let read = |path: &Path, most: u64| {
            let failed = |source| Error::File { action: "read", path: path.to_owned(), source };
            let mut file = File::open(path).map_err(failed)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = small(&store, Member { name: name.clone(), content: &mut file }, most)?;
            Ok::<_, Error>((name, text))
        };
        let (name, text) = read(path, LONGEST_OVF)?;
        let beside = path.with_extension("mf");
        let sums = if beside.is_file() { vec![read(&beside, LONGEST_MF)?] } else { Vec::new() };
        Self::new(store.clone(), &name, &text, Some(sums), (ExportMethod::Ovf, ignore_checksums))
    }

    /// `sums` are those that were found; none when the store was not read to its end.
    fn new(
        store: Store,
        name: &str,
        text: &[u8],
        sums: Option<Vec<(String, Vec<u8>)>>,
        (method, ignore_checksums): (ExportMethod, bool),
    ) -> Result<Self, Error> {
        let prefix = name.rfind('/').map_or("", |at| &name[..=at]).to_owned();
        let stem = &name[..name.len() - "ovf".len()];
        let own = format!("{stem}mf");
        let mut digests = Digests::all();
        digests.update(text);
        let expected = match sums {
            _ if ignore_checksums => Expected::None,
            None => Expected::Later { mf: own, ovf: (name.to_owned(), Box::new(digests)) },
            Some(list) => {
                match list.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(&own)) {
                    None => Expected::None,
                    Some((mf, text)) => {
                        let sums = read_sums(&store, &mf, &text)?;
                        check(&store, &sums, &prefix, name, &digests)?;
                        Expected::Known(sums)
                    }
                }
            }
        };
        let text = String::from_utf8_lossy(text);
        let systems = ovf::read(&text).map_err(|reason| store.unusable(reason))?;
        Ok(Self { store, prefix, systems, sums: expected, method })
    }

    /// The VMs in it.
    pub(super) fn systems(&self) -> impl Iterator<Item = &SourceVm> {
        self.systems.iter().map(|system| &system.vm)
    }

    /// The VM that is meant, and where its disks are. Blocks.
    ///
    /// # Errors
    /// [`Error::Unusable`] when it cannot be told which one, or a disk cannot be had.
    pub(super) fn describe(&self, choice: &Choice) -> Result<Described, Error> {
        let system = self.choose(choice.vm.as_deref())?;
        let disks = system.vm.disks.iter().zip(&system.disks);
        let disks: Result<Vec<_>, Error> = disks
            .map(|(disk, file)| {
                let format = if file.hrefs.is_empty() {
                    DiskFormat::Qcow2
                } else {
                    let path = || self.store.path().join(&file.hrefs[0]);
                    let unknown = || Error::UnknownFormat { path: path() };
                    choice.format.or(file.format).ok_or_else(unknown)?
                };
                let content = self.content(file, format)?;
                Ok(Wanted { id: disk.id.clone(), format, capacity: file.capacity, content })
            })
            .collect();
        let nvram = system.nvram.as_ref().map(|href| self.small_file(href)).transpose()?;
        Ok(Described {
            vm: system.vm.clone(),
            disks: disks?,
            method: self.method,
            store: Some(self.store.clone()),
            prefix: self.prefix.clone(),
            sums: self.sums.clone(),
            nvram: nvram.map(Nvram::Member),
        })
    }

    fn choose(&self, vm: Option<&str>) -> Result<&System, Error> {
        let which = || Error::WhichVm {
            path: self.store.path().to_owned(),
            names: self.systems().map(|vm| format!("'{}'", vm.name)).collect(),
        };
        let is_meant =
            |one: &&System| vm.is_none_or(|name| one.vm.name == name || one.vm.id == name);
        let mut meant = self.systems.iter().filter(is_meant);
        match (meant.next(), meant.next()) {
            (Some(one), None) => Ok(one),
            _ => Err(which()),
        }
    }

    fn content(&self, file: &OvfDisk, format: DiskFormat) -> Result<Content, Error> {
        let Store::Folder(folder) = &self.store else {
            let members =
                file.hrefs.iter().map(|href| self.member(href)).collect::<Result<_, _>>()?;
            return Ok(match file.hrefs.is_empty() {
                true => Content::Empty,
                false => Content::Packed { members, gzip: file.gzip },
            });
        };
        let members: Vec<String> =
            file.hrefs.iter().map(|href| self.beside(folder, href)).collect::<Result<_, _>>()?;
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
        Ok(format!("{}{}", self.prefix, super::store::plain(&decoded)))
    }

    /// The path below the folder that a reference means, which does not lead out of it.
    fn beside(&self, folder: &Path, href: &str) -> Result<String, Error> {
        let decoded = percent_decode_str(href).decode_utf8_lossy().into_owned();
        let name = if folder.join(href).is_file() { href.to_owned() } else { decoded };
        let outside = || self.store.unusable(format!("its file '{href}' is not in its folder"));
        let plain = Path::new(&name).components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || name.contains("://") || name.is_empty() || name.contains('\0') {
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

/// Reads a file of sums.
pub(super) fn read_sums(store: &Store, name: &str, text: &[u8]) -> Result<Sums, Error> {
    Sums::read(&String::from_utf8_lossy(text)).map_err(|line| {
        store.unusable(format!("'{name}' in it has a line that is no sum: '{line}'"))
    })
}

/// Compares what was read of a file with what its package says, if it does.
pub(super) fn check(
    store: &Store,
    sums: &Sums,
    prefix: &str,
    name: &str,
    digests: &Digests,
) -> Result<(), Error> {
    let Some((algorithm, expected)) = sums.of(prefix, name) else { return Ok(()) };
    match digests.hex(algorithm) {
        Some(found) if found != expected => Err(Error::WrongSum {
            path: store.path().to_owned(),
            file: name.to_owned(),
            algorithm: algorithm.name(),
            expected: expected.to_owned(),
            found,
        }),
        _ => Ok(()),
    }
}

/// A member that is read into memory.
pub(super) fn small(store: &Store, member: Member<'_>, most: u64) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    let mut limited: Take<&mut dyn Read> = member.content.take(most + 1);
    limited.read_to_end(&mut text).map_err(|source| store.failed(source))?;
    if text.len() as u64 > most {
        return Err(store.unusable(format!("'{}' in it is too long", member.name)));
    }
    Ok(text)
}

/// The format that a descriptor's `format` or else a file's name tells.
pub(super) fn format_of(uri: &str, name: &str) -> Option<DiskFormat> {
    let uri = uri.to_ascii_lowercase();
    let told = [
        ("vmdk", DiskFormat::Vmdk),
        ("qcow2", DiskFormat::Qcow2),
        ("vhdx", DiskFormat::Vhdx),
        ("vhd", DiskFormat::Vhd),
        ("vdi", DiskFormat::Vdi),
    ];
    let told = told.into_iter().find(|(word, _)| uri.contains(word)).map(|(_, format)| format);
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let extension = Path::new(name).extension().map(|text| text.to_string_lossy().into_owned());
    told.or_else(|| format_by_extension(&extension?))
}

/// The format that files of such a name have.
pub(super) fn format_by_extension(extension: &str) -> Option<DiskFormat> {
    Some(match extension.to_ascii_lowercase().as_str() {
        "vmdk" => DiskFormat::Vmdk,
        "qcow2" => DiskFormat::Qcow2,
        "raw" | "img" => DiskFormat::Raw,
        "vhd" | "vpc" => DiskFormat::Vhd,
        "vhdx" => DiskFormat::Vhdx,
        "vdi" => DiskFormat::Vdi,
        _ => return None,
    })
}

fn has_extension(name: &str, extension: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, found)| found.eq_ignore_ascii_case(extension))
}
