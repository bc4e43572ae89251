//! The guest keeps its network. On KVM a card sits in another slot, so that `ens192` becomes
//! `enp1s0` and no configuration fits any more; its MAC address stays. So each name that the guest
//! knows is tied to the MAC address it was of, by a `.link` file of systemd (systemd.link(5)), or by
//! a rule of udev where there is no systemd. What selects a card by its driver or its slot is made
//! to select it by its MAC address.

mod configured;
mod match_by;

use serde::Serialize;

use crate::convert::Error;
use crate::convert::native::guestfs::Guestfs;
use crate::manifest::Manifest;
use crate::model::MacAddress;

use self::configured::{Configured, read};
use super::{Change, Report, change};

/// The files with a guest's network, in all the forms in use.
const FILES: [&str; 12] = [
    "/etc/network/interfaces",
    "/etc/network/interfaces.d/*",
    "/etc/netplan/*.yaml",
    "/etc/netplan/*.yml",
    "/etc/NetworkManager/system-connections/*",
    "/etc/sysconfig/network-scripts/ifcfg-*",
    "/etc/sysconfig/network/ifcfg-*",
    "/etc/systemd/network/*.network",
    "/etc/systemd/network/*.link",
    "/etc/udev/rules.d/*persistent-net.rules",
    "/etc/dhcp/dhclient.conf",
    "/etc/dhcpcd.conf",
];
/// The programs that read `.link` files.
const UDEV: [&str; 3] =
    ["/lib/systemd/systemd-udevd", "/usr/lib/systemd/systemd-udevd", "/usr/bin/udevadm"];

/// One network card of the guest, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::convert::native) struct Interface {
    pub(in crate::convert::native) mac: MacAddress,
    /// The name that the guest's configuration gives it.
    #[serde(rename = "before")]
    pub(in crate::convert::native) name: String,
    /// The name that it will have on KVM.
    after: String,
    /// What told that this name is of this address.
    known_by: &'static str,
    /// How it gets its addresses, as configured: `dhcp`, `192.0.2.7/24`, …
    addresses: Vec<String>,
    /// The file that keeps the name; none where the name needs no help.
    kept_by: Option<String>,
}

/// Sees to it that interfaces keep their names and configurations.
pub(super) async fn preserve(
    guestfs: &mut Guestfs,
    manifest: &Manifest,
    report: &mut Report<'_>,
) -> Result<(), Error> {
    let vm = manifest.source_vm();
    let macs: Vec<_> = vm.nics.iter().filter_map(|nic| nic.mac).collect();
    let mut found = Vec::new();
    for pattern in FILES {
        for path in guestfs.glob(pattern).await? {
            if let Some(text) = guestfs.read(&path).await? {
                found.extend(read(&path, &text));
                let only = macs.first().copied().filter(|_| macs.len() == 1);
                let mend = |text: &str| match_by::mac(&path, text, only);
                for lost in change(guestfs, ("network", &path), report, mend).await? {
                    let text = format!("{path} of the guest selects its network card by {lost}");
                    report.warn("guest-network-by-hardware", text);
                }
            }
        }
    }
    let known = vm.guest.network.unwrap_or_default();
    let assigned = assign(&configured::merge(found), &macs, &known.interfaces);
    if !assigned.in_doubt.is_empty() {
        let names = assigned.in_doubt.join(", ");
        report.warn(
            "guest-network-by-order",
            format!("which network card is which was taken from their order: look at {names}"),
        );
    }
    let systemd = any_file(guestfs, &UDEV).await?;
    for mut interface in assigned.interfaces {
        if needs_help(&interface) {
            let (path, text) = if systemd { link(&interface) } else { rule(&interface) };
            let old = guestfs.read(&path).await?.unwrap_or_default();
            if systemd {
                guestfs
                    .run("make a folder in the guest", &["mkdir-p", "/etc/systemd/network"])
                    .await?;
            }
            guestfs.write(&path, &format!("{}{text}", if systemd { "" } else { &old })).await?;
            let after = format!("{} keeps its name", interface.name);
            report.changes.push(Change::new("network", &path, "", &after));
            interface.kept_by = Some(path);
        }
        report.interfaces.push(interface);
    }
    Ok(())
}

