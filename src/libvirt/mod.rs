//! The target: libvirt, accessed through the `virt` crate, which only this module uses.
//!
//! [`Connection`] is one connection. [`Connection::preflight`] refuses an import that cannot work
//! before any byte is transferred. [`Connection::import`] creates volumes from the converted disks
//! and defines a domain, or undoes everything. Calls of libvirt block, so they run on blocking
//! threads.

mod advice;
mod connection;
mod defined_domain;
mod error;
mod guest;
mod hint;
mod hint_words;
mod host;
mod import;
mod object_names;
mod own_names;
mod refusal;
mod results;
mod rollback;
mod source;
mod storage;
mod xml;

pub use connection::shared::Connections;
pub use connection::uri_check::check_from_file as check_uri_from_file;
pub use connection::{Connection, Settings, Transfer};
pub use defined_domain::DefinedDomain;
pub use error::{Cause, Error};
pub use guest::define::DomainNow;
pub use guest::unused::UnusedDisk;
pub use guest::watch::{GuestSigns, Sign, Wait};
pub use host::capabilities::platform;
pub use host::host_checks::Examined;
pub use import::draft::{Draft, DraftPool, DraftVolume};
pub use import::preview::{Preview, PreviewedPool};
pub use import::request::{AfterDefine, ImportRequest};
pub use object_names::{ObjectKind, object_names};
pub use refusal::Refusal;
pub use results::{RegisteredVolume, Snapshot, SnapshotKind};
pub use rollback::in_the_way::InTheWay;
pub use rollback::recover::{RecoveryResult, UsedDomain};
pub use rollback::undo::UndoReport;
pub use rollback::undo_since::{Life, Use, UsedDisk};
pub use rollback::undo_step::{DiskThen, Evidence, FileId, Undo};
pub use rollback::unwind::Journal;
pub use source::{FoundDomain, FoundVolume, VolumeSink};
pub use storage::download::Chunk;
pub use storage::wanted::{DefaultPool, PoolChoice};
pub use xml::XmlError;
pub use xml::user_profile::user_profile;

use crate::domain::{Family, Profile};

/// The hardware profile of a family, for planning.
///
/// # Errors
/// [`Error::Xml`] if the embedded profile cannot be parsed, which the tests rule out.
pub fn profile(family: Family) -> Result<Profile, Error> {
    let xml = xml::profile::ProfileXml::load(family)
        .map_err(|source| Error::Xml { what: "hardware profile".to_owned(), source })?;
    Ok(xml.wishes(family, None))
}

/// The domain XML of a plan, with `uuid` as its UUID.
///
/// # Errors
/// [`Error::Xml`] when a value cannot be written in XML.
pub fn domain_xml(spec: &crate::domain::DomainSpec, uuid: &str) -> Result<String, Error> {
    guest::identity::Chosen { uuid: uuid.to_owned(), mark: None }.xml(spec)
}

/// Entry point for `make fuzz`: parses XML of a libvirt host.
#[cfg(fuzzing)]
pub fn fuzz(text: &str) {
    source::fuzz(text);
}
