//! A VM in an archive without an OVF: a VMX with its disks, or images alone, as in Vagrant boxes
//! (Vagrant, "Box File Format"; vagrant-libvirt, "Box Format": `metadata.json` names the images and
//! their format, or the only image is `box.img`).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::Path;

use serde::Deserialize;

use super::file_names::{format_by_extension, has_extension, is_shadow};
use super::file_settings::FileChoice;
use super::store::{Store, plain};
use super::vm_files::{DescribedVm, DiskBytes, Nvram, WantedDisk};
use super::{images, vmx};
use crate::exporter::Error;
use crate::image::{self, Kind, vmdk};
use crate::model::{DiskFormat, DiskId};

/// Bytes of each file that are read to detect its kind: more than a VMX or the descriptor of a VMDK
/// has, and enough for the header of an image.
const HEAD: u64 = 256 << 10;
/// Maximum number of images that are inspected, and of files that describe them. Parts of a VMDK do
/// not count.
const MOST_HEADS: usize = 64;
/// The file that describes a box.
const METADATA: &str = "metadata.json";
/// The image of a libvirt box, which is qcow2 unless the metadata states another format.
const BOX_IMAGE: &str = "box.img";

/// The VM of an archive that contains `named` and no OVF. Blocks.
///
/// # Errors
/// [`Error::Packed`] when the VM is ambiguous; [`Error::Unusable`], [`Error::File`].
pub(super) fn describe(
    store: &Store,
    named: String,
    choice: &FileChoice,
) -> Result<DescribedVm, Error> {
    let found = BoxMembers::read(store)?;
    let of_vmx: Vec<_> = found.heads.keys().filter(|name| has_extension(name, "vmx")).collect();
    let described = match of_vmx.as_slice() {
        [name] => found.vm(name)?,
        [] => match found.images() {
            Some(images) => found.machine(&images, choice)?,
            None => return Err(Error::Packed { path: store.path().to_owned(), name: named }),
        },
        several => {
            let names: Vec<_> = several.iter().map(|name| name.as_str()).collect();
            return Err(store.unusable(format!("it contains several VMs: {}", names.join(", "))));
        }
    };
    Ok(DescribedVm { store: Some(store.clone()), ..described })
}

struct BoxMembers<'a> {
    store: &'a Store,
    /// Lengths in bytes, by member name.
    sizes: BTreeMap<String, u64>,
    /// The first bytes of each member that may describe a VM.
    heads: BTreeMap<String, Vec<u8>>,
}

/// Contents of a box's `metadata.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BoxMetadata {
    format: Option<String>,
    disks: Vec<BoxedImage>,
}

/// An image of a box, by its name in the archive.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BoxedImage {
    path: String,
    format: Option<String>,
}

