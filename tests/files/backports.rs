//! `scripts/backports.sh`: the package source for backports has the same key as the release.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

const KEY: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const OWN: &str = "hyperexport-backports.sources";

/// A folder like `/etc/apt` with these files.
fn etc(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for folder in ["sources.list.d", "preferences.d", "apt.conf.d", "trusted.gpg.d", "lists"] {
        fs::create_dir(dir.path().join(folder)).expect("made");
    }
    for (name, text) in files {
        fs::write(dir.path().join(name), text).expect("written");
    }
    dir
}

/// Stanza for the folder; `None` if none is needed.
fn stanza(etc: &Path) -> Option<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/backports.sh");
    let output = Command::new(script).arg("bookworm").arg(etc).output().expect("bash");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (!text.is_empty()).then_some(text)
}

/// Messages of apt about all sources of the folder, if apt is installed.
fn complaints(etc: &Path) -> String {
    let option = |name: &str, path: &Path| format!("-oDir::{name}={}", path.display());
    let output = Command::new("apt-get")
        .args(["indextargets", &option("Etc", etc), &option("State::lists", &etc.join("lists"))])
        .output();
    output.map(|ended| String::from_utf8_lossy(&ended.stderr).into_owned()).unwrap_or_default()
}

fn debian(suites: &str, key: &str) -> String {
    format!(
        "Types: deb deb-src\n# from a snapshot\nURIs: http://deb.debian.org/debian\n\
         Suites: {suites}\nComponents: main\n{key}"
    )
}

#[test]
fn the_key_of_the_release_is_taken_from_both_formats() {
    let signed = format!("Signed-By: {KEY}\n");
    let embedded = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBFit2ioBEADh\n \
                    -----END PGP PUBLIC KEY BLOCK-----\n";
    let others = "deb [signed-by=/docker.gpg] https://download.docker.com/linux/debian bookworm \
                  stable\ndeb https://apt.releases.hashicorp.com bookworm main\n";
    let one_line = format!(
        "# deb http://no/debian bookworm main\ndeb cdrom:[Debian 12]/ bookworm main\n\
         deb-src http://src/debian bookworm main\n\tdeb\t[ arch=amd64  signed-by={KEY} ] \
         http://deb.debian.org/debian  bookworm main # here\n"
    );
    let folded = format!(
        "Enabled: no\nTypes: deb\nURIs: http://off/debian\nSuites: bookworm bookworm-backports\n\
         Components: main\n\ntypes: deb\nuris:\n http://deb.debian.org/debian\n \
         http://other/debian\nsuites:\n bookworm\n bookworm-updates\ncomponents: main\n{signed}"
    );
    let found = "sources.list.d/debian.sources";
    for (files, key) in [
        (&[(found, debian("bookworm bookworm-updates", &signed).as_str())][..], signed.as_str()),
        (&[(found, &debian("bookworm bookworm-updates", embedded))], embedded),
        (&[(found, &debian("bookworm", ""))], ""),
        (&[(found, &debian("bookworm", "Trusted: yes\n"))], "Trusted: yes\n"),
        (&[(found, &folded)], &signed),
        (&[("sources.list", &one_line)], &signed),
        (&[("sources.list", "deb http://deb.debian.org/debian stable main contrib\n")], ""),
        (
            &[
                ("sources.list.d/a.list", others),
                (found, &debian("bookworm bookworm-updates", &signed)),
            ],
            &signed,
        ),
        (&[("sources.list.d/a.list", others), (found, &debian("bookworm", &signed))], &signed),
    ] {
        let etc = etc(files);
        let own = stanza(etc.path()).expect("nothing has the backports");
        let expected = "Types: deb\nURIs: http://deb.debian.org/debian\n\
                        Suites: bookworm-backports\nComponents: main\n";
        assert_eq!(own, format!("{expected}{key}"), "{files:?}");
        // A user who adds backports to the line of the release.
        fs::write(etc.path().join("sources.list.d").join(OWN), &own).expect("written");
        let theirs = debian("bookworm-backports", key).replace("deb deb-src", "deb");
        fs::write(etc.path().join("sources.list.d/theirs.sources"), theirs).expect("written");
        let said = complaints(etc.path());
        assert!(!said.contains("Conflicting values"), "{said}");
    }
}

#[test]
fn backports_that_are_there_are_taken_as_they_are() {
    let source = debian("bookworm bookworm-updates", "");
    let own = debian("bookworm-backports", "");
    let theirs =
        "deb [signed-by=/other.gpg] http://ftp.de.debian.org/debian bookworm-backports main";
    let with = |name: &str, text: &str| {
        let etc = etc(&[("sources.list.d/debian.sources", &source), (name, text)]);
        stanza(etc.path())
    };
    assert_eq!(with("sources.list", theirs), None);
    assert_eq!(with("sources.list.d/b.sources", &debian("bookworm-backports sid", "")), None);
    assert!(with("sources.list", &format!("#{theirs}")).is_some());
    let again = with(&format!("sources.list.d/{OWN}"), &own).expect("our own does not count");
    assert!(again.contains("bookworm-backports"), "{again}");
}
