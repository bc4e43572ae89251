//! Checks a host before any VM is imported.

use std::path::{Path, PathBuf};

use virt::connect::Connect;
use virt::storage_pool::StoragePool;

use crate::domain::{
    self, Attachment, Closed, DiskKind, DomainType, HostCapabilities, NetworkMap, hints,
};
use crate::model::{ByteSize, Check, Hint, chain};

use super::super::hint_words::word;
use super::super::storage::pool;
use super::super::storage::wanted::{DefaultPool, PoolChoice};
use super::super::{Connection, Error};
use super::access;

/// Name of the checks of storage pools.
const POOL: &str = "storage-pool";
/// Free space below which a pool gets a warning: hardly any guest fits into it.
const LITTLE: ByteSize = ByteSize(2 * 1024 * 1024 * 1024);

/// Resources of the host that a run with the user's flags would use.
#[derive(Debug, Clone, Default)]
pub struct Examined {
    /// Storage pool if the user names none.
    pub default_pool: DefaultPool,
    /// Storage pool that the user names, and the folder to create it over if it is missing.
    pub pool: Option<(String, Option<PathBuf>)>,
    /// Bridge that network cards are connected to by default.
    pub bridge: String,
    /// Whether the user named the bridge.
    pub is_bridge_named: bool,
    /// Network map, which overrides the bridge.
    pub network_map: NetworkMap,
}

impl Connection {
    /// Checks the host: the daemon, the emulator, firmware and TPM. Proves KVM by running a guest.
    /// Checks the storage pool and networks that the user's flags select, and all others. Changes
    /// nothing.
    ///
    /// # Errors
    /// The error of a libvirt call that all checks depend on.
    pub async fn examine(&self, asked: &Examined) -> Result<Vec<Check>, Error> {
        let host = self.capabilities().await?;
        let local = self.is_local();
        let (choice, is_named) = match &asked.pool {
            Some((name, path)) => (PoolChoice { name: name.clone(), path: path.clone() }, true),
            None => (self.default_pool(&asked.default_pool).await?, false),
        };
        let (versions, pools) = self
            .call(move |connect| {
                let pools = connect.list_all_storage_pools(0);
                let pools = pools.map_err(Error::call("listing storage pools"))?;
                let named = is_named.then_some(&*choice.name);
                let examined = pools.iter().map(|pool| of_pool(connect, pool, named, local));
                let mut checks = examined.collect::<Result<Vec<_>, _>>()?;
                of_chosen(connect, &choice, is_named, local, &mut checks);
                Ok((versions(connect)?, checks))
            })
            .await?;
        let mut checks = vec![Check::ok("libvirt", format!("{versions} at {}", self.uri()))];
        checks.extend(of_hardware(&host));
        checks.extend(pools);
        checks.extend(of_connections(asked, &host));
        checks.extend(of_networks(&host));
        Ok(checks)
    }
}

fn versions(connect: &Connect) -> Result<String, Error> {
    let asked = Error::call("asking for libvirt's version");
    let (libvirt, qemu) = (connect.lib_version().map_err(asked)?, connect.hyp_version());
    Ok(match qemu {
        Ok(qemu) => format!("libvirt {}, QEMU {}", dotted(libvirt), dotted(qemu)),
        Err(_) => format!("libvirt {}", dotted(libvirt)),
    })
}

/// libvirt encodes a version as major × 1 000 000 + minor × 1 000 + release (`virGetVersion`).
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
            let remedy = "ask the admin of the host below, if this is nested virtualization";
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

