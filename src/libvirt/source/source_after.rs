//! Steps on the source host after the migration of a domain: planned, applied, and undone only if
//! the domain is unchanged since. All changes affect the domain's definition alone.

use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::ErrorNumber;
use virt::sys;

use super::super::xml::source_domain::SourceDomain;
use super::super::xml::{self, interfaces};
use super::super::{Connection, Error};
use crate::model::{SourceAfter, SourceStep};

impl Connection {
    /// Resolves `wanted` to a step for the domain in its present state; `None` if there is nothing
    /// to do. `note` is the line for the domain's description. Changes nothing.
    ///
    /// # Errors
    /// [`Error::CannotFollow`] for a step that libvirt does not support; [`Error::Call`].
    pub async fn plan_step(
        &self,
        uuid: &str,
        wanted: &SourceAfter,
        note: &str,
    ) -> Result<Option<SourceStep>, Error> {
        let (uuid, wanted, note) = (uuid.to_owned(), wanted.clone(), note.to_owned());
        self.call(move |connect| MigratedDomain::open(connect, &uuid)?.plan(&wanted, &note)).await
    }

    /// Applies a step.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub async fn do_step(&self, uuid: &str, step: &SourceStep) -> Result<(), Error> {
        let (uuid, step) = (uuid.to_owned(), step.clone());
        self.call(move |connect| {
            let found = MigratedDomain::open(connect, &uuid)?;
            match &step {
                SourceStep::DisconnectNics { cards } => found.set_links(cards, "down"),
                SourceStep::Rename { to, .. } => found.rename(to),
                SourceStep::Note { after, .. } => found.describe(Some(after)),
                SourceStep::Move { .. } | SourceStep::Tag { .. } => Ok(()),
            }
        })
        .await
    }

    /// Undoes a step, if the domain is still as the step left it; false if there was nothing to
    /// undo.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub async fn undo_step(&self, uuid: &str, step: &SourceStep) -> Result<bool, Error> {
        let (uuid, step) = (uuid.to_owned(), step.clone());
        self.call(move |connect| {
            let found = MigratedDomain::open(connect, &uuid)?;
            match &step {
                SourceStep::DisconnectNics { cards } => found.set_links(cards, "up")?,
                SourceStep::Rename { from, to } if found.name == *to => found.rename(from)?,
                SourceStep::Note { before, after } if found.description()? == *after => {
                    found.describe(Some(before.as_str()).filter(|text| !text.is_empty()))?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })
        .await
    }
}

struct MigratedDomain {
    domain: Domain,
    name: String,
}

impl MigratedDomain {
    fn open(connect: &Connect, uuid: &str) -> Result<Self, Error> {
        let call = || Error::call(format!("looking up domain {uuid}"));
        let domain = connect.lookup_domain_by_uuid_string(uuid).map_err(call())?;
        let name = domain.name().map_err(call())?;
        Ok(Self { domain, name })
    }

    fn call(&self, act: &str) -> impl FnOnce(virt::error::Error) -> Error + use<> {
        Error::call(format!("{act} domain '{}'", self.name))
    }

    fn plan(&self, wanted: &SourceAfter, note: &str) -> Result<Option<SourceStep>, Error> {
        let cannot = |reason: &str| {
            let (step, reason) = (wanted.to_string(), reason.to_owned());
            Err(Error::CannotFollow { step, reason })
        };
        match wanted {
            SourceAfter::DisconnectNics => {
                let read = xml::read("domain", &self.definition()?);
                let found: SourceDomain = read.map_err(|source| self.unreadable(source))?;
                let all = found.devices.interface.iter();
                let up = all.filter(|card| card.link.state != "down");
                let cards: Vec<_> = up.map(|card| card.mac.address.clone()).collect();
                Ok((!cards.is_empty()).then_some(SourceStep::DisconnectNics { cards }))
            }
            SourceAfter::Rename(suffix) => {
                let (from, to) = (self.name.clone(), format!("{}{suffix}", self.name));
                Ok((!from.ends_with(suffix)).then_some(SourceStep::Rename { from, to }))
            }
            SourceAfter::Note => {
                let before = self.description()?;
                Ok(SourceStep::note(&before, note))
            }
            SourceAfter::Folder(_) => cannot("libvirt has no folders of domains"),
            SourceAfter::Tag { .. } => cannot("libvirt has no tags"),
        }
    }

    fn definition(&self) -> Result<String, Error> {
        self.domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE).map_err(self.call("reading"))
    }

    fn unreadable(&self, source: super::super::XmlError) -> Error {
        Error::Xml { what: format!("domain '{}'", self.name), source }
    }

    fn set_links(&self, macs: &[String], state: &str) -> Result<(), Error> {
        let all = interfaces::with_links(&self.definition()?, state);
        let all = all.map_err(|source| self.unreadable(source))?;
        for card in all.iter().filter(|card| macs.iter().any(|mac| card.contains(mac))) {
            let changed = self.domain.update_device_flags(card, sys::VIR_DOMAIN_AFFECT_CONFIG);
            changed.map_err(self.call("changing a network card of"))?;
        }
        Ok(())
    }

    fn rename(&self, name: &str) -> Result<(), Error> {
        self.domain.rename(name, 0).map_err(self.call("renaming"))
    }

    fn description(&self) -> Result<String, Error> {
        let kind = sys::VIR_DOMAIN_METADATA_DESCRIPTION.cast_signed();
        match self.domain.metadata(kind, None, sys::VIR_DOMAIN_AFFECT_CONFIG) {
            Ok(text) => Ok(text),
            Err(error) if error.code().is(ErrorNumber::NoDomainMetadata) => Ok(String::new()),
            Err(error) => Err(self.call("reading the description of")(error)),
        }
    }

    fn describe(&self, text: Option<&str>) -> Result<(), Error> {
        let kind = sys::VIR_DOMAIN_METADATA_DESCRIPTION.cast_signed();
        let config = sys::VIR_DOMAIN_AFFECT_CONFIG;
        let set = self.domain.set_metadata(kind, text, None, None, config);
        set.map_err(self.call("changing the description of"))
    }
}
