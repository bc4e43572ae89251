//! The gate for all data that leaves a guest. A file must be regular and within its size limit, and
//! all files together within the limit of one conversion. A guest's `initrd.img` may be a device
//! without end, or a sparse file of a terabyte.

use std::fs;
use std::io;
use std::path::PathBuf;

use tempfile::TempPath;

use crate::budget::{Budget, Going};
use crate::convert::Error;

use super::guestfs::Guestfs;

/// Longest text that is read from a guest, in bytes: configuration, never data.
pub(super) const LONGEST_TEXT: u64 = 4 << 20;
/// Longest initramfs or unified kernel image, in bytes.
pub(super) const LONGEST_INITRAMFS: u64 = 512 << 20;
/// Most bytes that are read from a guest in total. Each kernel's initramfs is read three times at
/// most.
const MOST_BYTES: u64 = 16 << 30;
/// Most files of a guest for one pattern.
const MOST_NAMES: usize = 1000;

/// The folder for files in transit, and the remaining limits.
pub(super) struct Gate {
    folder: PathBuf,
    files: u32,
    bytes: Budget,
    going: Going,
}

impl Gate {
    pub(super) fn new(folder: PathBuf, going: Going) -> Self {
        Self { folder, files: 0, bytes: Budget::new(MOST_BYTES, "bytes to read"), going }
    }
}

impl Guestfs {
    /// The files that match a pattern, up to a thousand. Names with a line break are left out: no
    /// bootable system needs one, and here each would be read as two names.
    pub(super) async fn glob(&mut self, pattern: &str) -> Result<Vec<String>, Error> {
        let words = ["glob-expand", pattern, "directoryslash:false"];
        let lines = self.run("listing the guest's files", &words).await?;
        let mut found = whole_names(lines, pattern);
        if found.len() > MOST_NAMES {
            tracing::warn!(pattern, most = MOST_NAMES, "the guest has more files than are read");
            found.truncate(MOST_NAMES);
        }
        Ok(found)
    }

    /// The length of a regular file; none for any other path. Links are followed.
    async fn length(&mut self, path: &str) -> Result<Option<u64>, Error> {
        match self.is_file(path).await? {
            true => Ok(self.ask(&["filesize", path]).await?.parse().ok()),
            false => Ok(None),
        }
    }

    /// The text of a file, if it exists. None also where the bytes are not UTF-8: such a file is
    /// never changed.
    pub(super) async fn read(&mut self, path: &str) -> Result<Option<String>, Error> {
        let Some(local) = self.fetch(path, LONGEST_TEXT).await? else { return Ok(None) };
        let read = fs::read(&local).map_err(Error::io(format!("reading {}", local.display())))?;
        Ok(String::from_utf8(read).ok())
    }

    /// A copy of a file in the work folder, which is removed with the value. None for a path that
    /// is no regular file or is longer than `most` bytes.
    ///
    /// # Errors
    /// [`Error::Guestfs`], also when the guest has exceeded the total limit.
    pub(super) async fn fetch(&mut self, path: &str, most: u64) -> Result<Option<TempPath>, Error> {
        let Some(length) = self.length(path).await?.filter(|length| *length <= most) else {
            return Ok(None);
        };
        let doing = format!("reading the guest's {path}");
        self.draw(&doing, length)?;
        let local = self.next_file()?;
        self.run(&doing, &["download", path, &local.to_string_lossy()]).await?;
        Ok(Some(local))
    }

    /// The first `length` bytes of a file in the guest; fewer where the file is shorter, and none
    /// for a path that is no regular file.
    pub(super) async fn head(&mut self, path: &str, length: u64) -> Result<Vec<u8>, Error> {
        let found = self.length(path).await?.unwrap_or(0).min(length);
        if found == 0 {
            return Ok(Vec::new());
        }
        let doing = format!("reading the guest's {path}");
        self.draw(&doing, found)?;
        let local = self.next_file()?;
        let to = local.to_string_lossy();
        self.run(&doing, &["download-offset", path, &to, "0", &found.to_string()]).await?;
        fs::read(&local).map_err(Error::io(format!("reading {}", local.display())))
    }

    /// `length` bytes of a block device from `offset` on; none where the device ends before.
    pub(super) async fn part(
        &mut self,
        device: &str,
        offset: u64,
        length: u64,
    ) -> Result<Option<Vec<u8>>, Error> {
        let doing = format!("reading {device}");
        self.draw(&doing, length)?;
        let local = self.next_file()?;
        let to = local.to_string_lossy();
        let words = ["download-offset", device, &to, &offset.to_string(), &length.to_string()];
        if self.attempt(&doing, &words).await?.is_err() {
            return Ok(None);
        }
        let read = fs::read(&local).map_err(Error::io(format!("reading {}", local.display())))?;
        Ok(Some(read).filter(|read| read.len() as u64 == length))
    }

