//! Connection URIs (<https://libvirt.org/uri.html>), checked before libvirt sees them: its own
//! words for a missing part help nobody.

use percent_encoding::percent_decode_str;
use url::Url;

use super::super::Error;

/// Ways to a daemon that run no program of the URI's choice (libvirt, "Transports"): `ext` does.
const TRANSPORTS: [&str; 6] = ["unix", "ssh", "libssh2", "libssh", "tls", "tcp"];
/// What a URI may say beyond that (libvirt, "Extra parameters"), but for `command` and `netcat`, which
/// name programs to run, and `name`, a URI that the daemon would open.
const PARAMETERS: [&str; 12] = [
    "keyfile",
    "known_hosts",
    "known_hosts_verify",
    "mode",
    "no_sanity",
    "no_tty",
    "no_verify",
    "pkipath",
    "proxy",
    "socket",
    "sshauth",
    "tls_priority",
];

/// Checks a URI.
///
/// # Errors
/// [`Error::Uri`] with what is missing.
pub(in crate::libvirt) fn check(uri: &str) -> Result<(), Error> {
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
    if !uri.bytes().all(|byte| byte.is_ascii_graphic()) {
        // The parser of libvirt and this one could take different words for the transport.
        return wrong("it has a blank or a control character");
    }
    if !TRANSPORTS.contains(&transport(uri).as_str()) {
        return wrong("its transport is none of unix, ssh, libssh2, libssh, tls and tcp");
    }
    if host(uri).starts_with('-') || user(uri).starts_with('-') {
        return wrong("its host or user begins with a dash, as an option of ssh does");
    }
    if transport(uri) != "unix" && host(uri).is_empty() {
        return wrong("it names no host");
    }
    if !matches!(url.path(), "/system" | "/session") {
        return wrong("it does not end with /system or /session");
    }
    Ok(())
}

/// Checks a URI that a file names: it must not choose a program that runs here.
///
/// # Errors
/// [`Error::Uri`] with what is wrong; [`Error::UriOfFile`].
pub fn check_from_file(uri: &str) -> Result<(), Error> {
    check(uri)?;
    let query = Url::parse(uri).ok().and_then(|url| url.query().map(str::to_owned));
    let query = query.unwrap_or_default();
    // libvirt parts them by either, whatever their case.
    let words = query.split(['&', ';']).filter(|word| !word.is_empty());
    let mut names = words.map(|word| word.split_once('=').map_or(word, |(name, _)| name));
    let is_known = |name: &str| {
        let name = percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
        PARAMETERS.contains(&name.as_str())
    };
    match names.all(is_known) {
        true => Ok(()),
        false => Err(Error::UriOfFile { uri: uri.to_owned() }),
    }
}

/// How the daemon at `uri` is reached: `unix`, `ssh`, `tls`, … Empty for what is no URI. A host without a
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

/// The host of `uri`, an address of IPv6 without its brackets; empty where there is none.
pub(in crate::libvirt) fn host(uri: &str) -> String {
    let url = Url::parse(uri).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    host.trim_matches(['[', ']']).to_owned()
}

/// Who logs in at `uri`; empty where it does not say.
pub(in crate::libvirt) fn user(uri: &str) -> String {
    Url::parse(uri).map(|url| url.username().to_owned()).unwrap_or_default()
}

/// Whether the daemon at `uri` runs on this machine. False for what is no URI.
pub(in crate::libvirt) fn is_local(uri: &str) -> bool {
    transport(uri) == "unix" && host(uri).is_empty()
}

/// Whether the daemon at `uri` is a user's own. False for what is no URI.
pub(in crate::libvirt) fn is_session(uri: &str) -> bool {
    Url::parse(uri).is_ok_and(|url| url.path() == "/session")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Hint;

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
    fn no_uri_runs_a_program_of_its_own() {
        for uri in [
            "qemu+ext://x/system?command=/tmp/x",
            "qemu+EXT:///system",
            "qemu+ext+ssh://h/system",
            "qemu+e\nxt://x/system",
            "qemu+ssh://-oProxyCommand=x/system",
            "qemu+ssh://-l@h/system",
            "qemu+libvirt://h/system",
        ] {
            assert!(check(uri).is_err(), "{uri}");
            assert!(check_from_file(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn a_file_names_no_program_and_a_user_may() {
        for query in [
            "command=/tmp/x",
            "Command=/tmp/x",
            "%63ommand=/tmp/x",
            "no_tty=1&netcat=/tmp/x",
            "no_tty=1;netcat=/tmp/x",
            "unknown",
        ] {
            let uri = format!("qemu+ssh://root@h/system?{query}");
            assert!(check(&uri).is_ok(), "{uri}");
            assert!(check_from_file(&uri).is_err(), "{uri}");
        }
        for uri in [
            "qemu:///system",
            "qemu+unix:///system?socket=/run/x",
            "qemu+ssh://h/session?keyfile=/k&no_tty=1&known_hosts=/h",
            "qemu+tls://h/system?pkipath=/p&no_verify=1",
        ] {
            check_from_file(uri).unwrap_or_else(|error| panic!("{error}"));
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
            assert_eq!(
                error.to_string(),
                format!("'{uri}' is not a libvirt URI for QEMU: {problem}")
            );
            assert!(error.hint().expect("a hint").contains("qemu:///system"));
        }
    }
}
