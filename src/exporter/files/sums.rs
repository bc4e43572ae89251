//! Checksums of an OVF package: its `.mf` file (DSP0243 2.1.1, section 6.4). The checksums are
//! enforced strictly, and spellings are parsed leniently.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read};
use std::sync::{Arc, LazyLock, mpsc};

use percent_encoding::percent_decode_str;
use regex::Regex;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::store::plain;
use crate::image::AlignedBuffer;
use crate::model::Sha256Digest;

/// `SHA256(disk.vmdk)= 0123…`, with or without spaces, in any case; OpenSSL 3 writes `SHA2-256`.
static LINE: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?i)^SHA(?:2?[-_ ])?(1|256|384|512)\s*\(\s*(.+?)\s*\)\s*=\s*([0-9a-f]+)$";
    Regex::new(pattern).expect("a pattern")
});
/// `0123…  disk.vmdk`, as `sha256sum` writes it: the length of the checksum gives the algorithm.
static SUM_FIRST: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)^([0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128})\s+\*?(.+)$")
        .expect("a pattern")
});

/// Hash algorithm of a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    /// Name of the algorithm in a `.mf` file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha384 => "SHA384",
            Self::Sha512 => "SHA512",
        }
    }
}

/// A checksum with its algorithm, in lower-case hexadecimal.
pub(super) type FileSum = (Algorithm, String);

/// The checksums in a package. A file that is named several times has several checksums, all of
/// which are verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Checksums by the names as written.
    told: HashMap<String, Vec<FileSum>>,
    /// Checksums by the percent-decoded names.
    decoded: HashMap<String, Vec<FileSum>>,
}

