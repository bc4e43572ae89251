//! Checks the target before any byte is transferred.

use std::path::Path;

use virt::connect::Connect;

use crate::domain::{DiskKind, DomainSpec, DomainType, HostCapabilities, NicSource, PlanOptions};
use crate::model::{Stage, Warning, WarningCode};

use super::super::hint_words::word;
use super::super::host::access;
use super::super::rollback::undo_step::Undo;
use super::super::storage::pool::UsablePool;
use super::super::storage::wanted::{PoolChoice, WantedVolume};
use super::super::storage::{pool, space, volume};
use super::super::{Connection, Error};
use super::request::ImportRequest;
use super::{addresses, warnings};

impl Connection {
    /// Refuses an import that cannot work, and changes nothing. Checks the plan (firmware, machine,
    /// bridge, name) and whether the name is free. Checks that the pool exists, is large enough and
    /// accessible to QEMU, and that no volume exists already. The images need not exist yet.
    ///
    /// Returns warnings about limitations of the planned domain.
    ///
    /// # Errors
    /// The first refusal, with a hint.
    pub async fn preflight(&self, request: &ImportRequest<'_>) -> Result<Vec<Warning>, Error> {
        let kind = self.kind_of(request.pool).await?;
        let volumes = request.volumes(kind);
        let expected = |volume: &WantedVolume| volume.planned(format!("/{}", volume.name));
        let spec = request.plan(&volumes.iter().map(expected).collect::<Vec<_>>())?;
        if kind == DiskKind::Block && request.after.snapshot.is_some() {
            return Err(Error::NoSnapshot { pool: request.pool.name.clone() });
        }
        let (choice, local) = (request.pool.clone(), self.is_local());
        let leaves = Leaves::of(request);
        self.predecessor(request).await?;
        let but: Vec<_> =
            request.replace.map(str::to_owned).into_iter().chain(leaves.domains()).collect();
        let has_cards = !spec.nics.is_empty();
        let starts = request.autostart;
        let (others, late) = self
            .call(move |connect| {
                let place = storage(connect, &choice, &volumes, &leaves, local)?;
                let late = if starts { autostart(connect, place.as_ref())? } else { None };
                // Each domain of the host costs a call of its own.
                let others = match has_cards {
                    true => addresses::of_others(connect, &but)?,
                    false => Vec::new(),
                };
                Ok((others, late))
            })
            .await?;
        let mut warnings = warnings(request.host, request.options);
        warnings.extend(late);
        warnings.extend(unseen_bridges(&spec, request.host));
        warnings.extend(warnings::of_plan(&spec, request.vm, request.options));
        warnings.extend(addresses::in_use(&spec, &others, request.host));
        warnings.extend(self.uuid_taken(&spec).await?);
        Ok(warnings)
    }
}

impl Connection {
    /// Type of the volumes in the pool; files for a pool that is still to be created.
    pub(in crate::libvirt) async fn kind_of(&self, choice: &PoolChoice) -> Result<DiskKind, Error> {
        let choice = choice.clone();
        let place = self.call(move |connect| pool::find(connect, &choice)).await?;
        Ok(place.map_or(DiskKind::File, |place| place.kind))
    }
}

/// Domains and volumes that exist now and are removed before the import.
pub(in crate::libvirt) struct Leaves {
    /// Paths of volumes.
    going: Vec<String>,
    /// Steps of a killed run that are undone before the import.
    undone: Vec<Undo>,
}

impl Leaves {
    pub fn of(request: &ImportRequest<'_>) -> Self {
        Self { going: request.going.to_vec(), undone: request.undone.to_vec() }
    }

    /// Names of the domains that are removed.
    fn domains(&self) -> impl Iterator<Item = String> {
        self.undone.iter().filter_map(|step| match step {
            Undo::Undefine { name, .. } => Some(name.clone()),
            _ => None,
        })
    }

    /// Whether the volume of that name is removed.
    fn volume(&self, place: &UsablePool, volume: &str) -> bool {
        let path = place.dir.join(volume);
        let is_it = |step: &Undo| match step {
            Undo::RemoveFile { path: made, .. } => *made == path,
            Undo::DeleteVolume { name, pool, .. } => name == volume && *pool == place.pool,
            _ => false,
        };
        self.going.iter().any(|going| path == Path::new(going)) || self.undone.iter().any(is_it)
    }
}

fn storage(
    connect: &Connect,
    choice: &PoolChoice,
    volumes: &[WantedVolume],
    leaves: &Leaves,
    local: bool,
) -> Result<Option<UsablePool>, Error> {
    let place = pool::find(connect, choice)?;
    if let Some(place) = &place {
        place.has_folder(local, choice.path.is_some())?;
    }
    // A device has no folder to enter, and the volume group manages its size.
    let files = place.as_ref().is_none_or(|place| place.kind == DiskKind::File);
    let dir = place.as_ref().map(|place| &place.dir).or(choice.path.as_ref());
    let dir = dir.filter(|_| local && files);
    if let Some(dir) = dir {
        access::check(connect, &choice.name, dir)?;
    }
    if let Some(place) = place.as_ref().filter(|place| place.active) {
        room(connect, place, volumes, leaves, local)?;
        return Ok(Some(place.clone()));
    }
    // libvirt reports no free space for a pool that is inactive or not created yet; on this machine
    // the file system does. The content of a file system is known only when it is mounted.
    let unmounted = place.as_ref().is_some_and(|place| place.of != pool::OF_FOLDER);
    if let Some(available) = dir.filter(|_| !unmounted).and_then(|dir| space::of_folder(dir)) {
        let place = place.as_ref();
        space::check(&choice.name, available, to_make(place, volumes, leaves, local))?;
    }
    Ok(place)
}

