//! CPU rules: model and count.

use crate::model::CpuTopology;

use super::Error;
use super::host::{DomainType, Platform};
use super::spec::CpuMode;

/// The CPU model: the host's own under KVM, else all that the emulator can do. Where the host
/// does not offer it, its default: never a model that the host does not list.
pub(super) fn mode(platform: &Platform) -> CpuMode {
    let (name, mode) = match platform.domain_type {
        DomainType::Kvm => ("host-passthrough", CpuMode::HostPassthrough),
        DomainType::Qemu => ("maximum", CpuMode::Maximum),
    };
    if platform.cpu_modes.iter().any(|offered| offered == name) { mode } else { CpuMode::Default }
}

/// Virtual CPUs, sockets and cores, which libvirt wants to multiply exactly.
pub(super) fn topology(cpu: CpuTopology, platform: &Platform) -> Result<CpuTopology, Error> {
    let cpu = CpuTopology::new(cpu.vcpus, cpu.cores_per_socket);
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

    #[test]
    fn the_model_is_one_that_the_host_lists() {
        let host = host();
        assert_eq!(mode(platform(&host, DomainType::Kvm, Chipset::Q35)), CpuMode::HostPassthrough);
        let mut tcg = platform(&host, DomainType::Qemu, Chipset::Pc).clone();
        assert_eq!(mode(&tcg), CpuMode::Maximum);
        tcg.cpu_modes = vec!["custom".to_owned()];
        assert_eq!(mode(&tcg), CpuMode::Default);
    }

    #[test]
    fn a_crooked_topology_is_straightened_and_too_many_refused() {
        let host = host();
        let pc = platform(&host, DomainType::Qemu, Chipset::Pc);
        let crooked = CpuTopology { vcpus: 6, cores_per_socket: 4 };
        assert_eq!(topology(crooked, pc), Ok(CpuTopology { vcpus: 6, cores_per_socket: 1 }));
        let error = topology(CpuTopology::new(256, 1), pc).expect_err("pc takes 255");
        assert_eq!(
            error.to_string(),
            "256 virtual CPUs are more than the 255 of machine pc-i440fx-10.0"
        );
    }
}
