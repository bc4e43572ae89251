//! Checks connection URIs before libvirt parses them: libvirt's messages about a missing part are
//! of no help.

use percent_encoding::percent_decode_str;
use url::Url;

use super::super::Error;
use super::uri::{host, transport, user};

/// Transports that run no program of the URI's choice (libvirt, "Transports"); `ext` does.
const TRANSPORTS: [&str; 6] = ["unix", "ssh", "libssh2", "libssh", "tls", "tcp"];
/// Query parameters that a URI may have (libvirt, "Extra parameters"). Left out are `command` and
/// `netcat`, which name programs to run, and `name`, a URI that the daemon would open.
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
/// [`Error::Uri`] with the problem.
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
        // libvirt's parser and this one could read different transports from such a URI.
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

/// Checks a URI that comes from a file: it must not choose a program that runs on this machine.
///
/// # Errors
/// [`Error::Uri`] with the problem; [`Error::UriOfFile`].
pub fn check_from_file(uri: &str) -> Result<(), Error> {
    check(uri)?;
    let query = Url::parse(uri).ok().and_then(|url| url.query().map(str::to_owned));
    let query = query.unwrap_or_default();
    // libvirt splits the query at either character and ignores the case of parameters.
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

#[cfg(test)]
mod tests {
    use super::super::uri::is_local;
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