impl<'a> BoxMembers<'a> {
    /// Lists an archive, and reads the first bytes of its files.
    fn read(store: &'a Store) -> Result<Self, Error> {
        let (sizes, mut heads) = (RefCell::new(BTreeMap::new()), BTreeMap::new());
        let wanted = |name: &str, size| {
            if is_shadow(name) {
                return false;
            }
            sizes.borrow_mut().insert(name.to_owned(), size);
            // The parts of a split VMDK are found by its descriptor, and may be many.
            tells(name) && !is_part(name)
        };
        store.each(&wanted, &mut |member| {
            let most = if format_of(&member.name).is_some() { 1 } else { 2 } * MOST_HEADS;
            if heads.len() < most {
                let mut head = Vec::new();
                let read = member.content.take(HEAD).read_to_end(&mut head);
                read.map_err(|source| store.failed(source))?;
                heads.insert(member.name, head);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Self { store, sizes: sizes.into_inner(), heads })
    }

    /// The VM that a VMX describes.
    fn vm(&self, name: &str) -> Result<DescribedVm, Error> {
        let prefix = name.rfind('/').map_or("", |at| &name[..=at]);
        let text = self.text(name)?;
        let path = self.store.path().join(name);
        vmx::read(&path, text, &BoxFolder { members: self, prefix })
    }

    /// The content of a small file, which was read completely.
    fn text(&self, name: &str) -> Result<&[u8], Error> {
        let head = self.heads.get(name).map(Vec::as_slice).unwrap_or_default();
        match self.sizes.get(name).is_some_and(|size| *size == head.len() as u64) {
            true => Ok(head),
            false => Err(self.store.unusable(format!("'{name}' in it is too long"))),
        }
    }

    /// The images of a VM without a description, the boot disk first, each with its format: the
    /// images that the box names, or the only image.
    fn images(&self) -> Option<Vec<(String, Option<DiskFormat>)>> {
        let told = self.heads.keys().find(|name| plain_name(name) == METADATA);
        let metadata: BoxMetadata = told
            .and_then(|name| serde_json::from_slice(&self.heads[name]).ok())
            .unwrap_or_default();
        let format = |text: &Option<String>| text.as_deref().and_then(format_by_extension);
        let of_all = format(&metadata.format);
        if !metadata.disks.is_empty() {
            let named = metadata.disks.iter().map(|disk| {
                (plain(&disk.path), format(&disk.format).or(of_all).or(Some(DiskFormat::Qcow2)))
            });
            return Some(named.collect());
        }
        let mut images = self.heads.keys().filter(|name| format_of(name).is_some());
        let (only, None) = (images.next()?, images.next()) else { return None };
        let by_name = (plain_name(only) == BOX_IMAGE).then_some(DiskFormat::Qcow2);
        Some(vec![(only.clone(), of_all.filter(|_| by_name.is_some()).or(by_name))])
    }

    /// The VM whose disks are these images.
    fn machine(
        &self,
        images: &[(String, Option<DiskFormat>)],
        choice: &FileChoice,
    ) -> Result<DescribedVm, Error> {
        let (mut disks, mut wanted) = (Vec::new(), Vec::new());
        for (index, (name, told)) in images.iter().enumerate() {
            let size = *self.sizes.get(name).ok_or_else(|| self.lacks(name))?;
            let path = self.store.path().join(name);
            let unknown = || Error::UnknownFormat { path: path.clone() };
            let format = told.or_else(|| format_of(name)).ok_or_else(unknown)?;
            let file = self.head_file(name)?;
            let kind = image::kind(&file, format).map_err(|source| self.store.failed(source))?;
            if let Some(found) = kind.filter(|found| *found != Kind::Disk(format)) {
                return Err(Error::OtherFormat { path, told: format, found });
            }
            let capacity = if format == DiskFormat::Raw { size } else { capacity(&file, format) };
            disks.push(images::disk(plain_name(name).to_owned(), index, capacity, None));
            let content = DiskBytes::Packed { members: vec![name.clone()], gzip: false };
            let disk = WantedDisk::disk(DiskId::from_index(index), format, capacity, content);
            wanted.push(WantedDisk { least: size, ..disk });
        }
        let stem = self.store.path().file_stem().unwrap_or_default().to_string_lossy();
        let stem = stem.strip_suffix(".tar").unwrap_or(&stem).to_owned();
        Ok(images::machine(stem, disks, wanted, choice))
    }

    /// A sparse file with the length and the first bytes of a member.
    fn head_file(&self, name: &str) -> Result<File, Error> {
        let failed = |source| self.store.failed(source);
        let mut file = tempfile::tempfile().map_err(failed)?;
        let head = self.heads.get(name).map(Vec::as_slice).unwrap_or_default();
        file.write_all(head).map_err(failed)?;
        file.set_len(self.sizes.get(name).copied().unwrap_or_default()).map_err(failed)?;
        Ok(file)
    }

    fn lacks(&self, name: &str) -> Error {
        self.store.unusable(format!("'{name}', which belongs to its VM, is not in it"))
    }
}

/// The directory of a VMX in an archive.
struct BoxFolder<'a> {
    members: &'a BoxMembers<'a>,
    /// Path of the directory, with a trailing `/` unless empty.
    prefix: &'a str,
}

impl BoxFolder<'_> {
    /// The member of that name in the directory, in any case.
    fn find(&self, name: &str) -> Result<&str, Error> {
        let name = name.replace('\\', "/");
        let wanted = format!("{}{}", self.prefix, plain(&name));
        let sizes = &self.members.sizes;
        let same = |member: &&String| member.eq_ignore_ascii_case(&wanted);
        let exact = sizes.get_key_value(&wanted).map(|(name, _)| name);
        let found = exact.or_else(|| sizes.keys().find(same));
        found.map(String::as_str).ok_or_else(|| self.members.lacks(&wanted))
    }

