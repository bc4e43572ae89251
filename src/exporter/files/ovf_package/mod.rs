//! An OVF package: its descriptor and its checksums.

mod describe;
mod members;
pub(super) mod packaged_vm;
mod storage_domain;

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Take};
use std::ops::ControlFlow;
use std::path::Path;

use super::expected_sums::{Expected, is_of_another, is_sums, read_sums};
use super::file_names::{files_in, format_by_extension, has_extension, is_shadow};
use super::store::{Member, Store};
use super::sums::Digests;
use super::{descriptor_text, ovf};
use crate::exporter::Error;
use crate::model::{ExportMethod, SourceVm};
use packaged_vm::PackagedVm;

pub(super) use describe::not_taken;

/// Maximum size of a descriptor, in bytes. Descriptors of large vApps have some 200 KiB.
const LONGEST_OVF: u64 = 8 << 20;
/// Maximum size of a checksum file, in bytes.
const LONGEST_MF: u64 = 1 << 20;
/// Maximum number of descriptors and checksum files in an archive, all of which are read into
/// memory.
const MOST_SMALL: usize = 16;

/// A package whose descriptor was read.
#[derive(Debug)]
pub(super) struct OvfPackage {
    store: Store,
    /// Path of the descriptor's directory inside the store, with a trailing `/` unless empty.
    prefix: String,
    systems: Vec<PackagedVm>,
    sums: Expected,
    /// Whether the user disabled the verification of checksums.
    unchecked: bool,
    method: ExportMethod,
    /// Names of the disk files that no VM uses.
    unused: Vec<String>,
    /// Names of the CD-ROM images that no VM uses.
    unused_media: Vec<String>,
    /// Reason why disks of oVirt's storage are missing.
    missing: Option<String>,
}

/// Descriptors and checksum files of a package.
#[derive(Default)]
struct PackageFiles {
    ovfs: Vec<(String, Vec<u8>)>,
    sums: Vec<(String, Vec<u8>)>,
}

/// A descriptor, as read.
struct Descriptor<'a> {
    name: &'a str,
    text: &'a [u8],
    /// The checksum files; in a stream, only those before the descriptor.
    sums: Vec<(String, Vec<u8>)>,
}

impl OvfPackage {
    /// Reads the descriptor of an archive. Blocks.
    ///
    /// # Errors
    /// [`Error::Unusable`], [`Error::WrongSum`], [`Error::File`].
    pub(super) fn of_archive(store: Store, ignore_checksums: bool) -> Result<Self, Error> {
        let mut found = PackageFiles::default();
        let others = RefCell::new(Vec::new());
        // A stream is read up to its descriptor only, which is the first member by the standard.
        let stream = store.is_stream();
        store.each(
            &|name, _| {
                if is_shadow(name) {
                    return false;
                }
                if others.borrow().len() < MOST_SMALL && is_packed_vm(name) {
                    others.borrow_mut().push(name.to_owned());
                }
                let is_sums = !ignore_checksums && has_extension(name, "mf");
                has_extension(name, "ovf") || is_sums
            },
            &mut |member| {
                let is_ovf = has_extension(&member.name, "ovf");
                let name = member.name.clone();
                if is_ovf {
                    if found.ovfs.len() == MOST_SMALL {
                        return Err(store.unusable("it contains too many descriptors"));
                    }
                    found.ovfs.push((name, small(&store, member, LONGEST_OVF)?));
                } else {
                    take_sums(&store, member, &mut found.sums)?;
                }
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
                let descriptor = Descriptor { name: &name, text: &text, sums: found.sums };
                Self::new(store, descriptor, ExportMethod::Ova, ignore_checksums)
            }
            Err(_) if names.is_empty() => Err(no_descriptor(&store, others.into_inner())),
            Err(_) => {
                Err(store.unusable(format!("it contains several packages: {}", names.join(", "))))
            }
        }
    }

