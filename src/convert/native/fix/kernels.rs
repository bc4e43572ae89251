//! The kernels that a guest's boot loader starts, each with its version and its initramfs. Some
//! file names contain no version (Arch's `vmlinuz-linux`, Alpine's `vmlinuz-lts`), so the version
//! is read from the kernel itself.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Take};
use std::path::Path;

use object::{Object, ObjectSection, ReadCache};

use crate::budget::Going;
use crate::convert::Error;
use crate::convert::native::guestfs::Guestfs;
use crate::convert::native::transit::LONGEST_INITRAMFS;
use crate::panics::contained;

use super::archive::{self, Contents, module};
use super::boot::{CONFIGURATIONS, ENVIRONMENT};
use super::configurations;
use super::default_entry::{self, EntryCandidate, MenuConfiguration};
use super::entries::{self, Entry, newest_first};

/// Folders that boot loaders may see as the top of a path: the root, `/boot`, and EFI system
/// partitions.
const TOPS: [&str; 4] = ["", "/boot", "/boot/efi", "/efi"];
/// Unified kernel images: kernel, command line and initramfs in one EFI program.
const UNIFIED: [&str; 3] =
    ["/boot/EFI/Linux/*.efi", "/boot/efi/EFI/Linux/*.efi", "/efi/EFI/Linux/*.efi"];
/// Patterns for kernels, where no boot loader names one.
const IMAGES: [&str; 3] = ["/boot/vmlinuz*", "/boot/vmlinux*", "/boot/*/*/linux"];
/// Folders of initramfs files, with the prefix and the suffix of the version in their names.
const ARCHIVES: [(&str, &str); 4] = [
    ("/boot/initrd.img-", ""),
    ("/boot/initramfs-", ".img"),
    ("/boot/initrd-", ""),
    ("/boot/initramfs-", ""),
];
/// Parts of the names of files that do not serve to boot the guest normally.
const OTHERS: [&str; 6] = ["kdump", "rescue", "fallback", ".bak", ".old", "memtest"];
/// Most initramfs files of one kernel; the last one is the one that a tool builds.
const MOST_ARCHIVES: usize = 16;
/// Length of the part of a kernel that contains its header and version (Linux,
/// `Documentation/arch/x86/boot.rst`: `kernel_version` points at most 0x8000 bytes beyond the
/// header).
const HEAD: u64 = 64 << 10;
/// Longest command line of a unified kernel image that is read, in bytes; Linux accepts 2048.
const LONGEST_COMMAND_LINE: u64 = 64 << 10;

/// Folders with the modules of all kernels; NixOS has them in the profile that it starts.
const MODULES: [&str; 2] =
    ["/lib/modules", "/nix/var/nix/profiles/system/kernel-modules/lib/modules"];
/// Options of the kernel's configuration, with the modules that they enable.
const OPTIONS: [(&str, &str); 19] = [
    ("CONFIG_VIRTIO_PCI", "virtio_pci"),
    ("CONFIG_VIRTIO_BLK", "virtio_blk"),
    ("CONFIG_SCSI_VIRTIO", "virtio_scsi"),
    ("CONFIG_VIRTIO_NET", "virtio_net"),
    ("CONFIG_BLK_DEV_SD", "sd_mod"),
    ("CONFIG_VMWARE_PVSCSI", "vmw_pvscsi"),
    ("CONFIG_FUSION_SAS", "mptsas"),
    ("CONFIG_SATA_AHCI", "ahci"),
    ("CONFIG_ATA_PIIX", "ata_piix"),
    ("CONFIG_BLK_DEV_PIIX", "piix"),
    ("CONFIG_IDE_GD", "ide_gd_mod"),
    ("CONFIG_BLK_DEV_IDEDISK", "ide_gd_mod"),
    ("CONFIG_BLK_DEV_NVME", "nvme"),
    ("CONFIG_VMXNET3", "vmxnet3"),
    ("CONFIG_E1000E", "e1000e"),
    ("CONFIG_E1000", "e1000"),
    ("CONFIG_PCNET32", "pcnet32"),
    ("CONFIG_8139CP", "8139cp"),
    ("CONFIG_8139TOO", "8139too"),
];

