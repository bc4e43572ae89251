//! A VM in files, with the location of its disks.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::expected_sums::Expected;
use super::store::Store;
use super::streaming::NOT_ASKED;
use crate::budget::Going;
use crate::exporter::{Error, ExpectedMedium, NVRAM, Streaming, uuids};
use crate::image::{self, Flaw, Split};
use crate::model::{ByteSize, DiskFormat, DiskId, ExportFile, ExportMethod, SourceVm, Warning};

/// A VM, with everything that its export needs.
#[derive(Debug, Clone)]
pub(super) struct DescribedVm {
    pub(super) vm: SourceVm,
    /// Whether the source describes network cards, even if none; a disk image does not.
    pub(super) tells_nics: bool,
    /// In the order of the VM's disks.
    pub(super) disks: Vec<WantedDisk>,
    /// Images of the CD-ROM drives.
    pub(super) media: Vec<WantedDisk>,
    pub(super) method: ExportMethod,
    /// Store of the packed disks.
    pub(super) store: Option<Store>,
    /// Common prefix of the member names.
    pub(super) prefix: String,
    pub(super) sums: Expected,
    /// The firmware's variables, if the source contains them.
    pub(super) nvram: Option<Nvram>,
    /// Warnings about the VM.
    pub(super) warnings: Vec<Warning>,
}

/// Location of the firmware's variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Nvram {
    /// In a file of their own.
    Beside(PathBuf),
    /// In the store, with a checksum as the disks have.
    Member(String),
}

/// A disk, or the image of a CD-ROM drive.
#[derive(Debug, Clone)]
pub(super) struct WantedDisk {
    pub(super) id: DiskId,
    /// Format at the source.
    pub(super) format: DiskFormat,
    /// Size that the guest sees, in bytes; 0 when only the image contains it.
    pub(super) capacity: u64,
    pub(super) content: DiskBytes,
    /// Length of the file at the source, in bytes, if a package states it.
    pub(super) stored: Option<u64>,
    /// Whether this is the image of a CD-ROM drive.
    pub(super) medium: bool,
    /// Minimum number of bytes that the export of an unconverted disk writes, if known; else 0.
    pub(super) least: u64,
    /// Whether the disk is converted while it is read.
    pub(super) streaming: Streaming,
}

/// Location of a disk's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DiskBytes {
    /// An unpacked image, which is used in place.
    InPlace(PathBuf),
    /// A VMDK of several files, by its descriptor.
    Split(PathBuf),
    /// In a store, as one member or as several chunks.
    Packed { members: Vec<String>, gzip: bool },
    /// A VMDK of several files in an archive, the descriptor first.
    PackedSplit { members: Vec<String> },
    /// An empty disk without a file.
    Empty,
}

impl WantedDisk {
    /// A disk of this format and capacity.
    pub(super) fn disk(id: DiskId, format: DiskFormat, capacity: u64, content: DiskBytes) -> Self {
        let (stored, least, streaming) = (None, 0, Streaming::No(NOT_ASKED));
        Self { id, format, capacity, content, stored, medium: false, least, streaming }
    }

    /// The image of a CD-ROM drive, which is never converted.
    pub(super) fn medium(id: DiskId, content: DiskBytes) -> Self {
        Self { medium: true, ..Self::disk(id, DiskFormat::Raw, 0, content) }
    }

    /// The format of the exported disk, `rewritten` or not.
    pub(super) fn exported_format(&self, rewritten: bool) -> DiskFormat {
        match self.content {
            _ if rewritten => DiskFormat::Qcow2,
            DiskBytes::InPlace(_) | DiskBytes::Packed { .. } => self.format,
            DiskBytes::Split(_) | DiskBytes::PackedSplit { .. } | DiskBytes::Empty => {
                DiskFormat::Qcow2
            }
        }
    }

    /// Name of the exported file, `rewritten` or not.
    pub(super) fn file_name(&self, rewritten: bool) -> String {
        match self.medium {
            true => format!("{}.iso", self.id),
            false => self.id.file_name(self.exported_format(rewritten)),
        }
    }

    /// The files that an export may create: none for an image that is used in place; two if the
    /// first bytes of the disk decide its format.
    pub(super) fn exported_files(&self) -> Vec<ExportFile> {
        if matches!(self.content, DiskBytes::InPlace(_)) {
            return Vec::new();
        }
        let rewritten: &[bool] = match self.streaming {
            Streaming::Yes => &[true],
            Streaming::Open => &[true, false],
            Streaming::No(_) => &[false],
        };
        let file = |rewritten: &bool| ExportFile {
            disk: (!self.medium).then(|| self.id.clone()),
            name: self.file_name(*rewritten),
        };
        rewritten.iter().map(file).collect()
    }

    /// Whether the disk is compressed at the source.
    pub(super) fn is_compressed(&self) -> bool {
        matches!(self.content, DiskBytes::Packed { gzip: true, .. })
    }

