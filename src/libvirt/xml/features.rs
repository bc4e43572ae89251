//! `<features>`, `<clock>` and `<pm>` (<https://libvirt.org/formatdomain.html>).

use serde::{Deserialize, Serialize};

/// An element without content.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// `yes` or `no`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum YesNo {
    /// `yes`.
    Yes,
    /// `no`.
    No,
}

/// `state='on|off'`, with the options of some elements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// `on` or `off`.
    #[serde(rename = "@state")]
    pub state: String,
    /// For `<spinlocks>`: attempts before the guest notifies the hypervisor, at least 4095.
    #[serde(rename = "@retries", default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// For `<stimer>`: direct interrupts of timers. For `<tlbflush>`: direct flushes from nested
    /// guests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<Box<Switch>>,
    /// For `<tlbflush>`: flushes of many CPUs at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended: Option<Box<Switch>>,
}

impl Switch {
    /// A switch that is on.
    pub fn on() -> Self {
        Self { state: "on".to_owned(), retries: None, direct: None, extended: None }
    }
}

/// `<features>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Features {
    /// Support for ACPI power management.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acpi: Option<Empty>,
    /// Support for the APIC interrupt controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apic: Option<Empty>,
    /// VMware's backdoor port, by which guest tools detect VMware.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vmport: Option<Switch>,
    /// Hyper-V enlightenments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hyperv: Option<Hyperv>,
    /// System management mode, which protects secure boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smm: Option<Switch>,
}

/// `<hyperv>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hyperv {
    /// `custom`.
    #[serde(rename = "@mode")]
    pub mode: String,
    /// Enlightenments in the order of the document.
    #[serde(rename = "$value", default)]
    pub list: Vec<Enlightenment>,
}

/// One enlightenment, named like libvirt's element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enlightenment {
    Relaxed(Switch),
    Vapic(Switch),
    Spinlocks(Switch),
    Vpindex(Switch),
    Runtime(Switch),
    Synic(Switch),
    Stimer(Switch),
    Frequencies(Switch),
    Tlbflush(Switch),
    Ipi(Switch),
    Reset(Switch),
    Reenlightenment(Switch),
    Evmcs(Switch),
    Avic(Switch),
    EmsrBitmap(Switch),
    XmmInput(Switch),
}

impl Enlightenment {
    /// Name of the enlightenment in domain capabilities.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Relaxed(_) => "relaxed",
            Self::Vapic(_) => "vapic",
            Self::Spinlocks(_) => "spinlocks",
            Self::Vpindex(_) => "vpindex",
            Self::Runtime(_) => "runtime",
            Self::Synic(_) => "synic",
            Self::Stimer(_) => "stimer",
            Self::Frequencies(_) => "frequencies",
            Self::Tlbflush(_) => "tlbflush",
            Self::Ipi(_) => "ipi",
            Self::Reset(_) => "reset",
            Self::Reenlightenment(_) => "reenlightenment",
            Self::Evmcs(_) => "evmcs",
            Self::Avic(_) => "avic",
            Self::EmsrBitmap(_) => "emsr_bitmap",
            Self::XmmInput(_) => "xmm_input",
        }
    }

    /// Name of the enlightenment and its options, as plans name them: `stimer_direct`.
    pub fn names(&self) -> Vec<String> {
        let name = self.name();
        let mut names = vec![name.to_owned()];
        if let Self::Stimer(switch) | Self::Tlbflush(switch) = self {
            names.extend(switch.direct.as_ref().map(|_| format!("{name}_direct")));
            names.extend(switch.extended.as_ref().map(|_| format!("{name}_extended")));
        }
        names
    }

    /// Removes the options that are not in `granted`.
    pub fn restrict(&mut self, granted: &[String]) {
        let name = self.name();
        let has = |more: &str| granted.iter().any(|known| *known == format!("{name}_{more}"));
        if let Self::Stimer(switch) | Self::Tlbflush(switch) = self {
            switch.direct = switch.direct.take().filter(|_| has("direct"));
            switch.extended = switch.extended.take().filter(|_| has("extended"));
        }
    }
}

/// `<clock>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// `utc` or `localtime`.
    #[serde(rename = "@offset")]
    pub offset: String,
    /// Timers of the guest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timer: Vec<Timer>,
}

/// `<timer>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timer {
    /// `rtc`, `pit`, `hpet`, `hypervclock`.
    #[serde(rename = "@name")]
    pub name: String,
    /// Handling of ticks that the guest missed: `catchup`, `delay`, …
    #[serde(rename = "@tickpolicy", skip_serializing_if = "Option::is_none")]
    pub tickpolicy: Option<String>,
    /// Whether the guest has the timer.
    #[serde(rename = "@present", skip_serializing_if = "Option::is_none")]
    pub present: Option<YesNo>,
}

/// `<pm>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pm {
    /// Suspend to RAM (ACPI S3).
    pub suspend_to_mem: Enabled,
    /// Suspend to disk (ACPI S4).
    pub suspend_to_disk: Enabled,
}

/// `enabled='yes|no'`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enabled {
    /// Whether the sleep state is available.
    #[serde(rename = "@enabled")]
    pub enabled: YesNo,
}
