//! What a host lacks before any VM is there to miss it.

use std::path::Path;

use virt::connect::Connect;
use virt::storage_pool::StoragePool;

use crate::domain::{Closed, DiskKind, DomainType, HostCapabilities, hints};
use crate::model::{ByteSize, Check, chain};

use super::super::hint_words::word;
use super::super::import::request::{DefaultPool, PoolChoice};
use super::super::storage::pool;
use super::super::{Connection, Error};
use super::access;

/// Name of the checks of storage pools.
const POOL: &str = "storage-pool";
/// A pool with less than this is worth a warning: hardly a guest fits into it.
const LITTLE: ByteSize = ByteSize(2 * 1024 * 1024 * 1024);

impl Connection {
    /// Examines the host: the daemon, the emulator, KVM by running a guest on it, firmware, TPM,
    /// the storage pool of a user who names none and every other one, and what guests can be plugged
    /// into. Changes nothing.
    ///
    /// # Errors
    /// What libvirt does not answer at all.
    pub async fn examine(&self, default_pool: &DefaultPool) -> Result<Vec<Check>, Error> {
        let host = self.capabilities().await?;
        let local = self.is_local();
        let choice = self.default_pool(default_pool).await?;
        let (versions, pools) = self
            .call(move |connect| {
                let pools = connect.list_all_storage_pools(0);
                let pools = pools.map_err(Error::call("list storage pools"))?;
                let examined = pools.iter().map(|pool| of_pool(connect, pool, local));
                let mut checks = examined.collect::<Result<Vec<_>, _>>()?;
                of_default(connect, &choice, local, &mut checks);
                Ok((versions(connect)?, checks))
            })
            .await?;
        let mut checks = vec![Check::ok("libvirt", format!("{versions} at {}", self.uri()))];
        checks.extend(of_hardware(&host));
        checks.extend(pools);
        checks.extend(of_networks(&host));
        Ok(checks)
    }
}

fn versions(connect: &Connect) -> Result<String, Error> {
    let asked = Error::call("ask for libvirt's version");
    let (libvirt, qemu) = (connect.lib_version().map_err(asked)?, connect.hyp_version());
    Ok(match qemu {
        Ok(qemu) => format!("libvirt {}, QEMU {}", dotted(libvirt), dotted(qemu)),
        Err(_) => format!("libvirt {}", dotted(libvirt)),
    })
}

/// libvirt's numbers are major × 1 000 000 + minor × 1 000 + release (`virGetVersion`).
fn dotted(version: u32) -> String {
    format!("{}.{}.{}", version / 1_000_000, version / 1_000 % 1_000, version % 1_000)
}

fn of_hardware(host: &HostCapabilities) -> Vec<Check> {
    let Some(platform) = host.platforms.first() else {
        let found = format!("no emulator for {}", host.arch);
        return vec![Check::failed("qemu", found, Some(hints::QEMU.to_owned()))];
    };
    let any = |wanted: fn(&crate::domain::Platform) -> bool| host.platforms.iter().any(wanted);
    let kvm = match (host.kvm_runs, host.lists(DomainType::Kvm)) {
        (true, _) => Check::ok("kvm", "runs guests"),
        (false, true) => {
            let found = "libvirt lists it, but no guest runs on it: they will be emulated";
            let remedy = "nested virtualization is often so: ask whoever runs the host below";
            Check::warning("kvm", found, remedy)
        }
        (false, false) => match host.own.as_ref().and_then(|own| own.kvm.as_ref()) {
            Some(closed) => {
                let found = format!("{}: guests will be emulated", closed.why);
                Check::warning("kvm", found, closed.remedy.clone())
            }
            None => Check::warning("kvm", "the host has none: guests will be emulated", hints::KVM),
        },
    };
    let efi = match (any(|p| p.efi), any(|p| p.secure_boot)) {
        (true, true) => Check::ok("efi", "firmware with and without secure boot"),
        (true, false) => Check::warning("efi", "no firmware with secure boot", hints::EFI),
        (false, _) => Check::warning("efi", "no firmware: EFI guests are refused", hints::EFI),
    };
    let tpm = match any(|p| !p.tpm.is_empty()) {
        true => Check::ok("tpm", "emulated by swtpm"),
        false => Check::warning("tpm", "no emulator: Windows 11 is refused", hints::TPM),
    };
    vec![Check::ok("qemu", platform.emulator.clone()), kvm, efi, tpm]
}

