//! Addresses of ESXi hosts. Leases name the hosts as vCenter knows them; behind a NAT or without
//! vCenter's DNS these names do not resolve correctly.

use std::str::FromStr;

use url::Url;

/// Address of one host, as `esx1.example.com=10.0.0.5` or `esx1.example.com=gateway:8443`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostMapping {
    /// Name of the host in leases, in lower case.
    name: String,
    /// URL to connect to instead.
    address: Url,
    /// Port, if the mapping has one.
    port: Option<u16>,
}

/// All mappings of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostMap(pub Vec<HostMapping>);

impl FromStr for HostMapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write it as NAME=ADDRESS or NAME=ADDRESS:PORT".to_owned();
        let (name, address) = text.split_once('=').ok_or_else(wrong)?;
        let address = Url::parse(&format!("https://{address}/")).map_err(|_| wrong())?;
        let is_address = address.path() == "/" && address.username().is_empty();
        if !address.has_host() || !is_address || name.is_empty() {
            return Err(wrong());
        }
        // The URL parser drops the default port.
        let port = text.ends_with(":443").then_some(443).or(address.port());
        Ok(Self { name: name.to_ascii_lowercase(), address, port })
    }
}

impl HostMap {
    /// Whether the host of `url` has a mapping.
    pub(super) fn names(&self, url: &Url) -> bool {
        self.0.iter().any(|one| Some(one.name.as_str()) == url.host_str())
    }

    /// Replaces the host of `url` by its address. Without a port in the mapping, the port stays.
    ///
    /// # Errors
    /// What is wrong with the address, as a verb phrase.
    pub(super) fn apply(&self, url: &mut Url) -> Result<(), &'static str> {
        let name = url.host_str().unwrap_or_default();
        let Some(found) = self.0.iter().find(|one| one.name == name) else { return Ok(()) };
        url.set_host(found.address.host_str()).map_err(|_| "has no usable host")?;
        match found.port {
            Some(port) => url.set_port(Some(port)).map_err(|()| "has no usable port"),
            None => Ok(()),
        }
    }
}

/// Hosts that a lease may name: the host of this name, and hosts in this domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSuffix(String);

impl FromStr for HostSuffix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write it as a domain, a host or an address".to_owned();
        // Parsed as the names in leases are.
        let host = text.strip_prefix('.').unwrap_or(text);
        let url = Url::parse(&format!("https://{host}/")).map_err(|_| wrong())?;
        let is_host = url.path() == "/" && url.username().is_empty() && url.port().is_none();
        let name = url.host_str().filter(|_| is_host && !host.ends_with('/'));
        name.map(|name| Self(name.to_owned())).ok_or_else(wrong)
    }
}

/// Allowed suffixes of NFC hosts; empty if any host is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NfcHosts(pub Vec<HostSuffix>);

impl NfcHosts {
    /// Whether disks may be downloaded from the host of `url`.
    pub(super) fn allow(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let is_below = |suffix: &str| {
            let front = host.strip_suffix(suffix).filter(|_| url.domain().is_some());
            front.is_some_and(|front| front.ends_with('.'))
        };
        self.0.is_empty() || self.0.iter().any(|suffix| host == suffix.0 || is_below(&suffix.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_led_to_its_address_and_others_are_not() {
        let map =
            ["ESX1.example.com=10.0.0.5", "esx2=gate:8443", "esx3=[fd00::1]", "esx5=gate:443"];
        let map = HostMap(map.iter().map(|one| one.parse().expect("a mapping")).collect());
        for (from, to) in [
            ("https://esx1.example.com/nfc/1/disk-0.vmdk", "https://10.0.0.5/nfc/1/disk-0.vmdk"),
            ("https://esx1.example.com:902/x", "https://10.0.0.5:902/x"),
            ("https://esx2/x", "https://gate:8443/x"),
            ("https://esx5:902/x", "https://gate/x"),
            ("https://esx3/x", "https://[fd00::1]/x"),
            ("https://esx4/x", "https://esx4/x"),
        ] {
            let mut url = Url::parse(from).expect("a URL");
            map.apply(&mut url).expect("led");
            assert_eq!(url.as_str(), to);
        }
    }

    #[test]
    fn a_lease_may_name_hosts_of_the_given_domains_alone() {
        let read = |list: &[&str]| {
            NfcHosts(list.iter().map(|one| one.parse().expect("a suffix")).collect())
        };
        let allows = |list: &NfcHosts, host: &str| {
            list.allow(&Url::parse(&format!("https://{host}:902/nfc/x")).expect("a URL"))
        };
        assert!(allows(&read(&[]), "anything.invalid"), "any without a list");
        let list = read(&["Example.com", ".lab.local", "10.0.0.5", "[fd00::1]"]);
        for host in ["example.com", "ESX1.example.COM", "a.b.lab.local", "10.0.0.5", "[fd00::1]"] {
            assert!(allows(&list, host), "{host}");
        }
        let bad =
            ["example.org", "badexample.com", "example.com.evil.org", "10.0.0.50", "[fd00::2]"];
        for host in bad.into_iter().chain(["1.10.0.0.5.evil", "localhost", "127.0.0.1"]) {
            assert!(!allows(&list, host), "{host}");
        }
        // A suffix of an IP address is not a domain.
        assert!(!allows(&read(&["0.0.5"]), "10.0.0.5"));
        for text in ["", ".", "a/b", "a:902", "u@h", "https://h"] {
            assert!(text.parse::<HostSuffix>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_mapping_is_refused() {
        for text in ["esx1", "=10.0.0.5", "esx1=", "esx1=a/b", "esx1=u@h", "esx1=h:port"] {
            assert!(text.parse::<HostMapping>().is_err(), "{text}");
        }
    }
}
