//! Suggests the command to run after a connection to libvirt was refused.

use super::connection::{ssh, uri};
use super::hint_words::word;
use super::refusal::Refusal;

/// Advice for a user whom a daemon on this machine denies access.
pub(super) const GROUP: &str = "add yourself to the group libvirt ('sudo usermod -aG libvirt $USER', then log in \
     again), or use your own daemon with --libvirt-uri qemu:///session";

/// Suggests how to solve the refusal.
pub(super) fn of(why: Refusal, uri: &str, message: &str) -> String {
    let host = uri::host(uri);
    match why {
        Refusal::NotRunning | Refusal::Unreachable | Refusal::Other => of_absence(why, uri),
        Refusal::Name => name(uri),
        Refusal::HostKeyUnknown | Refusal::HostKeyChanged => host_key(why, uri, message),
        Refusal::Login | Refusal::KeyMissing | Refusal::KeyOpen => login(why, uri),
        Refusal::Socket | Refusal::Policy => permission(uri),
        Refusal::Password => format!(
            "write the user name and the password that libvirt on {host} asks for to \
             ~/.config/libvirt/auth.conf (https://libvirt.org/auth.html), or use qemu+ssh://"
        ),
        Refusal::Certificate => format!(
            "run 'virsh -c {} version'; TLS needs cacert.pem of the authority that signed the \
             host's certificate, and clientcert.pem and clientkey.pem of your own, below \
             /etc/pki or in the folder of '?pkipath=DIR'; the certificate must name the host as \
             the URI does",
            word(uri)
        ),
        Refusal::Relay => relay(uri),
        Refusal::Chatter => format!(
            "run '{} true', which must log in and print nothing: check the shell of that user \
             (nologin) and what its .bashrc prints",
            ssh::login(uri)
        ),
        Refusal::Program => match ssh::value(uri, "command") {
            Some(program) => format!("install {program}, or correct '?command=' of the URI"),
            None => {
                "install the program ssh (package openssh-client or openssh-clients)".to_owned()
            }
        },
        Refusal::Driver => "install libvirt's QEMU driver on the host: libvirt-daemon-system on \
                            Debian and Ubuntu, libvirt-daemon-kvm on Fedora and RHEL"
            .to_owned(),
    }
}

fn of_absence(why: Refusal, uri: &str) -> String {
    const START: &str =
        "'sudo systemctl start libvirtd' (or virtqemud.socket, where libvirt is modular)";
    let (host, transport) = (uri::host(uri), uri::transport(uri));
    match (why, transport.as_str()) {
        _ if uri::is_local(uri) => format!("start the daemon: {START}"),
        (Refusal::NotRunning, _) => format!("start the daemon on {host}: {START}"),
        (Refusal::Unreachable, "tcp" | "tls") => format!(
            "run 'sudo systemctl start libvirtd-{transport}.socket' (or \
             virtproxyd-{transport}.socket) on {host}; or use qemu+ssh://"
        ),
        (Refusal::Unreachable, "ssh") => {
            format!("run '{} true', which must log in without a question", ssh::login(uri))
        }
        (_, "ssh") => format!(
            "run '{} true', which must log in without a question, and 'virsh -c {} version', \
             which must answer",
            ssh::login(uri),
            word(uri)
        ),
        _ => format!("run 'virsh -c {} version'", word(uri)),
    }
}

fn name(uri: &str) -> String {
    let host = uri::host(uri);
    let aliases = match uri::transport(uri).as_str() {
        "ssh" => {
            ", or '~/.ssh/config' of the user who runs this must have it as 'Host' with a 'HostName'"
        }
        _ => "; aliases of ~/.ssh/config hold for qemu+ssh:// alone",
    };
    format!("correct the host of the URI: 'getent hosts {host}' must answer{aliases}")
}

fn host_key(why: Refusal, uri: &str, message: &str) -> String {
    let compare = "compare the key with what 'ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub' \
                   prints there";
    match (why, uri::transport(uri).as_str()) {
        (Refusal::HostKeyChanged, "ssh") => format!(
            "ask the admin of the host why it has another key than before; if that is right, \
             remove the old key: \"ssh-keygen -R '{}'\"",
            ssh::known_as(uri, message)
        ),
        (Refusal::HostKeyChanged, _) => {
            "ask the admin of the host why it has another key than before; if that is right, \
             delete the line of the host from the file that the message names"
                .to_owned()
        }
        (_, "ssh") => format!(
            "make the host known, as the user who runs this: '{} true' asks once and remembers; \
             {compare}",
            ssh::login(uri)
        ),
        (_, library) => format!(
            "use qemu+ssh:// instead of qemu+{library}://, or name a file that has the host with \
             '?known_hosts=FILE': {library} does not read ~/.ssh/known_hosts by itself"
        ),
    }
}

fn login(why: Refusal, uri: &str) -> String {
    let file = ssh::value(uri, "keyfile");
    match (why, file) {
        (Refusal::KeyMissing, Some(file)) => format!(
            "correct '?keyfile=': the user who runs this cannot read {file}; without it ssh uses \
             its own keys"
        ),
        (Refusal::KeyOpen, Some(file)) => {
            format!("remove the others' right to read the key: 'chmod 600 {}'", word(&file))
        }
        (Refusal::KeyOpen, None) => {
            "remove the others' rights to the configuration and keys of ssh: 'chmod -R go= \
             ~/.ssh'"
                .to_owned()
        }
        _ if uri::transport(uri) != "ssh" => {
            "name the key with '?keyfile=FILE&sshauth=privkey', or use that of an agent with \
             '?sshauth=agent'; or use qemu+ssh://, which logs in as ssh does"
                .to_owned()
        }
        _ => format!(
            "install the key there, so that it logs in without a password: '{}' (a key with a \
             passphrase: 'ssh-add' before); ?keyfile=FILE in the URI names another",
            ssh::copy_key(uri)
        ),
    }
}

