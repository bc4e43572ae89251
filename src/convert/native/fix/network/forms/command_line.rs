//! The kernel's command line: whether the kernel's own names of cards stay, and the cards that it
//! names (dracut.cmdline(7), Linux nfsroot.rst).

use super::super::claim::{Claim, Edit, MAC, MacSpot, NOWHERE, Role, Says, Spot, mac};

/// Whether systemd is told to leave the kernel's names (systemd-udevd(8)). biosdevname is another
/// matter: it names no card of a virtual machine.
pub(in super::super) fn keeps_kernel_names(text: &str) -> bool {
    parameters(text).any(|word| word == "net.ifnames=0")
}

/// The cards that parameters name. Initramfs reads them, before any configuration.
pub(super) fn read(text: &str) -> Says {
    let mut says = Says::default();
    for word in parameters(text) {
        if let Some(rest) = word.strip_prefix("ifname=") {
            let Some((name, address)) = rest.split_once(':') else { continue };
            let edit = Edit::new(NOWHERE, MAC);
            let macs = mac(address).map(|mac| MacSpot { mac, edit });
            let names = vec![Spot::new(name.to_owned(), NOWHERE)];
            let macs: Vec<_> = macs.into_iter().collect();
            says.claims.push(Claim { role: Role::Remembers, names, macs, ..Claim::default() });
        }
    }
    // Several boot entries say the same.
    says.claims.dedup();
    says
}

fn parameters(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.flat_map(|line| line.split(|c: char| c.is_whitespace() || "\"'".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_names_stay_where_the_line_says_so() {
        for text in [
            "linux /vmlinuz root=UUID=x ro net.ifnames=0 biosdevname=0 quiet\n",
            "GRUB_CMDLINE_LINUX=\"crashkernel=auto net.ifnames=0\"\n",
            "kernelopts=root=x net.ifnames=0\n",
        ] {
            assert!(keeps_kernel_names(text), "{text}");
        }
        for text in ["linux /vmlinuz net.ifnames=1\n", "# net.ifnames=0\n", "biosdevname=0\n"] {
            assert!(!keeps_kernel_names(text), "{text}");
        }
    }

    #[test]
    fn a_name_for_an_address_is_read() {
        let says = read("options ro ifname=lan0:00:50:56:aa:bb:01 ip=dhcp\n");
        assert_eq!(says.claims[0].names[0].value, "lan0");
        assert_eq!(says.claims[0].macs[0].mac.to_string(), "00:50:56:aa:bb:01");
        assert!(read("ifname=x").claims.is_empty());
    }
}
