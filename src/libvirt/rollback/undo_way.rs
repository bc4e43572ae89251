//! Detects what prevents undefining a domain, before anything is removed: libvirt would refuse to
//! undefine the domain but delete its disks.

use std::ptr;

use virt::connect::Connect;
use virt::domain::Domain;
use virt::sys;

use super::super::guest::{identity, replace};
use super::super::{Connection, Error};
use super::in_the_way::InTheWay;
use super::undo_step::Undo;

impl Connection {
    /// Present name of the domain that the steps undefine, if a later run has set it aside. Undoing
    /// that later run restores this domain.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub async fn set_aside(&self, steps: &[Undo]) -> Result<Option<String>, Error> {
        let steps = steps.to_vec();
        self.call(move |connect| {
            for (then, domain) in domains(connect, &steps)? {
                let now = domain.name().map_err(Error::call("reading the name of a domain"))?;
                if replace::is_aside(&then, &now) {
                    return Ok(Some(now));
                }
            }
            Ok(None)
        })
        .await
    }
}

/// Refuses if a domain of the steps cannot be undefined now.
///
/// # Errors
/// [`Error::Running`], [`Error::NotUndefinable`]; [`Error::Call`].
pub(in crate::libvirt) fn check(connect: &Connect, steps: &[Undo]) -> Result<(), Error> {
    for (name, domain) in domains(connect, steps)? {
        let name = domain.name().unwrap_or(name);
        if domain.is_active().unwrap_or(false) {
            return Err(Error::Running { name });
        }
        let found = found(&domain, steps).map_err(Error::call(format!("inspecting '{name}'")))?;
        if !found.is_empty() {
            return Err(Error::NotUndefinable { name, found });
        }
    }
    Ok(())
}

/// Everything that prevents undefining, except a snapshot that the steps undo.
pub(in crate::libvirt) fn found(
    domain: &Domain,
    steps: &[Undo],
) -> Result<Vec<InTheWay>, virt::error::Error> {
    let mut found = Vec::new();
    if domain.has_managed_save(0)? {
        found.push(InTheWay::ManagedSave);
    }
    let is_ours = |wanted: &str| {
        let is_it = |step: &Undo| matches!(step, Undo::DropSnapshot { name, .. } if name == wanted);
        steps.iter().any(is_it)
    };
    for snapshot in domain.list_all_snapshots(0)? {
        // A snapshot that vanishes meanwhile prevents nothing.
        let Ok(name) = snapshot.name() else { continue };
        if !is_ours(&name) {
            found.push(InTheWay::Snapshot(name));
        }
    }
    if has_checkpoints(domain) {
        found.push(InTheWay::Checkpoints);
    }
    Ok(found)
}

/// Existing domains that the steps undefine, each with its recorded name.
fn domains(connect: &Connect, steps: &[Undo]) -> Result<Vec<(String, Domain)>, Error> {
    let mut found = Vec::new();
    for step in steps {
        let Undo::Undefine { name, uuid, mark } = step else { continue };
        let call = Error::call(format!("looking up domain '{name}'"));
        let domain = identity::find(connect, uuid, mark.as_deref()).map_err(call)?;
        found.extend(domain.map(|domain| (name.clone(), domain)));
    }
    Ok(found)
}

/// Calls libvirt by FFI, since the crate has no functions for checkpoints. A libvirt that does not
/// support checkpoints has none.
fn has_checkpoints(domain: &Domain) -> bool {
    // SAFETY: the domain is alive; without a pointer to a list libvirt only counts.
    unsafe { sys::virDomainListAllCheckpoints(domain.as_ptr(), ptr::null_mut(), 0) > 0 }
}
