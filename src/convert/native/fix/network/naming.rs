//! How the guest names its cards: whether the kernel's names stay, and which method can keep
//! another name.

use crate::convert::Error;
use crate::convert::native::guestfs::Guestfs;

use super::files::NetworkFile;
use super::forms::{Form, Text, keeps_kernel_names};

/// All files that show how cards are named. One pattern, so that the appliance is asked once.
const SIGNS: &str = "/{lib/udev/rules.d/*.rules,usr/lib/udev/rules.d/*.rules,lib/udev/rename_device,\
usr/lib/udev/rename_device,sbin/udevd,sbin/udevadm,bin/udevadm,usr/bin/udevadm,usr/sbin/udevd,\
lib/systemd/systemd-udevd,usr/lib/systemd/systemd-udevd,lib/udev/udevd,\
etc/udev/rules.d/80-net-*.rules,etc/systemd/network/99-default.link,\
{lib,lib64,usr/lib,usr/lib64,usr/lib/*}/systemd/libsystemd-shared-*.so}";
/// The library of systemd that has the version in its name, since version 231.
const LIBRARY: &str = "/libsystemd-shared-";
/// The first version of systemd that renames a card by a `.link` file after an earlier rename
/// (systemd.net-naming-scheme(7), v240). An initramfs with the driver of a card and without the
/// `.link` file renames the card first, and older versions leave that name. A rule of udev always
/// renames.
const RENAMES_AGAIN: u32 = 240;
/// The rules of systemd that name cards: since version 209 by `.link` files, before by themselves.
const LINK_RULES: &str = "80-net-setup-link.rules";
const SLOT_RULES: &str = "80-net-name-slot.rules";
/// The older rules of udev, which keep the kernel's names by MAC address.
const GENERATOR: &str = "75-persistent-net-generator.rules";

/// How a guest names its cards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Naming {
    /// Whether cards keep the names that the kernel gives: `eth0`, `eth1`, …
    pub(super) kernel: bool,
    /// Whether udev reads `.link` files.
    pub(super) links: bool,
    /// Whether a `.link` file renames a card that was renamed in the initramfs.
    pub(super) renames_again: bool,
    /// Whether udev runs, so that a rule can name a card.
    pub(super) rules: bool,
    /// Whether the distribution's udev swaps kernel names between cards. It does where the
    /// distribution's own rules for it exist; elsewhere a name in use is refused (EEXIST).
    pub(super) swaps: bool,
    /// Whether the initscripts of Red Hat rename by `HWADDR` of ifcfg files. They swap names
    /// through a third name.
    pub(super) by_ifcfg: bool,
}

impl Naming {
    /// Inspects the guest. `files` are those of its network.
    pub(super) async fn of(guestfs: &mut Guestfs, files: &[NetworkFile]) -> Result<Self, Error> {
        let signs = guestfs.glob(SIGNS).await?;
        let mut masked = Vec::new();
        for path in signs.iter().filter(|path| path.starts_with("/etc/")) {
            // A link to /dev/null is no file, and an empty file contains no rules.
            let text = guestfs.read(path).await?.unwrap_or_default();
            if is_masked(path, &text) {
                masked.push(path.clone());
            }
        }
        Ok(Self::from(&signs, &masked, files.iter().map(|found| &found.text)))
    }

    fn from<'a>(
        signs: &[String],
        masked: &[String],
        texts: impl Iterator<Item = &'a Text>,
    ) -> Self {
        let has = |name: &str| signs.iter().any(|path| path.ends_with(&format!("/{name}")));
        let hides = |name: &str| masked.iter().any(|path| path.ends_with(&format!("/{name}")));
        let mut lines = texts.filter(|text| text.form == Form::CommandLine);
        let links = has(LINK_RULES) && !hides(LINK_RULES);
        let slots = has(SLOT_RULES) && !hides(SLOT_RULES);
        let by_default = links && !hides("99-default.link") || slots;
        let programs = ["udevd", "udevadm", "systemd-udevd"];
        Self {
            kernel: !by_default || lines.any(|line| keeps_kernel_names(&line.text)),
            links,
            renames_again: version(signs).is_some_and(|version| version >= RENAMES_AGAIN),
            rules: programs.iter().any(|name| has(name)),
            swaps: has(GENERATOR),
            by_ifcfg: has("rename_device"),
        }
    }
}

