//! Writes an export as an OVF package for VMware and other importers (DSP0243 2.1.1). The package
//! is written after the download, so that its sizes and checksums are those of the files.

mod descriptor;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use self::descriptor::NvramFile;
use super::Error;
use super::transfer::{PartFile, sync_directory};
use crate::budget::{Going, is_stop};
use crate::image::{WritebackFile, vmdk};
use crate::model::{ByteSize, DiskFormat, ExportedNvram, ExportedVm, Sha256Digest, file_name};
use crate::progress::{Progress, Unit};

/// Bytes copied at a time.
const BLOCK: usize = 1 << 20;
/// Sizes from this limit on do not fit into a ustar header.
const USTAR_LIMIT: u64 = 8 << 30;

/// Format of an export's output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PackageFormat {
    /// Disks only.
    #[default]
    Disks,
    /// Disks with an OVF descriptor and a checksum file.
    Ovf,
    /// An OVA: one archive of disks, descriptor and checksums.
    Ova,
}

impl PackageFormat {
    /// Names of the files that this format adds to the disks of a VM of this name; the first is the
    /// package.
    pub fn makes(self, vm_name: &str) -> Vec<String> {
        let name = file_name(vm_name);
        match self {
            Self::Disks => Vec::new(),
            Self::Ovf => vec![format!("{name}.ovf"), format!("{name}.mf")],
            Self::Ova => vec![format!("{name}.ova")],
        }
    }
}

/// Result of [`write_package`].
#[derive(Debug)]
pub struct WrittenPackage {
    /// Path of the descriptor or archive.
    pub path: PathBuf,
    /// Size of that file in bytes.
    pub size: ByteSize,
    /// SHA-256 checksums of the files that the package added to the disks, by file name.
    pub sums: BTreeMap<String, Sha256Digest>,
}

/// Writes the package of an export whose disks are in `directory`. The disks stay. Blocks.
///
/// # Errors
/// [`Error::Unusable`] when a disk cannot be part of a package, [`Error::Exists`], [`Error::File`],
/// [`Error::Cancelled`]; no package is left then.
pub fn write_package(
    exported: &ExportedVm,
    format: PackageFormat,
    directory: &Path,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<WrittenPackage, Error> {
    let package = NewPackage { exported, directory, progress, cancel };
    let nvram = package.nvram()?;
    let (text, mf) = package.texts(nvram.as_ref())?;
    let names = format.makes(&exported.vm.name);
    let parts = names.iter().map(|name| PartFile::create(directory.join(name)));
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    let written = match (format, parts.as_slice()) {
        (PackageFormat::Ovf, [first, second]) => {
            package.file(first, &text).and_then(|ovf| Ok(vec![ovf, package.file(second, &mf)?]))
        }
        (PackageFormat::Ova, [ova]) => {
            package.archive(ova, &text, &mf, nvram.as_ref()).map(|sum| vec![sum])
        }
        _ => Ok(Vec::new()),
    };
    let committed = written.and_then(|sums| {
        parts.iter().try_for_each(PartFile::commit)?;
        sync_directory(directory)?;
        Ok(sums)
    });
    let sums = match committed {
        Ok(sums) => names.into_iter().zip(sums).collect(),
        Err(error) => {
            parts.iter().try_for_each(PartFile::discard)?;
            return Err(error);
        }
    };
    let path = parts.first().map(|part| part.target().to_owned()).unwrap_or_default();
    let size = path.metadata().map_err(failed("inspecting", &path))?.len();
    Ok(WrittenPackage { path, size: ByteSize(size), sums })
}

/// A package that is being written.
struct NewPackage<'a> {
    exported: &'a ExportedVm,
    directory: &'a Path,
    progress: &'a Progress,
    cancel: &'a CancellationToken,
}

