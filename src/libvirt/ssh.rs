//! Logins over ssh: never a question that nobody answers, and the command that mends a refusal.
//!
//! libvirt starts `ssh` by itself; all that it tells is what ssh said before it ended.

use std::borrow::Cow;

use url::Url;

/// The URL, where its transport starts the program `ssh`.
fn parse(uri: &str) -> Option<Url> {
    Url::parse(uri).ok().filter(|url| url.scheme().ends_with("+ssh"))
}

/// The URI with ssh in batch mode (`no_tty=1`), unless it says itself what it wants: a run would
/// else wait for a password or for a word about the host key.
pub(super) fn in_batch_mode(uri: &str) -> Cow<'_, str> {
    match parse(uri) {
        Some(mut url) if url.query_pairs().all(|(name, _)| name != "no_tty") => {
            url.query_pairs_mut().append_pair("no_tty", "1");
            Cow::Owned(url.into())
        }
        _ => Cow::Borrowed(uri),
    }
}

/// What to type after ssh refused with these words, where they are known.
pub(super) fn hint(uri: &str, message: &str) -> Option<String> {
    let url = parse(uri)?;
    let host = url.host_str()?.trim_matches(['[', ']']);
    let port = url.port().map_or_else(String::new, |port| format!("-p {port} "));
    if message.contains("IDENTIFICATION HAS CHANGED") {
        let known = url.port().map_or(host.to_owned(), |port| format!("[{host}]:{port}"));
        return Some(format!(
            "the host has another key than before: ask its admin why; if that is right, forget \
             the old one: \"ssh-keygen -R '{known}'\""
        ));
    }
    if message.contains("Host key verification failed") {
        return Some(format!(
            "make the host known: 'ssh-keyscan {port}{host} >> ~/.ssh/known_hosts', and compare \
             its key with what 'ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub' says there"
        ));
    }
    if message.contains("Permission denied") {
        let key = url.query_pairs().find(|(name, _)| name == "keyfile");
        let key = key.map_or_else(String::new, |(_, file)| format!("-i {file} "));
        let user = match url.username() {
            "" => String::new(),
            user => format!("{user}@"),
        };
        return Some(format!(
            "let the key log in there without a password: 'ssh-copy-id {key}{port}{user}{host}' \
             (a key with a passphrase: 'ssh-add' before); ?keyfile=FILE in the URI names another"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{hint, in_batch_mode};

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
    fn a_refusal_names_the_command_that_mends_it() {
        let uri = "qemu+ssh://root@[fd00::1]:2222/system?keyfile=/k";
        let said = |message: &str| hint(uri, message).expect("known");
        assert!(
            said("Host key verification failed.").contains("ssh-keyscan -p 2222 fd00::1 >>"),
            "{}",
            said("Host key verification failed.")
        );
        assert!(
            said("root@fd00::1: Permission denied (publickey).")
                .contains("ssh-copy-id -i /k -p 2222 root@fd00::1'")
        );
        assert!(
            said("REMOTE HOST IDENTIFICATION HAS CHANGED! … Host key verification failed.")
                .contains("ssh-keygen -R '[fd00::1]:2222'")
        );
        assert_eq!(hint(uri, "Connection refused"), None);
        assert_eq!(hint("qemu:///system", "Permission denied"), None);
    }
}
