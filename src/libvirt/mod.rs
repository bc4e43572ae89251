//! The target: libvirt, through the `virt` crate, which no other room names.
//!
//! [`Connection`] is one connection. [`Connection::preflight`] refuses what cannot work before a byte
//! moves; [`Connection::import`] makes volumes of the converted disks and a domain of the plan, or
//! nothing at all. Every call of libvirt blocks, so all of them run off the runtime.

mod access;
mod addresses;
mod advice;
mod bridge_helper;
mod bridges;
mod capabilities;
mod connection;
mod console;
mod content;
mod copy;
mod default_pool;
mod define;
mod download;
mod draft;
mod error;
mod events;
mod hint;
mod hint_words;
mod host_checks;
mod identity;
mod import;
mod kvm;
mod own_daemon;
mod owners;
mod pool;
mod pool_kind;
mod pool_use;
mod preflight;
mod preview;
mod recover;
mod refusal;
mod replace;
mod request;
mod run_owner;
mod shared;
mod snapshot;
mod source;
mod source_after;
mod source_board;
mod source_power;
mod space;
mod ssh;
mod start;
mod test_define;
mod undo;
mod undo_later;
mod undo_pool;
mod undo_since;
mod undo_step;
mod undo_way;
mod unused;
mod unwind;
mod upload;
mod uri;
mod used;
mod user_profile;
mod volume;
mod warnings;
mod watch;
mod xml;

pub use capabilities::platform;
pub use connection::{Connection, Settings, Transfer};
pub use define::DomainNow;
pub use download::Chunk;
pub use draft::{Draft, DraftPool, DraftVolume};
pub use error::{Cause, Error};
pub use import::{DefinedDomain, RegisteredVolume};
pub use preview::{Preview, PreviewedPool};
pub use recover::{RecoveryResult, UsedDomain};
pub use refusal::Refusal;
pub use request::{AfterDefine, DefaultPool, ImportRequest, PoolChoice};
pub use shared::Connections;
pub use snapshot::{Snapshot, SnapshotKind};
pub use source::{FoundDomain, FoundVolume, VolumeSink};
pub use undo::UndoReport;
pub use undo_since::{Life, Use, UsedDisk};
pub use undo_step::{DiskThen, Evidence, FileId, Undo};
pub use undo_way::InTheWay;
pub use unused::UnusedDisk;
pub use unwind::Journal;
pub use uri::check_from_file as check_uri_from_file;
pub use user_profile::user_profile;
pub use watch::{GuestSigns, Sign, Wait};
pub use xml::XmlError;

use crate::domain::{Family, Profile};

/// The hardware profile of a family, as planning needs it.
///
/// # Errors
/// [`Error::Xml`] when the embedded profile cannot be read, which the tests rule out.
pub fn profile(family: Family) -> Result<Profile, Error> {
    let xml = xml::profile::ProfileXml::load(family)
        .map_err(|source| Error::Xml { what: "hardware profile".to_owned(), source })?;
    Ok(xml.wishes(family, None))
}

/// The domain XML of a plan, with the identity `uuid`.
///
/// # Errors
/// [`Error::Xml`] when a value cannot be written in XML.
pub fn domain_xml(spec: &crate::domain::DomainSpec, uuid: &str) -> Result<String, Error> {
    identity::Chosen { uuid: uuid.to_owned(), mark: None }.xml(spec)
}

/// A door for `make fuzz`: what a libvirt host says.
#[cfg(fuzzing)]
pub fn fuzz(text: &str) {
    source::fuzz(text);
}
