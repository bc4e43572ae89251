//! Records the guest's files that FIX changes, with the SHA-256 of each before and after.
//!
//! Every command of guestfish that writes passes by [`Guestfs::note_written`]. Files that the
//! guest's own programs write are not recorded: [`FixList::unlisted`] names those programs.

use crate::convert::Error;
use crate::model::{FixedFile, Sha256Digest};

use super::fix_list::{FixList, change};
use super::guestfs::Guestfs;
use super::transit::LONGEST_INITRAMFS;

impl Guestfs {
    /// Records the files that a command is about to change; completes the list before file systems
    /// are unmounted.
    pub(super) async fn note_written(&mut self, words: &[&str]) -> Result<(), Error> {
        let paths: &[&str] = match words {
            ["umount-all"] => return self.settle_written().await,
            ["upload" | "cp-r", _, path] | ["touch" | "rm-f" | "rm-rf", path] => &[*path],
            ["mv", from, to] => &[*from, *to],
            _ => return Ok(()),
        };
        if let ["cp-r", from, _] = words
            && self.is_dir(from).await?
        {
            self.written.unlisted(&format!("a copy of {from}"));
        }
        for path in paths {
            if !self.written.before.contains_key(*path) {
                let before = self.checksum(path).await?;
                self.written.before.insert((*path).to_owned(), before);
            }
        }
        Ok(())
    }

    /// The files changed so far. File systems must still be mounted.
    pub(super) async fn take_fixed(&mut self) -> Result<FixList, Error> {
        self.settle_written().await?;
        Ok(std::mem::take(&mut self.written.list))
    }

    async fn settle_written(&mut self) -> Result<(), Error> {
        let device = self.written.device.take();
        for (path, before) in std::mem::take(&mut self.written.before) {
            let after = self.checksum(&path).await?;
            let path = match &device {
                Some(device) => format!("{device}:{path}"),
                None => path,
            };
            let file = FixedFile { path, change: change(before, after), before, after };
            self.written.list.add(FixList { files: vec![file], unlisted: Vec::new() });
        }
        Ok(())
    }

    /// SHA-256 of a file; none where the path is no regular file, or the file is longer than any
    /// that FIX writes.
    async fn checksum(&mut self, path: &str) -> Result<Option<Sha256Digest>, Error> {
        // A pipe would block without end, and a device would be read.
        let is_file = self.first_line(path, &["is-file", path, "followsymlinks:true"]).await?;
        if is_file.is_none_or(|answer| answer != "true") {
            return Ok(None);
        }
        let length = self.first_line(path, &["filesize", path]).await?;
        let length: Option<u64> = length.and_then(|length| length.parse().ok());
        if length.is_none_or(|length| length > LONGEST_INITRAMFS) {
            self.written.unlisted(&format!("a change of {path}, which is very long,"));
            return Ok(None);
        }
        let sum = self.first_line(path, &["checksum", "sha256", path]).await?;
        Ok(sum.and_then(|sum| sum.parse().ok()))
    }

    /// The first line of an answer about a file. Does not use [`Guestfs::run`], which calls this
    /// for the files that a command is about to write.
    async fn first_line(&mut self, path: &str, words: &[&str]) -> Result<Option<String>, Error> {
        let answer = self.ask_failing(&format!("hashing the guest's {path}"), words).await?;
        Ok(answer.ok().and_then(|lines| lines.into_iter().next()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::convert::native::played::Played;
    use crate::model::FileChange;

    fn sum(text: &str) -> Option<Sha256Digest> {
        Some(Sha256Digest(Sha256::digest(text).into()))
    }

    #[tokio::test]
    async fn files_are_listed_with_what_they_were_and_are() {
        let files: &[(&str, &[u8])] =
            &[("etc/fstab", b"old\n"), ("etc/hosts", b"same\n"), ("etc/gone", b"x"), ("a", b"a")];
        let said = json!({"refused": ["/etc/full"], "sh": [["update", 0, "", {}]]});
        let mut guestfs = Played::new(files, said).started().await;
        guestfs.write("/etc/fstab", "new\n").await.expect("written");
        guestfs.write("/etc/fstab", "newer\n").await.expect("written");
        guestfs.write("/etc/hosts", "other\n").await.expect("written");
        guestfs.write("/etc/hosts", "same\n").await.expect("written");
        guestfs.write("/etc/full", "no\n").await.expect_err("refused");
        guestfs.modify("remove", &["rm-f", "/etc/gone"]).await.expect("removed");
        guestfs.modify("rename", &["mv", "/a", "/b"]).await.expect("renamed");
        guestfs.run("unmount", &["umount-all"]).await.expect("unmounted");
        guestfs.written.within("/dev/sda1");
        guestfs.modify("make", &["touch", "/c"]).await.expect("made");
        guestfs.sh("update-initramfs").await.expect("run");
        let list = guestfs.take_fixed().await.expect("listed");
        let found: Vec<_> =
            list.files.iter().map(|f| (f.path.as_str(), f.change, f.before, f.after)).collect();
        let expected = [
            ("/a", FileChange::Removed, sum("a"), None),
            ("/b", FileChange::Added, None, sum("a")),
            ("/etc/fstab", FileChange::Changed, sum("old\n"), sum("newer\n")),
            ("/etc/gone", FileChange::Removed, sum("x"), None),
            ("/dev/sda1:/c", FileChange::Added, None, sum("")),
        ];
        assert_eq!(found, expected);
        assert_eq!(list.warning().expect("not complete").code, "fix-list-not-known");
        assert_eq!(FixList::default().warning(), None);
    }
}
