//! Joins a VMDK that consists of several files: flat and sparse extents in sequence.

mod once;
mod sparse;

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub(super) use self::once::each_once;
pub(super) use self::sparse::Sparse;
use super::content::ContentHasher as DiskContent;
use super::vmdk::{self, LONGEST_DESCRIPTOR, SECTOR};
use super::{CLUSTER, Error, beside, extents, qcow2};
use crate::budget::Going;
use crate::model::Sha256Digest;

/// Sectors of a cluster.
const CLUSTER_SECTORS: u64 = CLUSTER as u64 / SECTOR;

/// The open files of one disk.
#[derive(Debug)]
pub struct Split {
    extents: Vec<SplitExtent>,
    /// Size of the disk, in bytes.
    capacity: u64,
}

#[derive(Debug)]
struct SplitExtent {
    /// Begin and end of the extent on the disk, in sectors.
    begin: u64,
    end: u64,
    content: PartContent,
}

#[derive(Debug)]
enum PartContent {
    Zero,
    /// A file, and the offset of the extent in it, in bytes.
    Flat(File, u64),
    Sparse(Sparse),
}

impl Split {
    /// Paths of the descriptor and of the files that it names.
    ///
    /// # Errors
    /// If the descriptor cannot be read.
    pub fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
        let text = descriptor(path)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let mut files = vec![path.to_owned()];
        for extent in vmdk::extents(&vmdk::text(&text)) {
            if extent.kind != "ZERO" {
                files.push(extent_file(folder, &extent.file)?);
            }
        }
        Ok(files)
    }

    /// Opens the files that the descriptor at `path` names, all in its folder.
    /// [`inspect`](super::inspect()) must have accepted it.
    ///
    /// # Errors
    /// If a file cannot be read, or does not match the descriptor ([`ErrorKind::InvalidData`]).
    pub fn open(path: &Path) -> io::Result<Self> {
        let text = descriptor(path)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let mut extents = Vec::new();
        let mut begin = 0_u64;
        let all = vmdk::extents(&vmdk::text(&text));
        each_once(&all, folder)?.map_err(|why| invalid(&why))?;
        for named in all {
            let content = PartContent::open(&named, folder)?;
            let end = begin.checked_add(named.sectors).ok_or_else(|| invalid("it is too long"))?;
            extents.push(SplitExtent { begin, end, content });
            begin = end;
        }
        let capacity = begin.checked_mul(SECTOR).ok_or_else(|| invalid("it is too long"))?;
        Ok(Self { extents, capacity })
    }

    /// A sparse file of `sectors` sectors that is a complete disk.
    pub(super) fn hosted(file: File, sectors: u64) -> io::Result<Self> {
        let content = PartContent::Sparse(Sparse::hosted(file, sectors)?);
        let capacity = sectors.checked_mul(SECTOR).ok_or_else(|| invalid("it is too long"))?;
        Ok(Self { extents: vec![SplitExtent { begin: 0, end: sectors, content }], capacity })
    }

    /// The same disk for another thread. The directories of tables and the budgets are shared.
    pub(super) fn again(&self) -> io::Result<Self> {
        let again = |extent: &SplitExtent| {
            let content = match &extent.content {
                PartContent::Zero => PartContent::Zero,
                PartContent::Flat(file, begin) => PartContent::Flat(file.try_clone()?, *begin),
                PartContent::Sparse(sparse) => PartContent::Sparse(sparse.again()?),
            };
            Ok(SplitExtent { begin: extent.begin, end: extent.end, content })
        };
        let extents = self.extents.iter().map(again).collect::<io::Result<_>>()?;
        Ok(Self { extents, capacity: self.capacity })
    }

    /// Size of the disk, in bytes.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Writes the disk as qcow2 into `file`, which must be empty, and hashes its content. `at` gets
    /// the position in bytes of the disk and may stop the work with an error. `going` stops a long
    /// search for data.
    ///
    /// # Errors
    /// [`Error::Write`], also for read errors; [`Error::TooLarge`].
    pub fn write(
        mut self,
        file: File,
        going: &Going,
        mut at: impl FnMut(u64) -> io::Result<()>,
    ) -> Result<(File, Option<Sha256Digest>), Error> {
        let mut hash = DiskContent::default();
        let mut writer = qcow2::Qcow2Writer::new(file, self.capacity, None)?;
        let mut buffer = vec![0; CLUSTER];
        let mut cluster = 0;
        while let Some(next) = self.next_data(cluster * CLUSTER_SECTORS, going)? {
            cluster = next / CLUSTER_SECTORS;
            self.read(cluster * CLUSTER_SECTORS, &mut buffer)?;
            if buffer.iter().any(|byte| *byte != 0) {
                writer.write(cluster, &buffer, false)?;
                let begin = cluster * CLUSTER as u64;
                hash.zeros(begin - hash.position());
                hash.data(&buffer[..(self.capacity - begin).min(CLUSTER as u64) as usize]);
            }
            cluster += 1;
            at((cluster * CLUSTER as u64).min(self.capacity))?;
        }
        hash.zeros(self.capacity - hash.position());
        Ok((writer.finish()?, hash.finish()))
    }

    /// First sector from `sector` on that may contain data.
    pub(super) fn next_data(&mut self, sector: u64, going: &Going) -> io::Result<Option<u64>> {
        for extent in self.extents.iter_mut().filter(|extent| extent.end > sector) {
            going.check()?;
            let from = sector.max(extent.begin);
            let (from, length) = (from - extent.begin, extent.end - extent.begin);
            let within = extent.content.next_data(from, length, going)?;
            if let Some(within) = within {
                return Ok(Some(extent.begin + within));
            }
        }
        Ok(None)
    }

    /// Fills `buffer` from `sector` on; missing data is zero.
    pub(super) fn read(&mut self, sector: u64, buffer: &mut [u8]) -> io::Result<()> {
        buffer.fill(0);
        let until = sector + buffer.len() as u64 / SECTOR;
        for extent in &mut self.extents {
            let (from, to) = (sector.max(extent.begin), until.min(extent.end));
            if from < to {
                let place = ((from - sector) * SECTOR) as usize..((to - sector) * SECTOR) as usize;
                extent.content.read(from - extent.begin, &mut buffer[place])?;
            }
        }
        Ok(())
    }
}

