//! The lzop format, which Debian's initramfs may have (`COMPRESS=lzop`) and the kernel unpacks
//! (Linux, `lib/decompress_unlzo.c` and `Documentation/staging/lzo.rst`). Implemented here, because
//! the decoders for Rust panic on corrupt streams.

use std::io::{self, BufRead, Cursor, ErrorKind, Read};

/// Magic number of an lzop file.
pub(super) const MAGIC: [u8; 9] = [0x89, b'L', b'Z', b'O', 0x00, 0x0d, 0x0a, 0x1a, 0x0a];
/// Largest block, packed or unpacked (lzop's `MAX_BLOCK_SIZE`), in bytes.
const LARGEST: u32 = 64 << 20;
/// Flags of the header: checksums of unpacked and of packed blocks, and an extra field.
const SUMS_UNPACKED: [u32; 2] = [0x1, 0x100];
const SUMS_PACKED: [u32; 2] = [0x2, 0x200];
const EXTRA: u32 = 0x40;
const FILTER: u32 = 0x800;
/// The first version whose header contains the version needed to extract.
const WITH_LEVEL: u16 = 0x0940;

/// Unpacks an lzop stream, block by block. Checksums are not verified: damage shows in the archive
/// inside.
pub(super) struct Lzop<R> {
    reader: R,
    flags: u32,
    block: Cursor<Vec<u8>>,
    is_over: bool,
}

impl<R: BufRead> Lzop<R> {
    /// Reads the header.
    pub(super) fn new(mut reader: R) -> io::Result<Self> {
        let mut magic = [0; MAGIC.len()];
        reader.read_exact(&mut magic)?;
        let version = u16::from_be_bytes(bytes(&mut reader)?);
        // The library's version.
        bytes::<2>(&mut reader)?;
        if version >= WITH_LEVEL {
            bytes::<2>(&mut reader)?;
        }
        // The method.
        bytes::<1>(&mut reader)?;
        if version >= WITH_LEVEL {
            // The level.
            bytes::<1>(&mut reader)?;
        }
        let flags = u32::from_be_bytes(bytes(&mut reader)?);
        if flags & FILTER != 0 {
            bytes::<4>(&mut reader)?;
        }
        // Mode and time.
        bytes::<8>(&mut reader)?;
        if version >= WITH_LEVEL {
            bytes::<4>(&mut reader)?;
        }
        let [name] = bytes::<1>(&mut reader)?;
        take(&mut reader, u32::from(name) + 4)?;
        if flags & EXTRA != 0 {
            let length = u32::from_be_bytes(bytes(&mut reader)?);
            take(&mut reader, length.saturating_add(4))?;
        }
        Ok(Self { reader, flags, block: Cursor::default(), is_over: false })
    }

    /// Unpacks the next block; none after the last one.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let unpacked = u32::from_be_bytes(bytes(&mut self.reader)?);
        if unpacked == 0 {
            return Ok(None);
        }
        let packed = u32::from_be_bytes(bytes(&mut self.reader)?);
        if unpacked > LARGEST || packed > unpacked {
            return Err(damaged());
        }
        let sums = |flags: [u32; 2]| flags.iter().filter(|flag| self.flags & **flag != 0).count();
        let mut count = sums(SUMS_UNPACKED);
        if packed < unpacked {
            count += sums(SUMS_PACKED);
        }
        for _ in 0..count {
            bytes::<4>(&mut self.reader)?;
        }
        let block = take(&mut self.reader, packed)?;
        // A block that compression does not shrink is stored uncompressed.
        if packed == unpacked {
            Ok(Some(block))
        } else {
            unpack(&block, unpacked as usize).map(Some)
        }
    }
}

impl<R: BufRead> Read for Lzop<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.block.read(to)?;
            if read > 0 || to.is_empty() || self.is_over {
                return Ok(read);
            }
            match self.next()? {
                Some(block) => self.block = Cursor::new(block),
                None => self.is_over = true,
            }
        }
    }
}

fn bytes<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn take(reader: &mut impl Read, length: u32) -> io::Result<Vec<u8>> {
    if length > LARGEST {
        return Err(damaged());
    }
    let mut block = Vec::new();
    reader.take(u64::from(length)).read_to_end(&mut block)?;
    if block.len() == length as usize { Ok(block) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

fn damaged() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "a damaged block of lzop")
}

/// A block of LZO1X.
struct LzoBlock<'a> {
    packed: &'a [u8],
    unpacked: Vec<u8>,
    most: usize,
}

