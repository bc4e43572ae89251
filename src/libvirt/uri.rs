//! Connection URIs (<https://libvirt.org/uri.html>), checked before libvirt sees them: its own
//! words for a missing part help nobody.

use url::Url;

use super::Error;

/// Checks a URI.
///
/// # Errors
/// [`Error::Uri`] with what is missing.
pub(super) fn check(uri: &str) -> Result<(), Error> {
    let wrong = |problem| Err(Error::Uri { uri: uri.to_owned(), problem });
    let Ok(url) = Url::parse(uri) else {
        return wrong(if uri.contains("://[") && uri.contains('%') {
            "an address with a zone needs a name, in /etc/hosts or in ~/.ssh/config"
        } else {
            "it does not have the form qemu://…"
        });
    };
    if url.scheme().split('+').next() != Some("qemu") {
        return wrong("its driver is not qemu");
    }
    if transport(uri) != "unix" && host(uri).is_empty() {
        return wrong("it names no host");
    }
    if !matches!(url.path(), "/system" | "/session") {
        return wrong("it does not end with /system or /session");
    }
    Ok(())
}

/// How the daemon at `uri` is reached: `unix`, `ssh`, `tls`, … Empty for what is no URI. A host without a
/// transport means TLS.
pub(super) fn transport(uri: &str) -> String {
    let Ok(url) = Url::parse(uri) else { return String::new() };
    let named = url.scheme().split_once('+').map_or("", |(_, transport)| transport);
    match (named, url.host_str().unwrap_or_default()) {
        ("", "") => "unix".to_owned(),
        ("", _) => "tls".to_owned(),
        (named, _) => named.to_owned(),
    }
}

/// The host of `uri`, an address of IPv6 without its brackets; empty where there is none.
pub(super) fn host(uri: &str) -> String {
    let url = Url::parse(uri).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    host.trim_matches(['[', ']']).to_owned()
}

/// Who logs in at `uri`; empty where it does not say.
pub(super) fn user(uri: &str) -> String {
    Url::parse(uri).map(|url| url.username().to_owned()).unwrap_or_default()
}

/// Whether the daemon at `uri` runs on this machine. False for what is no URI.
pub(super) fn is_local(uri: &str) -> bool {
    transport(uri) == "unix" && host(uri).is_empty()
}

/// Whether the daemon at `uri` is a user's own. False for what is no URI.
pub(super) fn is_session(uri: &str) -> bool {
    Url::parse(uri).is_ok_and(|url| url.path() == "/session")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_uris_pass() {
        for (uri, local) in [
            ("qemu:///system", true),
            ("qemu:///session", true),
            ("qemu+unix:///system?socket=/run/x", true),
            ("qemu+ssh://root@host/system", false),
            ("qemu+ssh://host:2222/session?keyfile=/k", false),
            ("qemu://host/system", false),
            ("qemu+tls://[fd00::1]/system", false),
        ] {
            check(uri).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(is_local(uri), local, "{uri}");
        }
    }

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

    #[test]
    fn what_is_missing_is_said() {
        for (uri, problem) in [
            ("", "it does not have the form qemu://…"),
            ("system", "it does not have the form qemu://…"),
            ("qemu://", "it does not end with /system or /session"),
            ("qemu:///", "it does not end with /system or /session"),
            ("qemu://system", "it does not end with /system or /session"),
            ("qemu+ssh:///system", "it names no host"),
            ("xen:///system", "its driver is not qemu"),
            (
                "qemu+ssh://[fe80::1%25eth0]/system",
                "an address with a zone needs a name, in /etc/hosts or in ~/.ssh/config",
            ),
            ("test:///default", "its driver is not qemu"),
        ] {
            let error = check(uri).expect_err(uri);
            assert_eq!(error.to_string(), format!("'{uri}' is no libvirt URI for QEMU: {problem}"));
            assert!(error.hint().expect("a hint").contains("qemu:///system"));
        }
    }
}
