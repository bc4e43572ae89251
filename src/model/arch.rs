//! Processor architectures by libvirt's names (`virArch`).

/// Architecture of all defined domains: VMware's x86 hosts run no other.
pub const DOMAIN_ARCH: &str = "x86_64";

/// libvirt's name of an architecture, from any of its common names: `amd64` is `x86_64`.
pub fn normal_arch(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase();
    match name.as_str() {
        "amd64" | "x64" | "x86-64" => "x86_64".to_owned(),
        "i386" | "i486" | "i586" | "x86" => "i686".to_owned(),
        "arm64" => "aarch64".to_owned(),
        _ => name,
    }
}

/// Whether an emulator for `host` runs guests of `guest`. An emulator for 64 bits also runs guests
/// for 32 bits of the same processor family.
pub fn emulates(host: &str, guest: &str) -> bool {
    let (host, guest) = (normal_arch(host), normal_arch(guest));
    host == guest || (host == "x86_64" && guest == "i686")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_runs_its_own_architecture_and_its_smaller_sibling() {
        for (host, guest, runs) in [
            ("x86_64", "x86_64", true),
            ("x86_64", "amd64", true),
            ("x86_64", "i686", true),
            ("x86_64", "i386", true),
            ("x86_64", "aarch64", false),
            ("x86_64", "armv7l", false),
            ("x86_64", "ppc64le", false),
            ("aarch64", "arm64", true),
            ("aarch64", "x86_64", false),
        ] {
            assert_eq!(emulates(host, guest), runs, "{guest} on {host}");
        }
    }
}
