//! `<capabilities>` and `<domainCapabilities>`, as far as decisions need them
//! (<https://libvirt.org/formatcaps.html>, <https://libvirt.org/formatdomaincaps.html>).

use serde::Deserialize;

/// `<capabilities>`.
#[derive(Debug, Deserialize)]
pub struct Capabilities {
    /// What the host is.
    #[serde(default)]
    pub host: Option<HostElement>,
    /// What guests there can be.
    #[serde(default)]
    pub guest: Vec<GuestElement>,
}

/// `<host>`.
#[derive(Debug, Deserialize)]
pub struct HostElement {
    /// How it keeps guests apart.
    #[serde(default)]
    pub secmodel: Vec<SecurityModel>,
}

/// `<secmodel>`.
#[derive(Debug, Deserialize)]
pub struct SecurityModel {
    /// `dac`, `apparmor`, `selinux`, `none`.
    pub model: String,
    /// What a guest runs as, by domain type.
    #[serde(default)]
    pub baselabel: Vec<Label>,
}

/// `<baselabel>`.
#[derive(Debug, Deserialize)]
pub struct Label {
    /// `+64055:+64055` with `dac`.
    #[serde(rename = "$text", default)]
    pub text: String,
}

/// `<guest>`.
#[derive(Debug, Deserialize)]
pub struct GuestElement {
    /// `hvm`.
    pub os_type: String,
    /// Of which architecture.
    pub arch: Arch,
}

/// `<arch>`.
#[derive(Debug, Deserialize)]
pub struct Arch {
    /// `x86_64`.
    #[serde(rename = "@name")]
    pub name: String,
    /// Domain types.
    #[serde(default)]
    pub domain: Vec<GuestDomain>,
}

/// `<domain>` of an architecture.
#[derive(Debug, Deserialize)]
pub struct GuestDomain {
    /// `kvm`, `qemu`, …
    #[serde(rename = "@type")]
    pub kind: String,
}

/// `<domainCapabilities>`.
#[derive(Debug, Deserialize)]
pub struct DomainCapabilities {
    /// The emulator.
    pub path: String,
    /// Canonical name of the machine.
    pub machine: String,
    /// Virtual CPUs.
    #[serde(default)]
    pub vcpu: Option<Vcpu>,
    /// Firmware.
    pub os: OsCapabilities,
    /// CPU models.
    #[serde(default)]
    pub cpu: Option<CpuCapabilities>,
    /// Devices.
    pub devices: DeviceCapabilities,
    /// Features.
    #[serde(default)]
    pub features: Option<FeatureCapabilities>,
}

/// `<vcpu>`.
#[derive(Debug, Deserialize)]
pub struct Vcpu {
    /// The most.
    #[serde(rename = "@max")]
    pub max: u32,
}

/// `<os>`.
#[derive(Debug, Deserialize)]
pub struct OsCapabilities {
    /// `firmware`: what can be selected automatically.
    #[serde(default, rename = "enum")]
    pub enums: Vec<Enumeration>,
    /// What a loader may be.
    #[serde(default)]
    pub loader: Option<Supported>,
}

/// `<cpu>`.
#[derive(Debug, Deserialize)]
pub struct CpuCapabilities {
    /// CPU modes.
    #[serde(default)]
    pub mode: Vec<CpuModeCapability>,
}

/// `<mode>`.
#[derive(Debug, Deserialize)]
pub struct CpuModeCapability {
    /// `host-passthrough`, …
    #[serde(rename = "@name")]
    pub name: String,
    /// `yes` or `no`.
    #[serde(rename = "@supported")]
    pub supported: String,
    /// Of `custom`: the models that there are, each with its `<blockers>` behind it.
    #[serde(rename = "$value", default)]
    pub parts: Vec<CpuModePart>,
}

/// What stands in a CPU mode.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CpuModePart {
    /// `<model>`.
    Model(CpuModelCapability),
    /// Anything else.
    #[serde(other)]
    Other,
}

/// `<model>` of a CPU mode.
#[derive(Debug, Deserialize)]
pub struct CpuModelCapability {
    /// `yes`, `no` or `unknown`.
    #[serde(rename = "@usable", default)]
    pub usable: String,
    /// Its name.
    #[serde(rename = "$text", default)]
    pub name: String,
}

/// `<devices>`.
#[derive(Debug, Deserialize)]
pub struct DeviceCapabilities {
    /// `modelType`: the models.
    #[serde(default)]
    pub video: Option<Supported>,
    /// `bus`: the buses.
    #[serde(default)]
    pub disk: Option<Supported>,
    /// `model`, `backendModel`, `backendVersion`.
    #[serde(default)]
    pub tpm: Option<Supported>,
    /// `model`: the models.
    #[serde(default)]
    pub panic: Option<Supported>,
    /// `backendType`: what carries a user network.
    #[serde(default)]
    pub interface: Option<Supported>,
}

/// `<features>`.
#[derive(Debug, Deserialize)]
pub struct FeatureCapabilities {
    /// `features`: the enlightenments.
    #[serde(default)]
    pub hyperv: Option<HypervCapabilities>,
}

/// `<hyperv>`.
#[derive(Debug, Deserialize)]
pub struct HypervCapabilities {
    /// `yes` or `no`.
    #[serde(rename = "@supported")]
    pub supported: String,
    /// `features`: the enlightenments.
    #[serde(default, rename = "enum")]
    pub enums: Vec<Enumeration>,
    /// What they can do besides (since libvirt 11.9).
    #[serde(default)]
    pub defaults: HypervDefaults,
}

/// `<defaults>` of `<hyperv>`, each `on` or `off`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct HypervDefaults {
    /// Timers that interrupt directly.
    pub stimer_direct: String,
    /// Flushes from nested guests.
    pub tlbflush_direct: String,
    /// Flushes of many CPUs.
    pub tlbflush_extended: String,
}

impl HypervCapabilities {
    /// All that is supported, by the names that plans use.
    pub fn names(&self) -> Vec<String> {
        if self.supported != "yes" {
            return Vec::new();
        }
        let more = [
            ("stimer_direct", &self.defaults.stimer_direct),
            ("tlbflush_direct", &self.defaults.tlbflush_direct),
            ("tlbflush_extended", &self.defaults.tlbflush_extended),
        ];
        let on = more.into_iter().filter(|(_, state)| *state == "on");
        let mut names = values(&self.enums, "features");
        names.extend(on.map(|(name, _)| name.to_owned()));
        names
    }
}

/// Anything with `supported` and lists of values.
#[derive(Debug, Deserialize)]
pub struct Supported {
    /// `yes` or `no`.
    #[serde(rename = "@supported")]
    pub supported: String,
    /// The lists.
    #[serde(default, rename = "enum")]
    pub enums: Vec<Enumeration>,
}

impl Supported {
    /// The values of a list; none when the whole is not supported.
    pub fn values(&self, name: &str) -> Vec<String> {
        if self.supported == "yes" { values(&self.enums, name) } else { Vec::new() }
    }
}

/// `<enum>`.
#[derive(Debug, Deserialize)]
pub struct Enumeration {
    /// What is listed.
    #[serde(rename = "@name")]
    pub name: String,
    /// The list.
    #[serde(default)]
    pub value: Vec<String>,
}

/// The values of the list of that name.
pub fn values(enums: &[Enumeration], name: &str) -> Vec<String> {
    enums.iter().filter(|list| list.name == name).flat_map(|list| list.value.clone()).collect()
}
