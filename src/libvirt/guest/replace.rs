//! Replaces a domain that an earlier import created: the old domain is renamed and keeps its disks,
//! UEFI variables and UUID. Nothing is lost, and the rename can be undone.

use std::path::Path;

use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::ErrorNumber;
use virt::sys;

use crate::model::Firmware;

use super::super::import::request::ImportRequest;
use super::super::rollback::undo_step::Undo;
use super::super::rollback::unwind::Unwind;
use super::super::xml::sources;
use super::super::{Connection, Error};
use super::identity;

/// Suffix of the name of a domain that was set aside; a number may follow.
const ASIDE: &str = "-replaced";

/// A domain that is to be replaced.
#[derive(Debug, Clone)]
pub(in crate::libvirt) struct Predecessor {
    name: String,
    uuid: String,
    autostart: bool,
    /// Path of its file of UEFI variables.
    nvram: Option<String>,
}

/// The domain of that name, if it may be replaced. The user must have typed its name, hyperexport
/// must have created it, and it must be shut off. It must have no snapshots, since libvirt does not
/// rename such a domain. Domains that the steps in `undone` remove first are skipped.
fn look(
    connect: &Connect,
    name: &str,
    replace: Option<&str>,
    undone: &[Undo],
) -> Result<Option<Predecessor>, Error> {
    let call = || Error::call(format!("looking up domain '{name}'"));
    let Some(domain) = named(connect, name, undone).map_err(call())? else { return Ok(None) };
    if replace != Some(name) {
        return Err(Error::DomainExists { name: name.to_owned() });
    }
    let refuse = |why| Err(Error::NotReplaced { name: name.to_owned(), why });
    if !is_ours(&domain).map_err(call())? {
        return refuse("hyperexport has not made it");
    }
    if domain.is_active().map_err(call())? {
        return refuse("it runs");
    }
    if !domain.list_all_snapshots(0).map_err(call())?.is_empty() {
        return refuse("it has snapshots");
    }
    let xml = domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE).map_err(call())?;
    Ok(Some(Predecessor {
        name: name.to_owned(),
        uuid: domain.uuid_string().map_err(call())?,
        autostart: domain.autostart().map_err(call())?,
        nvram: sources::nvram(&xml),
    }))
}

/// The domain that will have the name after the steps in `undone` are undone.
fn named(
    connect: &Connect,
    name: &str,
    undone: &[Undo],
) -> Result<Option<Domain>, virt::error::Error> {
    let domain = match connect.lookup_domain_by_name(name) {
        Ok(domain) => domain,
        Err(error) if error.code().is(ErrorNumber::NoDomain) => return Ok(None),
        Err(error) => return Err(error),
    };
    let found = domain.uuid_string()?;
    let goes = |step: &Undo| matches!(step, Undo::Undefine { uuid, .. } if *uuid == found);
    if !undone.iter().any(goes) {
        return Ok(Some(domain));
    }
    let back = undone.iter().find_map(|step| match step {
        Undo::BringBack { name: old, uuid, .. } if old == name => Some(uuid),
        _ => None,
    });
    match back {
        Some(uuid) => identity::find(connect, uuid, None),
        None => Ok(None),
    }
}

fn is_ours(domain: &Domain) -> Result<bool, virt::error::Error> {
    Ok(identity::metadata(domain)?.is_some())
}

impl Connection {
    /// Refuses a `--replace` that replaces nothing: the named domain must exist and have the name
    /// of the new one.
    ///
    /// # Errors
    /// [`Error::ReplacesOther`], [`Error::NothingToReplace`], [`Error::Call`].
    pub async fn check_replace(&self, request: &ImportRequest<'_>) -> Result<(), Error> {
        let (name, Some(old)) = (request.domain_name(), request.replace) else { return Ok(()) };
        if old != name {
            return Err(Error::ReplacesOther { old: old.to_owned(), name });
        }
        match self.predecessor(request).await? {
            Some(_) => Ok(()),
            None => Err(Error::NothingToReplace { name }),
        }
    }

