//! A minimal transient domain, as a proof that guests run
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
    /// A reboot of the guest ends the domain.
    on_reboot: &'static str,
    /// A crashed domain stays, so that the crash can be detected.
    on_crash: &'static str,
    devices: ProbeDevices<'a>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    bios: Option<Bios>,
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

/// The firmware finds no disk and reboots after this timeout in milliseconds.
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
struct ProbeDevices<'a> {
    emulator: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<ProbeDisk<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    panic: Option<Panic>,
}

#[derive(Debug, Serialize)]
struct ProbeDisk<'a> {
    #[serde(rename = "@type")]
    kind: &'static str,
    driver: ProbeDriver,
    source: ProbeSource<'a>,
    target: Drive,
    readonly: (),
}

#[derive(Debug, Serialize)]
struct ProbeDriver {
    #[serde(rename = "@name")]
    name: &'static str,
    #[serde(rename = "@type")]
    kind: &'static str,
}

#[derive(Debug, Serialize)]
struct ProbeSource<'a> {
    #[serde(rename = "@file")]
    file: &'a str,
}

#[derive(Debug, Serialize)]
struct Drive {
    #[serde(rename = "@dev")]
    dev: &'static str,
    #[serde(rename = "@bus")]
    bus: &'static str,
}

#[derive(Debug, Serialize)]
struct Panic {
    #[serde(rename = "@model")]
    model: &'static str,
}

impl<'a> Domain<'a> {
    /// A domain that boots from the raw image `disk` of its host. Without a disk, its firmware
    /// reboots after finding nothing to boot from.
    pub fn new(
        name: &'a str,
        uuid: &'a str,
        arch: &'a str,
        platform: &'a Platform,
        disk: Option<&'a str>,
    ) -> Self {
        let kvm = platform.domain_type == crate::domain::DomainType::Kvm;
        Self {
            kind: platform.domain_type.as_str(),
            name,
            uuid,
            memory: Memory { unit: "MiB", value: 32 },
            os: Os {
                kind: Type { arch, machine: &platform.machine, value: "hvm" },
                bios: disk.is_none().then_some(Bios { timeout: 1 }),
            },
            cpu: Cpu { mode: if kvm { "host-passthrough" } else { "maximum" } },
            on_reboot: "destroy",
            on_crash: "preserve",
            devices: ProbeDevices {
                emulator: &platform.emulator,
                disk: disk.map(|file| ProbeDisk {
                    kind: "file",
                    driver: ProbeDriver { name: "qemu", kind: "raw" },
                    source: ProbeSource { file },
                    target: Drive { dev: "vda", bus: "virtio" },
                    readonly: (),
                }),
                panic: platform
                    .panic
                    .iter()
                    .any(|model| model == "isa")
                    .then_some(Panic { model: "isa" }),
            },
        }
    }
}
