//! Logins over ssh, which never prompt, and commands for logging in by hand.
//!
//! libvirt starts `ssh` itself and reports only what ssh printed before it exited.

use std::borrow::Cow;

use url::Url;

use super::super::hint_words::word;
use super::uri;

/// The URL, if its transport starts the program `ssh`.
fn parse(uri: &str) -> Option<Url> {
    Url::parse(uri).ok().filter(|url| url.scheme().ends_with("+ssh"))
}

/// The URI with ssh in batch mode (`no_tty=1`), unless the URI sets `no_tty` itself. Otherwise a
/// run would wait for a password or for a confirmation of the host key.
pub(in crate::libvirt) fn in_batch_mode(uri: &str) -> Cow<'_, str> {
    match parse(uri) {
        Some(mut url) if url.query_pairs().all(|(name, _)| name != "no_tty") => {
            url.query_pairs_mut().append_pair("no_tty", "1");
            Cow::Owned(url.into())
        }
        _ => Cow::Borrowed(uri),
    }
}

/// A command that logs in as libvirt does, as far as the URI specifies it: `ssh -p 2222 me@kvm2`.
/// The user's ssh configuration, such as an alias or a jump host, applies to the command too.
pub(in crate::libvirt) fn login(uri: &str) -> String {
    let own = value(uri, "command").map_or_else(|| "ssh".to_owned(), |command| word(&command));
    format!("{own} {}", arguments(uri))
}

/// The command that installs the URI's key on the host, for logins without a password.
pub(in crate::libvirt) fn copy_key(uri: &str) -> String {
    format!("ssh-copy-id {}", arguments(uri))
}

/// Options and destination for `ssh` and `ssh-copy-id`.
fn arguments(uri: &str) -> String {
    let Ok(url) = Url::parse(uri) else { return String::new() };
    let key = value(uri, "keyfile").map(|file| format!("-i {} ", word(&file)));
    let port = url.port().map(|port| format!("-p {port} "));
    let user = match url.username() {
        "" => String::new(),
        user => format!("{user}@"),
    };
    format!("{}{}{user}{}", key.unwrap_or_default(), port.unwrap_or_default(), uri::host(uri))
}

/// Value of the parameter `name` in the query of the URI, if present.
pub(in crate::libvirt) fn value(uri: &str, name: &str) -> Option<String> {
    let url = Url::parse(uri).ok()?;
    url.query_pairs().find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
}

/// The host's name in the user's `known_hosts`. For an alias only ssh knows the name, and prints
/// it.
pub(in crate::libvirt) fn known_as(uri: &str, message: &str) -> String {
    let said = message.split_once("Host key for ").and_then(|(_, rest)| rest.split_once(" has"));
    if let Some((name, _)) = said {
        return name.to_owned();
    }
    let (host, port) = (uri::host(uri), Url::parse(uri).ok().and_then(|url| url.port()));
    port.map_or(host.clone(), |port| format!("[{host}]:{port}"))
}

#[cfg(test)]
mod tests {
    use super::{copy_key, in_batch_mode, known_as, login};

    #[test]
    fn ssh_never_asks_unless_it_is_told_to() {
        for (uri, opened) in [
            ("qemu+ssh://h/system", "qemu+ssh://h/system?no_tty=1"),
            (
                "qemu+ssh://root@h:22/system?keyfile=/k",
                "qemu+ssh://root@h:22/system?keyfile=/k&no_tty=1",
            ),
            ("qemu+ssh://h/system?no_tty=0", "qemu+ssh://h/system?no_tty=0"),
            ("qemu:///system", "qemu:///system"),
            ("qemu+tls://h/system", "qemu+tls://h/system"),
            ("qemu+libssh2://h/system", "qemu+libssh2://h/system"),
        ] {
            assert_eq!(in_batch_mode(uri), opened);
        }
    }

    #[test]
    fn a_login_by_hand_is_that_of_libvirt() {
        for (uri, arguments) in [
            ("qemu+ssh://kvm2/system", "kvm2"),
            ("qemu+ssh://root@[fd00::1]:2222/system?keyfile=/k", "-i /k -p 2222 root@fd00::1"),
            ("qemu+ssh://my_alias/system?keyfile=/my%20key", "-i \"/my key\" my_alias"),
        ] {
            assert_eq!(login(uri), format!("ssh {arguments}"));
            assert_eq!(copy_key(uri), format!("ssh-copy-id {arguments}"));
        }
        assert_eq!(login("qemu+ssh://h/system?command=/opt/ssh"), "/opt/ssh h");
    }

    #[test]
    fn a_host_is_known_by_the_name_that_ssh_says() {
        let uri = "qemu+ssh://kvm2:2222/system";
        assert_eq!(known_as(uri, "IDENTIFICATION HAS CHANGED"), "[kvm2]:2222");
        let said = "Host key for 10.0.0.7 has changed and you have requested strict checking.";
        assert_eq!(known_as("qemu+ssh://kvm2/system", said), "10.0.0.7");
    }
}
