//! Readers of every form in which a guest names its network cards. Each reader is a function of a
//! text, reads what is certain, and ignores the rest.

mod cloud_init;
mod command_line;
mod commands;
mod dhcp;
mod ifcfg;
mod ifupdown;
mod keyfile;
mod minor;
mod netplan;
mod network_manager;
mod networkd;
mod shell;
mod together;
mod udev;
mod wicked;
mod yaml;

use super::claim::{ClaimRole, Says};

pub(super) use command_line::keeps_kernel_names;
pub(super) use together::settings;

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    CloudInit,
    /// The configuration that cloud-init stored for the instance.
    CloudInstance,
    CommandLine,
    DhclientConf,
    DhclientLeases,
    DhcpcdConf,
    DhcpcdLease,
    Etcnet,
    Ifcfg,
    Ifupdown,
    Link,
    Mactab,
    NetDev,
    Netctl,
    Netifrc,
    Netplan,
    Network,
    NetworkManagerConf,
    NetworkManagerLease,
    Nmstate,
    Profile,
    Rules,
    Service,
    Slackware,
    Wicked,
    WickedLease,
}

impl Form {
    /// Whether systems read a file of that path.
    pub(super) fn is_read(self, path: &str) -> bool {
        let file = path.rsplit('/').next().unwrap_or(path);
        let left_over = ["~", ".bak", ".old", ".orig", ".rpmsave", ".rpmnew", ".swp", ".dpkg-old"];
        match self {
            Self::Ifcfg => ifcfg::is_read(path),
            // systemd's own files select by kind and name no card.
            Self::Link | Self::Network | Self::NetDev if !path.starts_with("/etc/") => {
                !file.starts_with("80-")
                    && !["99-default.link", "73-usb-net-by-mac.link"].contains(&file)
            }
            Self::Profile | Self::Ifupdown | Self::Netctl => {
                !file.starts_with('.') && !left_over.iter().any(|end| file.ends_with(end))
            }
            Self::Service => !file.ends_with("@.service"),
            _ => true,
        }
    }

    /// Whether the file is a binary packet and no text.
    pub(super) fn is_binary(self) -> bool {
        self == Self::DhcpcdLease
    }
}

/// A file of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) form: Form,
    pub(super) path: String,
    pub(super) text: String,
}

impl Text {
    /// The name of the file, without its folder.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// The statements of each file, in their order.
pub(super) fn read(files: &[&Text]) -> Vec<Says> {
    let mut all: Vec<_> = files.iter().map(|file| one(file)).collect();
    together::join(files, &mut all);
    all
}

fn one(file: &Text) -> Says {
    let Text { form, path, text } = file;
    match form {
        Form::CloudInit => cloud_init::read(text),
        Form::CloudInstance => remembered(cloud_init::read(text)),
        Form::CommandLine => command_line::read(text),
        Form::DhclientConf => dhcp::dhclient_conf(text),
        Form::DhclientLeases => dhcp::dhclient_leases(text),
        Form::DhcpcdConf => dhcp::dhcpcd_conf(text),
        // Each byte of the packet is a character of the text.
        Form::DhcpcdLease => dhcp::dhcpcd_lease(path, &bytes(text)),
        Form::Etcnet => minor::etcnet(path, text),
        Form::Ifcfg => ifcfg::read(path, text),
        Form::Mactab => dhcp::mactab(text),
        Form::NetDev => networkd::netdev(text),
        Form::Netctl => minor::netctl(text),
        Form::Netifrc => minor::netifrc(text),
        // Files of these forms are read together.
        Form::Ifupdown | Form::Link | Form::Netplan | Form::Network => Says::default(),
        Form::NetworkManagerConf => network_manager::configuration(text),
        Form::NetworkManagerLease => dhcp::network_manager_lease(path, text),
        Form::Nmstate => minor::nmstate(text),
        Form::Profile => network_manager::profile(text),
        Form::Rules => udev::read(text),
        Form::Slackware => minor::slackware(text),
        Form::Service => minor::service(path),
        Form::Wicked => wicked::configuration(text),
        Form::WickedLease => wicked::lease(path, text),
    }
}

/// Converts bytes to a text: each byte becomes the character of its number.
pub(super) fn text_of(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(0)).collect()
}