    /// Names of the disk's members in a store.
    pub(super) fn members(&self) -> impl Iterator<Item = &str> {
        let members = match &self.content {
            DiskBytes::Packed { members, .. } | DiskBytes::PackedSplit { members } => {
                members.as_slice()
            }
            _ => &[],
        };
        members.iter().map(String::as_str)
    }
}

impl DiskBytes {
    /// Inspects the image at an absolute path, and checks that it needs no other files. Blocks;
    /// read-only, so a caller may stop waiting.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the image needs other files, [`Error::PartOfDisk`],
    /// [`Error::File`].
    pub(super) fn of_image(path: &Path, format: DiskFormat) -> Result<Self, Error> {
        let failed = |source| Error::File { action: "reading", path: path.to_owned(), source };
        let judged = image::inspect(path, format, &Going::default()).map_err(failed)?;
        // A part of a VMDK can look like a complete disk, or like no disk at all.
        let may_be_part = judged.as_ref().map_or_else(|flaw| *flaw == Flaw::NoVmdk, |()| true);
        if format == DiskFormat::Vmdk
            && may_be_part
            && let Some(part) = image::part(path).map_err(failed)?
        {
            let (path, descriptor) = (path.to_owned(), part.descriptor);
            return Err(Error::PartOfDisk { path, descriptor });
        }
        judged.map_err(|reason| Error::Unusable { path: path.to_owned(), reason })?;
        let mut start = [0; 4];
        let read = File::open(path).and_then(|mut file| file.read(&mut start)).map_err(failed)?;
        let is_text = format == DiskFormat::Vmdk && start[..read] == *b"# Di";
        let path = path.to_owned();
        Ok(if is_text { Self::Split(path) } else { Self::InPlace(path) })
    }
}

impl WantedDisk {
    /// VMware's UUID of the disk, if its image is unpacked; the UUID of a packed disk is known
    /// after extraction. Blocks.
    pub(super) fn uuid(&self) -> Option<String> {
        match &self.content {
            DiskBytes::InPlace(path) | DiskBytes::Split(path) => uuids::of_image(path, self.format),
            DiskBytes::Packed { .. } | DiskBytes::PackedSplit { .. } | DiskBytes::Empty => None,
        }
    }
}

impl DescribedVm {
    /// The disks, followed by the images of the CD-ROM drives.
    pub(super) fn images(&self) -> impl Iterator<Item = &WantedDisk> {
        self.disks.iter().chain(&self.media)
    }

    /// The files that disks and variables are read from. An archive is not included, since its path
    /// is already known.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let folder = match &self.store {
            Some(Store::Folder(folder)) => Some(folder),
            _ => None,
        };
        let mut files = Vec::new();
        for disk in self.images() {
            match &disk.content {
                DiskBytes::InPlace(path) => files.push(path.clone()),
                // A VMDK whose parts cannot be listed is rejected later, with the reason.
                DiskBytes::Split(path) => files.extend(Split::files(path).unwrap_or_default()),
                DiskBytes::Packed { members, .. } => {
                    files.extend(
                        folder.iter().flat_map(|folder| members.iter().map(|m| folder.join(m))),
                    );
                }
                // Read from an archive, whose file the caller adds itself.
                DiskBytes::PackedSplit { .. } | DiskBytes::Empty => {}
            }
        }
        if let Some(Nvram::Beside(path)) = &self.nvram {
            files.push(path.clone());
        }
        files
    }

    /// The files that an export may create.
    pub(super) fn makes(&self) -> Vec<ExportFile> {
        let disks = self.images().flat_map(WantedDisk::exported_files);
        disks.chain(self.nvram.iter().map(|_| ExportFile::other(NVRAM))).collect()
    }

    /// Images of the CD-ROM drives, before the export. Blocks while it reads each file's metadata.
    pub(super) fn expected_media(&self) -> Vec<ExpectedMedium> {
        let expected = |medium: &WantedDisk| {
            let in_place = match &medium.content {
                DiskBytes::InPlace(path) => Some(path.clone()),
                _ => None,
            };
            let length = |path: &PathBuf| std::fs::metadata(path).ok().map(|found| found.len());
            let size = in_place.as_ref().and_then(length).unwrap_or(medium.least);
            ExpectedMedium { id: medium.id.clone(), in_place, size: ByteSize(size) }
        };
        self.media.iter().map(expected).collect()
    }

    /// Minimum number of bytes that an export writes, if known. The size of a converted disk is
    /// only known during the export.
    pub(super) fn least(&self) -> u64 {
        let kept = |image: &&WantedDisk| !image.streaming.may();
        self.images().filter(kept).fold(0, |sum, image| sum.saturating_add(image.least))
    }

    /// Whether each disk is converted while it is read, without empty disks.
    pub(super) fn streaming(&self) -> Vec<(DiskId, Streaming)> {
        let disks = self.disks.iter().filter(|disk| disk.content != DiskBytes::Empty);
        disks.map(|disk| (disk.id.clone(), disk.streaming)).collect()
    }
}
