//! The files of a guest that speak of its network.

use std::collections::BTreeSet;
use std::fs;

use crate::convert::Error;
use crate::convert::native::guestfs::Guestfs;

use super::forms::{Form, Text, text_of};

/// Largest lease and largest file in another encoding than UTF-8, in bytes.
const LARGEST: u64 = 1 << 20;
/// How deep files of ifupdown may name further files, and how many names a level may have.
const DEEPEST: usize = 4;
const MOST_SOURCES: usize = 32;
/// Most files that are read, and most bytes of them all.
const MOST_FILES: usize = 1_000;
const MOST_BYTES: usize = 32 << 20;

/// Every form in use and where its files lie. One pattern a form, so that the appliance is asked
/// once for each.
const FILES: [(Form, &str); 27] = [
    (Form::Ifupdown, "/etc/network/interfaces"),
    (Form::Ifupdown, "/etc/network/interfaces.d/*"),
    (Form::Netplan, "/etc/netplan/*.{yaml,yml}"),
    (Form::Profile, "/etc/NetworkManager/system-connections/*"),
    (Form::NetworkManagerConf, "/etc/NetworkManager/{NetworkManager.conf,conf.d/*.conf}"),
    (Form::Ifcfg, "/etc/sysconfig/{network-scripts,network}/ifcfg-*"),
    (Form::Network, "/{etc,usr/lib}/systemd/network/{*.network,*.network.d/*.conf}"),
    (Form::NetDev, "/{etc,usr/lib}/systemd/network/*.netdev"),
    (Form::Link, "/{etc,usr/lib}/systemd/network/*.link"),
    (Form::Rules, "/etc/udev/rules.d/*.rules"),
    (Form::Wicked, "/etc/wicked/ifconfig/*.xml"),
    (Form::DhclientConf, "/etc/{dhcp/,}dhclient*.conf"),
    (Form::DhcpcdConf, "/etc/dhcpcd.conf"),
    (Form::Mactab, "/etc/{mactab,iftab}"),
    (Form::CloudInit, "/etc/cloud/{cloud.cfg,cloud.cfg.d/*.cfg}"),
    (Form::CloudInstance, "/var/lib/cloud/{seed/*/network-config,instance/network-config.json}"),
    (Form::Netctl, "/etc/netctl/*"),
    (Form::Netifrc, "/etc/conf.d/net"),
    (Form::Etcnet, "/etc/net/ifaces/*/options"),
    (Form::Nmstate, "/etc/nmstate/*.{yml,yaml}"),
    (Form::Service, "/etc/systemd/system/*.wants/{dhcpcd,dhclient,ifup,netctl-ifplugd}@*.service"),
    (
        Form::CommandLine,
        "/{boot,boot/efi,efi}/{grub/grub.cfg,grub2/grub.cfg,grub2/grubenv,grub/menu.lst,\
         grub/grub.conf,loader/entries/*.conf,extlinux/extlinux.conf,EFI/*/grub.cfg,\
         syslinux/syslinux.cfg,cmdline.txt}",
    ),
    (Form::CommandLine, "/etc/kernel/cmdline"),
    (Form::DhclientLeases, "/var/lib/{dhcp,dhcp3,dhclient}/dhclient*.lease*"),
    (Form::NetworkManagerLease, "/var/lib/NetworkManager/*.lease"),
    (Form::WickedLease, "/var/lib/wicked/lease-*.xml"),
    (Form::DhcpcdLease, "/var/lib/{dhcpcd,dhcpcd5}/*.lease"),
];

/// A file, and whether it may be edited: one that is not UTF-8 is read and left as it is.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) text: Text,
    pub(super) is_editable: bool,
}

/// Reads all files, in the order in which systems read them.
pub(super) async fn read(guestfs: &mut Guestfs) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (form, pattern) in FILES {
        let paths = guestfs.glob(pattern).await?;
        add(guestfs, form, paths, (&mut seen, &mut found)).await?;
    }
    for _ in 0..DEEPEST {
        let ifupdown = found.iter().filter(|found| found.text.form == Form::Ifupdown);
        let texts: Vec<_> = ifupdown.map(|found| &found.text).collect();
        let sources = super::forms::read(&texts).into_iter().flat_map(|says| says.sources);
        let is_new = |source: &String| source.starts_with("/etc/") && !seen.contains(source);
        let sources: BTreeSet<_> = sources.filter(is_new).collect();
        for source in sources.into_iter().take(MOST_SOURCES) {
            seen.insert(source.clone());
            let paths = guestfs.glob(&source).await?;
            add(guestfs, Form::Ifupdown, paths, (&mut seen, &mut found)).await?;
        }
    }
    Ok(found)
}

async fn add(
    guestfs: &mut Guestfs,
    form: Form,
    mut paths: Vec<String>,
    (seen, found): (&mut BTreeSet<String>, &mut Vec<Found>),
) -> Result<(), Error> {
    paths.sort();
    // A file in /etc takes the place of one of its name in /usr/lib.
    let own: BTreeSet<_> = paths.iter().filter_map(|path| path.strip_prefix("/etc/")).collect();
    let is_hidden =
        |path: &&String| path.strip_prefix("/usr/lib/").is_some_and(|rest| own.contains(rest));
    let paths: Vec<_> = paths.iter().filter(|path| !is_hidden(path)).cloned().collect();
    for path in paths {
        let bytes: usize = found.iter().map(|found| found.text.text.len()).sum();
        let is_enough = found.len() >= MOST_FILES || bytes >= MOST_BYTES;
        if is_enough || !form.is_read(&path) || !seen.insert(path.clone()) {
            continue;
        }
        if let Some((text, is_editable)) = text(guestfs, form, &path).await? {
            found.push(Found { text: Text { form, path, text }, is_editable });
        }
    }
    Ok(())
}

async fn text(
    guestfs: &mut Guestfs,
    form: Form,
    path: &str,
) -> Result<Option<(String, bool)>, Error> {
    // The link alone tells the interface.
    if form == Form::Service {
        return Ok(Some((String::new(), false)));
    }
    if !form.is_binary()
        && let Some(text) = guestfs.read(path).await?
    {
        return Ok(Some((text, true)));
    }
    let is_small = guestfs.is_file(path).await?
        && guestfs.ask(&["filesize", path]).await?.parse().is_ok_and(|size: u64| size <= LARGEST);
    if !is_small {
        return Ok(None);
    }
    let local = guestfs.fetch(path).await?;
    let bytes = fs::read(&local).map_err(Error::io(format!("read {}", local.display())))?;
    Ok(Some((text_of(&bytes), false)))
}
