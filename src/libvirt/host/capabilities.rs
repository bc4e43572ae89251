//! Converts libvirt's capabilities into [`HostCapabilities`].

use std::path::Path;

use virt::connect::Connect;

use crate::domain::{Chipset, DomainType, HostCapabilities, Platform, UserNetwork};
use crate::model::DOMAIN_ARCH;

use super::super::xml::capabilities::{
    Capabilities, CpuModeCapability, CpuModePart, DomainCapabilities, HypervCapabilities,
    Supported, values,
};
use super::super::{Connection, Error, xml};
use super::{bridges, kvm, own_daemon};

/// Paths of the program passt.
const PASST: [&str; 3] = ["/usr/bin/passt", "/usr/local/bin/passt", "/usr/sbin/passt"];

impl Connection {
    /// Queries the host's capabilities and proves KVM. libvirt lists KVM if `/dev/kvm` can be
    /// opened, even if KVM runs no guest. The proof runs the emulator on this machine, or a
    /// transient domain on a remote host.
    ///
    /// # Errors
    /// [`Error::Call`] or [`Error::Xml`] when libvirt does not answer properly.
    pub async fn capabilities(&self) -> Result<HostCapabilities, Error> {
        let local = self.is_local();
        let own = own_daemon::of(self.uri());
        let judged = own.as_ref().is_some_and(|own| own.seen);
        let (platforms, connectors) = self
            .call(move |connect| {
                let mut connectors = bridges::list(connect, local)?;
                if judged {
                    own_daemon::judge(&mut connectors.bridges);
                }
                Ok((platforms(connect, local)?, connectors))
            })
            .await?;
        let kvm = platforms.iter().find(|platform| platform.domain_type == DomainType::Kvm);
        let kvm_runs = match kvm {
            None => false,
            Some(platform) => *self.kvm_runs.get_or_try_init(|| self.proof(platform)).await?,
        };
        let bridges::Connectors { bridges, networks, switches } = connectors;
        let arch = DOMAIN_ARCH.to_owned();
        Ok(HostCapabilities { arch, platforms, kvm_runs, bridges, networks, switches, own })
    }

    async fn proof(&self, platform: &Platform) -> Result<bool, Error> {
        let here = if self.is_local() { kvm::runs(platform).await } else { None };
        if let Some(runs) = here {
            return Ok(runs);
        }
        let (platform, pool) = (platform.clone(), self.scratch_pool());
        self.call(move |connect| {
            Ok(kvm::runs_there(connect, DOMAIN_ARCH, &platform, pool.as_deref()))
        })
        .await
    }
}

/// libvirt's `<capabilities>` of the host.
pub(in crate::libvirt) fn host(connect: &Connect) -> Result<Capabilities, Error> {
    let text = connect.capabilities().map_err(Error::call("asking for capabilities"))?;
    read("capabilities", &text)
}

fn platforms(connect: &Connect, local: bool) -> Result<Vec<Platform>, Error> {
    let listed = domain_types(&host(connect)?);
    let mut platforms = Vec::new();
    for domain_type in listed {
        for chipset in [Chipset::Pc, Chipset::Q35] {
            let answer = connect.domain_capabilities(
                None,
                Some(DOMAIN_ARCH),
                Some(chipset.as_str()),
                Some(domain_type.as_str()),
                0,
            );
            match answer {
                Ok(text) => {
                    let mut platform = platform(domain_type, chipset, &text)?;
                    if local {
                        prefer_passt(&mut platform.user_networks);
                    }
                    platforms.push(platform);
                }
                // Not an error yet: nobody may need this machine type.
                Err(error) => tracing::debug!(%domain_type, %chipset, %error, "not offered"),
            }
        }
    }
    Ok(platforms)
}

/// libvirt lists passt if QEMU supports it, even if the program is not installed. Prefers passt if
/// it is.
fn prefer_passt(networks: &mut Vec<UserNetwork>) {
    let is_there = PASST.iter().any(|path| Path::new(path).exists());
    let listed = networks.contains(&UserNetwork::Passt);
    networks.retain(|network| *network != UserNetwork::Passt);
    if listed && is_there {
        networks.insert(0, UserNetwork::Passt);
    }
}

fn domain_types(capabilities: &Capabilities) -> Vec<DomainType> {
    let guests = capabilities.guest.iter();
    let arch = guests.filter(|guest| guest.os_type == "hvm").map(|guest| &guest.arch);
    let names = arch.filter(|arch| arch.name == DOMAIN_ARCH).flat_map(|arch| &arch.domain);
    names.filter_map(|domain| domain.kind.parse().ok()).collect()
}