fn permission(uri: &str) -> String {
    let host = uri::host(uri);
    if uri::is_session(uri) && uri::is_local(uri) {
        "check HOME and XDG_RUNTIME_DIR: your own daemon needs a home folder that you can write \
         to"
        .to_owned()
    } else if uri::is_local(uri) {
        GROUP.to_owned()
    } else {
        let user = uri::user(uri);
        let user = if user.is_empty() { "USER".to_owned() } else { user };
        format!(
            "run 'sudo usermod -aG libvirt {user}' on {host}, or log in as root (root@{host}), or \
             use that user's own daemon (/session); the login works, but {user} may not use \
             libvirt there"
        )
    }
}

fn relay(uri: &str) -> String {
    let host = uri::host(uri);
    let proxy = ssh::value(uri, "proxy");
    let by_netcat = proxy.as_deref() == Some("netcat")
        || ["socket", "netcat"].iter().any(|name| ssh::value(uri, name).is_some());
    if proxy.as_deref() == Some("native") {
        format!(
            "install netcat-openbsd on {host}, and leave 'proxy=native' out: the host has no \
             virt-ssh-helper, which comes with libvirt's daemon since 6.8"
        )
    } else if by_netcat {
        format!("write 'proxy=native' in the URI; or install netcat-openbsd on {host}")
    } else {
        format!(
            "install libvirt on {host}, or netcat-openbsd for one before 6.8: the host has \
             neither virt-ssh-helper, which comes with libvirt's daemon, nor nc"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(why: Refusal, uri: &str, parts: &[&str]) {
        let hint = of(why, uri, "");
        for part in parts {
            assert!(hint.contains(part), "no '{part}' in '{hint}'");
        }
    }

    #[test]
    fn what_ssh_refuses_is_mended_by_ssh() {
        let uri = "qemu+ssh://root@[fd00::1]:2222/system?keyfile=/k";
        says(Refusal::HostKeyUnknown, uri, &["'ssh -i /k -p 2222 root@fd00::1 true' asks once"]);
        says(Refusal::HostKeyUnknown, "qemu+ssh://my_alias/system", &["'ssh my_alias true'"]);
        says(Refusal::HostKeyChanged, uri, &["ssh-keygen -R '[fd00::1]:2222'"]);
        says(Refusal::Login, uri, &["'ssh-copy-id -i /k -p 2222 root@fd00::1'"]);
        says(Refusal::KeyMissing, uri, &["cannot read /k"]);
        says(Refusal::KeyOpen, uri, &["chmod 600 /k"]);
        says(Refusal::KeyOpen, "qemu+ssh://h/system", &["~/.ssh"]);
        says(Refusal::Name, "qemu+ssh://kvm2/system", &["getent hosts kvm2", "~/.ssh/config"]);
        says(Refusal::Chatter, "qemu+ssh://h/system", &["'ssh h true'", "nologin"]);
        says(Refusal::Unreachable, "qemu+ssh://h/system", &["'ssh h true'"]);
        says(Refusal::Program, "qemu+ssh://h/system?command=/no", &["install /no"]);
    }

    #[test]
    fn the_libraries_have_files_of_their_own() {
        let uri = "qemu+libssh2://kvm2/system";
        says(Refusal::HostKeyUnknown, uri, &["known_hosts=FILE", "qemu+ssh://"]);
        says(Refusal::Login, uri, &["sshauth=privkey", "sshauth=agent"]);
        says(Refusal::Name, uri, &["qemu+ssh:// alone"]);
    }

    #[test]
    fn rights_are_those_of_the_machine_of_the_daemon() {
        let there = ["on kvm2", "'sudo usermod -aG libvirt me'", "root@kvm2"];
        says(Refusal::Socket, "qemu+ssh://me@kvm2/system", &there);
        says(Refusal::Policy, "qemu+ssh://kvm2/system", &["libvirt USER'"]);
        says(Refusal::Socket, "qemu:///system", &["usermod -aG libvirt $USER", "qemu:///session"]);
        says(Refusal::Socket, "qemu:///session", &["XDG_RUNTIME_DIR"]);
        says(Refusal::Password, "qemu+tcp://kvm2/system", &["auth.conf"]);
        says(Refusal::NotRunning, "qemu+ssh://kvm2/system", &["on kvm2", "libvirtd"]);
        says(Refusal::NotRunning, "qemu:///system", &["start the daemon: 'sudo systemctl"]);
        says(Refusal::Unreachable, "qemu://kvm2/system", &["libvirtd-tls.socket"]);
    }

    #[test]
    fn the_way_around_a_missing_netcat_is_named() {
        says(Refusal::Relay, "qemu+ssh://h/system?socket=/s", &["write 'proxy=native'"]);
        says(Refusal::Relay, "qemu+ssh://h/system?proxy=netcat", &["write 'proxy=native'"]);
        says(Refusal::Relay, "qemu+ssh://h/system", &["install libvirt on h"]);
        says(Refusal::Relay, "qemu+ssh://h/system?proxy=native", &["leave 'proxy=native' out"]);
    }
}
