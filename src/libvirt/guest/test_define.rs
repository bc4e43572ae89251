//! A test definition: the domain is defined under a temporary name and undefined at once. If
//! libvirt rejects the hardware, the run fails within seconds and not after a long transfer.

use tokio_util::sync::CancellationToken;
use virt::connect::Connect;
use virt::sys;

use crate::domain::DomainSpec;

use super::super::import::preflight;
use super::super::import::preflight::Leaves;
use super::super::import::request::ImportRequest;
use super::super::own_names::{TRIAL_PREFIX, fresh_uuid};
use super::super::rollback::undo_step::Undo;
use super::super::rollback::unwind::Unwind;
use super::super::storage::pool_ready;
use super::super::storage::wanted::WantedVolume;
use super::super::{Cause, Connection, Error, domain_xml};
use super::identity::Chosen;
use super::run_owner::RunOwner;
use super::watch::{GuestSigns, Wait};
use super::{define, identity, start};

/// Prefix of the names of domains for a boot test.
const BOOT_TEST: &str = "hyperexport-boot-test-";

impl Connection {
    /// Lets libvirt validate the domain that [`Self::import`] would define, and undefines it.
    /// Starts an inactive pool and stops it again. Removes leftovers of killed runs, but nothing of
    /// a live run.
    ///
    /// # Errors
    /// [`Error::Refused`] and [`Error::PoolNotStarted`] with libvirt's message; [`Error::Plan`],
    /// [`Error::Call`].
    pub async fn test_define(&self, request: &ImportRequest<'_>) -> Result<(), Error> {
        let expected = |volume: &WantedVolume| volume.planned(format!("/{}", volume.name));
        let kind = self.kind_of(request.pool).await?;
        let volumes = request.volumes(kind);
        let planned: Vec<_> = volumes.iter().map(expected).collect();
        let uuid = fresh_uuid()?;
        let spec = request.plan(&planned)?.renamed(format!("{TRIAL_PREFIX}{uuid}"));
        let owner = RunOwner::here()?;
        // The mark of the run, by which other runs check whether it is alive.
        let chosen = Chosen { uuid: uuid.clone(), mark: Some(owner.to_string()) };
        let (name, xml) = (request.domain_name(), chosen.xml(&spec)?);
        let (choice, local) = (request.pool.clone(), self.is_local());
        let leaves = Leaves::of(request);
        self.call(move |connect| {
            remove_leftovers(connect, &owner)?;
            pool_ready::try_start(connect, &choice, local, |place| {
                preflight::room(connect, place, &volumes, &leaves, local)
            })?;
            let defined = connect.define_domain_xml_flags(&xml, sys::VIR_DOMAIN_DEFINE_VALIDATE);
            let undefined = define::undefine(connect, &uuid);
            defined.map_err(|error| Error::Refused { name, source: Cause::from(error) })?;
            undefined.map_err(Error::call(format!("undefining domain '{TRIAL_PREFIX}{uuid}'")))
        })
        .await
    }
}

/// Starts a domain like `spec` once and waits for a sign of its guest. The domain has no network
/// and runs on overlays of its disks. This tests the conversion before the domain is defined.
/// Blocks.
pub(in crate::libvirt) fn boot_test(
    connect: &Connect,
    spec: DomainSpec,
    wait: &Wait,
    unwind: &Unwind,
    cancel: &CancellationToken,
) -> Result<GuestSigns, Error> {
    let uuid = fresh_uuid()?;
    let (name, own) = (spec.name.clone(), format!("{BOOT_TEST}{uuid}"));
    let xml = domain_xml(&spec.for_boot_test(own.clone()), &uuid)?;
    // In case this run is killed: a later run undefines the domain, which nobody uses meanwhile.
    unwind.announce(&Undo::Undefine { name: own.clone(), uuid: uuid.clone(), mark: None })?;
    let refused = |error| Error::Refused { name, source: Cause::from(error) };
    connect.define_domain_xml_flags(&xml, sys::VIR_DOMAIN_DEFINE_VALIDATE).map_err(refused)?;
    let seen = start::run_once(connect, &uuid, wait, cancel);
    let off = start::switch_off(connect, &uuid);
    let undefined = define::undefine(connect, &uuid);
    let seen = seen?;
    off.and(undefined).map_err(Error::call(format!("undefining domain '{own}'")))?;
    Ok(seen)
}

/// Whether the domain belongs to a boot test, so that nobody else uses it.
pub(in crate::libvirt) fn is_boot_test(name: &str, uuid: &str) -> bool {
    name.strip_prefix(BOOT_TEST) == Some(uuid)
}

fn remove_leftovers(connect: &Connect, here: &RunOwner) -> Result<(), Error> {
    let inactive = sys::VIR_CONNECT_LIST_DOMAINS_INACTIVE;
    let domains = connect.list_all_domains(inactive).map_err(Error::call("listing domains"))?;
    for domain in domains {
        // A domain that vanished since the listing belonged to another run.
        let (Ok(name), Ok(uuid)) = (domain.name(), domain.uuid_string()) else { continue };
        if name.strip_prefix(TRIAL_PREFIX) != Some(&uuid) {
            continue;
        }
        let Ok(metadata) = identity::metadata(&domain) else { continue };
        let owner = metadata.as_deref().and_then(RunOwner::in_text);
        // A domain without a mark was left by an earlier version.
        if owner.is_none_or(|owner| owner.is_dead(here))
            && let Err(error) = define::undefine(connect, &uuid)
        {
            tracing::warn!(%error, "domain '{name}' of an earlier trial stays");
        }
    }
    Ok(())
}
