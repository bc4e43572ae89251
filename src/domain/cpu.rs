//! CPU rules: model and count.

use crate::model::CpuTopology;

use super::Error;
use super::hardware::CpuChoice;
use super::host::{DomainType, Platform};
use super::spec::CpuMode;

/// The CPU mode of the domain, never one that the host does not list. A requested model must be
/// available on the host. Otherwise the model chosen at the `source` is kept, if the host can run
/// it. Otherwise the domain gets `host-passthrough` under KVM, or `maximum` when emulated, or the
/// hypervisor's default if that is not offered.
pub(super) fn mode(
    choice: &CpuChoice,
    source: Option<&str>,
    platform: &Platform,
) -> Result<CpuMode, Error> {
    let offers = |name: &str| platform.cpu_modes.iter().any(|offered| offered == name);
    let wish = match choice {
        CpuChoice::Auto => {
            if let Some(kept) = source.and_then(|model| kept(model, platform)) {
                return Ok(kept);
            }
            let mode = match platform.domain_type {
                DomainType::Kvm => CpuMode::HostPassthrough,
                DomainType::Qemu => CpuMode::Maximum,
            };
            return Ok(if offers(mode.as_str()) { mode } else { CpuMode::Default });
        }
        CpuChoice::HostModel => CpuMode::HostModel,
        CpuChoice::HostPassthrough => CpuMode::HostPassthrough,
        CpuChoice::Maximum => CpuMode::Maximum,
        CpuChoice::Named(model) => CpuMode::Custom(model.clone()),
    };
    let (wanted, offered) = match &wish {
        CpuMode::Custom(model) => (model.as_str(), platform.cpu_models.contains(model)),
        mode => (mode.as_str(), offers(mode.as_str())),
    };
    if offered {
        return Ok(wish);
    }
    let mut existing: Vec<String> =
        platform.cpu_modes.iter().filter(|mode| *mode != "custom").cloned().collect();
    existing.extend(platform.cpu_models.iter().cloned());
    Err(Error::CpuModel { model: wanted.to_owned(), domain_type: platform.domain_type, existing })
}

/// The model of the source, if the host offers it. An emulated guest cannot keep `host-model`.
fn kept(model: &str, platform: &Platform) -> Option<CpuMode> {
    let offers_own = platform.domain_type == DomainType::Kvm
        && platform.cpu_modes.iter().any(|offered| offered == CpuMode::HostModel.as_str());
    if model == CpuMode::HostModel.as_str() {
        return offers_own.then_some(CpuMode::HostModel);
    }
    let lists = platform.cpu_models.iter().any(|known| known == model);
    lists.then(|| CpuMode::Custom(model.to_owned()))
}

/// Sockets, cores and threads, whose product must be the number of virtual CPUs: libvirt requires
/// that.
pub(super) fn topology(cpu: CpuTopology, platform: &Platform) -> Result<CpuTopology, Error> {
    let cpu = CpuTopology::new(cpu.vcpus, cpu.cores_per_socket).with_threads(cpu.threads());
    if cpu.vcpus > platform.max_vcpus {
        return Err(Error::TooManyVcpus {
            vcpus: cpu.vcpus,
            max: platform.max_vcpus,
            machine: platform.machine.clone(),
        });
    }
    Ok(cpu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Chipset;
    use crate::domain::fixture::{host, platform};
    use crate::model::Hint;

    #[test]
    fn the_model_is_one_that_the_host_lists() {
        let host = host();
        let auto =
            |platform: &Platform| mode(&CpuChoice::Auto, None, platform).expect("always one");
        assert_eq!(auto(platform(&host, DomainType::Kvm, Chipset::Q35)), CpuMode::HostPassthrough);
        let mut tcg = platform(&host, DomainType::Qemu, Chipset::Pc).clone();
        assert_eq!(auto(&tcg), CpuMode::Maximum);
        tcg.cpu_modes = vec!["custom".to_owned()];
        assert_eq!(auto(&tcg), CpuMode::Default);
    }

    #[test]
    fn a_wish_is_granted_or_refused_with_what_there_is() {
        let host = host();
        let mut tcg = platform(&host, DomainType::Qemu, Chipset::Pc).clone();
        tcg.cpu_modes = ["maximum", "host-model", "custom"].map(str::to_owned).to_vec();
        tcg.cpu_models = vec!["EPYC".to_owned()];
        assert_eq!(mode(&CpuChoice::HostModel, None, &tcg), Ok(CpuMode::HostModel));
        let auto = |source: &str| mode(&CpuChoice::Auto, Some(source), &tcg);
        assert_eq!(auto("EPYC"), Ok(CpuMode::Custom("EPYC".to_owned())));
        assert_eq!(auto("Opteron_G9"), Ok(CpuMode::Maximum));
        assert_eq!(auto("host-model"), Ok(CpuMode::Maximum), "emulated");
        let named = |name: &str| CpuChoice::Named(name.to_owned());
        assert_eq!(
            mode(&named("EPYC"), Some("kvm64"), &tcg),
            Ok(CpuMode::Custom("EPYC".to_owned()))
        );
        for wish in [named("Opteron_G9"), CpuChoice::HostPassthrough] {
            let hint = mode(&wish, None, &tcg).expect_err("not there").hint().expect("a hint");
            assert!(hint.contains("maximum, host-model, EPYC"), "{hint}");
        }
    }

    #[test]
    fn a_crooked_topology_is_straightened_and_too_many_refused() {
        let host = host();
        let pc = platform(&host, DomainType::Qemu, Chipset::Pc);
        let crooked = CpuTopology { vcpus: 6, cores_per_socket: 4, threads_per_core: Some(2) };
        assert_eq!(topology(crooked, pc), Ok(CpuTopology::new(6, 1)));
        let even = CpuTopology::new(8, 4).with_threads(2);
        assert_eq!(topology(even, pc), Ok(even));
        let error = topology(CpuTopology::new(256, 1), pc).expect_err("pc takes 255");
        assert_eq!(
            error.to_string(),
            "256 virtual CPUs are more than the 255 of machine pc-i440fx-10.0"
        );
    }
}
