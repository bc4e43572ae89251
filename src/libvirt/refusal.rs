//! Classifies why a connection to libvirt was refused. Only this module interprets libvirt's error
//! codes and the messages of ssh.
//!
//! A daemon that cannot be reached may be available later. A daemon that rejects the connection
//! will reject it again, and so will one with an unknown error. A connection therefore counts as
//! unreachable only if the message says so.
//!
//! libvirt's messages are in English, since this program never calls `setlocale`. So are those of
//! `ssh`, which libvirt starts with `LC_ALL=C`. The shell on the remote host may use another
//! language: of its messages only the names of programs count.

use std::path::PathBuf;

use virt::error::ErrorNumber;

use super::connection::{ssh, uri};

/// Reason why a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The host does not respond, or its port is closed.
    Unreachable,
    /// The host responds, but no libvirt daemon runs on it.
    NotRunning,
    /// The host name cannot be resolved.
    Name,
    /// The host key is not in `known_hosts`.
    HostKeyUnknown,
    /// The host key has changed.
    HostKeyChanged,
    /// ssh rejects the user's login.
    Login,
    /// The private key that the URI names cannot be read.
    KeyMissing,
    /// Other users may access the private key or the ssh configuration.
    KeyOpen,
    /// The user may not open the daemon's socket.
    Socket,
    /// polkit denied access to the daemon.
    Policy,
    /// The daemon asks for a user name and a password.
    Password,
    /// A certificate is missing, or one side rejects the certificate of the other.
    Certificate,
    /// The remote host lacks the program that relays the connection to the daemon.
    Relay,
    /// The login prints text, which libvirt mistakes for the daemon's answer.
    Chatter,
    /// The program named in the URI, or `ssh`, is not installed on this machine.
    Program,
    /// The daemon or its QEMU driver is not installed.
    Driver,
    /// Any other reason.
    Other,
}

impl Refusal {
    /// Why libvirt did not open `uri`.
    pub(super) fn of(uri: &str, error: &virt::error::Error) -> Self {
        let denied = error.code().is_any(vec![
            ErrorNumber::AuthFailed,
            ErrorNumber::AuthCancelled,
            ErrorNumber::AuthUnavailable,
            ErrorNumber::AccessDenied,
        ]);
        if error.code().is(ErrorNumber::NoConnect) {
            return Self::Driver;
        }
        match by_words(uri, error.message()) {
            Self::Other if denied => by_denial(uri),
            // libvirt's code for a denial never means this, whatever the message says.
            Self::Unreachable | Self::NotRunning if denied => by_denial(uri),
            refusal => refusal,
        }
    }

    /// Whether the daemon may become available later.
    pub(super) fn is_absence(self) -> bool {
        matches!(self, Self::Unreachable | Self::NotRunning)
    }

    /// Whether the daemon is running but denies access to this user.
    pub(super) fn is_permission(self) -> bool {
        matches!(self, Self::Socket | Self::Policy | Self::Password)
    }
}

/// A denial that only the error code shows.
fn by_denial(uri: &str) -> Refusal {
    match uri::transport(uri).as_str() {
        "libssh" | "libssh2" => Refusal::Login,
        "tcp" | "tls" => Refusal::Password,
        _ => Refusal::Policy,
    }
}