/// A former configuration is evidence about cards and configures none.
fn remembered(mut says: Says) -> Says {
    says.claims.iter_mut().for_each(|claim| claim.role = ClaimRole::Remembers);
    says
}

/// Every form, for tests that try each.
#[cfg(any(test, fuzzing))]
pub(super) const ALL: [Form; 26] = [
    Form::CloudInit,
    Form::CloudInstance,
    Form::CommandLine,
    Form::DhclientConf,
    Form::DhclientLeases,
    Form::DhcpcdConf,
    Form::DhcpcdLease,
    Form::Etcnet,
    Form::Ifcfg,
    Form::Ifupdown,
    Form::Link,
    Form::Mactab,
    Form::NetDev,
    Form::Netctl,
    Form::Netifrc,
    Form::Netplan,
    Form::Network,
    Form::NetworkManagerConf,
    Form::NetworkManagerLease,
    Form::Nmstate,
    Form::Profile,
    Form::Rules,
    Form::Service,
    Form::Slackware,
    Form::Wicked,
    Form::WickedLease,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces that the forms consist of, and unexpected pieces.
    const PIECES: [&str; 58] = [
        "network:",
        "ethernets:",
        "  ",
        "\n",
        "ens192",
        ": ",
        "{",
        "}",
        "[",
        "]",
        "match:",
        "driver:",
        "vmxnet3",
        "name:",
        "macaddress:",
        "\"",
        "'",
        "00:50:56:aa:bb:01",
        "set-name",
        "- ",
        "&a",
        "*a",
        "[Match]",
        "Name=",
        "\\",
        "\\\n",
        "#",
        ";",
        "Path=pci-0000:0b:00.0",
        "[connection]",
        "parent=",
        "interface-name=",
        "[vlan]",
        "iface ",
        "auto ",
        "rename ",
        "mac/",
        "=",
        "/",
        "bridge_ports",
        "up ip link add",
        "KERNELS==",
        "NAME=",
        "ATTR{address}==",
        ",",
        "<interface>",
        "<name>",
        "</",
        "<lease>",
        "lease {",
        "interface ",
        "fixed-address",
        "é",
        "\u{feff}",
        "\r\n",
        "\0",
        "DEVICE=",
        "BONDING_SLAVE0=(",
    ];

    /// Every place that a reader returns must be within its text, whatever the text is.
    #[test]
    fn nonsense_does_no_harm() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |most: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % u64::try_from(most).expect("small")).expect("small")
        };
        for _ in 0..1_000 {
            let length = next(40);
            let text: String = (0..length).map(|_| PIECES[next(PIECES.len())]).collect();
            for form in ALL {
                let path = "/etc/sysconfig/network/ifcfg-eth0".to_owned();
                let says = read(&[&Text { form, path, text: text.clone() }]);
                for claim in says.iter().flat_map(|says| &says.claims) {
                    let names = claim.names.iter().map(|name| name.at.clone());
                    let macs = claim.macs.iter().map(|spot| spot.edit.at.clone());
                    let edits =
                        claim.hardware.iter().flat_map(|h| h.instead.iter().chain(&h.without));
                    for at in names.chain(macs).chain(edits.map(|edit| edit.at.clone())) {
                        let is_there =
                            at == super::super::claim::NOWHERE || text.get(at.clone()).is_some();
                        assert!(is_there, "{form:?}: {at:?} in {text:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn only_files_that_systems_read_are_read() {
        for (form, path, is_read) in [
            (Form::Profile, "/etc/NetworkManager/system-connections/a.nmconnection", true),
            (Form::Profile, "/etc/NetworkManager/system-connections/a.nmconnection~", false),
            (Form::Profile, "/etc/NetworkManager/system-connections/.a.swp", false),
            (Form::Network, "/usr/lib/systemd/network/80-container-host0.network", false),
            (Form::Network, "/usr/lib/systemd/network/20-vendor.network", true),
            (Form::Link, "/lib/systemd/network/99-default.link", false),
            (Form::Network, "/usr/local/lib/systemd/network/20-own.network", true),
            (Form::Network, "/etc/systemd/network/80-dhcp.network", true),
            (Form::Service, "/etc/systemd/system/multi-user.target.wants/dhcpcd@.service", false),
        ] {
            assert_eq!(form.is_read(path), is_read, "{path}");
        }
    }
}