/// Tells which pool gets the disks where no pool is named: that is the first of the checks.
fn of_default(connect: &Connect, choice: &PoolChoice, local: bool, pools: &mut Vec<Check>) {
    let found = pools.iter().position(|check| check.about.as_deref() == Some(&choice.name));
    let check = match (found, &choice.path) {
        (Some(at), _) => {
            let mut check = pools.remove(at);
            check.found.push_str(", used where no pool is named");
            check
        }
        (None, Some(path)) => {
            let found = format!("will be made over {} when a VM goes there", path.display());
            let check = match may_enter(connect, &choice.name, path, local) {
                Ok(()) => Check::ok(POOL, found),
                Err(error) => troubled(POOL, &error),
            };
            check.about(choice.name.clone())
        }
        (None, None) => {
            let found = "it does not exist, and a run that names no pool needs it";
            let remedy = "name another one by --libvirt-pool, or make it: --libvirt-pool-path DIR";
            Check::warning(POOL, found, remedy).about(choice.name.clone())
        }
    };
    pools.insert(0, check);
}

fn of_pool(connect: &Connect, handle: &StoragePool, local: bool) -> Result<Check, Error> {
    const NAME: &str = POOL;
    let name = handle.name().map_err(Error::call("read the name of a storage pool"))?;
    let place = match pool::describe(handle, &name) {
        Ok(place) => place,
        Err(error @ Error::PoolKind { .. }) => {
            // One of several, and others may do.
            let found = error.to_string();
            return Ok(Check::ok(NAME, format!("not for images: {found}")).about(name));
        }
        Err(error) => return Ok(troubled(NAME, &error).about(name)),
    };
    let dir = place.dir.display();
    if !place.active {
        if let Err(error) = place.has_folder(local, false) {
            return Ok(troubled(NAME, &error).about(name));
        }
        let found = format!("{dir}, not started");
        let remedy = format!(
            "a run starts it; to start it with its host: 'virsh pool-autostart {0}', and now: 'virsh \
             pool-start {0}'",
            word(&name)
        );
        return Ok(Check::warning(NAME, found, remedy).about(name));
    }
    let enters = local && place.kind == DiskKind::File;
    if let Err(error) = may_enter(connect, &name, &place.dir, enters) {
        return Ok(troubled(NAME, &error).about(name));
    }
    let info = handle.info().map_err(Error::call(format!("measure storage pool '{name}'")))?;
    let free = ByteSize(info.available);
    let found = format!("{dir}, {free} free");
    let check = if free < LITTLE {
        Check::warning(NAME, found, "free some space there, or use another --libvirt-pool")
    } else {
        Check::ok(NAME, found)
    };
    Ok(check.about(name))
}

fn may_enter(connect: &Connect, name: &str, dir: &Path, local: bool) -> Result<(), Error> {
    if local { access::check(connect, name, dir) } else { Ok(()) }
}

fn troubled(name: &'static str, error: &Error) -> Check {
    Check::warning(name, chain(error), error.hint().unwrap_or_default())
}

