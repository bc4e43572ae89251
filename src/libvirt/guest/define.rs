//! Defines domains, reads them back, and refuses names that are taken.

use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::ErrorNumber;
use virt::sys;

use crate::domain::DomainSpec;

use super::super::results::RegisteredVolume;
use super::super::rollback::undo_step::Undo;
use super::super::rollback::unwind::Unwind;
use super::super::rollback::used;
use super::super::{Connection, DefinedDomain, Error};
use super::identity::{self, Chosen};

/// A domain to be defined.
pub(in crate::libvirt) struct Definition {
    /// Planned hardware and name of the domain.
    pub spec: DomainSpec,
    /// UUID and mark of the domain, if a plan file fixes them.
    pub drafted: Option<Chosen>,
    /// Whether the domain starts when its host boots.
    pub autostart: bool,
    /// Name of the storage pool of the domain's disks.
    pub pool: String,
    /// Disks of the domain.
    pub disks: Vec<RegisteredVolume>,
}

/// Refuses when a domain of that name exists.
pub(in crate::libvirt) fn check_free(connect: &Connect, name: &str) -> Result<(), Error> {
    match connect.lookup_domain_by_name(name) {
        Ok(_) => Err(Error::DomainExists { name: name.to_owned() }),
        Err(error) if error.code().is(ErrorNumber::NoDomain) => Ok(()),
        Err(error) => Err(Error::call(format!("looking up domain '{name}'"))(error)),
    }
}

/// Defines a domain; returns its UUID and its XML as libvirt completed it.
pub(in crate::libvirt) fn define(
    connect: &Connect,
    definition: &Definition,
    unwind: &Unwind,
) -> Result<(String, String), Error> {
    let Definition { spec, drafted, .. } = definition;
    let chosen = match drafted {
        Some(drafted) => drafted.clone(),
        None => identity::choose(connect, spec)?,
    };
    match define_as(connect, definition, &chosen, unwind) {
        // Another run has defined a domain with this UUID in the meantime.
        Err(Error::UuidTaken { .. }) if drafted.is_none() => {
            define_as(connect, definition, &Chosen::fresh()?, unwind)
        }
        defined => defined,
    }
}

/// Defines the domain under that UUID. With a fresh UUID libvirt itself refuses a name that is
/// taken. With the UUID of an existing domain libvirt would redefine that domain, so a UUID kept
/// from the source is looked up first.
fn define_as(
    connect: &Connect,
    Definition { spec, autostart, pool, disks, .. }: &Definition,
    chosen: &Chosen,
    unwind: &Unwind,
) -> Result<(String, String), Error> {
    let (name, Chosen { uuid, mark }) = (&spec.name, chosen);
    check_free(connect, name)?;
    let taken = || {
        let owner = identity::owner(connect, uuid)?;
        Ok::<_, Error>(owner.map(|owner| Error::UuidTaken { uuid: uuid.clone(), owner }))
    };
    if let Some(error) = taken()? {
        return Err(error);
    }
    let xml = chosen.xml(spec)?;
    unwind.announce(&Undo::Defined {
        name: name.clone(),
        uuid: uuid.clone(),
        pool: pool.clone(),
        disks: used::disks_now(connect, disks.clone()),
    })?;
    unwind.push(Undo::Undefine { name: name.clone(), uuid: uuid.clone(), mark: mark.clone() })?;
    let call = |verb: &str| Error::call(format!("{verb} domain '{name}'"));
    let domain = match connect.define_domain_xml_flags(&xml, sys::VIR_DOMAIN_DEFINE_VALIDATE) {
        Ok(domain) => domain,
        Err(error) => return Err(taken()?.unwrap_or_else(|| call("defining")(error))),
    };
    if *autostart {
        domain.set_autostart(true).map_err(call("setting autostart of"))?;
    }
    let xml = domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE).map_err(call("reading"))?;
    Ok((uuid.clone(), xml))
}

/// Present state of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainNow {
    /// Present name, which may differ from the recorded one.
    pub name: String,
    /// Whether the domain is running.
    pub active: bool,
}

impl Connection {
    /// Present state of a domain that was defined; `None` if the domain no longer exists.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub async fn domain_now(&self, domain: &DefinedDomain) -> Result<Option<DomainNow>, Error> {
        let (uuid, mark) = (domain.uuid.clone(), domain.mark().map(str::to_owned));
        self.call(move |connect| {
            let call = || Error::call(format!("looking up domain {uuid}"));
            let found = identity::find(connect, &uuid, mark.as_deref()).map_err(call())?;
            let Some(domain) = found else { return Ok(None) };
            let name = domain.name().map_err(call())?;
            let active = domain.is_active().map_err(call())?;
            Ok(Some(DomainNow { name, active }))
        })
        .await
    }
}

/// XML of a domain, as libvirt stores it.
pub(in crate::libvirt) fn describe(connect: &Connect, uuid: &str) -> Result<String, Error> {
    let call = || Error::call(format!("reading domain {uuid}"));
    let domain = connect.lookup_domain_by_uuid_string(uuid).map_err(call())?;
    domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE).map_err(call())
}

/// Undefines a domain by its UUID. A domain that is missing, or that another run removes
/// concurrently, is no error.
pub(in crate::libvirt) fn undefine(
    connect: &Connect,
    uuid: &str,
) -> Result<(), virt::error::Error> {
    identity::find(connect, uuid, None)?.map_or(Ok(()), |domain| undefine_found(&domain))
}

/// Undefines this domain. Without the flag libvirt refuses a domain with stored UEFI variables.
pub(in crate::libvirt) fn undefine_found(domain: &Domain) -> Result<(), virt::error::Error> {
    match domain.undefine_flags(sys::VIR_DOMAIN_UNDEFINE_NVRAM) {
        Err(error) if error.code().is(ErrorNumber::NoDomain) => Ok(()),
        undefined => undefined,
    }
}