impl LzoBlock<'_> {
    fn byte(&mut self) -> io::Result<usize> {
        let (first, rest) = self.packed.split_first().ok_or_else(damaged)?;
        self.packed = rest;
        Ok(usize::from(*first))
    }

    /// A length whose `short` bits were zero: each zero byte counts 255.
    fn length(&mut self, base: usize) -> io::Result<usize> {
        let mut length = base;
        loop {
            match self.byte()? {
                0 => length += 255,
                last => return Ok(length + last),
            }
            if length > self.most {
                return Err(damaged());
            }
        }
    }

    fn literals(&mut self, count: usize) -> io::Result<()> {
        let (literals, rest) = self.packed.split_at_checked(count).ok_or_else(damaged)?;
        if self.unpacked.len() + count > self.most {
            return Err(damaged());
        }
        self.unpacked.extend_from_slice(literals);
        self.packed = rest;
        Ok(())
    }

    /// Copies `count` bytes from `distance` bytes back; source and target may overlap.
    fn copy(&mut self, distance: usize, count: usize) -> io::Result<()> {
        let from = self.unpacked.len().checked_sub(distance).ok_or_else(damaged)?;
        if self.unpacked.len() + count > self.most {
            return Err(damaged());
        }
        for at in from..from + count {
            self.unpacked.push(self.unpacked[at]);
        }
        Ok(())
    }
}

/// Unpacks LZO1X; `state` is the number of literals of the instruction before, 4 standing for more.
fn unpack(packed: &[u8], length: usize) -> io::Result<Vec<u8>> {
    let mut block = LzoBlock { packed, unpacked: Vec::with_capacity(length), most: length };
    let mut state = 0;
    if let Some(first @ 18..) = packed.first().map(|byte| usize::from(*byte)) {
        block.byte()?;
        block.literals(first - 17)?;
        state = (first - 17).min(4);
    }
    loop {
        let code = block.byte()?;
        let (distance, count, next) = match code {
            64.. => {
                let distance = (block.byte()? << 3) + ((code >> 2) & 7) + 1;
                (distance, (code >> 5) + 1, code & 3)
            }
            32.. => {
                let count = if code & 31 == 0 { block.length(31)? } else { code & 31 } + 2;
                let word = block.byte()? + (block.byte()? << 8);
                ((word >> 2) + 1, count, word & 3)
            }
            16.. => {
                let count = if code & 7 == 0 { block.length(7)? } else { code & 7 } + 2;
                let word = block.byte()? + (block.byte()? << 8);
                let distance = ((code & 8) << 11) + (word >> 2);
                if distance == 0 {
                    return Ok(block.unpacked);
                }
                (distance + 16384, count, word & 3)
            }
            _ if state == 0 => {
                let count = if code == 0 { block.length(15)? } else { code } + 3;
                block.literals(count)?;
                state = 4;
                continue;
            }
            _ => {
                let (base, count) = if state == 4 { (2049, 3) } else { (1, 2) };
                ((block.byte()? << 2) + (code >> 2) + base, count, code & 3)
            }
        };
        block.copy(distance, count)?;
        block.literals(next)?;
        state = next;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An lzop file with these bytes, stored without compression.
    pub(in crate::convert::native::fix) fn packed(content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).expect("small").to_be_bytes();
        let header = [&MAGIC[..], &[0x10, 0x40, 0x20, 0xa0, 0x09, 0x40, 1, 5], &[0; 17], &[0; 4]];
        [&header.concat(), &length[..], &length, content, &[0; 4]].concat()
    }

    /// The output of `lzop -c` for [`content`].
    const REAL: &str = "\
        894c5a4f000d0a1a0a104020a0094001050300000d000000006b085506000000000025d6023e000009260000\
        00f6f61a977a046c696e6520300a990031b90032b90033b90034b90035b90036b90037b90038b90039b90031\
        f808dd0831c10931c50931c90931cd0931d10931d50931d90931dd0932dd0932dd0932dd0932dd0932dd0932\
        dd0932dd0932dd0932dd0932dd0933dd0933dd0933dd0933dd0933dd0933dd0933dd0933dd0933dd0933dd09\
        34dd0934dd0934dd0934dd0934dd0934dd0934dd0934dd0934dd0934dd0935dd0935dd0935dd0935dd0935dd\
        0935dd0935dd0935dd0935dc090135390a782000009c00002000009ff00a80e9c0b9dcb8d8b8d4b8f0b8ace6\
        c8b8c4b8c0b8dcc120005c3c1d0c696e652035380a6c696e652035390a11000000000000";

    fn content() -> String {
        let lines = || (0..60).map(|n| format!("line {n}\n")).collect::<String>();
        let long = format!("{}\n", "x".repeat(700));
        [lines(), long.repeat(2), lines()].concat()
    }

    fn real() -> Vec<u8> {
        let digits = |at| u8::from_str_radix(&REAL[at..at + 2], 16).expect("digits");
        (0..REAL.len()).step_by(2).map(digits).collect()
    }

    fn unpacked(bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        Lzop::new(bytes)?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn a_file_of_lzop_is_unpacked() {
        assert_eq!(unpacked(&real()).expect("unpacked"), content());
        assert_eq!(unpacked(&packed(b"as it is")).expect("unpacked"), "as it is");
    }

    #[test]
    fn a_damaged_one_is_an_error_and_no_crash() {
        let good = real();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            // Whether the damage is detected or not.
            let _ = unpacked(&bad);
            let _ = unpacked(&good[..at]);
        }
    }
}