    /// The domain that the request replaces, if there is one.
    pub(in crate::libvirt) async fn predecessor(
        &self,
        request: &ImportRequest<'_>,
    ) -> Result<Option<Predecessor>, Error> {
        let (name, replace) = (request.domain_name(), request.replace.map(str::to_owned));
        let undone = request.undone.to_vec();
        self.call(move |connect| look(connect, &name, replace.as_deref(), &undone)).await
    }
}

impl Predecessor {
    /// Path for the UEFI variables of the new domain. libvirt would derive the path from the name,
    /// and the file of that name belongs to the old domain.
    pub fn nvram_beside(&self, request: &ImportRequest<'_>) -> Option<String> {
        let taken = self.nvram.as_deref().filter(|_| request.vm.firmware == Firmware::Efi)?;
        let dir = Path::new(taken).parent()?;
        let name = format!("{}_VARS.fd", request.volume_base());
        Some(dir.join(name).to_string_lossy().into_owned())
    }

    /// Renames the old domain and turns its autostart off.
    pub fn set_aside(&self, connect: &Connect, unwind: &Unwind) -> Result<(), Error> {
        let Self { name, uuid, autostart, .. } = self;
        let call = || Error::call(format!("setting domain '{name}' aside"));
        let domain = connect.lookup_domain_by_uuid_string(uuid).map_err(call())?;
        let aside = free_name(connect, name)?;
        unwind.push(Undo::BringBack {
            name: name.clone(),
            aside: aside.clone(),
            uuid: uuid.clone(),
            autostart: *autostart,
        })?;
        if *autostart {
            domain.set_autostart(false).map_err(call())?;
        }
        domain.rename(&aside, 0).map_err(call())
    }
}

/// Restores the name of a domain that was set aside; returns whether it was set aside.
pub(in crate::libvirt) fn restore_name(
    connect: &Connect,
    uuid: &str,
    name: &str,
    aside: &str,
    autostart: bool,
) -> Result<bool, virt::error::Error> {
    let Some(domain) = identity::find(connect, uuid, None)? else { return Ok(false) };
    let is_aside = domain.name()? == aside;
    if is_aside {
        domain.rename(name, 0)?;
    }
    if autostart {
        domain.set_autostart(true)?;
    }
    Ok(is_aside)
}

/// Whether `now` is a name that a domain called `name` gets when it is set aside.
pub(in crate::libvirt) fn is_aside(name: &str, now: &str) -> bool {
    let number = now.strip_prefix(name).and_then(|rest| rest.strip_prefix(ASIDE));
    number.is_some_and(|number| {
        let number = number.strip_prefix('-').unwrap_or(number);
        number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// `NAME-replaced`, or the next free name with a number.
fn free_name(connect: &Connect, name: &str) -> Result<String, Error> {
    for number in 1_u32.. {
        let number = if number == 1 { String::new() } else { format!("-{number}") };
        let aside = format!("{name}{ASIDE}{number}");
        match connect.lookup_domain_by_name(&aside) {
            Err(error) if error.code().is(ErrorNumber::NoDomain) => return Ok(aside),
            Err(error) => return Err(Error::call(format!("looking up domain '{aside}'"))(error)),
            Ok(_) => {}
        }
    }
    Err(Error::DomainExists { name: format!("{name}-replaced") })
}

#[cfg(test)]
mod tests {
    use super::is_aside;

    #[test]
    fn a_domain_that_was_set_aside_is_known_by_its_name() {
        for now in ["web-replaced", "web-replaced-2", "web-replaced-13"] {
            assert!(is_aside("web", now), "{now}");
        }
        for now in ["web", "web2", "web-replaced-by-hand", "other-replaced"] {
            assert!(!is_aside("web", now), "{now}");
        }
    }
}
