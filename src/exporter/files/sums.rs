//! The sums of an OVF package: its `.mf` file (DSP0243 2.1.1, section 6.4), as strictly as its
//! meaning asks and as leniently as its spellings do.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read};
use std::sync::{Arc, LazyLock, mpsc};

use percent_encoding::percent_decode_str;
use regex::Regex;
use sha2::{Digest, Sha256, Sha512};

use super::store::plain;
use crate::image::AlignedBuffer;
use crate::model::Sha256Digest;

/// `SHA256(disk.vmdk)= 0123…`, with or without spaces, in either case.
static LINE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)^SHA-?(1|256|512)\s*\(\s*(.+?)\s*\)\s*=\s*([0-9a-f]+)$").expect("a pattern")
});

/// What sums are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

impl Algorithm {
    /// As the file writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }
}

/// The sums that a package gives of its files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sums(HashMap<String, (Algorithm, String)>);

impl Sums {
    /// Reads a `.mf` file; an empty one says nothing.
    ///
    /// # Errors
    /// The line that makes no sense.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        let mut sums = HashMap::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let wrong = || line.chars().take(80).collect::<String>();
            let found = LINE.captures(line).ok_or_else(wrong)?;
            let algorithm = match &found[1] {
                "1" => Algorithm::Sha1,
                "256" => Algorithm::Sha256,
                _ => Algorithm::Sha512,
            };
            let sum = (algorithm, found[3].to_ascii_lowercase());
            let name = plain(&found[2]);
            // As a reference would write it.
            let decoded = percent_decode_str(&name).decode_utf8_lossy().into_owned();
            sums.entry(decoded).or_insert_with(|| sum.clone());
            sums.insert(name, sum);
        }
        Ok(Self(sums))
    }

    /// Whether nothing is said.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the sum of a file should be: its name stands there without the folder `prefix` of the
    /// package, or with it.
    pub(super) fn of(&self, prefix: &str, name: &str) -> Option<(Algorithm, &str)> {
        let short = name.strip_prefix(prefix).unwrap_or(name);
        let found = self.0.get(short).or_else(|| self.0.get(name));
        found.map(|(algorithm, sum)| (*algorithm, sum.as_str()))
    }
}

/// Sums of what passes by. SHA-256 is made in any case: it is the one that we record.
#[derive(Debug, Clone)]
pub(super) struct Digests {
    sha256: Sha256,
    sha1: Option<sha1::Sha1>,
    sha512: Option<Sha512>,
}

impl Digests {
    /// The sum that is recorded, and the one to compare with.
    pub(super) fn with(algorithm: Option<Algorithm>) -> Self {
        Self {
            sha256: Sha256::new(),
            sha1: (algorithm == Some(Algorithm::Sha1)).then(sha1::Sha1::new),
            sha512: (algorithm == Some(Algorithm::Sha512)).then(Sha512::new),
        }
    }

    /// All of them, for files whose sums come after them.
    pub(super) fn all() -> Self {
        Self { sha256: Sha256::new(), sha1: Some(sha1::Sha1::new()), sha512: Some(Sha512::new()) }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(sum) = &mut self.sha1 {
            sum.update(bytes);
        }
        if let Some(sum) = &mut self.sha512 {
            sum.update(bytes);
        }
    }

    /// The one that is recorded.
    pub(super) fn recorded(&self) -> Sha256Digest {
        Sha256Digest(self.sha256.clone().finalize().into())
    }

    /// The sum in lower-case hexadecimal; none where it was not made.
    pub(super) fn hex(&self, algorithm: Algorithm) -> Option<String> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match algorithm {
            Algorithm::Sha1 => self.sha1.clone().map(|sum| hex(&sum.finalize())),
            Algorithm::Sha256 => Some(self.recorded().to_string()),
            Algorithm::Sha512 => self.sha512.clone().map(|sum| hex(&sum.finalize())),
        }
    }
}

/// Blocks on their way to each of the two that take them.
const UNDER_WAY: usize = 2;
/// Bytes of a block.
const BLOCK: usize = 2 << 20;

/// A block, and how much of it was read.
type Block = (Arc<AlignedBuffer>, usize);

/// Reads `from` to its end. Two threads beside it take every block: one makes the sums, which takes as
/// long as all the rest, the other does `each`.
///
/// # Errors
/// What `from` or `each` says.
pub(super) fn summed(
    from: &mut dyn Read,
    mut digests: Digests,
    mut each: impl FnMut(&[u8]) -> io::Result<()> + Send,
) -> io::Result<Digests> {
    std::thread::scope(|scope| {
        let (to_sums, for_sums) = mpsc::sync_channel::<Block>(UNDER_WAY);
        let (to_each, for_each) = mpsc::sync_channel::<Block>(UNDER_WAY);
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

/// Reads `from` to its end, or until `take` wants no more.
fn read_all(from: &mut dyn Read, take: impl Fn(Block) -> bool) -> io::Result<()> {
    let new = || Arc::new(AlignedBuffer::new(BLOCK));
    // Two more than can be elsewhere, so that there is nearly always one to read into.
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

/// Reads until the buffer is full or nothing comes any more.
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

    #[test]
    fn sums_are_read_in_every_spelling_in_use() {
        let text = "\u{feff}SHA1(a.ovf)= 0A\r\nSHA256 (my disk(1).vmdk) = 0b\r\n\
                    sha512(c.vmdk)=0c\n\nSHA-256( ./d.vmdk ) =0d\nSHA1(my%20disk.vmdk)= 0e";
        let sums = Sums::read(text).expect("it is read");
        assert_eq!(sums.of("", "a.ovf"), Some((Algorithm::Sha1, "0a")));
        assert_eq!(sums.of("", "my disk(1).vmdk"), Some((Algorithm::Sha256, "0b")));
        assert_eq!(sums.of("", "c.vmdk"), Some((Algorithm::Sha512, "0c")));
        assert_eq!(sums.of("", "d.vmdk"), Some((Algorithm::Sha256, "0d")));
        assert_eq!(sums.of("", "my disk.vmdk"), Some((Algorithm::Sha1, "0e")));
        assert_eq!(sums.of("", "my%20disk.vmdk"), Some((Algorithm::Sha1, "0e")));
        assert_eq!(sums.of("", "e.vmdk"), None);
        assert_eq!(Sums::read("MD5(a)= 00"), Err("MD5(a)= 00".to_owned()));
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