/// A kernel of the guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::convert::native) struct Kernel {
    /// Version of the kernel, which is the name of its folder of modules.
    pub(super) version: String,
    /// The initramfs files, the last of them the one that a tool builds; empty where the kernel
    /// needs none.
    pub(super) initramfs: Vec<String>,
    /// Whether the one file in `initramfs` is a unified kernel image.
    pub(super) unified: bool,
}

/// The modules of a kernel.
#[derive(Debug, Clone, Default)]
pub(in crate::convert::native) struct Modules {
    /// Built into the kernel, so always available.
    pub(in crate::convert::native) built_in: BTreeSet<String>,
    /// On the root file system, so available once it is mounted.
    pub(in crate::convert::native) on_disk: BTreeSet<String>,
}

/// The kernels, the default one first.
pub(in crate::convert::native) async fn find(guestfs: &mut Guestfs) -> Result<Vec<Kernel>, Error> {
    let mut kernels: Vec<Kernel> = Vec::new();
    for EntryCandidate { entry, unified, .. } in candidates(guestfs).await? {
        if unified {
            let version = unified_version(guestfs, &entry.kernel).await?;
            push(&mut kernels, Kernel { version, initramfs: vec![entry.kernel], unified });
            continue;
        }
        let Some(image) = resolve(guestfs, &entry.kernel).await? else { continue };
        let mut initramfs = Vec::new();
        let skipped = entry.initramfs.len().saturating_sub(MOST_ARCHIVES);
        for path in &entry.initramfs[skipped..] {
            initramfs.extend(resolve(guestfs, path).await?);
        }
        let version = version(guestfs, &image).await?;
        push(&mut kernels, Kernel { version, initramfs, unified });
    }
    if kernels.is_empty() {
        kernels = by_names(guestfs).await?;
    }
    Ok(kernels)
}

fn push(kernels: &mut Vec<Kernel>, kernel: Kernel) {
    let is_known = kernels
        .iter()
        .any(|known| known.version == kernel.version && known.unified == kernel.unified);
    if !is_known && is_plain(&kernel.version) {
        kernels.push(kernel);
    }
}

/// Whether a text of the guest can be a version, and is safe as a word of a command.
fn is_plain(version: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+~-".contains(c);
    !version.is_empty() && !version.starts_with(['-', '.']) && version.chars().all(plain)
}

/// All entries, the default one first; those of the Boot Loader Specification in its order.
async fn candidates(guestfs: &mut Guestfs) -> Result<Vec<EntryCandidate>, Error> {
    let (mut others, mut by_file, mut named) = (Vec::new(), Vec::new(), Vec::new());
    let patterns = default_entry::LOADERS.iter().chain(&CONFIGURATIONS);
    for (file, text) in configurations::texts(guestfs, patterns).await? {
        let is_entry = file.contains("/loader/entries/");
        let room = entries::MOST.saturating_sub(others.len() + by_file.len());
        let entries = entries::read(&file, &text).into_iter().take(room);
        let found =
            entries.map(|entry| EntryCandidate { file: file.clone(), entry, unified: false });
        if is_entry {
            by_file.extend(found)
        } else {
            others.extend(found);
            named.push(MenuConfiguration { file, text });
        }
    }
    let mut unified = Vec::new();
    for pattern in UNIFIED {
        for file in guestfs.glob(pattern).await? {
            let menu = vec![entries::file_item(&file)];
            let entry = Entry { kernel: file.clone(), menu, ..Entry::default() };
            unified.push(EntryCandidate { file, entry, unified: true });
        }
    }
    for files in [&mut by_file, &mut unified] {
        files.sort_by(|a, b| newest_first(&a.file, &b.file));
    }
    for (index, candidate) in by_file.iter_mut().enumerate() {
        candidate.entry.menu.iter_mut().for_each(|item| item.index = index);
    }
    let mut all: Vec<_> = by_file.into_iter().chain(others).chain(unified).collect();
    let saved = saved_entry(guestfs).await?;
    if let Some(first) = default_entry::find(&all, &named, &saved) {
        all[..=first].rotate_right(1);
    }
    Ok(all)
}

