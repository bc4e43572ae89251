//! Connection URIs (<https://libvirt.org/uri.html>), checked before libvirt sees them: its own
//! words for a missing part help nobody.

use url::Url;

use super::Error;

/// Transports that stay on this machine.
const LOCAL: [&str; 2] = ["", "unix"];

/// Checks a URI.
///
/// # Errors
/// [`Error::Uri`] with what is missing.
pub(super) fn check(uri: &str) -> Result<(), Error> {
    let wrong = |problem| Err(Error::Uri { uri: uri.to_owned(), problem });
    let Ok(url) = Url::parse(uri) else {
        return wrong("it does not have the form qemu://…");
    };
    let (driver, transport) = url.scheme().split_once('+').unwrap_or((url.scheme(), ""));
    if driver != "qemu" {
        return wrong("its driver is not qemu");
    }
    let host = url.host_str().unwrap_or_default();
    if !LOCAL.contains(&transport) && host.is_empty() {
        return wrong("it names no host");
    }
    if !matches!(url.path(), "/system" | "/session") {
        return wrong("it does not end with /system or /session");
    }
    Ok(())
}

/// Whether the daemon at `uri` runs on this machine. False for what is no URI.
pub(super) fn is_local(uri: &str) -> bool {
    Url::parse(uri).is_ok_and(|url| {
        let transport = url.scheme().split_once('+').map_or("", |(_, transport)| transport);
        LOCAL.contains(&transport) && url.host_str().unwrap_or_default().is_empty()
    })
}

/// Whether the daemon at `uri` is a user's own. False for what is no URI.
pub(super) fn is_session(uri: &str) -> bool {
    Url::parse(uri).is_ok_and(|url| url.path() == "/session")
}

/// Whether `uri` reaches another machine by TLS, which is what a host without a transport means.
pub(super) fn is_tls(uri: &str) -> bool {
    Url::parse(uri).is_ok_and(|url| {
        let transport = url.scheme().split_once('+').map_or("", |(_, transport)| transport);
        transport == "tls"
            || (transport.is_empty() && !url.host_str().unwrap_or_default().is_empty())
    })
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
    fn what_is_missing_is_said() {
        for (uri, problem) in [
            ("", "it does not have the form qemu://…"),
            ("system", "it does not have the form qemu://…"),
            ("qemu://", "it does not end with /system or /session"),
            ("qemu:///", "it does not end with /system or /session"),
            ("qemu://system", "it does not end with /system or /session"),
            ("qemu+ssh:///system", "it names no host"),
            ("xen:///system", "its driver is not qemu"),
            ("test:///default", "its driver is not qemu"),
        ] {
            let error = check(uri).expect_err(uri);
            assert_eq!(error.to_string(), format!("'{uri}' is no libvirt URI for QEMU: {problem}"));
            assert!(error.hint().expect("a hint").contains("qemu:///system"));
        }
    }
}
