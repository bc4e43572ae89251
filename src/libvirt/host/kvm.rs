//! Proves that KVM runs guests on the host of libvirt, with the guest of [`crate::kvm`].
//!
//! On this machine the emulator is run directly. On a remote host libvirt runs the guest as a
//! transient domain with a small temporary volume as its disk. If there is no pool for the volume,
//! the firmware alone must run: it finds no disk and reboots. This is a weaker proof.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use virt::connect::Connect;
use virt::domain::DomainState;
use virt::storage_pool::StoragePool;
use virt::storage_vol::StorageVol;
use virt::sys;

use crate::domain::{DiskKind, DomainType, Platform};
use crate::kvm::{Accelerator, DISK, KvmProof, PATIENCE, boot_sector, prove};

use super::super::guest::run_owner::RunOwner;
use super::super::own_names::{TRIAL_PREFIX, fresh_uuid};
use super::super::storage::{pool, upload};
use super::super::xml::probe;
use super::super::xml::storage::Volume;
use super::super::{Error, xml};

/// Number of pools to try: if KVM itself fails, the attempt fails in every pool.
const MOST_POOLS: usize = 3;
/// Time between two checks of a remote domain.
const LOOK: Duration = Duration::from_millis(100);

/// Whether a guest runs on `platform` of this machine. `None` if this user may not open KVM;
/// libvirt's own user may be allowed to.
pub(in crate::libvirt) async fn runs(platform: &Platform) -> Option<bool> {
    let accelerator = match platform.domain_type {
        DomainType::Kvm => Accelerator::Kvm,
        DomainType::Qemu => Accelerator::Tcg,
    };
    let (emulator, machine) = (Path::new(&platform.emulator), Some(platform.chipset.as_str()));
    match prove(emulator, machine, accelerator, &CancellationToken::new()).await {
        KvmProof::Runs => Some(true),
        KvmProof::Fails => Some(false),
        KvmProof::Forbidden => None,
    }
}

/// Whether a guest runs on `platform` of the daemon's host. Its temporary disk is in `pool`, or
/// else in another active pool. Blocks.
pub(in crate::libvirt) fn runs_there(
    connect: &Connect,
    arch: &str,
    platform: &Platform,
    pool: Option<&str>,
) -> bool {
    let others = pool::active(connect).unwrap_or_default();
    let others = others.iter().map(String::as_str).filter(|other| Some(*other) != pool);
    for pool in pool.into_iter().chain(others).take(MOST_POOLS) {
        match with_disk(connect, pool, |disk| boot(connect, arch, platform, Some(disk))) {
            Ok(runs) => return runs,
            // A pool that is missing or that QEMU cannot reach proves nothing about KVM.
            Err(error) => tracing::debug!(pool, %error, "no guest for the proof of KVM"),
        }
    }
    boot(connect, arch, platform, None).unwrap_or_else(|error| {
        tracing::debug!(%error, "KVM is listed but could not be proven");
        false
    })
}

/// Whether the guest reset the machine, booted from the volume at `disk`, or without a disk its
/// firmware.
fn boot(
    connect: &Connect,
    arch: &str,
    platform: &Platform,
    disk: Option<&str>,
) -> Result<bool, Error> {
    let uuid = fresh_uuid()?;
    let name = format!("{}{uuid}", TRIAL_PREFIX);
    let text = xml::write("domain", &probe::Domain::new(&name, &uuid, arch, platform, disk))
        .map_err(|source| Error::Xml { what: format!("domain '{name}'"), source })?;
    // The domain ends with this connection, so that a killed run leaves no domain.
    let domain = connect
        .create_domain_xml(&text, sys::VIR_DOMAIN_START_AUTODESTROY)
        .map_err(Error::call("starting a domain for a moment"))?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        // Not `state()`, which in virt 0.5 drops the error of a domain that no longer exists.
        match domain.info() {
            Ok(info) if info.state.is(DomainState::Crashed) => break,
            Ok(_) => std::thread::sleep(LOOK),
            Err(_) if connect.lookup_domain_by_uuid_string(&uuid).is_err() => return Ok(true),
            Err(error) => return Err(Error::call("inspecting a domain")(error)),
        }
    }
    domain.destroy().map(|()| false).map_err(Error::call("stopping a domain"))
}