fn by_words(uri: &str, message: &str) -> Refusal {
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    // Messages about the daemon's socket: from libvirt, from netcat, and from libvirt's helper. The
    // helper may use the language of the remote host, but names the socket.
    let of_socket =
        says(&["connect socket to", "cannot connect to '", "unix connect failed", "-sock'"]);
    if says(&["IDENTIFICATION HAS CHANGED", "differs from stored identity"]) {
        Refusal::HostKeyChanged
    } else if says(&["Host key verification failed", "SSH host key for", "session host key"]) {
        Refusal::HostKeyUnknown
    } else if says(&[
        "Could not resolve hostname",
        "Unable to resolve address",
        "Name or service not known",
        "failure in name resolution",
    ]) {
        Refusal::Name
    } else if says(&["UNPROTECTED PRIVATE KEY", "Bad owner or permissions"]) {
        Refusal::KeyOpen
    } else if of_socket && says(&["Permission denied"]) {
        Refusal::Socket
    } else if says(&["system bus connection", "polkit", "denied by policy"]) {
        Refusal::Policy
    } else if is_login(uri, message) {
        let missing = says(&[
            "no such identity",
            "not accessible: No such file",
            "reading private key",
            "Unable to open private key",
        ]);
        if missing { Refusal::KeyMissing } else { Refusal::Login }
    } else if says(&["certificate", "Certificate", "TLS "]) {
        Refusal::Certificate
    } else if says(&["cannot execute binary", "Cannot find '"]) {
        Refusal::Program
    } else if says(&["received from server too large", "received from server too small"]) {
        Refusal::Chatter
    } else if says(&[
        "Connection refused",
        "onnection timed out",
        "peration timed out",
        "Timeout, server",
        "No route to host",
        "etwork is unreachable",
        "Host is down",
    ]) {
        // A daemon that has ended leaves a socket on which nobody listens.
        if of_socket { Refusal::NotRunning } else { Refusal::Unreachable }
    } else if of_socket && says(&["No such file or directory"]) {
        Refusal::NotRunning
    } else if !of_socket && relays(uri).iter().any(|relay| has_word(message, relay)) {
        Refusal::Relay
    } else if lacks_program(uri) {
        // libvirt may write to the connection before it reads the error: "Broken pipe", or "socket
        // is closed".
        Refusal::Program
    } else {
        Refusal::Other
    }
}

/// Whether the URI names a program that does not exist on this machine.
fn lacks_program(uri: &str) -> bool {
    let program = ssh::value(uri, "command").map(PathBuf::from);
    program.is_some_and(|program| program.is_absolute() && !program.exists())
}

/// Whether a login by ssh was rejected: by `ssh` itself, or by one of the libraries that libvirt
/// uses.
fn is_login(uri: &str, message: &str) -> bool {
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    match uri::transport(uri).as_str() {
        "ssh" => says(&["Permission denied", "Too many authentication failures"]),
        "libssh" | "libssh2" => {
            says(&["authentication failed", "failed to authenticate", "authenticate"])
        }
        _ => false,
    }
}

/// Programs that may relay the connection on the remote host, according to the URI.
fn relays(uri: &str) -> Vec<String> {
    if !uri::transport(uri).contains("ssh") {
        return Vec::new();
    }
    let own = ssh::value(uri, "netcat").unwrap_or_else(|| "nc".to_owned());
    vec!["virt-ssh-helper".to_owned(), own]
}

