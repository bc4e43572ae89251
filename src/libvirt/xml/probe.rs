//! A transient domain without anything, as a proof that guests run
//! (<https://libvirt.org/formatdomain.html>).

use serde::Serialize;

use crate::domain::Platform;

/// `<domain>`.
#[derive(Debug, Serialize)]
pub struct Domain<'a> {
    #[serde(rename = "@type")]
    kind: &'static str,
    name: &'a str,
    uuid: &'a str,
    memory: Memory,
    os: Os<'a>,
    cpu: Cpu,
    /// The guest's reboot ends it.
    on_reboot: &'static str,
    devices: Devices<'a>,
}

#[derive(Debug, Serialize)]
struct Memory {
    #[serde(rename = "@unit")]
    unit: &'static str,
    #[serde(rename = "$text")]
    value: u32,
}

#[derive(Debug, Serialize)]
struct Os<'a> {
    #[serde(rename = "type")]
    kind: Type<'a>,
    bios: Bios,
}

#[derive(Debug, Serialize)]
struct Type<'a> {
    #[serde(rename = "@arch")]
    arch: &'a str,
    #[serde(rename = "@machine")]
    machine: &'a str,
    #[serde(rename = "$text")]
    value: &'static str,
}

/// The firmware finds no disk and reboots after so many milliseconds.
#[derive(Debug, Serialize)]
struct Bios {
    #[serde(rename = "@rebootTimeout")]
    timeout: u32,
}

#[derive(Debug, Serialize)]
struct Cpu {
    #[serde(rename = "@mode")]
    mode: &'static str,
}

#[derive(Debug, Serialize)]
struct Devices<'a> {
    emulator: &'a str,
}

impl<'a> Domain<'a> {
    /// A domain that reboots as soon as it has found nothing to boot from.
    pub fn new(name: &'a str, uuid: &'a str, arch: &'a str, platform: &'a Platform) -> Self {
        let kvm = platform.domain_type == crate::domain::DomainType::Kvm;
        Self {
            kind: platform.domain_type.as_str(),
            name,
            uuid,
            memory: Memory { unit: "MiB", value: 32 },
            os: Os {
                kind: Type { arch, machine: &platform.machine, value: "hvm" },
                bios: Bios { timeout: 1 },
            },
            cpu: Cpu { mode: if kvm { "host-passthrough" } else { "maximum" } },
            on_reboot: "destroy",
            devices: Devices { emulator: &platform.emulator },
        }
    }
}
