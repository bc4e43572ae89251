//! Changes to files of a guest. The guest may reject a change: a file system is full or read-only,
//! or a file is immutable. Only that file then stays as it was, and the appliance goes on.

use std::fs;
use std::path::Path;

use crate::convert::Error;

use super::guestfs::Guestfs;
use super::transit::LONGEST_TEXT;

impl Guestfs {
    /// Runs a command that changes the guest.
    ///
    /// # Errors
    /// [`Error::Refused`] when the guest rejects the change; other errors when guestfish ended.
    pub(super) async fn modify(&mut self, doing: &str, words: &[&str]) -> Result<(), Error> {
        let end = self.attempt(doing, words).await?;
        end.map(drop).map_err(|why| Error::Refused { doing: doing.to_owned(), why })
    }

    /// Writes a file. An existing file keeps its owner and mode; a new file is readable by
    /// everybody.
    ///
    /// # Errors
    /// [`Error::Refused`] when the guest rejects the change: the file is then unchanged.
    pub(super) async fn write(&mut self, path: &str, text: &str) -> Result<(), Error> {
        let local = self.next_file()?;
        fs::write(&local, text).map_err(Error::io(format!("writing {}", local.display())))?;
        let (from, doing) = (local.to_string_lossy(), format!("writing the guest's {path}"));
        let old = self.fetch(path, LONGEST_TEXT).await?;
        // A pipe would block without end, and a device would be overwritten.
        if old.is_none() && self.ask(&["exists", path]).await? == "true" {
            let why = "it is not an ordinary file, or a very long one".to_owned();
            return Err(Error::Refused { doing, why });
        }
        let end = self.modify(&doing, &["upload", &from, path]).await;
        if let Err(Error::Refused { .. }) = &end {
            self.restore(path, old.as_deref()).await?;
        }
        end?;
        match old {
            Some(_) => Ok(()),
            None => self.modify(&doing, &["chmod", "0644", path]).await,
        }
    }

    /// Restores a file that a failed change may have truncated; `old` is a copy of the file, `None`
    /// where there was no file.
    ///
    /// # Errors
    /// [`Error::Guestfs`] when the old content cannot be written either: the guest is damaged.
    pub(super) async fn restore(&mut self, path: &str, old: Option<&Path>) -> Result<(), Error> {
        let doing = format!("putting the guest's {path} back");
        let Some(old) = old else {
            // A file that cannot be removed was not written either.
            return self.try_run(&doing, &["rm-f", path]).await.map(drop);
        };
        let is_there = self.is_file(path).await?;
        if is_there && self.holds(path, old).await? {
            return Ok(());
        }
        self.run(&doing, &["upload", &old.to_string_lossy(), path]).await?;
        if !is_there {
            self.run(&doing, &["chmod", "0600", path]).await?;
        }
        Ok(())
    }

    /// Whether a file of the guest equals a local file.
    async fn holds(&mut self, path: &str, other: &Path) -> Result<bool, Error> {
        let read =
            |path: &Path| fs::read(path).map_err(Error::io(format!("reading {}", path.display())));
        let other = read(other)?;
        match self.fetch(path, other.len() as u64).await? {
            Some(local) => Ok(read(&local)? == other),
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::convert::native::played::Played;

    #[tokio::test]
    async fn a_refused_write_leaves_the_file_and_the_appliance() {
        let played = Played::new(
            &[("etc/fstab", b"old\n"), ("etc/hosts", b"old\n")],
            json!({
                "refused": ["/etc/fstab", "/etc/new"],
            }),
        );
        let mut guestfs = played.started().await;
        for path in ["/etc/fstab", "/etc/new"] {
            let error = guestfs.write(path, "new\n").await.expect_err("full");
            assert!(matches!(error, Error::Refused { .. }), "{error}");
        }
        guestfs.write("/etc/hosts", "new\n").await.expect("written");
        let read = async |guestfs: &mut Guestfs, path| guestfs.read(path).await.expect("read");
        assert_eq!(read(&mut guestfs, "/etc/fstab").await.as_deref(), Some("old\n"));
        assert_eq!(read(&mut guestfs, "/etc/hosts").await.as_deref(), Some("new\n"));
        assert_eq!(read(&mut guestfs, "/etc/new").await, None);
    }
}
