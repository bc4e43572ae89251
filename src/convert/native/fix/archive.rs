//! Reads an initramfs: one or more cpio archives (Linux, "initramfs buffer format"), the last one
//! compressed. The guest's own tools are not used: they are slow under emulation, and a manipulated
//! tool would be believed.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};

use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

use super::lzo;
use crate::budget::{Budget, Exhausted, Going, Watched};

/// Bytes of a header in "newc" format.
const HEADER: usize = 110;
/// Offset of the file's size and of the name's length in it, eight hexadecimal digits each.
const SIZE: usize = 54;
const NAME: usize = 94;
/// The name of the entry that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";
/// Longest name (Linux, `PATH_MAX`).
const LONGEST_NAME: usize = 4096;
/// Most bytes of tables that are read of one archive.
const LARGEST_TABLE: u64 = 64 << 10;
/// Most bytes of an unpacked archive: an initramfs has to fit into memory.
const MOST: u64 = 2 << 30;
/// Most entries of an archive, and most bytes of the names of modules that are recorded.
const MOST_ENTRIES: u64 = 1_000_000;
const MOST_NAMES: u64 = 4 << 20;
/// Memory that a decoder of xz or LZMA may ask for, in bytes: `xz -9` makes streams that need 65
/// MiB.
const XZ_MEMORY: u64 = 128 << 20;

/// Programs that an initramfs needs to find a root that is not directly on a disk.
const TOOLS: [&str; 9] = [
    "btrfs",
    "cryptsetup",
    "crypttab",
    "dmsetup",
    "iscsid",
    "lvm",
    "mdadm",
    "systemd-cryptsetup",
    "zpool",
];

/// The parts of an initramfs that matter for booting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::convert::native) struct Contents {
    /// Names of the kernel modules, with `_` for `-`.
    pub(in crate::convert::native) modules: BTreeSet<String>,
    /// Those of [`TOOLS`] that the initramfs contains and that are not empty.
    pub(in crate::convert::native) tools: BTreeSet<String>,
    /// The kernel's command line, where a unified kernel image contains both.
    pub(in crate::convert::native) command_line: String,
    /// The initramfs' copies of crypttab(5).
    pub(in crate::convert::native) crypttab: String,
}

impl Contents {
    fn note(&mut self, path: &[u8], size: u64, left: &mut Left) -> Result<(), Exhausted> {
        left.entries.draw(1)?;
        if let Some(module) = module(path).filter(|module| !self.modules.contains(module)) {
            left.names.draw(module.len() as u64)?;
            self.modules.insert(module);
        }
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let tool = TOOLS.iter().find(|tool| tool.as_bytes() == name).filter(|_| size > 0);
        self.tools.extend(tool.map(|tool| (*tool).to_owned()));
        Ok(())
    }
}

/// How much of the limits an initramfs has left.
struct Left {
    entries: Budget,
    names: Budget,
}

/// Reads an initramfs. None when its compression is not supported.
pub(super) fn contents(file: impl Read + 'static, going: &Going) -> io::Result<Option<Contents>> {
    let mut found = Contents::default();
    let mut left = Left {
        entries: Budget::new(MOST_ENTRIES, "entries"),
        names: Budget::new(MOST_NAMES, "bytes of names of modules"),
    };
    let mut reader = BufReader::new(file);
    loop {
        skip_zeros(&mut reader)?;
        let start = reader.fill_buf()?;
        if start.is_empty() {
            return Ok(Some(found));
        }
        if start.starts_with(b"0707") {
            read_archive(&mut reader, &mut found, &mut left)?;
            continue;
        }
        let Some(unpacked) = unpack(reader)? else { return Ok(None) };
        let mut unpacked = BufReader::new(Watched::new(unpacked, going).take(MOST));
        loop {
            skip_zeros(&mut unpacked)?;
            if unpacked.fill_buf()?.is_empty() {
                return Ok(Some(found));
            }
            read_archive(&mut unpacked, &mut found, &mut left)?;
        }
    }
}

