//! The UUID of a domain that keeps the UUID of its source. libvirt requires the SMBIOS UUID to
//! match the domain's, and unique UUIDs on a host. If another domain has the UUID, the new domain
//! gets a fresh one.

use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::ErrorNumber;
use virt::sys;

use crate::domain::DomainSpec;
use crate::model::{Stage, Warning, WarningCode};

use super::super::own_names::fresh_uuid;
use super::super::xml::metadata::HYPEREXPORT;
use super::super::{Connection, Error, xml};

/// UUID and mark of a domain that is to be defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::libvirt) struct Chosen {
    pub uuid: String,
    /// Mark that distinguishes the domain from any other with the same UUID. Only the domain's
    /// metadata and the record of its run contain it. `None` for a domain that does not outlive its
    /// run.
    pub mark: Option<String>,
}

impl Chosen {
    /// A fresh random UUID and mark.
    pub fn fresh() -> Result<Self, Error> {
        Ok(Self { uuid: fresh_uuid()?, mark: Some(fresh_uuid()?) })
    }

    pub fn xml(&self, spec: &DomainSpec) -> Result<String, Error> {
        xml::from_spec::domain_xml(spec, &self.uuid, self.mark.as_deref())
            .map_err(|source| Error::Xml { what: format!("domain '{}'", spec.name), source })
    }
}

impl Connection {
    /// As [`choose`].
    ///
    /// # Errors
    /// [`Error::Call`], [`Error::File`].
    pub(in crate::libvirt) async fn identity(&self, spec: &DomainSpec) -> Result<Chosen, Error> {
        let spec = spec.clone();
        self.call(move |connect| choose(connect, &spec)).await
    }

    /// A warning if another domain has the UUID that the new domain would keep.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub(in crate::libvirt) async fn uuid_taken(
        &self,
        spec: &DomainSpec,
    ) -> Result<Option<Warning>, Error> {
        let Some(uuid) = &spec.identity.uuid else { return Ok(None) };
        let sought = uuid.clone();
        let owner = self.call(move |connect| owner(connect, &sought)).await?;
        Ok(owner.map(|owner| {
            let text = format!(
                "the UUID of the VM, {uuid}, is that of domain '{owner}' on this host: the new domain \
                 gets another one, and licences that go by it may ask again; --new-uuid for a copy \
                 that is to have its own"
            );
            Warning::new(Stage::Libvirt, WarningCode::UuidNotKept, text)
        }))
    }
}

/// The UUID of a new domain: that of the source, unless another domain has it, else a fresh one.
/// Blocks.
///
/// # Errors
/// [`Error::Call`], [`Error::File`].
pub(in crate::libvirt) fn choose(connect: &Connect, spec: &DomainSpec) -> Result<Chosen, Error> {
    match spec.identity.uuid.clone() {
        Some(uuid) if owner(connect, &uuid)?.is_none() => {
            Ok(Chosen { uuid, mark: Some(fresh_uuid()?) })
        }
        _ => Chosen::fresh(),
    }
}

/// Name of the domain with this UUID. Blocks.
pub(in crate::libvirt) fn owner(connect: &Connect, uuid: &str) -> Result<Option<String>, Error> {
    let call = || Error::call(format!("looking up domain {uuid}"));
    let found = find(connect, uuid, None).map_err(call())?;
    found.map(|domain| domain.name()).transpose().map_err(call())
}

/// The domain with this UUID, if it also has the mark. Blocks.
pub(in crate::libvirt) fn find(
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

/// Our element in the metadata of a domain; `None` for a domain that hyperexport has not created.
/// Blocks.
pub(in crate::libvirt) fn metadata(domain: &Domain) -> Result<Option<String>, virt::error::Error> {
    let kind = sys::VIR_DOMAIN_METADATA_ELEMENT.cast_signed();
    match domain.metadata(kind, Some(HYPEREXPORT), 0) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.code().is(ErrorNumber::NoDomainMetadata) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the XML or metadata of a domain contains the mark.
pub(in crate::libvirt) fn has_mark(xml: &str, mark: Option<&str>) -> bool {
    mark.is_none_or(|mark| {
        is_mark(mark)
            && MARKED.iter().any(|(before, after)| xml.contains(&format!("{before}{mark}{after}")))
    })
}

/// How the mark appears in the metadata of a domain: libvirt chooses the quotes.
const MARKED: [(&str, &str); 2] = [("definition='", "'"), ("definition=\"", "\"")];

/// Whether a word has the form of a mark: a UUID, not a word that every domain contains.
fn is_mark(word: &str) -> bool {
    word.len() == 36 && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Whether the metadata proves that the run of these undo steps has created the domain. Runs of
/// earlier versions wrote no mark: without a mark in the steps, the metadata must have none.
pub(in crate::libvirt) fn is_proved(metadata: Option<&str>, mark: Option<&str>) -> bool {
    match (metadata, mark) {
        (None, _) => false,
        (Some(text), Some(mark)) => has_mark(text, Some(mark)),
        (Some(text), None) => !MARKED.iter().any(|(before, _)| text.contains(before)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &str = "8f4f7d10-9f0c-4c43-9f63-0b3f0f1d2c11";

    #[test]
    fn a_domain_is_proved_by_the_mark_in_its_metadata_and_by_no_word_that_others_have() {
        let with = format!("<h:hyperexport xmlns:h='urn' version='0.1.0' definition='{MARK}'/>");
        let without = "<h:hyperexport xmlns:h='urn' version='0.1.0'/>";
        assert!(is_proved(Some(&with), Some(MARK)));
        assert!(is_proved(Some(&with.replace('\'', "\"")), Some(MARK)));
        for mark in ["", "definition", "0.1.0", &MARK.replace('8', "9"), &MARK[..35]] {
            assert!(!is_proved(Some(&with), Some(mark)), "{mark}");
        }
        assert!(is_proved(Some(without), None), "of an earlier version");
        assert!(!is_proved(Some(&with), None), "of another run");
        assert!(!is_proved(Some(without), Some(MARK)));
        assert!(!is_proved(None, None) && !is_proved(None, Some(MARK)), "nobody of us made it");
    }
}
