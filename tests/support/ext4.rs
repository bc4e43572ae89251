//! ext4 file systems on raw disks, made, read and written by e2fsprogs. This needs neither root nor
//! an appliance, which takes half a minute to start under emulation.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::import::run;

/// Bytes of a sector.
const SECTOR: u64 = 512;

/// An ext4 file system on a raw disk.
#[derive(Debug, Clone)]
pub struct Ext4 {
    disk: PathBuf,
    /// Offset of the file system on the disk, in bytes.
    offset: u64,
}

impl Ext4 {
    /// First partition of a test guest, which begins at sector 2048 (`tests/guest/mkdisk-bios.sh`).
    pub fn of_guest(disk: &Path) -> Self {
        Self { disk: disk.to_owned(), offset: 2048 * SECTOR }
    }

    /// As [`Self::of_guest`] for a qcow2 image, of which a raw copy is made in the same folder.
    pub fn of_qcow2(image: &Path) -> Self {
        let raw = image.with_extension("seen.raw");
        let [from, to] = [image, &raw].map(|path| path.to_str().expect("UTF-8"));
        run("qemu-img", &["convert", "-f", "qcow2", "-O", "raw", from, to]);
        Self::of_guest(&raw)
    }

    /// Creates a file system between two sectors of `disk`, which exists and is partitioned, with
    /// the files of `tree`.
    pub fn make(disk: &Path, sectors: (u64, u64), uuid: &str, tree: &Path) -> Self {
        let (first, last) = sectors;
        let offset = first * SECTOR;
        let size = (last + 1 - first) * SECTOR / 1024;
        let [tree, target] = [tree, disk].map(|path| path.to_str().expect("UTF-8"));
        let (options, size) = (format!("offset={offset},root_owner=0:0"), format!("{size}k"));
        let words = ["-q", "-F", "-t", "ext4", "-U", uuid, "-d", tree, "-E", &options];
        run("mke2fs", &[&words[..], &[target, &size]].concat());
        Self { disk: disk.to_owned(), offset }
    }

    /// Device name for e2fsprogs.
    pub fn name(&self) -> String {
        format!("{}?offset={}", self.disk.display(), self.offset)
    }

    /// Output of a command of debugfs(8).
    pub fn ask(&self, command: &str) -> String {
        let output = self.debugfs(&["-R", command]);
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Content of a text file.
    pub fn read(&self, path: &str) -> String {
        self.ask(&format!("cat {path}"))
    }

    /// Writes files of mode 0600, and creates missing folders.
    pub fn write(&self, files: &[(&str, &str)]) {
        let dir = tempfile::tempdir().expect("a folder");
        let mut commands = String::new();
        for (index, (path, text)) in files.iter().enumerate() {
            let local = dir.path().join(index.to_string());
            fs::write(&local, text).expect("written");
            let (folder, name) = path.rsplit_once('/').expect("an absolute path");
            // debugfs reports an existing folder and continues.
            for (end, _) in folder.match_indices('/').skip(1).chain([(folder.len(), "")]) {
                commands += &format!("mkdir {}\n", &folder[..end]);
            }
            commands += &format!(
                "rm {path}\ncd {folder}\nwrite {} {name}\nsif {path} mode 0100600\n",
                local.display()
            );
        }
        let script = dir.path().join("commands");
        fs::write(&script, commands).expect("written");
        self.debugfs(&["-w", "-f", script.to_str().expect("UTF-8")]);
        for (path, text) in files {
            assert_eq!(self.read(path), *text, "{path} was not written");
        }
    }

    fn debugfs(&self, args: &[&str]) -> Output {
        let output = Command::new("debugfs").args(args).arg(self.name()).output();
        let output = output.expect("debugfs runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

/// Writes files below `root`, and creates missing folders.
pub fn tree<T: AsRef<[u8]>>(root: &Path, files: &[(&str, T)]) {
    for (path, text) in files {
        let path = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }
}

/// A sparse disk of `size` bytes with an MBR; each partition has a first and a last sector.
pub fn partitioned(disk: &Path, size: u64, partitions: &[(u64, u64)]) {
    fs::File::create(disk).and_then(|file| file.set_len(size)).expect("a disk");
    let mut table = "label: dos\n".to_owned();
    for (first, last) in partitions {
        table += &format!("start={first}, size={}, type=83\n", last + 1 - first);
    }
    let script = disk.with_extension("sfdisk");
    fs::write(&script, table).expect("written");
    let made = Command::new("sfdisk")
        .arg("--quiet")
        .arg(disk)
        .stdin(fs::File::open(script).expect("opened"))
        .status();
    assert!(made.expect("sfdisk runs").success());
}