fn of_networks(host: &HostCapabilities) -> Vec<Check> {
    const NAME: &str = "network";
    let networks = host.networks.iter().map(|network| {
        let check = if network.active {
            Check::ok(NAME, "started")
        } else {
            let start = format!("virsh net-start '{}', if guests are to use it", network.name);
            Check::warning(NAME, "not started", start)
        };
        check.about(network.name.clone())
    });
    let bridges = host.bridges.iter().filter(|bridge| bridge.network.is_none());
    let bridges = bridges.map(|bridge| {
        let check = match &bridge.closed {
            None => Check::ok("bridge", "of the host"),
            Some(Closed { why, remedy }) => {
                let remedy = format!("{remedy}; --network-map '*=user' goes without a bridge");
                Check::warning("bridge", format!("closed to your guests: {why}"), remedy)
            }
        };
        check.about(bridge.name.clone())
    });
    let mut checks: Vec<_> = networks.chain(bridges).collect();
    if checks.is_empty() {
        let remedy = "define a libvirt network, or make a bridge; --network-map '*=user' goes \
                      without";
        checks.push(Check::warning(NAME, "there is neither a network nor a bridge", remedy));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Chipset, HostBridge, HostNetwork, OwnDaemon, Platform};
    use crate::model::Health;

    fn host() -> HostCapabilities {
        HostCapabilities {
            arch: "x86_64".to_owned(),
            platforms: Vec::new(),
            kvm_runs: false,
            bridges: Vec::new(),
            networks: Vec::new(),
            switches: Vec::new(),
            own: None,
        }
    }

    fn platform(text: &str) -> crate::domain::Platform {
        let xml = format!(
            "<domainCapabilities><path>/usr/bin/qemu-system-x86_64</path><machine>q</machine><os supported='yes'/><cpu/><devices/>\
             {text}</domainCapabilities>"
        );
        crate::libvirt::platform(DomainType::Kvm, Chipset::Q35, &xml).expect("capabilities")
    }

    fn health(checks: &[Check]) -> Vec<(&str, Health)> {
        checks.iter().map(|check| (check.name, check.health)).collect()
    }

    #[test]
    fn what_a_bare_host_lacks_is_told_with_the_remedy() {
        assert_eq!(health(&of_hardware(&host())), [("qemu", Health::Failed)]);
        let bare = HostCapabilities { platforms: vec![platform("")], ..host() };
        let checks = of_hardware(&bare);
        let warned = ["kvm", "efi", "tpm"].map(|name| (name, Health::Warning));
        assert_eq!(health(&checks)[1..], warned);
        assert!(checks[1].found.contains("libvirt lists it"), "{}", checks[1].found);
        assert!(checks.iter().skip(1).all(|check| check.remedy.is_some()));
        assert_eq!(health(&of_networks(&bare)), [("network", Health::Warning)]);
    }

    #[test]
    fn a_network_that_is_not_started_is_named() {
        let network = |name: &str, active| HostNetwork { name: name.to_owned(), active };
        let host = HostCapabilities {
            networks: vec![network("default", true), network("lab", false)],
            ..host()
        };
        let checks = of_networks(&host);
        let expected = [("network", Health::Ok), ("network", Health::Warning)];
        assert_eq!(health(&checks), expected);
        assert_eq!(checks[1].about.as_deref(), Some("lab"));
    }

    #[test]
    fn what_is_closed_to_a_user_s_guests_is_told_with_the_remedy() {
        let closed = |why: &str| Closed { why: why.to_owned(), remedy: "open it".to_owned() };
        let bridge = |name: &str, closed| HostBridge {
            name: name.to_owned(),
            network: None,
            active: true,
            vlans: false,
            closed,
        };
        let host = HostCapabilities {
            platforms: vec![Platform { domain_type: DomainType::Qemu, ..platform("") }],
            bridges: vec![bridge("br0", None), bridge("br1", Some(closed("no rule")))],
            own: Some(OwnDaemon { kvm: Some(closed("you may not open it")), seen: true }),
            ..host()
        };
        let checks = of_networks(&host);
        assert_eq!(health(&checks), [("bridge", Health::Ok), ("bridge", Health::Warning)]);
        assert!(checks[1].found.contains("no rule"), "{:?}", checks[1].found);
        let remedy = checks[1].remedy.as_deref().expect("a remedy");
        assert!(remedy.starts_with("open it") && remedy.contains("*=user"), "{remedy}");
        let kvm = &of_hardware(&host)[1];
        assert!(kvm.found.contains("you may not open it"), "{}", kvm.found);
        assert_eq!(kvm.remedy.as_deref(), Some("open it"));
    }

    #[test]
    fn versions_are_written_as_people_do() {
        assert_eq!(dotted(11_003_000), "11.3.0");
        assert_eq!(dotted(9_000_012), "9.0.12");
    }
}
