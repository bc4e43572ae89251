//! The entries of a guest's boot loader: which kernel starts with which initramfs.
//!
//! This module reads GRUB 2 (`grub.cfg`), GRUB Legacy (`menu.lst`), extlinux and syslinux, the Boot
//! Loader Specification (type 1) and `refind_linux.conf` as far as it names an initrd.

use std::cmp::Ordering;

/// Most entries that are read, and the deepest menu that is searched: a guest may have menus
/// without end, and each entry records the menus around it.
pub(super) const MOST: usize = 1_000;
const DEEPEST: usize = 16;
/// Longest name of an entry, in bytes: the limit of a file's name.
pub(super) const LONGEST_NAME: usize = 255;

/// One entry, with paths as the boot loader sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kernel: String,
    /// The archives that are unpacked one after the other; empty where the kernel needs none.
    pub(super) initramfs: Vec<String>,
    /// Position of the entry: the menus around it, then the entry itself.
    pub(super) menu: Vec<MenuItem>,
    /// Whether the entry itself is marked as the default (`MENU DEFAULT` of syslinux).
    pub(super) is_default: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MenuItem {
    /// Position in the menu, from 0 on.
    pub(super) index: usize,
    /// Title and id.
    pub(super) names: Vec<String>,
}

/// The menus of a configuration while it is read.
#[derive(Debug, Default)]
struct Menus {
    open: Vec<MenuItem>,
    /// For each pair of braces around a line, whether it belongs to an open menu.
    braces: Vec<bool>,
    /// Number of lines of each open menu so far.
    counts: Vec<usize>,
}

impl Menus {
    fn item(&mut self, rest: &str) -> MenuItem {
        if self.counts.is_empty() {
            self.counts.push(0);
        }
        let count = self.counts.last_mut();
        let index = count.map_or(0, |count| std::mem::replace(count, *count + 1));
        MenuItem { index, names: names(rest) }
    }

    /// The position of an entry that begins here.
    fn entry(&mut self, rest: &str) -> Vec<MenuItem> {
        let item = self.item(rest);
        self.open.iter().cloned().chain([item]).collect()
    }

    fn submenu(&mut self, rest: &str) {
        let item = self.item(rest);
        let is_open = self.open.len() < DEEPEST;
        if is_open {
            self.open.push(item);
            self.counts.push(0);
        }
        self.braces.push(is_open);
    }

    fn close(&mut self) {
        if self.braces.pop() == Some(true) {
            self.open.pop();
            self.counts.pop();
        }
    }
}

/// Title and id in the line of a menu of GRUB: `'Debian' --class debian $menuentry_id_option 'x'
/// {`. The complete line where it has no quotes: GRUB Legacy and syslinux.
fn names(rest: &str) -> Vec<String> {
    let rest = rest.trim();
    if !rest.starts_with(['"', '\'']) {
        let name = rest.trim_end_matches('{').trim();
        return Some(name.to_owned()).filter(|name| is_short(name)).into_iter().collect();
    }
    let quoted = |text: &str| {
        let mark = text.chars().next().filter(|c| ['"', '\''].contains(c))?;
        text[1..].split(mark).next().map(str::to_owned)
    };
    let id = ["--id", "$menuentry_id_option", "${menuentry_id_option}"].iter().find_map(|option| {
        let (_, after) = rest.split_once(option)?;
        let word = after.trim();
        quoted(word).or_else(|| word.split_whitespace().next().map(str::to_owned))
    });
    quoted(rest).into_iter().chain(id).filter(|name| is_short(name)).collect()
}

fn is_short(name: &str) -> bool {
    name.len() <= LONGEST_NAME
}

/// Titles of entries for emergencies.
const EMERGENCY: [&str; 6] = ["recovery", "rescue", "fallback", "memtest", "kdump", "(old)"];

