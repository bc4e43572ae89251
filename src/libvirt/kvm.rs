//! Whether KVM really runs guests where libvirt is: by the guest of [`crate::kvm`].
//!
//! On this machine its emulator is asked. On another one libvirt runs the guest for us, as a transient
//! domain whose disk is a small volume for that time. Where there is no pool for one, its firmware has
//! to do: it finds no disk, and reboots. That it runs is less of a proof.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use virt::connect::Connect;
use virt::domain::DomainState;
use virt::storage_vol::StorageVol;
use virt::sys;

use crate::domain::{DiskKind, DomainType, Platform};
use crate::kvm::{Accelerator, DISK, PATIENCE, Proof, boot_sector, prove};

use super::xml::probe;
use super::xml::storage::Volume;
use super::{Error, define, pool, trial, upload, xml};

/// Pools that are tried: where KVM itself fails they all do.
const MOST_POOLS: usize = 3;
/// How often a domain far away is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Whether a guest runs on `platform` of this machine. Nothing where this user may not try: libvirt's
/// own user may.
pub(super) async fn runs(platform: &Platform) -> Option<bool> {
    let accelerator = match platform.domain_type {
        DomainType::Kvm => Accelerator::Kvm,
        DomainType::Qemu => Accelerator::Tcg,
    };
    let (emulator, machine) = (Path::new(&platform.emulator), Some(platform.chipset.as_str()));
    match prove(emulator, machine, accelerator, &CancellationToken::new()).await {
        Proof::Runs => Some(true),
        Proof::Fails => Some(false),
        Proof::Forbidden => None,
    }
}

/// The same on the daemon's machine, with a disk for that time in `pool`, or else in another one that is
/// started. Blocks.
pub(super) fn runs_there(
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
            // A pool that is not there or that QEMU cannot reach says nothing about KVM.
            Err(error) => tracing::debug!(pool, %error, "no guest for the proof of KVM"),
        }
    }
    boot(connect, arch, platform, None).unwrap_or_else(|error| {
        tracing::debug!(%error, "KVM is listed but could not be proven");
        false
    })
}

/// Whether the guest on the volume at `disk` asked for a reset, or its firmware where there is none.
fn boot(
    connect: &Connect,
    arch: &str,
    platform: &Platform,
    disk: Option<&str>,
) -> Result<bool, Error> {
    let uuid = define::fresh_uuid()?;
    let name = format!("{}{uuid}", trial::PREFIX);
    let text = xml::write("domain", &probe::Domain::new(&name, &uuid, arch, platform, disk))
        .map_err(|source| Error::Xml { what: format!("domain '{name}'"), source })?;
    // Ends with this connection, so that a run that is killed leaves none.
    let domain = connect
        .create_domain_xml(&text, sys::VIR_DOMAIN_START_AUTODESTROY)
        .map_err(Error::call("start a domain for a moment"))?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        match domain.state() {
            Ok((state, _)) if state.is(DomainState::Crashed) => break,
            Ok(_) => std::thread::sleep(LOOK),
            Err(_) if connect.lookup_domain_by_uuid_string(&uuid).is_err() => return Ok(true),
            Err(error) => return Err(Error::call("look at a domain")(error)),
        }
    }
    domain.destroy().map(|()| false).map_err(Error::call("stop a domain"))
}

/// Does `work` with the path of the guest's disk, which is a volume of `pool` meanwhile.
fn with_disk<T>(
    connect: &Connect,
    pool: &str,
    work: impl FnOnce(&str) -> Result<T, Error>,
) -> Result<T, Error> {
    let handle = pool::open(connect, pool)?;
    let place = pool::describe(&handle, pool)?;
    if place.kind != DiskKind::File {
        return Err(Error::PoolKind { name: place.pool, kind: "logical".to_owned() });
    }
    let name = format!("{}{}.img", trial::PREFIX, define::fresh_uuid()?);
    let pool::Access { owner, group, mode } = place.access;
    let text = xml::write("volume", &Volume::raw(&name, 0).owned(owner, group, mode))
        .map_err(|source| Error::Xml { what: format!("volume '{name}'"), source })?;
    let volume = StorageVol::create_xml(&handle, &text, 0);
    let volume = volume.map_err(Error::call(format!("create volume '{name}'")))?;
    let filled = upload::send_beginning(connect, &volume, &boot_sector(), DISK);
    let path =
        filled.and_then(|()| volume.path().map_err(Error::call(format!("find volume '{name}'"))));
    let end = path.and_then(|path| work(&path));
    if let Err(error) = volume.delete(0) {
        tracing::warn!(name, pool, %error, "a volume that was there for a moment stays");
    }
    end
}
