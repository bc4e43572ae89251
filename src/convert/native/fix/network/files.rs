//! Reads the files of a guest that concern its network.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::convert::Error;
use crate::convert::native::guestfs::Guestfs;

use super::forms::{Form, Text, text_of};

/// Largest lease and largest file in another encoding than UTF-8, in bytes.
const LARGEST: u64 = 1 << 20;
/// Deepest nesting of included ifupdown files, and most names per level.
const DEEPEST: usize = 4;
const MOST_SOURCES: usize = 32;
/// Most files that are read, and most bytes of all files together.
const MOST_FILES: usize = 1_000;
const MOST_BYTES: usize = 32 << 20;

/// Folders in which a file replaces one of the same name in a later folder.
const PRECEDENCE: [&str; 4] = ["/etc/", "/usr/local/lib/", "/usr/lib/", "/lib/"];
/// Folders that contain no files of the guest, so that ifupdown's references into them are ignored.
const NO_FILES: [&str; 4] = ["/dev/", "/proc/", "/run/", "/sys/"];

/// All forms with the paths of their files. One pattern per form, so that the appliance is asked
/// once for each.
const FILES: [(Form, &str); 29] = [
    (Form::Ifupdown, "/etc/network/interfaces"),
    (Form::Ifupdown, "/etc/network/interfaces.d/*"),
    // netplan reads no other ending.
    (Form::Netplan, "/{etc,usr/lib,lib}/netplan/*.yaml"),
    (Form::Profile, "/{etc,usr/lib}/NetworkManager/system-connections/*"),
    (
        Form::NetworkManagerConf,
        "/{etc/NetworkManager/NetworkManager.conf,{etc,usr/lib}/NetworkManager/conf.d/*.conf}",
    ),
    (Form::Ifcfg, "/etc/sysconfig/{network-scripts,network}/ifcfg-*"),
    (
        Form::Network,
        "/{etc,usr/local/lib,usr/lib,lib}/systemd/network/{*.network,*.network.d/*.conf}",
    ),
    (Form::NetDev, "/{etc,usr/local/lib,usr/lib,lib}/systemd/network/*.netdev"),
    (Form::Link, "/{etc,usr/local/lib,usr/lib,lib}/systemd/network/{*.link,*.link.d/*.conf}"),
    // Distributions have dozens of rules; those that name cards have file names that show it.
    (
        Form::Rules,
        "/{etc/udev/rules.d/*.rules,{usr/local/lib,usr/lib,lib}/udev/rules.d/*net*.rules}",
    ),
    (Form::Wicked, "/etc/wicked/ifconfig/*.xml"),
    (Form::DhclientConf, "/etc/{dhcp/,}dhclient*.conf"),
    (Form::DhcpcdConf, "/etc/dhcpcd.conf"),
    (Form::Mactab, "/etc/{mactab,iftab}"),
    (Form::CloudInit, "/etc/cloud/{cloud.cfg,cloud.cfg.d/*.cfg}"),
    (Form::CloudInstance, "/var/lib/cloud/{seed/*/network-config,instance/network-config.json}"),
    (Form::Netctl, "/etc/netctl/*"),
    (Form::Netifrc, "/etc/conf.d/net"),
    (Form::Slackware, "/etc/rc.d/rc.inet1.conf"),
    (Form::Service, "/etc/{init.d,runlevels/*}/net.*"),
    (Form::Etcnet, "/etc/net/ifaces/*/options"),
    (Form::Nmstate, "/etc/nmstate/*.{yml,yaml}"),
    (Form::Service, "/etc/systemd/system/*.wants/{dhcpcd,dhclient,ifup,netctl-ifplugd}@*.service"),
    (
        Form::CommandLine,
        "/{boot,boot/efi,efi}/{grub/grub.cfg,grub2/grub.cfg,grub2/grubenv,grub/menu.lst,\
         grub/grub.conf,loader/entries/*.conf,extlinux/extlinux.conf,EFI/*/grub.cfg,\
         EFI/*/grub.conf,syslinux/syslinux.cfg,cmdline.txt}",
    ),
    (Form::CommandLine, "/etc/kernel/cmdline"),
    (Form::DhclientLeases, "/var/lib/{dhcp,dhcp3,dhclient}/dhclient*.lease*"),
    (Form::NetworkManagerLease, "/var/lib/NetworkManager/*.lease"),
    (Form::WickedLease, "/var/lib/wicked/lease-*.xml"),
    (Form::DhcpcdLease, "/var/lib/{dhcpcd,dhcpcd5}/*.lease"),
];

/// A file, and whether it may be edited: a file that is not UTF-8 is read and never changed.
#[derive(Debug, Clone)]
pub(super) struct NetworkFile {
    pub(super) text: Text,
    pub(super) is_editable: bool,
}