/// The entries of a configuration, in its order.
pub(super) fn read(path: &str, text: &str) -> Vec<Entry> {
    if path.contains("/loader/entries/") {
        return if is_emergency(path) { Vec::new() } else { of_specification(path, text) };
    }
    let mut menus = Menus::default();
    let mut entries = Vec::new();
    let mut current = Entry::default();
    let mut emergency = false;
    for line in text.lines() {
        if entries.len() >= MOST {
            return entries;
        }
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match word.to_ascii_lowercase().as_str() {
            "menuentry" | "title" | "label" => {
                push(&mut entries, &mut current, emergency);
                emergency = is_emergency(line);
                current.menu = menus.entry(rest);
                if line.ends_with('{') {
                    menus.braces.push(false);
                }
            }
            "submenu" => menus.submenu(rest),
            "}" => menus.close(),
            "menu" if rest.trim().eq_ignore_ascii_case("default") => current.is_default = true,
            "linux" | "linux16" | "linuxefi" | "kernel" | "vmlinuz" => {
                // A second kernel in one entry is an entry without a title.
                if !current.kernel.is_empty() {
                    push(&mut entries, &mut current, emergency);
                }
                let (kernel, options) =
                    rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
                current.kernel = plain(kernel);
                current.initramfs.extend(initrd_option(options));
            }
            "initrd" | "initrd16" | "initrdefi" => {
                current.initramfs.extend(
                    rest.split([' ', '\t', ',']).map(plain).filter(|path| !path.is_empty()),
                );
            }
            "append" => current.initramfs.extend(initrd_option(rest)),
            _ if line.ends_with('{') => menus.braces.push(false),
            _ => {}
        }
    }
    push(&mut entries, &mut current, emergency);
    entries
}

fn push(entries: &mut Vec<Entry>, current: &mut Entry, emergency: bool) {
    let entry = std::mem::take(current);
    if !entry.kernel.is_empty() && !emergency {
        entries.push(entry);
    }
}

fn is_emergency(title: &str) -> bool {
    let title = title.to_ascii_lowercase();
    EMERGENCY.iter().any(|word| title.contains(word))
}

/// Boot Loader Specification, type 1: the name of the file is the entry's id.
fn of_specification(path: &str, text: &str) -> Vec<Entry> {
    let mut entry = Entry { menu: vec![file_item(path)], ..Entry::default() };
    for line in text.lines() {
        let (word, rest) = line.trim().split_once(char::is_whitespace).unwrap_or_default();
        match word {
            "linux" => entry.kernel = plain(rest.trim()),
            "title" => {
                let title = Some(rest.trim().to_owned()).filter(|name| is_short(name));
                entry.menu[0].names.extend(title);
            }
            // `$tuned_initrd` and similar words are GRUB's variables.
            "initrd" => {
                let paths = rest.split_whitespace().filter(|path| !path.starts_with('$'));
                entry.initramfs.extend(paths.map(plain));
            }
            _ => {}
        }
    }
    if entry.kernel.is_empty() { Vec::new() } else { vec![entry] }
}

/// The menu line of an entry that is a file, by the file's name with and without `.conf`.
pub(super) fn file_item(path: &str) -> MenuItem {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.strip_suffix(".conf").unwrap_or(name);
    MenuItem { index: 0, names: vec![name.to_owned(), stem.to_owned()] }
}

/// The values of `initrd=` among the options of a kernel, as in extlinux and EFI stubs.
fn initrd_option(options: &str) -> Vec<String> {
    let values = options.split_whitespace().filter_map(|word| word.strip_prefix("initrd="));
    values.flat_map(|value| value.split(',')).map(plain).collect()
}

/// The path without GRUB's device, a variable or backslashes.
fn plain(path: &str) -> String {
    let path = path.trim_matches(['"', '\'']).replace('\\', "/");
    let path = match path.find('/') {
        Some(at) if path.starts_with('(') || path.starts_with('$') => path[at..].to_owned(),
        _ => path,
    };
    path.strip_prefix("../").map_or(path.clone(), |rest| format!("/{rest}"))
}

