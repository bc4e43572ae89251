//! This user's key on this machine, and the seals made with it. A valid seal proves that a run of
//! this user on this machine wrote a journal or record, wherever the file was copied from.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;

use hmac::{Hmac, KeyInit, Mac};
use nix::unistd::{User, geteuid};
use sha2::Sha256;

use super::read::read_own;
use super::trust::foreign;
use super::{Error, surroundings};

/// Name of the key's folder in the state directory.
const FOLDER: &str = "hyperexport";
/// Root's state directory.
const OF_ROOT: &str = "/var/lib";
/// File name of the key.
const NAME: &str = "journal.key";
/// Length of the key, in bytes.
const LENGTH: usize = 32;
/// Block length of SHA-256, in bytes.
const BLOCK: usize = 64;
/// Source of random bytes.
const RANDOM: &str = "/dev/urandom";

/// A secret key for HMAC-SHA-256.
#[derive(Clone)]
pub struct Key([u8; LENGTH]);

impl Key {
    /// Reads the key; `None` if this user has none on this machine.
    ///
    /// # Errors
    /// [`Error`] if the key cannot be read, or other users could have written it.
    pub fn existing() -> Result<Option<Self>, Error> {
        let path = path()?;
        let Some(bytes) = read_own(&path, LENGTH as u64)? else { return Ok(None) };
        let broken = |_| Error::Key { path, source: io::ErrorKind::InvalidData.into() };
        bytes.try_into().map(|bytes| Some(Self(bytes))).map_err(broken)
    }

    /// Reads the key, and creates it on first use.
    ///
    /// # Errors
    /// [`Error`] if the key can be neither read nor created.
    pub fn get() -> Result<Self, Error> {
        match Self::existing()? {
            Some(key) => Ok(key),
            None => Self::make(),
        }
    }

    fn make() -> Result<Self, Error> {
        let path = path()?;
        let failed = |source| Error::Key { path: path.clone(), source };
        let folder = path.parent().unwrap_or(&path);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let found = folder.metadata().map_err(failed)?;
        if let Some(why) = foreign(&found) {
            return Err(Error::Distrusted { path: folder.to_owned(), why: format!("it {why}") });
        }
        let mut bytes = [0; LENGTH];
        File::open(RANDOM).and_then(|mut file| file.read_exact(&mut bytes)).map_err(failed)?;
        let mut file = tempfile::Builder::new()
            .permissions(std::fs::Permissions::from_mode(0o600))
            .tempfile_in(folder)
            .map_err(failed)?;
        file.write_all(&bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        match file.persist_noclobber(&path) {
            Ok(_) => super::sync_folder(folder).map_err(failed)?,
            // Another run has just created the key.
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error.error)),
        }
        Self::existing()?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
    }

    /// Seal of `bytes` in hexadecimal. A seal made for one purpose, `use_of`, is invalid for
    /// another.
    pub fn seal(&self, use_of: &str, bytes: &[u8]) -> String {
        Chain::new(self, use_of).seal(bytes)
    }

    /// Whether `seal` is valid for `bytes` and the purpose `use_of`.
    pub fn holds(&self, use_of: &str, bytes: &[u8], seal: &str) -> bool {
        Chain::new(self, use_of).holds(bytes, seal)
    }
}

fn path() -> Result<PathBuf, Error> {
    let around = surroundings();
    let known = || User::from_uid(geteuid()).ok().flatten().map(|user| user.dir);
    let base = match around.state_home {
        Some(base) => base,
        // Not in the home folder of `HOME`, which `sudo` may have left unchanged.
        None if geteuid().is_root() => OF_ROOT.into(),
        None => around.home.or_else(known).ok_or(Error::NoHome)?.join(".local/state"),
    };
    Ok(base.join(FOLDER).join(NAME))
}

/// Seals texts one after another, each together with all before it, so that none can be omitted or
/// moved.
pub struct Chain {
    so_far: Hmac<Sha256>,
}

impl Chain {
    /// An empty chain for the purpose `use_of`.
    pub fn new(key: &Key, use_of: &str) -> Self {
        // HMAC pads a key that is shorter than a block with zeros (RFC 2104).
        let mut block = [0; BLOCK];
        block[..LENGTH].copy_from_slice(&key.0);
        let mut so_far = <Hmac<Sha256> as KeyInit>::new(&block.into());
        so_far.update(use_of.as_bytes());
        so_far.update(&[0]);
        Self { so_far }
    }

    /// Adds a text and returns its seal in hexadecimal.
    pub fn seal(&mut self, text: &[u8]) -> String {
        let seal = self.add(text).finalize().into_bytes();
        seal.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Adds a text, and checks whether `seal` is its valid seal.
    pub fn holds(&mut self, text: &[u8], seal: &str) -> bool {
        let sum = self.add(text);
        bytes(seal).is_some_and(|bytes| sum.verify_slice(&bytes).is_ok())
    }

    fn add(&mut self, text: &[u8]) -> Hmac<Sha256> {
        // With its length, so that two texts cannot be confused with one.
        self.so_far.update(&(text.len() as u64).to_le_bytes());
        self.so_far.update(text);
        self.so_far.clone()
    }
}

/// Bytes of a hexadecimal number.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = (0..hex.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_of_its_key_its_use_and_its_bytes() {
        let (key, other) = (Key([7; LENGTH]), Key([8; LENGTH]));
        let seal = key.seal("record", b"steps");
        assert_eq!(seal.len(), 64);
        assert!(key.holds("record", b"steps", &seal));
        for wrong in ["", "zz", &seal[2..], &seal.replace(&seal[..1], "g")] {
            assert!(!key.holds("record", b"steps", wrong), "{wrong}");
        }
        assert!(!key.holds("journal", b"steps", &seal));
        assert!(!key.holds("record", b"step", &seal));
        assert!(!other.holds("record", b"steps", &seal));
    }

    #[test]
    fn no_text_of_a_chain_can_be_left_out_or_moved() {
        let key = Key([7; LENGTH]);
        let mut chain = Chain::new(&key, "journal");
        let seals = [chain.seal(b"a"), chain.seal(b"b"), chain.seal(b"c")];
        let holds = |texts: &[(&[u8], &str)]| {
            let mut chain = Chain::new(&key, "journal");
            texts.iter().all(|(text, seal)| chain.holds(text, seal))
        };
        assert!(holds(&[(b"a", &seals[0]), (b"b", &seals[1]), (b"c", &seals[2])]));
        assert!(!holds(&[(b"a", &seals[0]), (b"c", &seals[2])]));
        assert!(!holds(&[(b"b", &seals[1]), (b"a", &seals[0])]));
        assert!(!holds(&[(b"a", &seals[0]), (b"ab", &seals[1])]));
    }
}