impl NewPackage<'_> {
    /// The UEFI variables of an EFI guest.
    fn nvram(&self) -> Result<Option<NvramFile>, Error> {
        let read = |exported: &ExportedNvram| {
            let path = &exported.path;
            let content = std::fs::read(path).map_err(failed("reading", path))?;
            Ok(NvramFile { href: href(path), content })
        };
        self.exported.nvram.as_ref().map(read).transpose()
    }

    /// The texts of the descriptor and of the checksum file.
    fn texts(&self, nvram: Option<&NvramFile>) -> Result<(String, String), Error> {
        let name = file_name(&self.exported.vm.name);
        let mut files = Vec::new();
        for disk in &self.exported.disks {
            let path = &disk.path;
            if disk.format != DiskFormat::Vmdk || path.parent() != Some(self.directory) {
                let reason = "only a VMDK of the export itself can be part of a package".into();
                return Err(Error::Unusable { path: path.clone(), reason });
            }
            let file = File::open(path).map_err(failed("opening", path))?;
            let populated = vmdk::populated(&file, &Going::from(self.cancel)).map_err(|error| {
                if is_stop(&error) { Error::Cancelled } else { failed("reading", path)(error) }
            })?;
            files.push(descriptor::DiskFile { disk, href: href(path), populated });
        }
        let text = descriptor::write(&self.exported.vm, &files, nvram);
        let own = Sha256Digest(Sha256::digest(&text).into());
        let mut sums = format!("SHA256({name}.ovf)= {own}\n");
        for file in &files {
            sums += &format!("SHA256({})= {}\n", file.href, file.disk.sha256);
        }
        if let Some(nvram) = nvram {
            let sum = Sha256Digest(Sha256::digest(&nvram.content).into());
            sums += &format!("SHA256({})= {sum}\n", nvram.href);
        }
        Ok((text, sums))
    }

    /// Writes a text to a file; returns its checksum.
    fn file(&self, part: &PartFile, text: &str) -> Result<Sha256Digest, Error> {
        let written = part.restart().and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(failed("writing", part.path()))?;
        Ok(Sha256Digest(Sha256::digest(text).into()))
    }

    /// Writes the archive: the descriptor first, as section 5.3 of the standard requires, then all
    /// files in its order. Returns the archive's checksum.
    fn archive(
        &self,
        part: &PartFile,
        text: &str,
        sums: &str,
        nvram: Option<&NvramFile>,
    ) -> Result<Sha256Digest, Error> {
        let name = file_name(&self.exported.vm.name);
        let ByteSize(total) = self.exported.disks.iter().map(|disk| disk.file_size).sum();
        let task = self.progress.task("pack", Some(total), Unit::Bytes);
        let mut position = 0;
        let written = part.restart().and_then(|file| {
            let summed = Summed { file: WritebackFile::new(file), sum: Sha256::new() };
            let mut tar = tar::Builder::new(BufWriter::with_capacity(BLOCK, summed));
            append(&mut tar, &format!("{name}.ovf"), text.len() as u64, text.as_bytes())?;
            append(&mut tar, &format!("{name}.mf"), sums.len() as u64, sums.as_bytes())?;
            for disk in &self.exported.disks {
                let counted = Counted {
                    file: File::open(&disk.path)?,
                    cancel: self.cancel,
                    told: |read| {
                        position += read;
                        task.at(position);
                    },
                };
                append(&mut tar, &href(&disk.path), disk.file_size.0, counted)?;
            }
            if let Some(NvramFile { href, content }) = nvram {
                append(&mut tar, href, content.len() as u64, content.as_slice())?;
            }
            let out = tar.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?;
            out.file.into_file().sync_all()?;
            Ok(Sha256Digest(out.sum.finalize().into()))
        });
        written.map_err(|error| match self.cancel.is_cancelled() {
            true => Error::Cancelled,
            false => failed("writing", part.path())(error),
        })
    }
}

/// Name of an exported file in the package.
fn href(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    name: &str,
    size: u64,
    content: impl Read,
) -> io::Result<()> {
    let ustar = size < USTAR_LIMIT && name.len() <= 100;
    let mut header = if ustar { tar::Header::new_ustar() } else { tar::Header::new_gnu() };
    header.set_size(size);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, content)
}

/// A writer that computes the archive's checksum.
struct Summed {
    file: WritebackFile,
    sum: Sha256,
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A reader that counts the bytes of a disk for the progress.
struct Counted<'a, F> {
    file: File,
    cancel: &'a CancellationToken,
    told: F,
}

impl<F: FnMut(u64)> Read for Counted<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            // Not `Interrupted`, which makes a copy retry.
            return Err(io::Error::other("interrupted"));
        }
        let read = self.file.read(buffer)?;
        (self.told)(read as u64);
        Ok(read)
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}