    fn draw(&mut self, doing: &str, bytes: u64) -> Result<(), Error> {
        self.gate.bytes.draw(bytes).map_err(|exhausted| Error::Guestfs {
            doing: doing.to_owned(),
            message: exhausted.to_string(),
        })
    }

    /// A new name in the work folder for a file in transit. The file is removed with the value.
    pub(super) fn next_file(&mut self) -> Result<TempPath, Error> {
        self.gate.files += 1;
        let path = self.gate.folder.join(format!("file-{}", self.gate.files));
        let named: io::Result<TempPath> = TempPath::try_from_path(path);
        named.map_err(Error::io("naming a file in the work folder"))
    }

    /// Whether work on data that was read may continue.
    pub(super) fn going(&self) -> Going {
        self.gate.going.clone()
    }
}

/// The names in the lines of an answer: a line that does not begin as the pattern does continues
/// the name before it.
fn whole_names(lines: Vec<String>, pattern: &str) -> Vec<String> {
    let literal = pattern.split(['*', '?', '[', '{', '\\']).next().unwrap_or_default();
    let mut names: Vec<Option<String>> = Vec::new();
    for line in lines {
        match names.last_mut() {
            Some(name) if !line.starts_with(literal) => *name = None,
            _ => names.push(line.starts_with(literal).then_some(line)),
        }
    }
    names.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::whole_names;
    use crate::convert::native::played::Played;

    #[test]
    fn a_name_with_a_line_break_is_no_two_names() {
        let lines = ["/etc/x.d/a", "/etc/x.d/b", "c", "/etc/shadow", "/etc/x.d/d"];
        let lines = lines.map(str::to_owned).to_vec();
        assert_eq!(whole_names(lines, "/etc/x.d/*"), ["/etc/x.d/a", "/etc/x.d/d"]);
        let lines = vec!["/boot/vmlinuz-6.1".to_owned()];
        assert_eq!(whole_names(lines.clone(), "/boot/vmlinuz-*"), lines);
        assert_eq!(whole_names(lines.clone(), "/{boot,efi}/vmlinuz-*"), lines);
    }

    #[tokio::test]
    async fn what_is_no_ordinary_file_stays_in_the_guest() {
        let played = Played::new(&[("etc/small", b"text")], json!({}));
        let mut guestfs = played.started().await;
        let tree = guestfs.tree();
        let long = std::fs::File::create(tree.join("etc/long")).expect("created");
        long.set_len(1 << 40).expect("a hole");
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
        nix::unistd::mkfifo(&tree.join("etc/pipe"), mode).expect("made");
        std::os::unix::fs::symlink("/dev/zero", tree.join("etc/zero")).expect("linked");
        std::os::unix::fs::symlink("small", tree.join("etc/link")).expect("linked");
        for path in ["/etc/long", "/etc/pipe", "/etc/zero", "/etc", "/etc/none"] {
            assert!(guestfs.fetch(path, 1 << 20).await.expect("asked").is_none(), "{path}");
            assert_eq!(guestfs.read(path).await.expect("asked"), None, "{path}");
        }
        for path in ["/etc/pipe", "/etc/zero", "/etc/none"] {
            assert!(guestfs.head(path, 4).await.expect("asked").is_empty(), "{path}");
        }
        let error = guestfs.write("/etc/pipe", "x").await.expect_err("no file");
        assert!(matches!(error, crate::convert::Error::Refused { .. }), "{error}");
        assert_eq!(guestfs.head("/etc/long", 4).await.expect("read"), [0; 4]);
        assert_eq!(guestfs.head("/etc/link", 100).await.expect("read"), b"text");
        assert_eq!(guestfs.read("/etc/link").await.expect("read").as_deref(), Some("text"));
    }

    #[tokio::test]
    async fn a_copy_goes_as_soon_as_it_was_used() {
        let played = Played::new(&[("etc/small", b"text")], json!({}));
        let mut guestfs = played.started().await;
        let copy = guestfs.fetch("/etc/small", 100).await.expect("asked").expect("there");
        let path = copy.to_path_buf();
        assert!(path.exists());
        drop(copy);
        assert!(!path.exists());
        guestfs.write("/etc/small", "new").await.expect("written");
        assert_eq!(guestfs.read("/etc/small").await.expect("read").as_deref(), Some("new"));
        let folder = path.parent().expect("a folder");
        assert_eq!(std::fs::read_dir(folder).expect("a folder").count(), 0);
    }
}