impl PartContent {
    fn open(named: &vmdk::Extent, folder: &Path) -> io::Result<Self> {
        let open = || File::open(extent_file(folder, &named.file)?);
        match named.kind.as_str() {
            "ZERO" => Ok(Self::Zero),
            "SPARSE" => Sparse::hosted(open()?, named.sectors).map(Self::Sparse),
            "VMFSSPARSE" => Sparse::esx(open()?, named.sectors).map(Self::Sparse),
            "SESPARSE" => Sparse::space_efficient(open()?, named.sectors).map(Self::Sparse),
            "FLAT" | "VMFS" => {
                let file = open()?;
                let begin = named.offset.checked_mul(SECTOR);
                let end =
                    named.offset.checked_add(named.sectors).and_then(|n| n.checked_mul(SECTOR));
                match begin.zip(end) {
                    Some((begin, end)) if file.metadata()?.len() >= end => {
                        Ok(Self::Flat(file, begin))
                    }
                    _ => Err(invalid(&format!("its extent '{}' is cut off", named.file))),
                }
            }
            kind => Err(invalid(&format!("it has an extent of the kind '{kind}'"))),
        }
    }

    fn next_data(&mut self, sector: u64, length: u64, going: &Going) -> io::Result<Option<u64>> {
        match self {
            Self::Zero => Ok(None),
            Self::Flat(file, begin) => {
                let end = *begin + length * SECTOR;
                let found = extents::next_data(file, *begin + sector * SECTOR, end)?;
                Ok(found.map(|data| (data.start - *begin) / SECTOR))
            }
            Self::Sparse(sparse) => sparse.next_data(sector, length, going),
        }
    }

    fn read(&mut self, sector: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Zero => Ok(()),
            Self::Flat(file, begin) => file.read_exact_at(buffer, *begin + sector * SECTOR),
            Self::Sparse(sparse) => sparse.read(sector, buffer),
        }
    }
}

/// Content of the descriptor at `path`, of limited length.
fn descriptor(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(LONGEST_DESCRIPTOR as u64 + 1).read_to_end(&mut text)?;
    match text.len() > LONGEST_DESCRIPTOR {
        true => Err(invalid("its VMDK descriptor is too long")),
        false => Ok(text),
    }
}

/// Path of an extent in the descriptor's folder.
fn extent_file(folder: &Path, name: &str) -> io::Result<PathBuf> {
    let missing = || invalid(&format!("its extent '{name}' is no file beside it"));
    beside(folder, name)?.ok_or_else(missing)
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}
