//! The kernel's command line: whether cards keep the kernel's own names, and the cards that it
//! names (dracut.cmdline(7), Linux nfsroot.rst).

use super::super::claim::{
    ClaimRole, Edit, MAC, MacSpot, NOWHERE, NameClaim, Says, Spot, mac, words as split,
};

/// Whether systemd leaves the kernel's names unchanged (systemd-udevd(8)). biosdevname does not
/// matter: it names no card of a virtual machine.
pub(in super::super) fn keeps_kernel_names(text: &str) -> bool {
    words(text).iter().any(|word| word.value == "net.ifnames=0")
}

/// The cards that parameters name. The initramfs reads them, before any configuration.
pub(super) fn read(text: &str) -> Says {
    let mut says = Says::default();
    for word in words(text) {
        let Some((key, value)) = word.value.split_once('=') else { continue };
        let fields = fields(value);
        match key {
            "ifname" => says.claims.extend(named(value, word.at.end)),
            "ip" => says.claims.extend(addressed(&fields)),
            "bootdev" => says.mention(spot(value)),
            // vlan=NAME:CARD, bond=NAME:CARD,CARD:OPTIONS and similar parameters.
            "vlan" | "bond" | "team" | "bridge" => {
                says.makes.extend(fields.first().map(|name| (*name).to_owned()));
                let cards = fields.get(1).copied().unwrap_or_default().split(',');
                cards.filter(|card| !card.is_empty()).for_each(|card| says.mention(spot(card)));
            }
            _ => {}
        }
    }
    // Several boot entries repeat the parameters.
    says.claims.dedup();
    says
}

/// `ifname=NAME:MAC`, which ends at `end`; dracut renames by it. A replaced address has the same
/// length, which matters in a block of GRUB's environment.
fn named(value: &str, end: usize) -> Option<NameClaim> {
    let (name, address) = value.split_once(':')?;
    let edit = Edit::new(end - address.len()..end, MAC);
    let is_plain = address.len() == MAC_LENGTH;
    let mac = mac(address).filter(|_| is_plain).map(|mac| MacSpot { mac, edit });
    let macs = mac.into_iter().collect();
    Some(NameClaim {
        role: ClaimRole::Renames,
        names: vec![spot(name)],
        macs,
        ..NameClaim::default()
    })
}

/// Length of a MAC address with colons.
const MAC_LENGTH: usize = 17;

/// `ip=CARD:METHOD[:MTU[:MAC]]` or `ip=CLIENT:PEER:GATEWAY:NETMASK:HOST:CARD:METHOD…`
fn addressed(fields: &[&str]) -> Option<NameClaim> {
    let is_long = fields.len() > 5;
    let card = if is_long { fields[5] } else { fields.first().filter(|_| fields.len() > 1)? };
    let client = is_long.then(|| fields[0].trim_matches(['[', ']'])).filter(|ip| !ip.is_empty());
    let address = client.map_or_else(|| "dhcp".to_owned(), ToOwned::to_owned);
    let claim = NameClaim { addresses: vec![address], ..NameClaim::named(spot(card)) };
    (!card.is_empty()).then_some(claim)
}

/// Fields between colons; colons within the brackets of an IPv6 address do not separate.
fn fields(value: &str) -> Vec<&str> {
    let mut is_inside = false;
    let is_end = move |c: char| {
        is_inside = c == '[' || is_inside && c != ']';
        c == ':' && !is_inside
    };
    value.split(is_end).collect()
}

fn spot(name: &str) -> Spot<String> {
    Spot::new(name.to_owned(), NOWHERE)
}

fn words(text: &str) -> Vec<Spot<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if !line.trim_start().starts_with('#') {
            found.extend(split(line, at, |c| c.is_whitespace() || "\"'".contains(c)));
        }
        at += line.len();
    }
    found
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
        assert_eq!(says.claims[0].macs[0].edit.at, 23..40);
        assert!(read("ifname=x").claims.is_empty());
    }

    #[test]
    fn cards_that_the_initramfs_configures_are_read() {
        let text = "linux /vmlinuz ip=192.0.2.7::192.0.2.1:255.255.255.0:web01:ens192:none \
                    ip=ens224:dhcp ip=dhcp ip=[2001:db8::7]::[2001:db8::1]:64::ens256:off \
                    vlan=vlan5:ens161 bond=bond0:p1p1,p1p2:mode=802.3ad bootdev=em1\n";
        let says = read(text);
        let seen: Vec<_> = says
            .claims
            .iter()
            .map(|claim| (claim.names[0].value.as_str(), claim.addresses.join(" ")))
            .collect();
        let none = String::new;
        let seen_rightly = [
            ("ens192", "192.0.2.7".to_owned()),
            ("ens224", "dhcp".to_owned()),
            ("ens256", "2001:db8::7".to_owned()),
            ("ens161", none()),
            ("p1p1", none()),
            ("p1p2", none()),
            ("em1", none()),
        ];
        assert_eq!(seen, seen_rightly);
        assert_eq!(says.makes, ["vlan5", "bond0"]);
        for text in ["ip=dhcp", "ip=", "ip=:::::", "ip=::::::dhcp", "vlan=", "bond=bond0:", "ip=[:"]
        {
            assert!(read(text).claims.is_empty(), "{text}");
        }
    }
}
