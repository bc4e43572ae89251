//! The UUID of a domain that keeps that of its source. libvirt wants the UUID in SMBIOS to be that
//! of the domain, and no two domains of a host may have one; so where another domain has it, the
//! new one gets its own.

use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::ErrorNumber;
use virt::sys;

use crate::domain::DomainSpec;
use crate::model::{Stage, Warning, WarningCode};

use super::super::own_names::fresh_uuid;
use super::super::xml::metadata::HYPEREXPORT;
use super::super::{Connection, Error, xml};

/// UUID of a domain to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::libvirt) struct Chosen {
    pub uuid: String,
    /// What tells the domain from any other, which stands in its metadata and in the record of its
    /// run alone. None of what goes with its own run.
    pub mark: Option<String>,
}

impl Chosen {
    /// One that nothing else has.
    pub fn fresh() -> Result<Self, Error> {
        Ok(Self { uuid: fresh_uuid()?, mark: Some(fresh_uuid()?) })
    }

    /// The XML of the domain.
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

    /// A warning where another domain has the UUID that the domain would keep.
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

/// The UUID of a domain: that of the source, if no other domain has it, else a new one. Blocks.
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

/// Name of the domain that has a UUID. Blocks.
pub(in crate::libvirt) fn owner(connect: &Connect, uuid: &str) -> Result<Option<String>, Error> {
    let call = || Error::call(format!("looking up domain {uuid}"));
    let found = find(connect, uuid, None).map_err(call())?;
    found.map(|domain| domain.name()).transpose().map_err(call())
}

/// The domain of that UUID, if it is the one with the mark. Blocks.
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

/// What we have written into the metadata of a domain; none of a domain that is not ours. Blocks.
pub(in crate::libvirt) fn metadata(domain: &Domain) -> Result<Option<String>, virt::error::Error> {
    let kind = sys::VIR_DOMAIN_METADATA_ELEMENT.cast_signed();
    match domain.metadata(kind, Some(HYPEREXPORT), 0) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.code().is(ErrorNumber::NoDomainMetadata) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the XML of a domain, or its metadata, has the mark.
pub(in crate::libvirt) fn has_mark(xml: &str, mark: Option<&str>) -> bool {
    mark.is_none_or(|mark| {
        is_mark(mark)
            && MARKED.iter().any(|(before, after)| xml.contains(&format!("{before}{mark}{after}")))
    })
}

/// How the metadata of a domain holds its mark: libvirt chooses the quotes.
const MARKED: [(&str, &str); 2] = [("definition='", "'"), ("definition=\"", "\"")];

/// Whether a word can be a mark: a UUID, and not a word that every domain has.
fn is_mark(word: &str) -> bool {
    word.len() == 36 && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Whether the metadata of a domain proves that the run which the steps are of has made it. A run
/// of an earlier version has left no mark in it: there has to be none then.
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