    /// A VMDK of several files, by its descriptor.
    fn split(&self, descriptor: &str) -> Result<vmx::VmxImage, Error> {
        let text = self.members.text(descriptor)?;
        let (mut members, mut sectors) = (vec![descriptor.to_owned()], Some(0_u64));
        for extent in vmdk::extents(&vmdk::text(text)) {
            sectors = sectors.and_then(|sum| sum.checked_add(extent.sectors));
            if extent.kind == "ZERO" {
                continue;
            }
            let member = self.find(&extent.file)?;
            if !members.iter().any(|known| known == member) {
                members.push(member.to_owned());
            }
        }
        let capacity = sectors.and_then(|sectors| sectors.checked_mul(vmdk::SECTOR));
        let too_long = || self.members.store.unusable(format!("'{descriptor}' in it is too long"));
        let least = members.iter().filter_map(|name| self.members.sizes.get(name));
        Ok(vmx::VmxImage {
            capacity: capacity.ok_or_else(too_long)?,
            uuid: None,
            least: least.fold(0, |sum, size| sum.saturating_add(*size)),
            content: DiskBytes::PackedSplit { members },
        })
    }
}

impl vmx::Folder for BoxFolder<'_> {
    fn image(&self, name: &str) -> Result<vmx::VmxImage, Error> {
        let member = self.find(name)?;
        let head = self.members.heads.get(member).map(Vec::as_slice).unwrap_or_default();
        if head.starts_with(b"# Di") {
            return self.split(member);
        }
        let file = self.members.head_file(member)?;
        let capacity = capacity(&file, DiskFormat::Vmdk);
        if capacity == 0 {
            let reason = format!("'{member}' in it is not a VMDK");
            return Err(self.members.store.unusable(reason));
        }
        Ok(vmx::VmxImage {
            content: DiskBytes::Packed { members: vec![member.to_owned()], gzip: false },
            capacity,
            uuid: vmdk::uuid(&file).ok().flatten(),
            least: self.members.sizes.get(member).copied().unwrap_or_default(),
        })
    }

    fn variables(&self, name: &str) -> Result<Nvram, Error> {
        self.find(name).map(|name| Nvram::Member(name.to_owned()))
    }
}

/// Capacity from the header of an image; 0 if only the complete image contains it.
fn capacity(file: &File, format: DiskFormat) -> u64 {
    image::header_capacity(file, format).ok().flatten().unwrap_or_default()
}

/// Whether the name is that of a file that may describe a VM.
fn tells(name: &str) -> bool {
    plain_name(name) == METADATA || has_extension(name, "vmx") || format_of(name).is_some()
}

/// Whether the name is that of one of many parts of a VMDK: `disk-s001.vmdk`, `disk-f001.vmdk`.
fn is_part(name: &str) -> bool {
    let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let number = stem.rsplit_once("-s").or_else(|| stem.rsplit_once("-f"));
    let is_number = |text: &str| text.len() >= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    has_extension(name, "vmdk") && number.is_some_and(|(_, number)| is_number(number))
}

fn format_of(name: &str) -> Option<DiskFormat> {
    format_by_extension(&Path::new(name).extension()?.to_string_lossy())
}

/// The name without its directories.
fn plain_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