/// The version of systemd.
fn version(signs: &[String]) -> Option<u32> {
    let names = signs.iter().filter_map(|path| path.split_once(LIBRARY));
    let digits = |(_, rest): (&str, &str)| {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    };
    names.filter_map(digits).max()
}

/// Whether a file in /etc replaces the distribution's and names no card.
fn is_masked(path: &str, text: &str) -> bool {
    let lines = text.lines().map(str::trim);
    let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    if path.ends_with(".link") {
        let policy = lines.find_map(|line| line.strip_prefix("NamePolicy="));
        return policy.is_none_or(|policy| {
            policy.split_whitespace().all(|word| ["kernel", "keep"].contains(&word))
        });
    }
    lines.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(signs: &[&str], masked: &[&str], line: &str) -> Naming {
        let owned = |list: &[&str]| list.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        let text = Text {
            form: Form::CommandLine,
            path: "/boot/grub/grub.cfg".to_owned(),
            text: line.to_owned(),
        };
        Naming::from(&owned(signs), &owned(masked), [&text].into_iter())
    }

    const DEBIAN_12: [&str; 3] = [
        "/usr/lib/udev/rules.d/80-net-setup-link.rules",
        "/usr/bin/udevadm",
        "/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so",
    ];
    const RHEL_6: [&str; 3] = [
        "/lib/udev/rules.d/75-persistent-net-generator.rules",
        "/sbin/udevd",
        "/lib/udev/rename_device",
    ];

    #[test]
    fn systems_name_their_cards_in_several_ways() {
        let links = Naming { links: true, renames_again: true, rules: true, ..Naming::default() };
        assert_eq!(naming(&DEBIAN_12, &[], "linux /vmlinuz quiet"), links);
        let kernel = Naming { kernel: true, ..links };
        assert_eq!(naming(&DEBIAN_12, &[], "linux /vmlinuz net.ifnames=0"), kernel);
        let masked = ["/etc/systemd/network/99-default.link"];
        assert_eq!(naming(&DEBIAN_12, &masked, ""), kernel);
        // Without its rules udev reads no .link file at all.
        let masked = ["/etc/udev/rules.d/80-net-setup-link.rules"];
        assert_eq!(naming(&DEBIAN_12, &masked, ""), Naming { links: false, ..kernel });
        let old =
            Naming { kernel: true, rules: true, swaps: true, by_ifcfg: true, ..Naming::default() };
        assert_eq!(naming(&RHEL_6, &[], ""), old);
        let centos_7_0 =
            ["/usr/lib/udev/rules.d/80-net-name-slot.rules", "/usr/lib/systemd/systemd-udevd"];
        assert_eq!(naming(&centos_7_0, &[], ""), Naming { rules: true, ..Naming::default() });
        // Alpine has no udev.
        assert_eq!(naming(&[], &[], ""), Naming { kernel: true, ..Naming::default() });
    }

    #[test]
    fn the_library_tells_the_version_of_systemd() {
        for (path, version) in [
            ("/usr/lib/systemd/libsystemd-shared-239.so", Some(239)),
            ("/usr/lib/systemd/libsystemd-shared-252-32.el9_4.so", Some(252)),
            ("/lib/systemd/libsystemd-shared-237.so", Some(237)),
            ("/usr/bin/udevadm", None),
        ] {
            assert_eq!(super::version(&[path.to_owned()]), version, "{path}");
        }
    }

    #[test]
    fn the_library_is_looked_for_wherever_distributions_have_it() {
        let (_, folders) = SIGNS.rsplit_once('{').expect("a list of folders");
        let (folders, rest) = folders.split_once('}').expect("its end");
        assert_eq!(rest, "/systemd/libsystemd-shared-*.so}");
        let folders: Vec<_> = folders.split(',').collect();
        for folder in ["lib", "lib64", "usr/lib", "usr/lib64", "usr/lib/*"] {
            assert!(folders.contains(&folder), "{folder}");
        }
    }

    #[test]
    fn a_default_that_names_nothing_is_a_mask() {
        let link = "/etc/systemd/network/99-default.link";
        assert!(is_masked(link, "") && is_masked(link, "[Link]\nNamePolicy=keep kernel\n"));
        assert!(!is_masked(link, "[Match]\nOriginalName=*\n[Link]\nNamePolicy=keep path\n"));
        let rules = "/etc/udev/rules.d/80-net-setup-link.rules";
        assert!(is_masked(rules, "# nothing\n\n") && !is_masked(rules, "SUBSYSTEM==\"net\"\n"));
    }
}
