//! The virtio drivers for Windows: their location, their Windows releases, and the drivers for
//! virt-v2v-in-place.

mod layout;
mod outlook;
mod staged;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::image::{IsoFile, iso_files};

use super::Error;
use layout::{Release, VirtioDriver, Width};

pub use outlook::{Foretold, WindowsDrivers, check_sources, drivers_for};
pub(super) use outlook::{checks, warnings};
pub(super) use staged::{Handed, hand_over};

/// The download location of the drivers, for hints.
pub(super) const DOWNLOAD: &str = "download virtio-win.iso from \
     https://fedorapeople.org/groups/virt/virtio-win/direct-downloads/stable-virtio/ and pass it with \
     --virtio-win, or install the package virtio-win (Fedora, RHEL; Debian has none)";
/// How to install the program that runs others at the first start of Windows.
pub(super) const INSTALL_RHSRVANY: &str = "install rhsrvany (Debian 12: from bookworm-backports; Fedora: \
     mingw-srvany-redistributable), or name a folder with rhsrvany.exe in VIRT_TOOLS_DATA_DIR";
/// How to shut down Windows so that its disks can be changed.
pub(super) const SHUT_DOWN: &str = "start Windows at the source, run `shutdown /s /f /t 0` there, which \
     passes by hibernation and fast startup, and export the VM again";
/// The paths that virt-v2v searches by default.
const USUAL: [&str; 2] = ["/usr/share/virtio-win/virtio-win.iso", "/usr/share/virtio-win"];
/// The folder in which virt-v2v searches for the programs for Windows' first start.
const USUAL_TOOLS: &str = "/usr/share/virt-tools";
/// Programs that run others at the first start; one of them is enough.
const STARTERS: [&str; 2] = ["rhsrvany.exe", "pvvxsvc.exe"];
/// Deepest nesting of folders, and most files, that are searched.
const DEEPEST: usize = 12;
const MOST: usize = 200_000;

/// Sources of drivers and programs for a Windows guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WindowsSources {
    /// `--virtio-win`: virtio-win's ISO, or a folder.
    pub virtio_win: Option<PathBuf>,
    /// `VIRTIO_WIN`, used where the flag is not given.
    pub virtio_win_variable: Option<PathBuf>,
    /// `VIRT_TOOLS_DATA_DIR`: a folder with rhsrvany.exe.
    pub virt_tools: Option<PathBuf>,
}

impl WindowsSources {
    /// Path of the drivers: the user's path, or else virt-v2v's default.
    pub(super) fn place(&self) -> Option<PathBuf> {
        self.named().cloned().or_else(|| USUAL.iter().map(PathBuf::from).find(|path| path.exists()))
    }

    /// Path of the drivers that the user gave.
    pub(super) fn named(&self) -> Option<&PathBuf> {
        self.virtio_win.as_ref().or(self.virtio_win_variable.as_ref())
    }

    /// The folder of the programs for the first start.
    pub(super) fn tools(&self) -> PathBuf {
        self.virt_tools.clone().unwrap_or_else(|| USUAL_TOOLS.into())
    }

    /// Whether virt-v2v can run programs at the first start, as it must for a guest with VMware
    /// Tools.
    pub(super) fn has_starter(&self) -> bool {
        STARTERS.iter().any(|name| self.tools().join(name).is_file())
    }
}

/// The drivers of virtio-win for one release of Windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DriversOf {
    /// Short id of the release in libosinfo's database: `win10`.
    pub windows: &'static str,
    /// Folder of the processor: `amd64` or `x86`.
    pub arch: String,
    /// Names of the available drivers: `viostor`, `vioscsi`, `netkvm`.
    pub drivers: Vec<String>,
}

