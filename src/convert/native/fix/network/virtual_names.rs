//! Which names of interfaces may be names of cards.

/// Longest name of an interface (Linux, IFNAMSIZ without the terminating zero).
const LONGEST: usize = 15;
/// Names of software interfaces, followed by a number, a separator or nothing.
const PREFIXES: [&str; 50] = [
    "bond",
    "team",
    "br",
    "vmbr",
    "xenbr",
    "ovsbr",
    "lxcbr",
    "lxdbr",
    "virbr",
    "docker",
    "podman",
    "cni",
    "vlan",
    "macvlan",
    "macvtap",
    "ipvlan",
    "vxlan",
    "geneve",
    "gre",
    "gretap",
    "erspan",
    "ip6gre",
    "ip6tnl",
    "ip6_vti",
    "ipip",
    "tunl",
    "sit",
    "vti",
    "tun",
    "tap",
    "utun",
    "wg",
    "ppp",
    "dummy",
    "ifb",
    "imq",
    "teql",
    "nlmon",
    "vrf",
    "veth",
    "vnet",
    "wlan",
    "wwan",
    "slip",
    "bat",
    "can",
    "vcan",
    "vmnet",
    "vboxnet",
    "wireguard",
];
/// Prefixes of software interfaces, followed by anything.
const STEMS: [&str; 12] = [
    "veth",
    "cali",
    "cilium",
    "lxc",
    "flannel",
    "kube-",
    "br-",
    "tailscale",
    "zt",
    "wlp",
    "wlx",
    "wwp",
];
/// Names that no card has.
const NAMES: [&str; 11] = [
    "lo",
    "none",
    "all",
    "default",
    "any",
    "null",
    "ovs-system",
    "docker_gwbridge",
    "nm-bond",
    "nm-bridge",
    "loopback",
];

/// Whether the kernel accepts the word as a name, in characters that every configuration accepts.
pub(super) fn is_valid(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    name.len() <= LONGEST && begins && name.chars().all(is_word)
}

/// Whether a name is of no interface to the outside: the loopback, or a word that stands for
/// several interfaces.
pub(super) fn is_no_interface(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Whether software is known to create interfaces of that name.
pub(super) fn is_well_known(name: &str) -> bool {
    let numbered = |prefix: &&str| {
        name.strip_prefix(*prefix).is_some_and(|rest| {
            rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_digit() || "-_".contains(c))
        })
    };
    NAMES.contains(&name)
        || PREFIXES.iter().any(numbered)
        || STEMS.iter().any(|stem| name.starts_with(stem))
}

/// The interface that `ens192.5` (a VLAN) or `ens192:1` (an alias) is on.
pub(super) fn base(name: &str) -> &str {
    name.split(['.', ':', '@']).next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_other_name_may_be_a_cards() {
        for name in [
            "ens192",
            "eth0",
            "em1",
            "p1p1",
            "lan0",
            "dmz0",
            "wan",
            "lan",
            "internal",
            "net_a",
            "net-b",
            "enp11s0",
            "eno16777984",
            "mgmt",
            "storage1",
            "branch",
            "bridge-side",
            "tunis",
            "client",
            "canal",
            "private",
        ] {
            assert!(is_valid(name) && !is_well_known(name), "{name}");
        }
    }

    #[test]
    fn interfaces_of_software_are_none() {
        for name in [
            "lo",
            "bond0",
            "br0",
            "br-int",
            "team1",
            "vlan100",
            "virbr0",
            "virbr0-nic",
            "veth1a2b",
            "docker0",
            "tun0",
            "tap-vpn",
            "wg0",
            "dummy0",
            "cali12345",
            "vmbr0",
            "wlan0",
            "wlp3s0",
            "ppp0",
            "sit0",
            "ip6tnl0",
            "vxlan42",
            "vmnet1",
            "vboxnet0",
            "wireguard",
            "all",
            "default",
            "none",
        ] {
            assert!(is_well_known(name), "{name}");
        }
    }

    #[test]
    fn what_the_kernel_refuses_is_no_name() {
        for name in
            ["", ".", "..", "a/b", "a b", "sixteen-letters-", "../../x", "-x", "é0", "%k", "$env"]
        {
            assert!(!is_valid(name), "{name}");
        }
    }

    #[test]
    fn vlans_and_aliases_are_on_a_card() {
        assert_eq!((base("ens192.5"), base("eth0:1"), base("lan0")), ("ens192", "eth0", "lan0"));
    }
}