    /// Reads a descriptor in a directory. `given` is the directory that the user passed, if the
    /// descriptor is below it: files in `given` may be used, too. Blocks.
    ///
    /// # Errors
    /// As those of [`OvfPackage::of_archive`].
    pub(super) fn of_folder(
        path: &Path,
        given: Option<&Path>,
        ignore_checksums: bool,
    ) -> Result<Self, Error> {
        let store = Store::Folder(path.parent().unwrap_or(Path::new("/")).to_owned());
        let name_of =
            |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let open = |path: &Path| {
            let failed = |source| Error::File { action: "reading", path: path.to_owned(), source };
            File::open(path).map_err(failed)
        };
        let name = name_of(path);
        let content = &mut open(path)?;
        let text = small(&store, Member { name: name.clone(), content }, LONGEST_OVF)?;
        let mut sums = Vec::new();
        let beside = files_in(store.path())?;
        let of = |kind: &'static str| beside.iter().filter(move |path| has_extension(path, kind));
        let others: Vec<_> = of("ovf").map(|path| name_of(path)).collect();
        for file in of("mf").filter(|_| !ignore_checksums) {
            if sums.len() == MOST_SMALL {
                return Err(store.bad_sums("too many checksum files are beside it"));
            }
            let called = name_of(file);
            if !is_of_another(&called, &name, &others) {
                let content = &mut open(file)?;
                let text = small_sums(&store, Member { name: called.clone(), content })?;
                sums.push((called, text));
            }
        }
        let descriptor = Descriptor { name: &name, text: &text, sums };
        let package = Self::new(store.clone(), descriptor, ExportMethod::Ovf, ignore_checksums)?;
        Ok(package.with_images_of_domain(given))
    }

    fn new(
        store: Store,
        Descriptor { name, text, sums: mut found }: Descriptor<'_>,
        method: ExportMethod,
        ignore_checksums: bool,
    ) -> Result<Self, Error> {
        let prefix = name.rfind('/').map_or("", |at| &name[..=at]).to_owned();
        let mut digests = Digests::all();
        digests.update(text);
        found.retain(|(sums, _)| is_sums(name, sums));
        let expected = if ignore_checksums {
            Expected::None
        } else if found.is_empty() && store.is_stream() {
            Expected::Later { ovf: (name.to_owned(), Box::new(digests)) }
        } else {
            let expected = read_sums(&store, name, &found)?;
            expected.check(&store, &prefix, name, &digests)?;
            expected
        };
        let text = descriptor_text::of_xml(text);
        let read = ovf::read(&text).map_err(|reason| store.unusable(reason))?;
        let ovf::Read { systems, unused, unused_media } = read;
        Ok(Self {
            store,
            prefix,
            systems,
            sums: expected,
            unchecked: ignore_checksums,
            method,
            unused,
            unused_media,
            missing: None,
        })
    }

    pub(super) fn systems(&self) -> impl Iterator<Item = &SourceVm> {
        self.systems.iter().map(|system| &system.vm)
    }
}

/// Whether a member describes a VM by itself: Vagrant boxes contain a VMX (VMware) or an image
/// (libvirt).
fn is_packed_vm(name: &str) -> bool {
    let extension = Path::new(name).extension().unwrap_or_default().to_string_lossy();
    extension.eq_ignore_ascii_case("vmx") || format_by_extension(&extension).is_some()
}

/// Error for an archive without an OVF, which contains `others`.
fn no_descriptor(store: &Store, others: Vec<String>) -> Error {
    let vmx = others.iter().find(|name| has_extension(name, "vmx"));
    match vmx.or(others.first()) {
        Some(name) => Error::Packed { path: store.path().to_owned(), name: name.clone() },
        None => store.unusable("no OVF descriptor found in it"),
    }
}

/// Adds a checksum file of an archive to `told`.
pub(super) fn take_sums(
    store: &Store,
    member: Member<'_>,
    told: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), Error> {
    if told.len() == MOST_SMALL {
        return Err(store.bad_sums("it contains too many checksum files"));
    }
    told.push((member.name.clone(), small_sums(store, member)?));
    Ok(())
}

/// Reads a checksum file into memory.
fn small_sums(store: &Store, member: Member<'_>) -> Result<Vec<u8>, Error> {
    let name = member.name.clone();
    small(store, member, LONGEST_MF).map_err(|error| match error {
        Error::Unusable { .. } => store.bad_sums(format!("'{name}' in it is too long")),
        error => error,
    })
}

/// Reads a member of at most `most` bytes into memory.
pub(super) fn small(store: &Store, member: Member<'_>, most: u64) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    let mut limited: Take<&mut dyn Read> = member.content.take(most + 1);
    limited.read_to_end(&mut text).map_err(|source| store.failed(source))?;
    if text.len() as u64 > most {
        return Err(store.unusable(format!("'{}' in it is too long", member.name)));
    }
    Ok(text)
}