/// Runs `work` with the path of the guest's disk, a temporary volume of `pool`.
fn with_disk<T>(
    connect: &Connect,
    pool: &str,
    work: impl FnOnce(&str) -> Result<T, Error>,
) -> Result<T, Error> {
    let handle = pool::open(connect, pool)?;
    let place = pool::describe(&handle, pool)?;
    if place.kind != DiskKind::File {
        let why = "a volume of it is a device";
        return Err(Error::PoolKind { name: place.pool, kind: place.of, why });
    }
    let owner = RunOwner::here()?;
    remove_leftovers(&handle, &owner)?;
    let name = format!("{}{owner}-{}.img", TRIAL_PREFIX, fresh_uuid()?);
    let pool::Access { owner, group, mode } = place.access;
    let text = xml::write("volume", &Volume::raw(&name, 0).owned(owner, group, mode))
        .map_err(|source| Error::Xml { what: format!("volume '{name}'"), source })?;
    let volume = StorageVol::create_xml(&handle, &text, 0);
    let volume = volume.map_err(Error::call(format!("creating volume '{name}'")))?;
    let filled = upload::send_beginning(connect, &volume, &boot_sector(), DISK);
    let path = filled
        .and_then(|()| volume.path().map_err(Error::call(format!("finding volume '{name}'"))));
    let end = path.and_then(|path| work(&path));
    if let Err(error) = volume.delete(0) {
        tracing::warn!(name, pool, %error, "a volume that was there for a moment stays");
    }
    end
}

/// Deletes the temporary volumes of runs that were killed.
fn remove_leftovers(pool: &StoragePool, here: &RunOwner) -> Result<(), Error> {
    for volume in pool.list_all_volumes(0).map_err(Error::call("listing volumes"))? {
        let Ok(name) = volume.name() else { continue };
        let owner = name.strip_prefix(TRIAL_PREFIX).and_then(RunOwner::in_text);
        if owner.is_some_and(|owner| owner.is_dead(here))
            && let Err(error) = volume.delete(0)
        {
            tracing::warn!(%error, "volume '{name}' of an earlier trial stays");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::domain::Chipset;
    use crate::libvirt::{Connection, Settings};

    const URI: &str = "qemu:///system";

    /// A transient pool over `folder`, which disappears with libvirtd at the latest.
    fn pool(connect: &Connect, name: &str, folder: &Path) {
        let text = format!(
            "<pool type='dir'><name>{name}</name><target><path>{}</path></target></pool>",
            folder.display()
        );
        connect.create_storage_pool_xml(&text, 0).expect("a pool");
    }

    /// Emulated, since that works on every host.
    #[tokio::test]
    async fn a_guest_that_libvirt_runs_is_the_proof() {
        let settings = Settings { uri: URI.to_owned(), ..Settings::default() };
        let Ok(target) = Connection::connect(&settings).await else {
            assert!(std::env::var_os("CI").is_none(), "this test must run in CI: no {URI}");
            return println!("skipped: no {URI}");
        };
        let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
        let reachable = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(folder.path(), reachable).expect("set");
        let (path, name) = (folder.path().to_owned(), format!("hxt-{}-kvm", std::process::id()));
        let host = target.capabilities().await.expect("capabilities");
        let platform = host.platforms.into_iter().find(|platform| {
            platform.domain_type == DomainType::Qemu && platform.chipset == Chipset::Q35
        });
        let platform = platform.expect("emulation");
        let work = move |connect: &Connect| {
            pool(connect, &name, &path);
            let leave = |owner: &str| {
                let file = path.join(format!("{}{owner}-0a.img", TRIAL_PREFIX));
                std::fs::write(&file, "").expect("written");
                file
            };
            let here = RunOwner::here()?.to_string();
            let of_dead = here.replace(&format!("-{}-", std::process::id()), "-999999999-");
            let (dead, alive) = (leave(&of_dead), leave(&here));
            pool::open(connect, &name)?.refresh(0).map_err(Error::call("inspecting a pool"))?;
            let by_guest = runs_there(connect, "x86_64", &platform, Some(&name));
            assert!(!dead.exists() && alive.exists(), "only what a dead run left goes");
            std::fs::remove_file(alive).expect("still there");
            let by_firmware = boot(connect, "x86_64", &platform, None);
            let left = std::fs::read_dir(&path).expect("the folder").count();
            let gone = pool::open(connect, &name)?.destroy();
            gone.map_err(Error::call("stopping a storage pool"))?;
            Ok((by_guest, by_firmware?, left))
        };
        assert_eq!(target.call(work).await.expect("tried"), (true, true, 0));
    }
}