/// Orders versions as a boot loader does: numbers by their value, the newest first.
pub(super) fn newest_first(a: &str, b: &str) -> Ordering {
    let numbers = |text: &str| -> Vec<u64> {
        let parts = text.split(|c: char| !c.is_ascii_digit());
        parts.filter_map(|part| part.parse().ok()).collect()
    };
    numbers(b).cmp(&numbers(a)).then_with(|| b.cmp(a))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Paths = (String, Vec<String>);

    fn entry(kernel: &str, initramfs: &[&str]) -> Paths {
        let initramfs = initramfs.iter().map(|path| (*path).to_owned()).collect();
        (kernel.to_owned(), initramfs)
    }

    /// Kernel and initramfs of each entry.
    fn read(path: &str, text: &str) -> Vec<Paths> {
        let entries = super::read(path, text).into_iter();
        entries.map(|entry| (entry.kernel, entry.initramfs)).collect()
    }

    #[test]
    fn entries_know_their_places_in_the_menus() {
        let grub = "function f {\n}\nmenuentry 'A' --class x $menuentry_id_option 'id-a' {\n linux /a\n}\n\
                    submenu 'More' --id more {\n\tmenuentry 'A (recovery mode)' {\n linux /r\n }\n\
                    \tmenuentry \"B\" {\n  linux /b\n\t}\n}\nmenuentry 'C' {\n linux /c\n}\n";
        let places: Vec<Vec<(usize, Vec<String>)>> = super::read("/boot/grub/grub.cfg", grub)
            .into_iter()
            .map(|entry| entry.menu.into_iter().map(|item| (item.index, item.names)).collect())
            .collect();
        let item = |index: usize, names: &[&str]| {
            (index, names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        let expected = [
            vec![item(0, &["A", "id-a"])],
            vec![item(1, &["More", "more"]), item(1, &["B"])],
            vec![item(2, &["C"])],
        ];
        assert_eq!(places, expected);
    }

    #[test]
    fn menus_without_end_are_left_out() {
        let grub = "submenu a {\n".repeat(100_000) + &"title b\nkernel /a\n".repeat(100_000);
        let entries = super::read("/boot/grub/grub.cfg", &grub);
        assert_eq!(entries.len(), MOST);
        assert_eq!(entries[0].menu.len(), DEEPEST + 1);
        let long = format!("menuentry '{}' {{\n linux /a\n}}\n", "a".repeat(1_000));
        assert_eq!(super::read("/boot/grub/grub.cfg", &long)[0].menu, [MenuItem::default()]);
    }

    #[test]
    fn entries_of_grub_name_their_kernels() {
        let grub = "menuentry 'Arch Linux' --class arch {\n\tlinux\t/vmlinuz-linux root=UUID=x rw\n\
                    \tinitrd\t/intel-ucode.img /initramfs-linux.img\n}\n\
                    submenu 'More' {\n menuentry 'Debian, recovery mode' {\n  linux /boot/vmlinuz single\n }\n\
                    menuentry 'SUSE' {\n  linuxefi /@/boot/vmlinuz-6.4 root=x\n  initrdefi /@/boot/initrd-6.4\n}\n}\n";
        assert_eq!(
            read("/boot/grub/grub.cfg", grub),
            [
                entry("/vmlinuz-linux", &["/intel-ucode.img", "/initramfs-linux.img"]),
                entry("/@/boot/vmlinuz-6.4", &["/@/boot/initrd-6.4"]),
            ]
        );
    }

    #[test]
    fn entries_of_other_boot_loaders_are_read() {
        let alpine = "DEFAULT menu.c32\nLABEL lts\n  MENU DEFAULT\n  LINUX vmlinuz-lts\n  INITRD initramfs-lts\n  \
                      APPEND root=UUID=x modules=sd-mod,usb-storage,ext4\n";
        assert_eq!(read("/boot/extlinux.conf", alpine), [entry("vmlinuz-lts", &["initramfs-lts"])]);
        let syslinux = "label linux\n  kernel vmlinuz\n  append initrd=initrd.img root=/dev/sda1\n";
        assert_eq!(
            read("/boot/syslinux/syslinux.cfg", syslinux),
            [entry("vmlinuz", &["initrd.img"])]
        );
        let legacy = "default=0\ntitle CentOS (2.6.32)\n\troot (hd0,0)\n\tkernel /vmlinuz-2.6.32 ro root=/dev/sda2\n\
                      \tinitrd /initramfs-2.6.32.img\n";
        assert_eq!(
            read("/boot/grub/menu.lst", legacy),
            [entry("/vmlinuz-2.6.32", &["/initramfs-2.6.32.img"])]
        );
        let bls = "title Fedora\nversion 6.9.7\nlinux /4f1c/6.9.7/linux\ninitrd /4f1c/6.9.7/initrd $tuned_initrd\n\
                   options root=UUID=x\n";
        assert_eq!(
            read("/boot/loader/entries/4f1c-6.9.7.conf", bls),
            [entry("/4f1c/6.9.7/linux", &["/4f1c/6.9.7/initrd"])]
        );
        assert!(read("/boot/loader/entries/4f1c-0-rescue.conf", bls).is_empty());
    }

    #[test]
    fn newer_versions_come_first() {
        let mut versions = ["5.14.0-70.el9", "5.14.0-427.el9", "5.9.1"];
        versions.sort_by(|a, b| newest_first(a, b));
        assert_eq!(versions, ["5.14.0-427.el9", "5.14.0-70.el9", "5.9.1"]);
    }
}