/// The drivers in an ISO or a folder.
#[derive(Debug)]
pub(super) struct Drivers {
    pub(super) path: PathBuf,
    by_system: BTreeMap<(&'static Release, Width), BTreeSet<VirtioDriver>>,
    files: Vec<VirtioFile>,
}

#[derive(Debug)]
struct VirtioFile {
    /// Path relative to the top folder.
    path: String,
    at: At,
}

#[derive(Debug)]
enum At {
    Folder(PathBuf),
    Iso(IsoFile),
}

/// Reads the drivers in an ISO or a folder. Blocks the calling thread.
///
/// # Errors
/// [`Error::VirtioWin`] when the path is neither, or contains no drivers.
fn read(path: &Path) -> Result<Drivers, Error> {
    let wrong = |why: String| Error::VirtioWin { path: path.to_owned(), why };
    let found = fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    let files = match found.is_dir() {
        true => folder_files(path).map_err(|error| wrong(error.to_string()))?,
        false => iso_files(path)
            .map_err(|error| wrong(format!("neither a folder nor an ISO image: {error}")))?
            .into_iter()
            .map(|file| VirtioFile { path: file.path.clone(), at: At::Iso(file) })
            .collect(),
    };
    let mut by_system: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for VirtioFile { path, .. } in &files {
        if let (Some(system), Some(driver)) = (layout::system(path), layout::driver(path)) {
            by_system.entry(system).or_default().insert(driver);
        }
    }
    // Another kind of ISO, or the folder above virtio-win's many versions.
    if !by_system.values().any(|drivers| drivers.contains(&VirtioDriver::Viostor)) {
        return Err(wrong("it holds no viostor.sys in folders such as w10/amd64".to_owned()));
    }
    Ok(Drivers { path: path.to_owned(), by_system, files })
}

/// Runs [`read`] on a separate thread.
pub(super) async fn look(path: &Path) -> Result<Drivers, Error> {
    let owned = path.to_owned();
    let read = tokio::task::spawn_blocking(move || read(&owned)).await;
    // A panic of the reader on a malformed image ends only its thread.
    read.unwrap_or_else(|_| {
        Err(Error::VirtioWin { path: path.to_owned(), why: "the image cannot be read".to_owned() })
    })
}

fn folder_files(top: &Path) -> io::Result<Vec<VirtioFile>> {
    let (mut files, mut folders) = (Vec::new(), vec![(top.to_owned(), String::new(), 0)]);
    while let Some((folder, below, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            // Packages have one folder for several releases, and links to it.
            match fs::metadata(&path) {
                Ok(found) if found.is_dir() && depth < DEEPEST => {
                    folders.push((path, format!("{name}/"), depth + 1));
                }
                Ok(found) if found.is_file() && files.len() < MOST => {
                    files.push(VirtioFile { path: name, at: At::Folder(path) });
                }
                _ => {}
            }
        }
    }
    Ok(files)
}

impl VirtioFile {
    fn copy(&self, top: &Path, to: &Path) -> io::Result<()> {
        match &self.at {
            At::Folder(path) => fs::copy(path, to).map(drop),
            At::Iso(file) => file.copy(&mut File::open(top)?, &mut File::create(to)?),
        }
    }
}

impl Drivers {
    /// Whether these drivers can boot this Windows from a virtio disk.
    fn start(&self, release: &'static Release, width: Width) -> bool {
        let found = self.by_system.get(&(release, width));
        found.is_some_and(|drivers| drivers.contains(&VirtioDriver::Viostor))
    }

    /// The releases among `ids` with a boot driver for that processor, or for any where `arch` is
    /// unknown. Without ids: all releases.
    pub(super) fn serve(&self, ids: &[&str], arch: Option<&str>) -> Vec<DriversOf> {
        let width = arch.map(Width::of);
        let fits = |release: &Release, of: Width| {
            let stands_for = ids.iter().any(|id| stand_ins(id).contains(&release.osinfo));
            (ids.is_empty() || stands_for) && width.is_none_or(|width| width == Some(of))
        };
        let of = self.by_system.iter();
        of.filter(|((release, width), _)| fits(release, *width) && self.start(release, *width))
            .map(|((release, width), drivers)| DriversOf {
                windows: release.osinfo,
                arch: width.to_string(),
                drivers: drivers.iter().map(ToString::to_string).collect(),
            })
            .collect()
    }

    /// A summary for messages: `amd64: Windows 7, 10, Server 2019; x86: Windows 7`.
    pub(super) fn summary(&self) -> String {
        let mut widths: BTreeMap<Width, Vec<&str>> = BTreeMap::new();
        for (release, width) in
            self.by_system.keys().filter(|(release, width)| self.start(release, *width))
        {
            widths.entry(*width).or_default().push(release.name);
        }
        let of = widths.iter().rev();
        let parts = of.map(|(width, names)| format!("{width}: Windows {}", names.join(", ")));
        parts.collect::<Vec<_>>().join("; ")
    }
}

/// The releases whose drivers serve a Windows, its own first. Microsoft signs the newest release's
/// drivers for the one before, too, and older discs have no folder for the newest.
fn stand_ins(osinfo: &str) -> Vec<&str> {
    match osinfo {
        "win11" => vec!["win11", "win10"],
        "win2k25" => vec!["win2k25", "win2k22"],
        own => vec![own],
    }
}

/// The display name: `Windows Server 2019`.
pub(super) fn name(osinfo: &str) -> String {
    let known = layout::by_osinfo(osinfo).map(|release| release.name);
    known.map_or_else(|| "Windows".to_owned(), |name| format!("Windows {name}"))
}

/// Whether a message of libguestfs or virt-v2v reports an NTFS that a hibernated Windows uses.
pub(super) fn is_hibernated(message: &str) -> bool {
    let lower = message.to_lowercase();
    ["hibernat", "fast restart", "mounted read-only", "unclean file system"]
        .iter()
        .any(|word| lower.contains(word))
}

#[cfg(test)]
mod tests;