/// Chooses the decompressor by the magic numbers that the kernel uses (`lib/decompress.c`).
fn unpack(mut reader: BufReader<impl Read + 'static>) -> io::Result<Option<Box<dyn Read>>> {
    let start = reader.fill_buf()?;
    let gzip = start.starts_with(&[0x1f, 0x8b]);
    let zstd = start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    let xz = start.starts_with(&[0xfd, b'7', b'z', b'X', b'Z']);
    let lzma = start.starts_with(&[0x5d, 0x00, 0x00]);
    // The legacy frame, which the kernel accepts, and today's frame.
    let lz4 = start.starts_with(&[0x02, 0x21, 0x4c, 0x18])
        || start.starts_with(&[0x04, 0x22, 0x4d, 0x18]);
    let bzip2 = start.starts_with(b"BZh");
    let lzop = start.starts_with(&lzo::MAGIC);
    Ok(if gzip {
        Some(Box::new(flate2::bufread::MultiGzDecoder::new(reader)))
    } else if zstd {
        Some(Box::new(zstd::stream::read::Decoder::with_buffer(reader)?))
    } else if xz {
        let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)?;
        Some(Box::new(XzDecoder::new_stream(reader, stream)))
    } else if lzma {
        let stream = Stream::new_lzma_decoder(XZ_MEMORY)?;
        Some(Box::new(XzDecoder::new_stream(reader, stream)))
    } else if lz4 {
        Some(Box::new(lz4_flex::frame::FrameDecoder::new(reader)))
    } else if bzip2 {
        Some(Box::new(bzip2::bufread::MultiBzDecoder::new(reader)))
    } else if lzop {
        Some(Box::new(lzo::Lzop::new(reader)?))
    } else {
        None
    })
}

/// Archives begin at multiples of four; the bytes between them are zero.
fn skip_zeros(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
        if zeros == 0 {
            return Ok(());
        }
        reader.consume(zeros);
    }
}

fn read_archive(
    reader: &mut impl BufRead,
    found: &mut Contents,
    left: &mut Left,
) -> io::Result<()> {
    loop {
        let mut header = [0; HEADER];
        reader.read_exact(&mut header)?;
        if !header.starts_with(b"07070") {
            return Err(damaged("not a cpio archive"));
        }
        let (size, length) = (field(&header, SIZE)?, field(&header, NAME)? as usize);
        if length == 0 || length > LONGEST_NAME {
            return Err(damaged("a name of no possible length"));
        }
        let mut name = vec![0; length];
        reader.read_exact(&mut name)?;
        name.pop();
        skip(reader, padding((HEADER + length) as u64))?;
        if name == TRAILER {
            return Ok(());
        }
        found.note(&name, size, left)?;
        let mut rest = size + padding(size);
        if is_crypttab(&name) && found.crypttab.len() as u64 + size <= LARGEST_TABLE {
            let mut text = Vec::new();
            rest -= reader.by_ref().take(size).read_to_end(&mut text)? as u64;
            found.crypttab.push_str(&String::from_utf8_lossy(&text));
        }
        skip(reader, rest)?;
    }
}

/// Whether a path is a copy of crypttab(5), or the file that initramfs-tools of Debian before 10
/// makes of it.
fn is_crypttab(path: &[u8]) -> bool {
    path.ends_with(b"/crypttab") || path.ends_with(b"conf.d/cryptroot")
}

fn field(header: &[u8], at: usize) -> io::Result<u64> {
    let digits = std::str::from_utf8(&header[at..at + 8]).map_err(|_| damaged("no number"))?;
    u64::from_str_radix(digits, 16).map_err(|_| damaged("no number"))
}

/// Bytes up to the next multiple of four.
fn padding(length: u64) -> u64 {
    length.next_multiple_of(4) - length
}

