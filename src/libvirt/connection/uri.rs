//! The parts of connection URIs (<https://libvirt.org/uri.html>).

use url::Url;

/// Transport of `uri`: `unix`, `ssh`, `tls`, …; empty for an invalid URI. A host without a
/// transport means TLS.
pub(in crate::libvirt) fn transport(uri: &str) -> String {
    let Ok(url) = Url::parse(uri) else { return String::new() };
    let named = url.scheme().split_once('+').map_or("", |(_, transport)| transport);
    match (named, url.host_str().unwrap_or_default()) {
        ("", "") => "unix".to_owned(),
        ("", _) => "tls".to_owned(),
        (named, _) => named.to_owned(),
    }
}

/// Host of `uri`, an IPv6 address without its brackets; empty if the URI has none.
pub(in crate::libvirt) fn host(uri: &str) -> String {
    let url = Url::parse(uri).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    host.trim_matches(['[', ']']).to_owned()
}

/// User name in `uri`; empty if the URI has none.
pub(in crate::libvirt) fn user(uri: &str) -> String {
    Url::parse(uri).map(|url| url.username().to_owned()).unwrap_or_default()
}

/// Whether the daemon at `uri` runs on this machine. False for an invalid URI.
pub(in crate::libvirt) fn is_local(uri: &str) -> bool {
    transport(uri) == "unix" && host(uri).is_empty()
}

/// Whether the daemon at `uri` is a user's session daemon. False for an invalid URI.
pub(in crate::libvirt) fn is_session(uri: &str) -> bool {
    Url::parse(uri).is_ok_and(|url| url.path() == "/session")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_the_daemon_is_known() {
        for (uri, way, at) in [
            ("qemu:///system", "unix", ""),
            ("qemu+unix:///system?socket=/run/x", "unix", ""),
            ("qemu://host/system", "tls", "host"),
            ("qemu+ssh://me@[fd00::1]:22/system", "ssh", "fd00::1"),
            ("qemu+libssh2://h/system", "libssh2", "h"),
            ("system", "", ""),
        ] {
            assert_eq!((transport(uri).as_str(), host(uri).as_str()), (way, at), "{uri}");
        }
    }
}