/// The entry that GRUB's environment block names.
async fn saved_entry(guestfs: &mut Guestfs) -> Result<String, Error> {
    for pattern in ENVIRONMENT {
        for path in guestfs.glob(pattern).await? {
            let text = guestfs.read(&path).await?.unwrap_or_default();
            let saved = text.lines().find_map(|line| line.strip_prefix("saved_entry="));
            if let Some(saved) = saved.filter(|saved| !saved.is_empty()) {
                return Ok(saved.to_owned());
            }
        }
    }
    Ok(String::new())
}

/// The path in the guest of a file that a boot loader names: the loader sees its partition or its
/// subvolume as the top.
async fn resolve(guestfs: &mut Guestfs, path: &str) -> Result<Option<String>, Error> {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    for skipped in 0..parts.len() {
        for top in TOPS {
            let candidate = format!("{top}/{}", parts[skipped..].join("/"));
            if guestfs.is_file(&candidate).await? {
                return Ok(Some(candidate));
            }
        }
    }
    Ok(None)
}

async fn version(guestfs: &mut Guestfs, image: &str) -> Result<String, Error> {
    let head = guestfs.head(image, HEAD).await?;
    if let Some(version) = version_in(&head) {
        return Ok(version);
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    let told = name.split_once('-').map(|(_, version)| version.to_owned());
    // Boot Loader Specification: /boot/MACHINE-ID/VERSION/linux.
    let of_folder = || image.rsplit('/').nth(1).map(str::to_owned);
    for version in told.into_iter().chain(of_folder()) {
        if guestfs.is_dir(&format!("/lib/modules/{version}")).await? {
            return Ok(version);
        }
    }
    Ok(only_modules(guestfs).await?.unwrap_or_default())
}

/// The version of the only kernel that has modules.
async fn only_modules(guestfs: &mut Guestfs) -> Result<Option<String>, Error> {
    let folders = guestfs.glob("/lib/modules/*/modules.dep").await?;
    let [folder] = folders.as_slice() else { return Ok(None) };
    Ok(folder.rsplit('/').nth(1).map(str::to_owned))
}

/// The version in the header of a kernel for x86 (Linux, `Documentation/arch/x86/boot.rst`).
fn version_in(head: &[u8]) -> Option<String> {
    let magic = head.get(0x202..0x206)?;
    let pointer = head.get(0x20e..0x210)?;
    let at = usize::from(u16::from_le_bytes([pointer[0], pointer[1]])) + 0x200;
    let text = head.get(at..).filter(|_| magic == b"HdrS")?;
    let end = text.iter().position(|byte| *byte == b' ' || *byte == 0)?;
    let version = std::str::from_utf8(&text[..end]).ok()?;
    let is_version = version.starts_with(|c: char| c.is_ascii_digit()) && !version.contains('/');
    is_version.then(|| version.to_owned())
}

async fn unified_version(guestfs: &mut Guestfs, path: &str) -> Result<String, Error> {
    let Some(local) = guestfs.fetch(path, LONGEST_INITRAMFS).await? else {
        return Ok(String::new());
    };
    let told = section(&local, ".uname", HEAD).and_then(|bytes| String::from_utf8(bytes).ok());
    let told = told.map(|text| text.trim_matches(['\0', '\n', ' ']).to_owned());
    let linux = || section(&local, ".linux", HEAD).and_then(|kernel| version_in(&kernel));
    let version =
        told.filter(|version| !version.is_empty() && !version.contains('/')).or_else(linux);
    Ok(version.unwrap_or_default())
}

/// The content of a unified kernel image (UAPI.5).
fn unified(path: &Path, going: &Going) -> io::Result<Option<Contents>> {
    let Some(initrd) = place(path, ".initrd") else { return Ok(None) };
    let line = section(path, ".cmdline", LONGEST_COMMAND_LINE).unwrap_or_default();
    let held = archive::contents(initrd, going)?;
    let command_line = String::from_utf8_lossy(&line).trim_matches(['\0', '\n', ' ']).to_owned();
    Ok(held.map(|held| Contents { command_line, ..held }))
}

/// A reader of one section of an EFI program.
fn place(path: &Path, name: &str) -> Option<Take<File>> {
    let mut file = File::open(path).ok()?;
    let (begin, length) = {
        // The cache contains only the headers, while the program may have half a gigabyte.
        let cache = ReadCache::new(&mut file);
        let program = object::File::parse(&cache).ok()?;
        program.section_by_name(name)?.file_range()?
    };
    file.seek(SeekFrom::Start(begin)).ok()?;
    Some(file.take(length))
}

/// The first `most` bytes of a section of an EFI program.
fn section(path: &Path, name: &str, most: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    place(path, name)?.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Kernels and initramfs files by their names alone.
async fn by_names(guestfs: &mut Guestfs) -> Result<Vec<Kernel>, Error> {
    let mut images = Vec::new();
    for pattern in IMAGES {
        images.extend(guestfs.glob(pattern).await?);
    }
    images.retain(|path| !OTHERS.iter().any(|other| path.contains(other)));
    images.sort_by(|a, b| newest_first(a, b));
    let mut kernels = Vec::new();
    for image in images {
        let version = version(guestfs, &image).await?;
        let name = image.rsplit('/').next().unwrap_or(&image);
        // Arch and Alpine: vmlinuz-linux and initramfs-linux.img.
        let flavour = name.split_once('-').map_or(version.as_str(), |(_, flavour)| flavour);
        let mut initramfs = Vec::new();
        for known in [version.as_str(), flavour] {
            for (before, after) in ARCHIVES {
                let path = format!("{before}{known}{after}");
                if initramfs.is_empty() && guestfs.is_file(&path).await? {
                    initramfs.push(path);
                }
            }
        }
        let beside = format!("{}/initrd", image.rsplit_once('/').map_or("", |(folder, _)| folder));
        if initramfs.is_empty() && guestfs.is_file(&beside).await? {
            initramfs.push(beside);
        }
        push(&mut kernels, Kernel { version, initramfs, unified: false });
    }
    Ok(kernels)
}

/// The modules in a list of module files.
async fn names(guestfs: &mut Guestfs, list: &str) -> Result<BTreeSet<String>, Error> {
    let text = guestfs.read(list).await?.unwrap_or_default();
    let paths = text.lines().map(|line| line.split(':').next().unwrap_or(line));
    Ok(paths.filter_map(|path| module(path.as_bytes())).collect())
}

/// The relevant drivers that are built in according to the kernel's configuration.
fn configured(config: &str) -> BTreeSet<String> {
    let is_on = |option: &str| {
        let is = |line: &str| line.strip_prefix(option).is_some_and(|rest| rest.trim() == "=y");
        config.lines().any(is)
    };
    let on = OPTIONS.iter().filter(|(option, _)| is_on(option));
    on.map(|(_, name)| (*name).to_owned()).collect()
}

impl Kernel {
    /// Whether the kernel contains its own command line.
    pub(in crate::convert::native) fn is_unified(&self) -> bool {
        self.unified
    }

    /// The modules that the kernel can load.
    pub(in crate::convert::native) async fn modules(
        &self,
        guestfs: &mut Guestfs,
    ) -> Result<Modules, Error> {
        let mut modules = Modules::default();
        for top in MODULES {
            let folder = format!("{top}/{}", self.version);
            modules.on_disk.extend(names(guestfs, &format!("{folder}/modules.dep")).await?);
            modules.built_in.extend(names(guestfs, &format!("{folder}/modules.builtin")).await?);
        }
        if modules.built_in.is_empty() {
            // Kernels before 2.6.33 have no list of built-in modules.
            let config = guestfs.read(&format!("/boot/config-{}", self.version)).await?;
            modules.built_in = configured(&config.unwrap_or_default());
        }
        Ok(modules)
    }

    /// The combined content of the initramfs files; none when one of them cannot be read.
    pub(in crate::convert::native) async fn contents(
        &self,
        guestfs: &mut Guestfs,
    ) -> Result<Option<Contents>, Error> {
        let mut all = Contents::default();
        for path in &self.initramfs {
            let Some(local) = guestfs.fetch(path, LONGEST_INITRAMFS).await? else {
                return Ok(None);
            };
            let (is_unified, going) = (self.unified, guestfs.going());
            let read = move || {
                contained(|| match is_unified {
                    true => unified(&local, &going),
                    false => File::open(&local).and_then(|file| archive::contents(file, &going)),
                })
            };
            let doing = format!("reading the guest's {path}");
            let held = tokio::task::spawn_blocking(read).await;
            match held.map_err(|join| Error::io(&doing)(join.into()))? {
                Ok(Some(held)) => {
                    all.modules.extend(held.modules);
                    all.tools.extend(held.tools);
                    all.command_line += &held.command_line;
                    all.crypttab += &held.crypttab;
                }
                Ok(None) => return Ok(None),
                Err(error) => {
                    tracing::info!(%error, initramfs = path, "initramfs cannot be read");
                    return Ok(None);
                }
            }
        }
        Ok(Some(all))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::convert::native::played::Played;

    #[test]
    fn a_kernel_tells_its_version() {
        let mut head = vec![0; 0x4000];
        head[0x202..0x206].copy_from_slice(b"HdrS");
        head[0x20e..0x210].copy_from_slice(&0x3000_u16.to_le_bytes());
        let text = b"6.6.32-0-lts (buildozer@build) #1-Alpine SMP\0";
        head[0x3200..0x3200 + text.len()].copy_from_slice(text);
        assert_eq!(version_in(&head).as_deref(), Some("6.6.32-0-lts"));
        assert_eq!(version_in(b"MZ"), None);
        head[0x202] = 0;
        assert_eq!(version_in(&head), None);
    }

    /// An EFI program of these sections and nothing else (PE format, "COFF File Header").
    fn program(sections: &[(&str, &[u8])]) -> Vec<u8> {
        const OPTIONAL: usize = 112;
        let mut bytes = vec![0; 0x40];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c] = 0x40;
        bytes.extend(b"PE\0\0");
        bytes.extend(0x8664_u16.to_le_bytes());
        bytes.extend(u16::try_from(sections.len()).expect("few").to_le_bytes());
        bytes.extend([0; 12]);
        bytes.extend(u16::try_from(OPTIONAL).expect("small").to_le_bytes());
        bytes.extend([0; 2]);
        bytes.extend(0x20b_u16.to_le_bytes());
        bytes.extend([0; OPTIONAL - 2]);
        let mut data = Vec::new();
        let begin = bytes.len() + 40 * sections.len();
        for (name, content) in sections {
            let mut header = [0; 40];
            header[..name.len()].copy_from_slice(name.as_bytes());
            let size = u32::try_from(content.len()).expect("small").to_le_bytes();
            let at = u32::try_from(begin + data.len()).expect("small").to_le_bytes();
            header[8..12].copy_from_slice(&size);
            header[16..20].copy_from_slice(&size);
            header[20..24].copy_from_slice(&at);
            bytes.extend(header);
            data.extend(*content);
        }
        [bytes, data].concat()
    }

    #[test]
    fn a_unified_kernel_tells_its_command_line_and_its_modules() {
        let initrd = archive::tests::archive(&["lib/modules/6.1/kernel/virtio_blk.ko"]);
        let line = b"root=/dev/sda2 rw\n\0".as_slice();
        let whole = program(&[(".uname", b"6.1.0-9"), (".cmdline", line), (".initrd", &initrd)]);
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("linux.efi");
        fs::write(&path, whole).expect("written");
        let held = unified(&path, &Going::default()).expect("read").expect("known");
        assert_eq!(held.command_line, "root=/dev/sda2 rw");
        assert!(held.modules.contains("virtio_blk"), "{held:?}");
        fs::write(&path, program(&[(".text", b"x")])).expect("written");
        assert_eq!(unified(&path, &Going::default()).expect("read"), None);
    }

    /// The head of a kernel for x86 with that version.
    fn image(version: &str) -> Vec<u8> {
        let mut head = vec![0; 0x400];
        head[0x202..0x206].copy_from_slice(b"HdrS");
        head[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        head[0x300..0x300 + version.len()].copy_from_slice(version.as_bytes());
        head
    }

    async fn found(files: &[(&str, &[u8])]) -> Vec<(String, Vec<String>)> {
        let mut guestfs = Played::new(files, json!({})).started().await;
        let kernels = find(&mut guestfs).await.expect("found");
        kernels.into_iter().map(|kernel| (kernel.version, kernel.initramfs)).collect()
    }

    fn kernel(version: &str, initramfs: &str) -> (String, Vec<String>) {
        (version.to_owned(), vec![initramfs.to_owned()])
    }

    #[tokio::test]
    async fn kernels_of_arch_and_alpine_are_found_by_their_names() {
        let arch = [
            ("boot/vmlinuz-linux", image("6.9.7-arch1-1")),
            ("boot/initramfs-linux.img", Vec::new()),
            ("boot/initramfs-linux-fallback.img", Vec::new()),
        ];
        let alpine =
            [("boot/vmlinuz-lts", image("6.6.32-0-lts")), ("boot/initramfs-lts", Vec::new())];
        // An image without a header, as on other processors: the only folder of modules decides.
        let without = [
            ("boot/vmlinuz-virt", b"MZ".to_vec()),
            ("boot/initramfs-virt", Vec::new()),
            ("lib/modules/6.6.1-0-virt/modules.dep", Vec::new()),
        ];
        let debian = [
            ("boot/vmlinuz-6.1.0-9", b"MZ".to_vec()),
            ("boot/initrd.img-6.1.0-9", Vec::new()),
            ("lib/modules/6.1.0-9/modules.dep", Vec::new()),
            ("lib/modules/5.1/modules.dep", Vec::new()),
        ];
        let found = async |files: &[(&str, Vec<u8>)]| {
            let files: Vec<_> = files.iter().map(|(path, held)| (*path, held.as_slice())).collect();
            found(&files).await
        };
        assert_eq!(found(&arch).await, [kernel("6.9.7-arch1-1", "/boot/initramfs-linux.img")]);
        assert_eq!(found(&alpine).await, [kernel("6.6.32-0-lts", "/boot/initramfs-lts")]);
        assert_eq!(found(&without).await, [kernel("6.6.1-0-virt", "/boot/initramfs-virt")]);
        assert_eq!(found(&debian).await, [kernel("6.1.0-9", "/boot/initrd.img-6.1.0-9")]);
    }

    #[tokio::test]
    async fn the_kernel_that_starts_by_default_comes_first() {
        let grub = "set default=\"${saved_entry}\"\n\
                    menuentry 'New' --id new {\n linux /vmlinuz-6.9\n initrd /initrd.img-6.9\n}\n\
                    menuentry 'Old' --id old {\n linux /vmlinuz-6.1\n initrd /initrd.img-6.1\n}\n";
        let (new, old) = (image("6.9"), image("6.1"));
        let files = [
            ("boot/grub/grub.cfg", grub.as_bytes()),
            ("boot/grub/grubenv", b"# GRUB Environment Block\nsaved_entry=old\n###"),
            ("boot/vmlinuz-6.9", &new),
            ("boot/vmlinuz-6.1", &old),
            ("boot/initrd.img-6.9", b""),
            ("boot/initrd.img-6.1", b""),
        ];
        let expected =
            [kernel("6.1", "/boot/initrd.img-6.1"), kernel("6.9", "/boot/initrd.img-6.9")];
        assert_eq!(found(&files).await, expected);
    }

    #[tokio::test]
    async fn modules_are_known_by_lists_profiles_and_configurations() {
        let modules = async |path: &str, text: &str| {
            let mut guestfs = Played::new(&[(path, text.as_bytes())], json!({})).started().await;
            let kernel = Kernel { version: "2.6.32".to_owned(), ..Kernel::default() };
            kernel.modules(&mut guestfs).await.expect("read")
        };
        let nix = "nix/var/nix/profiles/system/kernel-modules/lib/modules/2.6.32/modules.dep";
        let nix = modules(nix, "kernel/virtio_blk.ko.xz:\n").await;
        assert!(nix.on_disk.contains("virtio_blk"), "{nix:?}");
        let config = "CONFIG_VIRTIO_PCI=y\nCONFIG_VIRTIO_BLK=m\n# CONFIG_SATA_AHCI is not set\n";
        let old = modules("boot/config-2.6.32", config).await;
        assert_eq!(old.built_in.iter().collect::<Vec<_>>(), ["virtio_pci"]);
    }
}
