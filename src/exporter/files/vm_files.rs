//! A VM that was found in files, and where its disks are.

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

/// A VM and what an export needs to take it.
#[derive(Debug, Clone)]
pub(super) struct DescribedVm {
    pub(super) vm: SourceVm,
    /// Whether the source describes network cards, be it none; a disk image does not.
    pub(super) tells_nics: bool,
    /// In the order of the VM's disks.
    pub(super) disks: Vec<WantedDisk>,
    /// What lies in its CD-ROM drives.
    pub(super) media: Vec<WantedDisk>,
    pub(super) method: ExportMethod,
    /// Where packed disks are.
    pub(super) store: Option<Store>,
    /// What the names of members begin with.
    pub(super) prefix: String,
    pub(super) sums: Expected,
    /// The variables of its firmware, if they lie beside it.
    pub(super) nvram: Option<Nvram>,
    /// What is worth telling of it.
    pub(super) warnings: Vec<Warning>,
}

/// Where the variables of a firmware are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Nvram {
    /// In a file of their own.
    Beside(PathBuf),
    /// In the store, and summed like its disks.
    Member(String),
}

/// A disk, or what lies in a drive.
#[derive(Debug, Clone)]
pub(super) struct WantedDisk {
    pub(super) id: DiskId,
    /// Of what lies at the source.
    pub(super) format: DiskFormat,
    /// Size that the guest sees, in bytes; 0 when only the image knows.
    pub(super) capacity: u64,
    pub(super) content: DiskBytes,
    /// Length of what lies at the source, in bytes, if a package tells it.
    pub(super) stored: Option<u64>,
    /// Whether it is no disk but what lies in a CD-ROM drive.
    pub(super) medium: bool,
    /// Bytes that an export writes at least of what it keeps as it is, as far as that is known.
    pub(super) least: u64,
    /// Whether it is converted while it is read.
    pub(super) streaming: Streaming,
}

/// Where a disk's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DiskBytes {
    /// An image that is whole as it is: it stays where it is.
    InPlace(PathBuf),
    /// A VMDK of several files, by its descriptor.
    Split(PathBuf),
    /// In a store, in one member or in several chunks.
    Packed { members: Vec<String>, gzip: bool },
    /// A VMDK of several files in an archive, the descriptor first.
    PackedSplit { members: Vec<String> },
    /// Nothing is on it.
    Empty,
}

impl WantedDisk {
    /// A disk of that format and capacity.
    pub(super) fn disk(id: DiskId, format: DiskFormat, capacity: u64, content: DiskBytes) -> Self {
        let (stored, least, streaming) = (None, 0, Streaming::No(NOT_ASKED));
        Self { id, format, capacity, content, stored, medium: false, least, streaming }
    }

    /// What lies in a CD-ROM drive: it is never converted.
    pub(super) fn medium(id: DiskId, content: DiskBytes) -> Self {
        Self { medium: true, ..Self::disk(id, DiskFormat::Raw, 0, content) }
    }

    /// The format in which it is exported, `rewritten` or not.
    pub(super) fn exported_format(&self, rewritten: bool) -> DiskFormat {
        match self.content {
            _ if rewritten => DiskFormat::Qcow2,
            DiskBytes::InPlace(_) | DiskBytes::Packed { .. } => self.format,
            DiskBytes::Split(_) | DiskBytes::PackedSplit { .. } | DiskBytes::Empty => {
                DiskFormat::Qcow2
            }
        }
    }

    /// Name of the file that an export makes of it, `rewritten` or not.
    pub(super) fn file_name(&self, rewritten: bool) -> String {
        match self.medium {
            true => format!("{}.iso", self.id),
            false => self.id.file_name(self.exported_format(rewritten)),
        }
    }

    /// The file that an export makes of it: none when it stays where it is, and two where its first
    /// bytes decide what becomes of it.
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

    /// Whether it is compressed where it lies.
    pub(super) fn is_compressed(&self) -> bool {
        matches!(self.content, DiskBytes::Packed { gzip: true, .. })
    }

    /// The members of a store that it is in.
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
    /// The content of the image at an absolute path, after a look whether it stands for itself.
    /// Blocks, and only reads: who waits for it may leave.
    ///
    /// # Errors
    /// [`Error::Unusable`] when it does not, [`Error::PartOfDisk`], [`Error::File`].
    pub(super) fn of_image(path: &Path, format: DiskFormat) -> Result<Self, Error> {
        let failed = |source| Error::File { action: "reading", path: path.to_owned(), source };
        let judged = image::inspect(path, format, &Going::default()).map_err(failed)?;
        // A part of a VMDK passes for a disk, or for nothing at all.
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
    /// VMware's UUID of the disk, where its image lies open: what is packed tells it later. Blocks.
    pub(super) fn uuid(&self) -> Option<String> {
        match &self.content {
            DiskBytes::InPlace(path) | DiskBytes::Split(path) => uuids::of_image(path, self.format),
            DiskBytes::Packed { .. } | DiskBytes::PackedSplit { .. } | DiskBytes::Empty => None,
        }
    }
}

impl DescribedVm {
    /// Its disks, and then what lies in its drives.
    pub(super) fn images(&self) -> impl Iterator<Item = &WantedDisk> {
        self.disks.iter().chain(&self.media)
    }

    /// The files that its disks and its variables are read from, but for an archive as a whole.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let folder = match &self.store {
            Some(Store::Folder(folder)) => Some(folder),
            _ => None,
        };
        let mut files = Vec::new();
        for disk in self.images() {
            match &disk.content {
                DiskBytes::InPlace(path) => files.push(path.clone()),
                // One whose parts cannot be named is refused later, with the reason.
                DiskBytes::Split(path) => files.extend(Split::files(path).unwrap_or_default()),
                DiskBytes::Packed { members, .. } => {
                    files.extend(
                        folder.iter().flat_map(|folder| members.iter().map(|m| folder.join(m))),
                    );
                }
                // In an archive, which is looked at as a whole.
                DiskBytes::PackedSplit { .. } | DiskBytes::Empty => {}
            }
        }
        if let Some(Nvram::Beside(path)) = &self.nvram {
            files.push(path.clone());
        }
        files
    }

    /// The files that an export makes.
    pub(super) fn makes(&self) -> Vec<ExportFile> {
        let disks = self.images().flat_map(WantedDisk::exported_files);
        disks.chain(self.nvram.iter().map(|_| ExportFile::other(NVRAM))).collect()
    }

    /// What lies in its drives, before it is exported. Blocks for a look at each file.
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

    /// Bytes that an export writes at least, as far as that is known. What a disk comes to that is
    /// converted while it is read shows itself then.
    pub(super) fn least(&self) -> u64 {
        let kept = |image: &&WantedDisk| !image.streaming.may();
        self.images().filter(kept).fold(0, |sum, image| sum.saturating_add(image.least))
    }

    /// Whether its disks are converted while they are read. Of one that is empty nothing is read.
    pub(super) fn streaming(&self) -> Vec<(DiskId, Streaming)> {
        let disks = self.disks.iter().filter(|disk| disk.content != DiskBytes::Empty);
        disks.map(|disk| (disk.id.clone(), disk.streaming)).collect()
    }
}