/// The platform that `<domainCapabilities>` describe, for the domain type and chipset of the query.
///
/// # Errors
/// [`Error::Xml`] when they cannot be read.
pub fn platform(domain_type: DomainType, chipset: Chipset, text: &str) -> Result<Platform, Error> {
    let answer: DomainCapabilities = read("domainCapabilities", text)?;
    let offers = |list: Vec<String>, value: &str| list.iter().any(|known| known == value);
    let loader = |name| answer.os.loader.as_ref().map_or_else(Vec::new, |l| l.values(name));
    let modes = answer.cpu.as_ref().map_or(&[][..], |cpu| &cpu.mode);
    let hyperv = answer.features.as_ref().and_then(|features| features.hyperv.as_ref());
    Ok(Platform {
        domain_type,
        chipset,
        efi: offers(values(&answer.os.enums, "firmware"), "efi"),
        secure_boot: offers(loader("secure"), "yes"),
        max_vcpus: answer.vcpu.as_ref().map_or(1, |vcpu| vcpu.max),
        cpu_modes: modes
            .iter()
            .filter(|mode| mode.supported == "yes")
            .map(|mode| mode.name.clone())
            .collect(),
        video: answer.devices.video.as_ref().map_or_else(Vec::new, |v| v.values("modelType")),
        hyperv: hyperv.map_or_else(Vec::new, HypervCapabilities::names),
        cpu_models: cpu_models(modes),
        disk_buses: answer.devices.disk.as_ref().map_or_else(Vec::new, |d| d.values("bus")),
        tpm: answer.devices.tpm.as_ref().map_or_else(Vec::new, tpm),
        user_networks: answer.devices.interface.as_ref().map_or(vec![UserNetwork::Slirp], user),
        panic: answer.devices.panic.as_ref().map_or_else(Vec::new, |p| p.values("model")),
        machine: answer.machine,
        emulator: answer.path,
    })
}

/// CPU models that a domain may name. If libvirt does not know whether a model is usable, the host
/// decides at the start.
fn cpu_models(modes: &[CpuModeCapability]) -> Vec<String> {
    let custom = modes.iter().filter(|mode| mode.name == "custom" && mode.supported == "yes");
    let parts = custom.flat_map(|mode| &mode.parts).filter_map(|part| match part {
        CpuModePart::Model(model) if model.usable != "no" => Some(model.name.clone()),
        CpuModePart::Model(_) | CpuModePart::Other => None,
    });
    parts.collect()
}

/// Backends of a user network, QEMU's own first. libvirt before 9.2 does not list them: QEMU then
/// had SLIRP.
fn user(interface: &Supported) -> Vec<UserNetwork> {
    let listed = interface.values("backendType");
    let of = |name: &str| listed.iter().any(|known| known == name);
    [("default", UserNetwork::Slirp), ("passt", UserNetwork::Passt)]
        .into_iter()
        .filter_map(|(name, network)| of(name).then_some(network))
        .collect()
}

/// Emulated TPM 2.0 models. libvirt before 8.0 does not list versions: it supported 2.0.
fn tpm(tpm: &Supported) -> Vec<String> {
    let versions = tpm.values("backendVersion");
    let emulated = tpm.values("backendModel").iter().any(|backend| backend == "emulator");
    let new = versions.is_empty() || versions.iter().any(|version| version == "2.0");
    if emulated && new { tpm.values("model") } else { Vec::new() }
}

fn read<T: serde::de::DeserializeOwned>(root: &'static str, text: &str) -> Result<T, Error> {
    xml::read(root, text).map_err(|source| Error::Xml { what: root.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hardware_guests_of_the_right_architecture_count() {
        let text = "<capabilities><host/>\
            <guest><os_type>hvm</os_type><arch name='i686'><emulator>/q</emulator>\
              <domain type='qemu'/></arch></guest>\
            <guest><os_type>hvm</os_type><arch name='x86_64'><emulator>/q</emulator>\
              <domain type='kvm'/><domain type='vz'/><domain type='qemu'/></arch></guest>\
            <guest><os_type>xen</os_type><arch name='x86_64'><domain type='xen'/></arch></guest>\
            </capabilities>";
        let read: Capabilities = read("capabilities", text).expect("reads");
        assert_eq!(domain_types(&read), [DomainType::Kvm, DomainType::Qemu]);
        let text = "<capabilities><guest><os_type>hvm</os_type><arch name='aarch64'>\
            <domain type='kvm'/><domain type='qemu'/></arch></guest></capabilities>";
        let arm: Capabilities = super::read("capabilities", text).expect("reads");
        assert_eq!(domain_types(&arm), []);
    }

    #[test]
    fn an_answer_of_an_old_libvirt_lacks_lists_not_meaning() {
        let text = "<domainCapabilities><path>/q</path><domain>kvm</domain>\
            <machine>pc-q35-6.2</machine><arch>x86_64</arch>\
            <os supported='yes'><loader supported='yes'><value>/x</value>\
              <enum name='secure'><value>no</value></enum></loader></os>\
            <devices><video supported='no'><enum name='modelType'><value>vga</value></enum>\
              </video></devices></domainCapabilities>";
        let platform = platform(DomainType::Kvm, Chipset::Q35, text).expect("reads");
        assert!(!platform.efi && !platform.secure_boot);
        assert!(platform.video.is_empty() && platform.hyperv.is_empty());
        assert_eq!((platform.machine.as_str(), platform.max_vcpus), ("pc-q35-6.2", 1));
    }
}
