//! The UUID of a domain that keeps that of its source. libvirt wants the UUID in SMBIOS to be that of
//! the domain, and no two domains of a host may have one; so where another domain has it, the new one
//! gets its own.

use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::ErrorNumber;
use virt::sys;

use crate::domain::DomainSpec;
use crate::model::{Stage, Warning};

use super::define;
use super::xml::metadata::HYPEREXPORT;
use super::{Error, Target, xml};

/// UUID of a domain to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    pub uuid: String,
    /// What tells the domain from any other of that UUID, which stands in its metadata. None where
    /// nothing else has the UUID.
    pub mark: Option<String>,
}

impl Chosen {
    /// One that nothing else has.
    pub fn fresh() -> Result<Self, Error> {
        Ok(Self { uuid: define::fresh_uuid()?, mark: None })
    }

    /// The XML of the domain.
    pub fn xml(&self, spec: &DomainSpec) -> Result<String, Error> {
        xml::from_spec::domain_xml(spec, &self.uuid, self.mark.as_deref())
            .map_err(|source| Error::Xml { what: format!("domain '{}'", spec.name), source })
    }
}

impl Target {
    /// As [`choose`].
    ///
    /// # Errors
    /// [`Error::Call`], [`Error::File`].
    pub(super) async fn identity(&self, spec: &DomainSpec) -> Result<Chosen, Error> {
        let spec = spec.clone();
        self.call(move |connect| choose(connect, &spec)).await
    }

    /// A warning where another domain has the UUID that the domain would keep.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub(super) async fn uuid_taken(&self, spec: &DomainSpec) -> Result<Option<Warning>, Error> {
        let Some(uuid) = &spec.identity.uuid else { return Ok(None) };
        let sought = uuid.clone();
        let owner = self.call(move |connect| owner(connect, &sought)).await?;
        Ok(owner.map(|owner| {
            let text = format!(
                "the UUID of the VM, {uuid}, is that of domain '{owner}' on this host: the new domain \
                 gets another one, and licences that go by it may ask again; --new-uuid for a copy \
                 that is to have its own"
            );
            Warning::new(Stage::Libvirt, "uuid-not-kept", text)
        }))
    }
}

/// The UUID of a domain: that of the source, if no other domain has it, else a new one. Blocks.
///
/// # Errors
/// [`Error::Call`], [`Error::File`].
pub(super) fn choose(connect: &Connect, spec: &DomainSpec) -> Result<Chosen, Error> {
    match spec.identity.uuid.clone() {
        Some(uuid) if owner(connect, &uuid)?.is_none() => {
            Ok(Chosen { uuid, mark: Some(define::fresh_uuid()?) })
        }
        _ => Chosen::fresh(),
    }
}

/// Name of the domain that has a UUID. Blocks.
pub(super) fn owner(connect: &Connect, uuid: &str) -> Result<Option<String>, Error> {
    let call = || Error::call(format!("look up domain {uuid}"));
    let found = find(connect, uuid, None).map_err(call())?;
    found.map(|domain| domain.name()).transpose().map_err(call())
}

/// The domain of that UUID, if it is the one with the mark. Blocks.
pub(super) fn find(
    connect: &Connect,
    uuid: &str,
    mark: Option<&str>,
) -> Result<Option<Domain>, virt::error::Error> {
    let domain = match connect.lookup_domain_by_uuid_string(uuid) {
        Ok(domain) => domain,
        Err(error) if error.code().is(ErrorNumber::NoDomain) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(mark) = mark else { return Ok(Some(domain)) };
    let is_it = metadata(&domain)?.is_some_and(|text| has_mark(&text, Some(mark)));
    Ok(is_it.then_some(domain))
}

/// What we have written into the metadata of a domain; none of a domain that is not ours. Blocks.
pub(super) fn metadata(domain: &Domain) -> Result<Option<String>, virt::error::Error> {
    let kind = sys::VIR_DOMAIN_METADATA_ELEMENT.cast_signed();
    match domain.metadata(kind, Some(HYPEREXPORT), 0) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.code().is(ErrorNumber::NoDomainMetadata) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the XML of a domain, or its metadata, has the mark.
pub(super) fn has_mark(xml: &str, mark: Option<&str>) -> bool {
    mark.is_none_or(|mark| xml.contains(mark))
}