async fn any_file(guestfs: &mut Guestfs, paths: &[&str]) -> Result<bool, Error> {
    for path in paths {
        if guestfs.is_file(path).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Names that the kernel gives by itself come out as before, since cards keep their order; so do
/// those that a rule of the guest's own ties to the MAC address.
fn needs_help(interface: &Interface) -> bool {
    !interface.name.starts_with("eth") && interface.known_by != OWN_RULE
}

fn link(interface: &Interface) -> (String, String) {
    let Interface { mac, name, .. } = interface;
    let path = format!("/etc/systemd/network/10-hyperexport-{name}.link");
    let text = format!(
        "# Written by hyperexport: the card has moved to another slot and keeps its name.\n\
         [Match]\nMACAddress={mac}\n\n[Link]\nName={name}\n"
    );
    (path, text)
}

fn rule(interface: &Interface) -> (String, String) {
    let Interface { mac, name, .. } = interface;
    let text = format!(
        "SUBSYSTEM==\"net\", ACTION==\"add\", ATTR{{address}}==\"{mac}\", NAME=\"{name}\"\n"
    );
    ("/etc/udev/rules.d/70-persistent-net.rules".to_owned(), text)
}

/// What a name is known by, the surest first.
const OWN_RULE: &str = "a rule of the guest";
const BY_MAC: &str = "its configuration";
const BY_ADDRESS: &str = "its address";
const ALONE: &str = "there is only one";
const BY_ORDER: &str = "the order of the cards";

/// Which name is of which card.
#[derive(Debug, Default)]
struct Assigned {
    interfaces: Vec<Interface>,
    /// Names that were given by order alone.
    in_doubt: Vec<String>,
}

/// Ties names to MAC addresses: what the configuration says, what the guest said when it ran, and
/// at last the order, in which VMware's slots and names grow alike.
fn assign(
    configured: &[Configured],
    macs: &[MacAddress],
    seen: &[crate::model::GuestInterface],
) -> Assigned {
    let mut assigned = Assigned::default();
    let mut free: Vec<MacAddress> = macs.to_vec();
    let mut open: Vec<&Configured> = Vec::new();
    for one in configured {
        let by_address = || {
            let has = |interface: &&crate::model::GuestInterface| {
                interface.addresses.iter().any(|address| one.has_address(address))
            };
            seen.iter().find(has).map(|interface| (interface.mac, BY_ADDRESS))
        };
        let by_mac = one.mac.map(|mac| (mac, if one.by_rule { OWN_RULE } else { BY_MAC }));
        match by_mac.or_else(by_address).filter(|(mac, _)| free.contains(mac)) {
            Some((mac, how)) => {
                free.retain(|other| *other != mac);
                assigned.interfaces.push(one.interface(mac, how));
            }
            None if one.mac.is_none() => open.push(one),
            // Of a card that the VM no longer has.
            None => {}
        }
    }
    open.sort_by_key(|one| natural(&one.name));
    let certain = open.len() == 1 && free.len() == 1;
    for (one, mac) in open.iter().zip(free) {
        let how = if certain { ALONE } else { BY_ORDER };
        assigned.interfaces.push(one.interface(mac, how));
        if !certain {
            assigned.in_doubt.push(one.name.clone());
        }
    }
    assigned
}

/// `ens9` before `ens192`.
fn natural(name: &str) -> (String, u64) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem.to_owned(), name[stem.len()..].parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::GuestInterface;

    fn mac(last: u8) -> MacAddress {
        format!("00:50:56:aa:bb:{last:02x}").parse().expect("an address")
    }

    fn named(name: &str) -> Configured {
        Configured { name: name.to_owned(), ..Configured::default() }
    }

    fn names(assigned: &Assigned) -> Vec<(&str, MacAddress, &str)> {
        let all = assigned.interfaces.iter();
        all.map(|one| (one.name.as_str(), one.mac, one.known_by)).collect()
    }

    #[test]
    fn one_name_and_one_card_belong_together() {
        let assigned = assign(&[named("ens192")], &[mac(1)], &[]);
        assert_eq!(names(&assigned), [("ens192", mac(1), ALONE)]);
        assert!(assigned.in_doubt.is_empty());
    }

    #[test]
    fn what_the_guest_said_goes_before_the_order() {
        let configured = [
            Configured { addresses: vec!["192.0.2.7/24".to_owned()], ..named("ens192") },
            named("ens224"),
            named("ens9"),
        ];
        let seen = [GuestInterface {
            mac: mac(3),
            addresses: vec!["fe80::1/64".to_owned(), "192.0.2.7/24".to_owned()],
            dhcp: None,
        }];
        let assigned = assign(&configured, &[mac(1), mac(2), mac(3)], &seen);
        assert_eq!(
            names(&assigned),
            [
                ("ens192", mac(3), BY_ADDRESS),
                ("ens9", mac(1), BY_ORDER),
                ("ens224", mac(2), BY_ORDER)
            ]
        );
        assert_eq!(assigned.in_doubt, ["ens9", "ens224"]);
    }

    #[test]
    fn a_card_that_is_gone_takes_nobodys_place() {
        let gone = Configured { mac: Some(mac(9)), ..named("ens161") };
        let assigned = assign(&[gone, named("ens192")], &[mac(1)], &[]);
        assert_eq!(names(&assigned), [("ens192", mac(1), ALONE)]);
    }

    #[test]
    fn the_names_of_the_kernel_need_no_help() {
        let assigned = assign(&[named("eth0"), named("ens192")], &[mac(1), mac(2)], &[]);
        let help: Vec<_> = assigned.interfaces.iter().map(needs_help).collect();
        assert_eq!(help, [true, false], "{assigned:?}");
    }
}