fn skip(reader: &mut impl BufRead, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
    if skipped == length { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// Name of the module in a file of that path: `…/virtio_blk.ko.xz`.
pub(super) fn module(path: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(path).ok()?;
    let (name, _) = path.rsplit('/').next()?.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use super::*;

    /// A cpio archive of small files.
    pub(in crate::convert::native) fn archive(names: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for name in names.iter().copied().chain(["TRAILER!!!"]) {
            let content = if name == "TRAILER!!!" { "" } else { "data!" };
            let zero = "00000000";
            let header = format!(
                "070701{zero}{zero}{zero}{zero}{zero}{zero}{:08x}{zero}{zero}{zero}{zero}{:08x}{zero}{name}\0",
                content.len(),
                name.len() + 1
            );
            bytes.extend(header.as_bytes());
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend(content.as_bytes());
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn found(bytes: &[u8]) -> io::Result<Option<BTreeSet<String>>> {
        contents(io::Cursor::new(bytes.to_vec()), &Going::default())
            .map(|found| found.map(|found| found.modules))
    }

    /// The output of `lz4 -l`: a magic number, then blocks with their lengths in front.
    fn lz4_legacy(bytes: &[u8]) -> Vec<u8> {
        let block = lz4_flex::block::compress(bytes);
        let length = u32::try_from(block.len()).expect("small").to_le_bytes();
        [&[0x02, 0x21, 0x4c, 0x18], &length[..], &block].concat()
    }

    #[test]
    fn modules_are_found_behind_microcode_and_compression() {
        let mut early = archive(&["kernel/x86/microcode/AuthenticAMD.bin"]);
        early.resize(early.len().next_multiple_of(512), 0);
        let main = archive(&[
            "usr/lib/modules/6.1/kernel/drivers/block/virtio_blk.ko",
            "b/virtio-pci.ko.xz",
        ]);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&main).expect("packed");
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&main).expect("packed");
        let forms = [
            main.clone(),
            gzip.finish().expect("packed"),
            zstd::bulk::compress(&main, 1).expect("packed"),
            lz4_legacy(&main),
            bzip2.finish().expect("packed"),
            lzo::tests::packed(&main),
        ];
        for form in forms {
            let all = found(&[early.clone(), form].concat()).expect("read").expect("known");
            assert_eq!(all.iter().collect::<Vec<_>>(), ["virtio_blk", "virtio_pci"]);
        }
    }

    #[test]
    fn tools_that_find_a_root_are_seen_unless_they_are_empty() {
        let bytes = archive(&["usr/sbin/cryptsetup", "sbin/lvm", "bin/sh"]);
        let found =
            contents(io::Cursor::new(bytes), &Going::default()).expect("read").expect("known");
        assert_eq!(found.tools.iter().collect::<Vec<_>>(), ["cryptsetup", "lvm"]);
    }

    #[test]
    fn copies_of_crypttab_without_end_are_left_out() {
        let bytes = archive(&["a/crypttab"; 20_000]);
        let found =
            contents(io::Cursor::new(bytes), &Going::default()).expect("read").expect("known");
        assert!(found.crypttab.len() as u64 <= LARGEST_TABLE, "{}", found.crypttab.len());
    }

    #[test]
    fn copies_of_crypttab_are_read() {
        let bytes = archive(&["cryptroot/crypttab", "sbin/lvm", "conf/conf.d/cryptroot", "bin/sh"]);
        let found =
            contents(io::Cursor::new(bytes), &Going::default()).expect("read").expect("known");
        assert_eq!(found.crypttab, "data!data!");
        assert_eq!(found.tools.iter().collect::<Vec<_>>(), ["crypttab", "lvm"]);
    }

    #[test]
    fn archives_that_would_fill_all_memory_are_refused() {
        let long = |n: u32| format!("{}{n}.ko", "x".repeat(4000));
        let names: Vec<_> = (0..2000).map(long).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let bomb = zstd::bulk::compress(&archive(&names), 1).expect("packed");
        assert!(bomb.len() < 200_000, "{}", bomb.len());
        let error = found(&bomb).expect_err("too long").to_string();
        assert!(error.contains("bytes of names of modules"), "{error}");
        // LZMA alone: properties, a dictionary of 1.5 GiB, an unknown length.
        let greedy = [&[0x5d][..], &(1536_u32 << 20).to_le_bytes(), &[0xff; 8], &[0; 64]].concat();
        assert!(found(&greedy).is_err());
    }

    #[test]
    fn an_archive_is_left_when_the_run_is_cancelled() {
        let cancel = tokio_util::sync::CancellationToken::new();
        cancel.cancel();
        let bytes = zstd::bulk::compress(&archive(&["a.ko"]), 1).expect("packed");
        let end = contents(io::Cursor::new(bytes), &Going::from(&cancel));
        assert!(crate::budget::is_stop(&end.expect_err("cancelled")));
    }

    #[test]
    fn nonsense_is_no_archive() {
        assert_eq!(found(b"LZO or what").expect("read"), None);
        assert!(found(b"070701 and then nothing").is_err());
        let cut = archive(&["a.ko"]);
        assert!(found(&cut[..120]).is_err());
    }
}