/// Reads all files, in the order in which systems read them.
pub(super) async fn read(guestfs: &mut Guestfs) -> Result<Vec<NetworkFile>, Error> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (form, pattern) in FILES {
        let paths = guestfs.glob(pattern).await?;
        add(guestfs, form, paths, &mut seen, &mut found).await?;
    }
    for _ in 0..DEEPEST {
        let ifupdown = found.iter().filter(|found| found.text.form == Form::Ifupdown);
        let texts: Vec<_> = ifupdown.map(|found| &found.text).collect();
        let sources = super::forms::read(&texts).into_iter().flat_map(|says| says.sources);
        let is_file = |source: &str| {
            source.starts_with('/') && !NO_FILES.iter().any(|folder| source.starts_with(folder))
        };
        let is_new = |source: &String| is_file(source) && !seen.contains(source);
        let sources: BTreeSet<_> = sources.filter(is_new).collect();
        for source in sources.into_iter().take(MOST_SOURCES) {
            seen.insert(source.clone());
            let paths = guestfs.glob(&source).await?;
            add(guestfs, Form::Ifupdown, paths, &mut seen, &mut found).await?;
        }
    }
    Ok(found)
}

async fn add(
    guestfs: &mut Guestfs,
    form: Form,
    paths: Vec<String>,
    seen: &mut BTreeSet<String>,
    found: &mut Vec<NetworkFile>,
) -> Result<(), Error> {
    for path in in_effect(paths) {
        let bytes: usize = found.iter().map(|found| found.text.text.len()).sum();
        let is_enough = found.len() >= MOST_FILES || bytes >= MOST_BYTES;
        if is_enough || !form.is_read(&path) || !seen.insert(path.clone()) {
            continue;
        }
        if let Some((text, is_editable)) = text(guestfs, form, &path).await? {
            found.push(NetworkFile { text: Text { form, path, text }, is_editable });
        }
    }
    Ok(())
}

/// The paths of files that are in effect, in the order in which systems read them: by file name,
/// whatever the folder.
fn in_effect(paths: Vec<String>) -> Vec<String> {
    let mut chosen: BTreeMap<(String, String), (usize, String)> = BTreeMap::new();
    for path in paths {
        let below = |(rank, folder): (usize, &&str)| Some((rank, path.strip_prefix(*folder)?));
        let (rank, rest) = PRECEDENCE.iter().enumerate().find_map(below).unwrap_or((0, &path));
        let file = rest.rsplit('/').next().unwrap_or(rest).to_owned();
        let own = chosen.entry((file, rest.to_owned())).or_insert_with(|| (rank, path.clone()));
        if rank < own.0 {
            *own = (rank, path);
        }
    }
    chosen.into_values().map(|(_, path)| path).collect()
}

async fn text(
    guestfs: &mut Guestfs,
    form: Form,
    path: &str,
) -> Result<Option<(String, bool)>, Error> {
    // The link's name alone contains the interface.
    if form == Form::Service {
        return Ok(Some((String::new(), false)));
    }
    if !form.is_binary()
        && let Some(text) = guestfs.read(path).await?
    {
        return Ok(Some((text, true)));
    }
    let Some(local) = guestfs.fetch(path, LARGEST).await? else { return Ok(None) };
    let bytes = fs::read(&local).map_err(Error::io(format!("reading {}", local.display())))?;
    Ok(Some((text_of(&bytes), false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_takes_the_place_of_those_of_its_name() {
        let paths = |all: &[&str]| all.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        let found = in_effect(paths(&[
            "/etc/systemd/network/20-x.network",
            "/lib/systemd/network/20-x.network",
            "/lib/systemd/network/10-y.network",
            "/usr/lib/systemd/network/10-y.network",
            "/usr/local/lib/systemd/network/10-y.network",
            "/usr/lib/systemd/network/20-x.network.d/50.conf",
            "/usr/lib/systemd/network/30-z.network.d/50.conf",
        ]));
        let right = [
            "/usr/local/lib/systemd/network/10-y.network",
            "/etc/systemd/network/20-x.network",
            "/usr/lib/systemd/network/20-x.network.d/50.conf",
            "/usr/lib/systemd/network/30-z.network.d/50.conf",
        ];
        assert_eq!(found, right);
    }

    #[test]
    fn every_folder_that_systems_read_is_looked_into() {
        let is_there = |form: Form, parts: &[&str]| {
            let own = FILES.iter().filter(|(own, _)| *own == form);
            parts.iter().all(|part| own.clone().any(|(_, pattern)| pattern.contains(part)))
        };
        let lib = "usr/local/lib,usr/lib,lib}";
        assert!(is_there(Form::Netplan, &["etc,usr/lib,lib}"]));
        assert!(!is_there(Form::Netplan, &["yml"]), "netplan reads *.yaml alone");
        assert!(is_there(Form::Profile, &["usr/lib}"]));
        assert!(is_there(Form::NetworkManagerConf, &["usr/lib}/NetworkManager/conf.d"]));
        assert!(is_there(Form::Network, &[lib, "*.network.d/*.conf"]));
        assert!(is_there(Form::Link, &[lib, "*.link.d/*.conf"]));
        assert!(is_there(Form::NetDev, &[lib]) && is_there(Form::Rules, &[lib]));
    }
}