/// Refuses an active pool that has too little space for the volumes, or has other volumes of their
/// names.
pub(in crate::libvirt) fn room(
    connect: &Connect,
    place: &UsablePool,
    volumes: &[WantedVolume],
    leaves: &Leaves,
    local: bool,
) -> Result<(), Error> {
    let to_make = || to_make(Some(place), volumes, leaves, local);
    space::check(&place.pool, space::of_pool(connect, place)?, to_make())?;
    for volume in to_make() {
        volume::check_free(connect, place, &volume.name)?;
    }
    Ok(())
}

/// The volumes that have to be created. A volume that is removed frees its space for its successor.
fn to_make<'a>(
    place: Option<&'a UsablePool>,
    volumes: &'a [WantedVolume],
    leaves: &'a Leaves,
    local: bool,
) -> impl Iterator<Item = &'a WantedVolume> {
    volumes.iter().filter(move |volume| {
        !place.is_some_and(|place| {
            leaves.volume(place, &volume.name) || local && place.holds(&volume.image)
        })
    })
}

/// Warns about a domain that starts with its host while its pool does not: the domain finds no
/// disks. Files in a folder are available without their pool.
fn autostart(connect: &Connect, place: Option<&UsablePool>) -> Result<Option<Warning>, Error> {
    let Some(place) = place.filter(|place| place.of != pool::OF_FOLDER) else { return Ok(None) };
    let name = &place.pool;
    let starts = pool::open(connect, name)?.autostart();
    if starts.map_err(Error::call(format!("inspecting storage pool '{name}'")))? {
        return Ok(None);
    }
    let text = format!(
        "the domain starts with its host, and storage pool '{name}' of type {} does not: 'virsh \
         pool-autostart {}'",
        place.of,
        word(name)
    );
    Ok(Some(Warning::new(Stage::Libvirt, WarningCode::PoolNotAutostarted, text)))
}

fn warnings(host: &HostCapabilities, options: &PlanOptions) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |code: WarningCode, message: String| {
        warnings.push(Warning::new(Stage::Libvirt, code, message));
    };
    if options.domain_type.is_none() && !host.kvm_runs {
        let closed = host.own.as_ref().and_then(|own| own.kvm.as_ref());
        let (why, remedy) = match closed {
            _ if host.lists(DomainType::Kvm) => {
                ("libvirt lists KVM, but no guest runs on it", String::new())
            }
            Some(closed) => (closed.why.as_str(), format!(" ({})", closed.remedy)),
            None => ("the host has no KVM", String::new()),
        };
        let text = format!("{why}: the domain will be emulated, which is slow{remedy}");
        warn(WarningCode::KvmUnusable, text);
    }
    warnings
}

/// Warns about a bridge of a remote host that a session daemon's guests may join only if QEMU's
/// helper allows it.
fn unseen_bridges(spec: &DomainSpec, host: &HostCapabilities) -> Option<Warning> {
    host.own.as_ref().filter(|own| !own.seen)?;
    let bridge = spec.nics.iter().find_map(|nic| match &nic.source {
        NicSource::Bridge(name) => Some(name),
        _ => None,
    })?;
    let text = format!(
        "it is unknown whether guests of a user's own daemon may join bridge '{bridge}' there: \
         that needs 'allow {bridge}' in /etc/qemu/bridge.conf and a qemu-bridge-helper with the \
         rights of root (--network-map '*=user' needs no bridge)"
    );
    Some(Warning::new(Stage::Libvirt, WarningCode::BridgeUnproven, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Closed, Hardware, NetworkMap, OwnDaemon};

    #[test]
    fn emulation_is_worth_a_warning() {
        let mut host = HostCapabilities {
            arch: "x86_64".to_owned(),
            platforms: Vec::new(),
            kvm_runs: false,
            bridges: Vec::new(),
            networks: Vec::new(),
            switches: Vec::new(),
            own: None,
        };
        let mut options = PlanOptions {
            name: None,
            domain_type: None,
            bridge: "virbr0".to_owned(),
            network_map: NetworkMap::default(),
            hardware: Hardware::default(),
            allow_unbootable: false,
        };
        let codes = |host: &HostCapabilities, options: &PlanOptions| -> Vec<String> {
            warnings(host, options).into_iter().map(|warning| warning.code.to_string()).collect()
        };
        assert_eq!(codes(&host, &options), ["kvm-unusable"]);
        let closed = Closed { why: "you may not".to_owned(), remedy: "add yourself".to_owned() };
        host.own = Some(OwnDaemon { kvm: Some(closed), seen: true });
        let told = warnings(&host, &options).remove(0).message;
        assert!(told.contains("you may not: ") && told.contains("(add yourself)"), "{told}");
        options.domain_type = Some(DomainType::Qemu);
        assert!(codes(&host, &options).is_empty());
    }
}