/// Whether `text` contains `word` as a separate word. The last component of a path counts too.
fn has_word(text: &str, word: &str) -> bool {
    let of_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let name = word.rsplit('/').next().unwrap_or(word);
    text.split(|c: char| !of_word(c))
        .map(|found| found.trim_end_matches('.'))
        .any(|found| found == word || found.rsplit('/').next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::{Refusal, by_denial, by_words};

    const SSH: &str = "qemu+ssh://me@kvm2:2222/system?keyfile=/k";

    /// Messages observed with libvirt 9.0 and 11.3, OpenSSH, dash, bash and netcat.
    #[test]
    fn a_daemon_that_says_no_is_told_from_one_that_is_not_there() {
        let reset = ": Connection reset by peer";
        for (message, refusal) in [
            ("ssh: connect to host kvm2 port 2222: Connection refused", Refusal::Unreachable),
            ("ssh: connect to host kvm2 port 22: Connection timed out", Refusal::Unreachable),
            ("ssh: connect to host kvm2 port 22: Operation timed out", Refusal::Unreachable),
            ("ssh: connect to host kvm2 port 22: No route to host", Refusal::Unreachable),
            ("ssh: connect to host kvm2 port 22: Network is unreachable", Refusal::Unreachable),
            (
                "channel 0: open failed: connect failed: Connection refused\r\nstdio forwarding \
                 failed\r\nConnection closed by UNKNOWN port 65535",
                Refusal::Unreachable,
            ),
            ("Connection timed out during banner exchange", Refusal::Unreachable),
            ("nc: unix connect failed: No such file or directory", Refusal::NotRunning),
            ("nc: unix connect failed: Connection refused", Refusal::NotRunning),
            (
                "virt-ssh-helper: cannot connect to '/run/libvirt/libvirt-sock': Failed to connect \
                 socket to '/run/libvirt/libvirt-sock': No such file or directory",
                Refusal::NotRunning,
            ),
            (
                "virt-ssh-helper: cannot connect to '/run/libvirt/libvirt-sock': Failed to connect \
                 socket to '/run/libvirt/libvirt-sock': Permission denied",
                Refusal::Socket,
            ),
            ("nc: unix connect failed: Permission denied", Refusal::Socket),
            ("me@kvm2: Permission denied (publickey,password).", Refusal::Login),
            ("Received disconnect from ::1: Too many authentication failures", Refusal::Login),
            (
                "Warning: Identity file /k not accessible: No such file or directory.\n\
                 me@kvm2: Permission denied (publickey).",
                Refusal::KeyMissing,
            ),
            (
                "WARNING: UNPROTECTED PRIVATE KEY FILE!\nPermissions 0644 for '/k' are too open.\n\
                 me@kvm2: Permission denied (publickey).",
                Refusal::KeyOpen,
            ),
            ("Bad owner or permissions on /home/me/.ssh/config", Refusal::KeyOpen),
            ("Host key verification failed.", Refusal::HostKeyUnknown),
            (
                "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key verification failed.",
                Refusal::HostKeyChanged,
            ),
            ("ssh: Could not resolve hostname kvm2: Name or service not known", Refusal::Name),
            (
                "ssh: Could not resolve hostname kvm2: Temporary failure in name resolution",
                Refusal::Name,
            ),
            ("sh: 1: nc: not found", Refusal::Relay),
            ("bash: Zeile 1: nc: Kommando nicht gefunden.", Refusal::Relay),
            ("zsh:1: command not found: virt-ssh-helper", Refusal::Relay),
            ("nc: invalid option -- 'U'", Refusal::Relay),
            (
                "virt-ssh-helper: Verbindung zu '/run/libvirt/libvirt-sock' nicht möglich: Keine \
                 Berechtigung",
                Refusal::Other,
            ),
            ("libvirt:  error : cannot execute binary /no/ssh: No such file", Refusal::Program),
            ("kex_exchange_identification: Connection closed by remote host", Refusal::Other),
            ("kex_exchange_identification: read: Connection reset by peer", Refusal::Other),
            ("Unable to negotiate with ::1 port 22: no matching host key type", Refusal::Other),
            ("", Refusal::Other),
        ] {
            for message in [
                format!("Cannot recv data: {message}{reset}"),
                format!("End of file while reading data: {message}: Input/output error"),
            ] {
                assert_eq!(by_words(SSH, &message), refusal, "{message}");
            }
        }
        let chatter = "packet 1416128879 bytes received from server too large, want 33554432";
        assert_eq!(by_words(SSH, chatter), Refusal::Chatter);
        let by = |program| format!("qemu+ssh://h/system?command={program}");
        for closed in ["internal error: client socket is closed", "Cannot write data: Broken pipe"]
        {
            assert_eq!(by_words(&by("/no/ssh"), closed), Refusal::Program);
            assert_eq!(by_words(&by("/bin/sh"), closed), Refusal::Other);
            assert_eq!(by_words(SSH, closed), Refusal::Other);
        }
    }

    const LIBRARY: &str = "qemu+libssh://me@kvm2/system";
    const TLS: &str = "qemu+tls://kvm2/system";
    const LOCAL: &str = "qemu:///system";

    fn all_are(cases: &[(&str, &str, Refusal)]) {
        for (uri, message, refusal) in cases {
            assert_eq!(by_words(uri, message), *refusal, "{message}");
        }
    }

    #[test]
    fn ports_and_certificates_have_words_of_their_own() {
        all_are(&[
            (
                "qemu+tcp://k/system",
                "unable to connect to server at 'k:16509': Connection refused",
                Refusal::Unreachable,
            ),
            (
                TLS,
                "unable to connect to server at 'kvm2:16514': Connection timed out",
                Refusal::Unreachable,
            ),
            (
                TLS,
                "Unable to resolve address 'kvm2' service '16514': Name or service not known",
                Refusal::Name,
            ),
            (
                TLS,
                "Cannot read CA certificate '/etc/pki/CA/cacert.pem': No such file or directory",
                Refusal::Certificate,
            ),
            (
                TLS,
                "authentication failed: Failed to verify peer's certificate",
                Refusal::Certificate,
            ),
            (
                TLS,
                "Cannot read from TLS channel: A TLS fatal alert has been received",
                Refusal::Certificate,
            ),
        ]);
    }

    #[test]
    fn the_libraries_of_ssh_have_words_of_their_own() {
        all_are(&[
            (
                LIBRARY,
                "libssh transport error: SSH host key for '127.0.0.1' (25:56) was not accepted",
                Refusal::HostKeyUnknown,
            ),
            (
                LIBRARY,
                "No user interaction callback provided: Can't verify the session host key",
                Refusal::HostKeyUnknown,
            ),
            (
                LIBRARY,
                "authentication failed: !!! SSH HOST KEY VERIFICATION FAILED !!!: Identity of host 'kvm2:22' differs from stored identity.",
                Refusal::HostKeyChanged,
            ),
            (
                LIBRARY,
                "libssh transport error: failed to authenticate: Access denied for 'publickey'.",
                Refusal::Login,
            ),
            (
                LIBRARY,
                "authentication failed: error while reading private key '/k'",
                Refusal::KeyMissing,
            ),
            (
                LIBRARY,
                "authentication failed: All provided authentication methods with credentials were rejected by the server",
                Refusal::Login,
            ),
        ]);
    }

    #[test]
    fn a_daemon_here_has_words_of_its_own() {
        all_are(&[
            (
                LOCAL,
                "Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or directory",
                Refusal::NotRunning,
            ),
            (
                LOCAL,
                "Failed to connect socket to '/var/run/libvirt/virtqemud-sock': Connection refused",
                Refusal::NotRunning,
            ),
            (
                LOCAL,
                "Failed to connect socket to '/var/run/libvirt/libvirt-sock': Permission denied",
                Refusal::Socket,
            ),
            (
                LOCAL,
                "internal error: Unable to get system bus connection: Could not connect: No such file or directory",
                Refusal::Policy,
            ),
            (
                LOCAL,
                "authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'",
                Refusal::Policy,
            ),
            (LOCAL, "authentication failed: access denied by policy", Refusal::Policy),
        ]);
    }

    #[test]
    fn a_code_alone_is_read_by_the_way_to_the_daemon() {
        for (uri, refusal) in [
            (LOCAL, Refusal::Policy),
            (SSH, Refusal::Policy),
            (LIBRARY, Refusal::Login),
            (TLS, Refusal::Password),
            ("qemu://kvm2/system", Refusal::Password),
        ] {
            assert_eq!(by_denial(uri), refusal, "{uri}");
        }
    }

    #[test]
    fn the_relay_is_the_one_of_the_uri() {
        let uri = "qemu+ssh://kvm2/system?netcat=/opt/bin/ncat";
        let said = |words: &str| by_words(uri, &format!("End of file while reading data: {words}"));
        assert_eq!(said("sh: 1: /opt/bin/ncat: not found"), Refusal::Relay);
        assert_eq!(said("sh: ncat: inaccessible or not found"), Refusal::Relay);
        assert_eq!(said("sh: 1: sync: not found"), Refusal::Other);
    }
}
