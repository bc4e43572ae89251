//! Reads `<capabilities>` and `<domainCapabilities>` as far as planning needs them
//! (<https://libvirt.org/formatcaps.html>, <https://libvirt.org/formatdomaincaps.html>).

use serde::Deserialize;

/// `<capabilities>`.
#[derive(Debug, Deserialize)]
pub struct Capabilities {
    /// Properties of the host, such as its security models.
    #[serde(default)]
    pub host: Option<HostElement>,
    /// Supported guests, one entry for each OS type and architecture.
    #[serde(default)]
    pub guest: Vec<GuestElement>,
}

/// `<host>`.
#[derive(Debug, Deserialize)]
pub struct HostElement {
    /// Security models that isolate guests.
    #[serde(default)]
    pub secmodel: Vec<SecurityModel>,
}

/// `<secmodel>`.
#[derive(Debug, Deserialize)]
pub struct SecurityModel {
    /// `dac`, `apparmor`, `selinux`, `none`.
    pub model: String,
    /// Labels that a guest runs with, one for each domain type.
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
    /// Architecture of these guests.
    pub arch: Arch,
}

/// `<arch>`.
#[derive(Debug, Deserialize)]
pub struct Arch {
    /// `x86_64`.
    #[serde(rename = "@name")]
    pub name: String,
    /// Supported domain types.
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
    /// Absolute path of the emulator.
    pub path: String,
    /// Canonical name of the machine.
    pub machine: String,
    /// Limits of virtual CPUs.
    #[serde(default)]
    pub vcpu: Option<Vcpu>,
    /// Firmware support.
    pub os: OsCapabilities,
    /// Supported CPU modes and models.
    #[serde(default)]
    pub cpu: Option<CpuCapabilities>,
    /// Supported devices.
    pub devices: DeviceCapabilities,
    /// Supported hypervisor features.
    #[serde(default)]
    pub features: Option<FeatureCapabilities>,
}

/// `<vcpu>`.
#[derive(Debug, Deserialize)]
pub struct Vcpu {
    /// Maximum number of virtual CPUs of a domain.
    #[serde(rename = "@max")]
    pub max: u32,
}

/// `<os>`.
#[derive(Debug, Deserialize)]
pub struct OsCapabilities {
    /// Enumeration `firmware`: firmware types that libvirt can select automatically.
    #[serde(default, rename = "enum")]
    pub enums: Vec<Enumeration>,
    /// Supported loaders.
    #[serde(default)]
    pub loader: Option<Supported>,
}

/// `<cpu>`.
#[derive(Debug, Deserialize)]
pub struct CpuCapabilities {
    /// CPU modes, supported or not.
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
    /// For mode `custom`: the known models, each followed by its `<blockers>`.
    #[serde(rename = "$value", default)]
    pub parts: Vec<CpuModePart>,
}

/// Child element of a CPU mode.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CpuModePart {
    /// `<model>`.
    Model(CpuModelCapability),
    /// Any other element.
    #[serde(other)]
    Other,
}

/// `<model>` of a CPU mode.
#[derive(Debug, Deserialize)]
pub struct CpuModelCapability {
    /// `yes`, `no` or `unknown`.
    #[serde(rename = "@usable", default)]
    pub usable: String,
    /// Name of the model.
    #[serde(rename = "$text", default)]
    pub name: String,
}

/// `<devices>`.
#[derive(Debug, Deserialize)]
pub struct DeviceCapabilities {
    /// Enumeration `modelType`: video models.
    #[serde(default)]
    pub video: Option<Supported>,
    /// Enumeration `bus`: disk buses.
    #[serde(default)]
    pub disk: Option<Supported>,
    /// Enumerations `model`, `backendModel` and `backendVersion`.
    #[serde(default)]
    pub tpm: Option<Supported>,
    /// Enumeration `model`: panic device models.
    #[serde(default)]
    pub panic: Option<Supported>,
    /// Enumeration `backendType`: backends of a user network.
    #[serde(default)]
    pub interface: Option<Supported>,
}

/// `<features>`.
#[derive(Debug, Deserialize)]
pub struct FeatureCapabilities {
    /// Enumeration `features`: Hyper-V enlightenments.
    #[serde(default)]
    pub hyperv: Option<HypervCapabilities>,
}

/// `<hyperv>`.
#[derive(Debug, Deserialize)]
pub struct HypervCapabilities {
    /// `yes` or `no`.
    #[serde(rename = "@supported")]
    pub supported: String,
    /// Enumeration `features`: Hyper-V enlightenments.
    #[serde(default, rename = "enum")]
    pub enums: Vec<Enumeration>,
    /// Default options of enlightenments (since libvirt 11.9).
    #[serde(default)]
    pub defaults: HypervDefaults,
}

/// `<defaults>` of `<hyperv>`, each `on` or `off`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct HypervDefaults {
    /// Direct interrupts of synthetic timers.
    pub stimer_direct: String,
    /// Direct TLB flushes from nested guests.
    pub tlbflush_direct: String,
    /// TLB flushes of many CPUs at once.
    pub tlbflush_extended: String,
}

impl HypervCapabilities {
    /// All supported enlightenments and options, by the names that plans use.
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

/// An element with `supported` and enumerations.
#[derive(Debug, Deserialize)]
pub struct Supported {
    /// `yes` or `no`.
    #[serde(rename = "@supported")]
    pub supported: String,
    /// Enumerations of supported values.
    #[serde(default, rename = "enum")]
    pub enums: Vec<Enumeration>,
}

impl Supported {
    /// The values of an enumeration; none if the element is not supported.
    pub fn values(&self, name: &str) -> Vec<String> {
        if self.supported == "yes" { values(&self.enums, name) } else { Vec::new() }
    }
}

/// `<enum>`.
#[derive(Debug, Deserialize)]
pub struct Enumeration {
    /// Name of the enumeration.
    #[serde(rename = "@name")]
    pub name: String,
    /// Supported values.
    #[serde(default)]
    pub value: Vec<String>,
}

/// The values of the enumeration of that name.
pub fn values(enums: &[Enumeration], name: &str) -> Vec<String> {
    enums.iter().filter(|list| list.name == name).flat_map(|list| list.value.clone()).collect()
}