/// Reports the pool that gets the disks, as the first of the checks.
fn of_chosen(
    connect: &Connect,
    choice: &PoolChoice,
    is_named: bool,
    local: bool,
    pools: &mut Vec<Check>,
) {
    let found = pools.iter().position(|check| check.about.as_deref() == Some(&choice.name));
    let check = match (found, &choice.path) {
        (Some(at), _) => {
            let mut check = pools.remove(at);
            check.found.push_str(match is_named {
                true => ", named by --libvirt-pool",
                false => ", used where no pool is named",
            });
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
        (None, None) if is_named => {
            let remedy = "make it with --libvirt-pool-path DIR, or name one that exists";
            let remedy = Some(remedy.to_owned());
            Check::failed(POOL, "it does not exist", remedy).about(choice.name.clone())
        }
        (None, None) => {
            let found = "it does not exist, and a run that names no pool needs it";
            let remedy = "name another one by --libvirt-pool, or make it: --libvirt-pool-path DIR";
            Check::warning(POOL, found, remedy).about(choice.name.clone())
        }
    };
    pools.insert(0, check);
}

fn of_pool(
    connect: &Connect,
    handle: &StoragePool,
    named: Option<&str>,
    local: bool,
) -> Result<Check, Error> {
    const NAME: &str = POOL;
    let name = handle.name().map_err(Error::call("reading the name of a storage pool"))?;
    let place = match pool::describe(handle, &name) {
        Ok(place) => place,
        Err(error @ Error::PoolKind { .. }) if named == Some(&*name) => {
            return Ok(Check::failed(NAME, chain(&error), error.hint()).about(name));
        }
        Err(error @ Error::PoolKind { .. }) => {
            // The user has not chosen this pool, and others may work.
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
            "run 'virsh pool-start {0}' to start it now and 'virsh pool-autostart {0}' to start it with \
             its host; a run starts it by itself",
            word(&name)
        );
        return Ok(Check::warning(NAME, found, remedy).about(name));
    }
    let enters = local && place.kind == DiskKind::File;
    if let Err(error) = may_enter(connect, &name, &place.dir, enters) {
        return Ok(troubled(NAME, &error).about(name));
    }
    let info = handle.info().map_err(Error::call(format!("measuring storage pool '{name}'")))?;
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

/// Checks what the network cards of a VM would be connected to.
fn of_connections(asked: &Examined, host: &HostCapabilities) -> Vec<Check> {
    const NAME: &str = "connection";
    let connections = domain::check_connections(&asked.network_map, &asked.bridge, host);
    let check = |(to, checked): (Attachment, Result<(), domain::Error>)| {
        // The default bridge, which another flag may replace.
        let is_default = matches!(&to, Attachment::Bridge { name, vlan: None } if *name == asked.bridge)
            && !asked.is_bridge_named;
        let check = match checked {
            Ok(()) => Check::ok(NAME, "network cards can be connected to it"),
            Err(error) if is_default => {
                Check::warning(NAME, error.to_string(), error.hint().unwrap_or_default())
            }
            Err(error) => Check::failed(NAME, error.to_string(), error.hint()),
        };
        check.about(to.to_string())
    };
    connections.into_iter().filter(|(to, _)| *to != Attachment::Nothing).map(check).collect()
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
    fn what_the_flags_lead_to_is_checked() {
        let network = |name: &str, active| HostNetwork { name: name.to_owned(), active };
        let host = HostCapabilities { networks: vec![network("lab", true)], ..host() };
        let of = |entries: &[&str], is_bridge_named| {
            let entries = entries.iter().map(|entry| entry.parse().expect("an entry")).collect();
            let network_map = NetworkMap::new(entries).expect("a map");
            let bridge = "virbr0".to_owned();
            let asked = Examined { bridge, is_bridge_named, network_map, ..Examined::default() };
            of_connections(&asked, &host).iter().map(|check| check.health).collect::<Vec<_>>()
        };
        assert_eq!(of(&[], false), [Health::Warning], "another flag may follow");
        assert_eq!(of(&[], true), [Health::Failed]);
        assert_eq!(of(&["*=network:lab"], false), [Health::Ok]);
        assert_eq!(of(&["a=network:prod", "*=none"], false), [Health::Failed]);
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
