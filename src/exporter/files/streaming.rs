//! Decides which packed disks are converted while they are read: streamOptimized VMDKs and raw
//! disks, since both are read sequentially.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;

use flate2::read::MultiGzDecoder;

use super::store::{Member, Store};
use super::vm_files::{DescribedVm, DiskBytes, WantedDisk};
use crate::exporter::{Error, Rewrite, Streaming};
use crate::image::vmdk::{Header, SECTOR};
use crate::model::DiskFormat;

const OTHER_FORMAT: &str = "only streamOptimized VMDKs and raw disks are read from front to back";
const NO_STREAM: &str = "it is not a streamOptimized VMDK";
const ODD_GRAINS: &str = "its grains are neither of 64 KiB nor of a small multiple of it";
const ODD_FRONT: &str = "what stands in front of its grains is too long";
const IN_PLACE: &str = "it lies there as it is, and is converted from there";
const SPLIT: &str = "it is put together of several files";
/// Reason for disks whose conversion was not requested.
pub(super) const NOT_ASKED: &str = "it is not to be converted";

/// The header of a VMDK that can be converted while it is read, from its first sector.
///
/// # Errors
/// Reason why the VMDK cannot be converted, as a clause.
pub(super) fn header(sector: &[u8]) -> Result<Header, &'static str> {
    let header = Header::read(sector).map_err(|_| NO_STREAM)?;
    match header {
        header if !header.has_usual_grains() => Err(ODD_GRAINS),
        header if !header.has_usual_front() => Err(ODD_FRONT),
        header => Ok(header),
    }
}

impl DescribedVm {
    /// Decides for each disk whether it is converted while it is read, as far as this is known
    /// without reading the entire archive. Blocks.
    ///
    /// # Errors
    /// [`Error::Unusable`], [`Error::File`].
    pub(super) fn decide_streaming(&mut self, rewrite: Option<Rewrite>) -> Result<(), Error> {
        let heads = match (rewrite, &self.store) {
            (Some(_), Some(store)) => heads(store, &self.disks)?,
            _ => HashMap::new(),
        };
        for disk in &mut self.disks {
            disk.streaming = match (rewrite, &disk.content, disk.format) {
                (None, ..) | (_, DiskBytes::Empty, _) => Streaming::No(NOT_ASKED),
                (_, DiskBytes::InPlace(_), _) => Streaming::No(IN_PLACE),
                (_, DiskBytes::Split(_) | DiskBytes::PackedSplit { .. }, _) => Streaming::No(SPLIT),
                (_, DiskBytes::Packed { .. }, DiskFormat::Raw) => Streaming::Yes,
                (_, DiskBytes::Packed { members, .. }, DiskFormat::Vmdk) => {
                    let head = members.first().and_then(|name| heads.get(name));
                    match head.map(|head| header(head)) {
                        None => Streaming::Open,
                        Some(Ok(_)) => Streaming::Yes,
                        Some(Err(why)) => Streaming::No(why),
                    }
                }
                (_, DiskBytes::Packed { .. }, _) => Streaming::No(OTHER_FORMAT),
            };
        }
        Ok(())
    }
}

/// First sectors of packed VMDKs by the names of their first members, if these are directly
/// readable.
fn heads(store: &Store, disks: &[WantedDisk]) -> Result<HashMap<String, Vec<u8>>, Error> {
    let mut heads = HashMap::new();
    if store.is_stream() {
        return Ok(heads);
    }
    let vmdks = disks.iter().filter(|disk| disk.format == DiskFormat::Vmdk);
    let gzip: HashMap<_, _> = vmdks
        .filter_map(|disk| Some((disk.members().next()?.to_owned(), disk.is_compressed())))
        .collect();
    let mut visit = |member: Member<'_>| {
        let head = head(member.content, gzip.get(&member.name) == Some(&true));
        heads.extend(head.map(|head| (member.name, head)));
        Ok(ControlFlow::Continue(()))
    };
    match store {
        Store::Folder(folder) => {
            for name in gzip.keys() {
                let path = folder.join(name);
                let failed = |source| Error::File { action: "opening", path: path.clone(), source };
                let mut content = File::open(&path).map_err(failed)?;
                let _ = visit(Member { name: name.clone(), content: &mut content })?;
            }
        }
        _ => store.each(&|name, _| gzip.contains_key(name), &mut visit)?,
    }
    Ok(heads)
}

/// The first sector of a disk. `None` where reading fails, which is reported when the disk is read.
fn head(content: &mut dyn Read, gzip: bool) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    let read = if gzip {
        MultiGzDecoder::new(content).take(SECTOR).read_to_end(&mut head)
    } else {
        content.take(SECTOR).read_to_end(&mut head)
    };
    read.ok().filter(|length| *length as u64 == SECTOR).map(|_| head)
}