impl Sums {
    /// Reads a `.mf` file, which may be empty.
    ///
    /// # Errors
    /// The first invalid line.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        let mut sums = Self::default();
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let found = sum(line).ok_or_else(|| line.chars().take(80).collect::<String>())?;
            let (name, sum) = found;
            let name = plain(&name.replace('\\', "/"));
            let decoded = percent_decode_str(&name).decode_utf8_lossy().into_owned();
            sums.decoded.entry(decoded).or_default().push(sum.clone());
            sums.told.entry(name).or_default().push(sum);
        }
        Ok(sums)
    }

    /// Adds the checksums of another file, for names that this file lacks.
    pub(super) fn add(&mut self, other: Self) {
        for (own, other) in [(&mut self.told, other.told), (&mut self.decoded, other.decoded)] {
            for (name, sums) in other {
                own.entry(name).or_insert(sums);
            }
        }
    }

    /// Adds all checksums of another file.
    pub(super) fn join(&mut self, other: Self) {
        for (own, other) in [(&mut self.told, other.told), (&mut self.decoded, other.decoded)] {
            for (name, mut sums) in other {
                own.entry(name).or_default().append(&mut sums);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// The expected checksums of a file. The file's name is matched without the package's directory
    /// `prefix`, then with it, then in any case.
    pub(super) fn of(&self, prefix: &str, name: &str) -> &[FileSum] {
        let short = name.strip_prefix(prefix).unwrap_or(name);
        let known = [(&self.told, short), (&self.told, name), (&self.decoded, short)];
        let found = known.into_iter().find_map(|(sums, name)| sums.get(name)).or_else(|| {
            let lower = short.to_lowercase();
            let alike = self.told.iter().find(|(told, _)| told.to_lowercase() == lower);
            alike.map(|(_, sums)| sums)
        });
        found.map_or(&[], Vec::as_slice)
    }
}

/// Parses a line in either of the two spellings into a file name and its checksum.
fn sum(line: &str) -> Option<(String, FileSum)> {
    let (length, name, hex) = match LINE.captures(line) {
        Some(found) => (found[1].to_owned(), found[2].to_owned(), found[3].to_owned()),
        None => {
            let found = SUM_FIRST.captures(line)?;
            let length = if found[1].len() == 40 { 1 } else { found[1].len() * 4 };
            (length.to_string(), found[2].to_owned(), found[1].to_owned())
        }
    };
    let algorithm = match length.as_str() {
        "1" => Algorithm::Sha1,
        "256" => Algorithm::Sha256,
        "384" => Algorithm::Sha384,
        _ => Algorithm::Sha512,
    };
    Some((name, (algorithm, hex.to_ascii_lowercase())))
}

/// Digests that are computed in one pass. SHA-256 is always computed, since the export records it.
#[derive(Debug, Clone)]
pub(super) struct Digests {
    sha256: Sha256,
    sha1: Option<sha1::Sha1>,
    sha384: Option<Sha384>,
    sha512: Option<Sha512>,
}

impl Digests {
    /// SHA-256, which is recorded, and the algorithms of `sums`.
    pub(super) fn with(sums: &[FileSum]) -> Self {
        let has = |wanted| sums.iter().any(|(algorithm, _)| *algorithm == wanted);
        Self {
            sha256: Sha256::new(),
            sha1: has(Algorithm::Sha1).then(sha1::Sha1::new),
            sha384: has(Algorithm::Sha384).then(Sha384::new),
            sha512: has(Algorithm::Sha512).then(Sha512::new),
        }
    }

    /// The algorithms of the standard, for files whose checksums follow them.
    pub(super) fn all() -> Self {
        let sha1 = Some(sha1::Sha1::new());
        Self { sha256: Sha256::new(), sha1, sha384: None, sha512: Some(Sha512::new()) }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(sum) = &mut self.sha1 {
            sum.update(bytes);
        }
        if let Some(sum) = &mut self.sha384 {
            sum.update(bytes);
        }
        if let Some(sum) = &mut self.sha512 {
            sum.update(bytes);
        }
    }

    /// The SHA-256 checksum, which is recorded.
    pub(super) fn recorded(&self) -> Sha256Digest {
        Sha256Digest(self.sha256.clone().finalize().into())
    }

    /// The checksum in lower-case hexadecimal; `None` if it was not computed.
    pub(super) fn hex(&self, algorithm: Algorithm) -> Option<String> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match algorithm {
            Algorithm::Sha1 => self.sha1.clone().map(|sum| hex(&sum.finalize())),
            Algorithm::Sha256 => Some(self.recorded().to_string()),
            Algorithm::Sha384 => self.sha384.clone().map(|sum| hex(&sum.finalize())),
            Algorithm::Sha512 => self.sha512.clone().map(|sum| hex(&sum.finalize())),
        }
    }
}

/// Queued blocks for each of the two threads.
const UNDER_WAY: usize = 2;
/// Block size in bytes.
const BLOCK: usize = 2 << 20;

/// A block, and the number of bytes in it.
type SumBlock = (Arc<AlignedBuffer>, usize);

/// Reads `from` to its end. Two more threads process every block: one computes the digests, which
/// takes as long as everything else, the other calls `each`.
///
/// # Errors
/// Errors of `from` or `each`.
pub(super) fn summed(
    from: &mut dyn Read,
    mut digests: Digests,
    mut each: impl FnMut(&[u8]) -> io::Result<()> + Send,
) -> io::Result<Digests> {
    std::thread::scope(|scope| {
        let (to_sums, for_sums) = mpsc::sync_channel::<SumBlock>(UNDER_WAY);
        let (to_each, for_each) = mpsc::sync_channel::<SumBlock>(UNDER_WAY);
        let summing = scope.spawn(move || {
            for (block, length) in for_sums {
                digests.update(&block[..length]);
            }
            digests
        });
        let taking = scope.spawn(move || -> io::Result<()> {
            for (block, length) in for_each {
                each(&block[..length])?;
            }
            Ok(())
        });
        let read = read_all(from, |block| {
            to_sums.send(block.clone()).is_ok() && to_each.send(block).is_ok()
        });
        drop((to_sums, to_each));
        let panicked = |_| io::Error::other("a thread broke off");
        let summed = summing.join().map_err(panicked);
        taking.join().map_err(panicked)??;
        read?;
        summed
    })
}

/// Reads `from` to its end, or until `take` returns false.
fn read_all(from: &mut dyn Read, take: impl Fn(SumBlock) -> bool) -> io::Result<()> {
    let new = || Arc::new(AlignedBuffer::new(BLOCK));
    // Two more blocks than can be in use, so that one is nearly always free.
    let mut blocks: Vec<_> = (0..UNDER_WAY + 3).map(|_| new()).collect();
    for turn in 0.. {
        let slot = turn % blocks.len();
        if Arc::get_mut(&mut blocks[slot]).is_none() {
            blocks[slot] = new();
        }
        let Some(block) = Arc::get_mut(&mut blocks[slot]) else { continue };
        let length = fill(from, block)?;
        if length == 0 || !take((Arc::clone(&blocks[slot]), length)) {
            break;
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the input ends.
fn fill(from: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The only checksum of a file.
    fn only<'a>(sums: &'a Sums, name: &str) -> Option<(Algorithm, &'a str)> {
        let of = sums.of("", name);
        assert!(of.len() < 2, "{name}");
        of.first().map(|(algorithm, sum)| (*algorithm, sum.as_str()))
    }

    #[test]
    fn sums_are_read_in_every_spelling_in_use() {
        let text = "\u{feff}SHA1(a.ovf)= 0A\r\nSHA256 (my disk(1).vmdk) = 0b\r\n# of today\n\
                    sha512(c.vmdk)=0c\n\nSHA-256( ./d.vmdk ) =0d\nSHA1(my%20disk.vmdk)= 0e\n\
                    SHA2-256(e.vmdk)= 0f\nSHA2-512(f.vmdk)= 10\nSHA384(g.vmdk)= 11\n\
                    SHA-1(sub\\h.vmdk)= 12";
        let sums = Sums::read(text).expect("it is read");
        for (name, algorithm, sum) in [
            ("a.ovf", Algorithm::Sha1, "0a"),
            ("my disk(1).vmdk", Algorithm::Sha256, "0b"),
            ("c.vmdk", Algorithm::Sha512, "0c"),
            ("d.vmdk", Algorithm::Sha256, "0d"),
            ("my disk.vmdk", Algorithm::Sha1, "0e"),
            ("my%20disk.vmdk", Algorithm::Sha1, "0e"),
            ("e.vmdk", Algorithm::Sha256, "0f"),
            ("f.vmdk", Algorithm::Sha512, "10"),
            ("g.vmdk", Algorithm::Sha384, "11"),
            ("sub/h.vmdk", Algorithm::Sha1, "12"),
            ("E.VMDK", Algorithm::Sha256, "0f"),
        ] {
            assert_eq!(only(&sums, name), Some((algorithm, sum)), "{name}");
        }
        assert_eq!(only(&sums, "none.vmdk"), None);
        for line in ["MD5(a)= 00", "SHA2-512/256(a)= 00", "SHA3-256(a)= 00", "nonsense", "0a  a"] {
            assert_eq!(Sums::read(line), Err(line.to_owned()));
        }
    }

    #[test]
    fn sums_stand_before_names_as_in_the_output_of_sha256sum() {
        let text = format!(
            "{}  a.vmdk\n{} *b.vmdk\n{} c d.vmdk\n",
            "A1".repeat(32),
            "b2".repeat(20),
            "c3".repeat(64)
        );
        let sums = Sums::read(&text).expect("it is read");
        for (name, algorithm, byte, count) in [
            ("a.vmdk", Algorithm::Sha256, "a1", 32),
            ("b.vmdk", Algorithm::Sha1, "b2", 20),
            ("c d.vmdk", Algorithm::Sha512, "c3", 64),
        ] {
            assert_eq!(only(&sums, name), Some((algorithm, byte.repeat(count).as_str())), "{name}");
        }
    }

    #[test]
    fn sums_are_those_of_everybody() {
        let mut digests = Digests::all();
        digests.update(b"a");
        digests.update(b"bc");
        let short = |algorithm| digests.hex(algorithm).map(|hex| hex[..8].to_owned());
        assert_eq!(short(Algorithm::Sha1).as_deref(), Some("a9993e36"));
        assert_eq!(short(Algorithm::Sha256).as_deref(), Some("ba7816bf"));
        assert_eq!(short(Algorithm::Sha512).as_deref(), Some("ddaf35a1"));
    }
}
