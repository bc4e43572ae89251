//! Undoes the remains of a killed run in a later run. A domain that may be in use by now stays,
//! with everything that belongs to it, until the user undoes it.

use std::time::SystemTime;

use virt::connect::Connect;
use virt::domain::Domain;
use virt::sys;

use super::super::guest::{identity, start, test_define};
use super::super::{Connection, DefinedDomain, Error};
use super::undo::{UndoReport, take_back};
use super::undo_later::would_take_back;
use super::undo_step::{self, DiskThen, Evidence, Undo};
use super::used::Traces;

/// Result of cleaning up after a killed run.
#[derive(Debug, Default)]
pub struct RecoveryResult {
    /// Report of the steps that were undone.
    pub taken: UndoReport,
    /// Domain that stays because it may be in use.
    pub kept: Option<UsedDomain>,
}

/// A domain of a killed run that may be in use by now.
#[derive(Debug)]
pub struct UsedDomain {
    /// The domain, with the steps that undo it.
    pub domain: DefinedDomain,
    /// Sign that the domain may be in use, as a sentence.
    pub why: String,
}

impl Connection {
    /// Undoes the changes of a killed run that was last seen alive at `alive`. A domain that may
    /// have been used since stays, with everything that belongs to it.
    ///
    /// # Errors
    /// [`Error::Call`]. Nothing was changed then, except the domain of a boot test.
    pub async fn recover(
        &self,
        steps: &[Undo],
        alive: SystemTime,
    ) -> Result<RecoveryResult, Error> {
        let (target, steps, local) = (self.clone(), steps.to_vec(), self.is_local());
        self.call(move |connect| {
            let (trials, others): (Vec<_>, Vec<_>) = steps.into_iter().partition(is_of_trial);
            for (uuid, _) in trials.iter().filter_map(undefined) {
                start::switch_off(connect, uuid).map_err(Error::call("stopping a boot test"))?;
            }
            let kept = target.used(connect, &others, alive)?;
            let all = [others, trials.clone()].concat();
            let going = if kept.is_some() { &trials } else { &all };
            let taken = take_back(connect, going, Evidence::Seal, local)?;
            Ok(RecoveryResult { taken, kept })
        })
        .await
    }

    /// Reports what [`Self::recover`] would do. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub async fn would_recover(
        &self,
        steps: &[Undo],
        alive: SystemTime,
    ) -> Result<RecoveryResult, Error> {
        let (target, mut steps, local) = (self.clone(), steps.to_vec(), self.is_local());
        steps.retain(|step| !is_of_trial(step));
        self.call(move |connect| {
            let kept = target.used(connect, &steps, alive)?;
            let would = if kept.is_some() { &[][..] } else { &steps };
            Ok(RecoveryResult {
                taken: would_take_back(connect, would, Evidence::Seal, local)?,
                kept,
            })
        })
        .await
    }

    /// The domain that the steps defined, if it exists and may be in use. Blocks.
    fn used(
        &self,
        connect: &Connect,
        steps: &[Undo],
        alive: SystemTime,
    ) -> Result<Option<UsedDomain>, Error> {
        let Some((uuid, mark)) = steps.iter().rev().find_map(undefined) else { return Ok(None) };
        let call = || Error::call(format!("looking up domain {uuid}"));
        let Some(domain) = identity::find(connect, uuid, mark).map_err(call())? else {
            return Ok(None);
        };
        let Some(why) = Traces::new(connect, steps, alive, self.is_local())?.of(&domain)? else {
            return Ok(None);
        };
        let domain = self.describe_used(&domain, uuid, steps)?;
        Ok(Some(UsedDomain { domain, why }))
    }

    fn describe_used(
        &self,
        domain: &Domain,
        uuid: &str,
        steps: &[Undo],
    ) -> Result<DefinedDomain, Error> {
        let call = || Error::call(format!("reading domain {uuid}"));
        let (pool, disks) = undo_step::defined(steps).unwrap_or_default();
        Ok(DefinedDomain {
            uri: self.uri().to_owned(),
            name: domain.name().map_err(call())?,
            uuid: uuid.to_owned(),
            xml: domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE).map_err(call())?,
            autostart: domain.autostart().map_err(call())?,
            pool: pool.to_owned(),
            volumes: disks.iter().map(|DiskThen { volume, .. }| volume.clone()).collect(),
            snapshot: None,
            boot_test: None,
            boot_proof: None,
            started: None,
            undo: steps.iter().filter(|step| !step.is_over()).cloned().collect(),
            seal: None,
            warnings: Vec::new(),
        })
    }
}

/// UUID and mark of the domain that a step undefines.
fn undefined(step: &Undo) -> Option<(&str, Option<&str>)> {
    match step {
        Undo::Undefine { uuid, mark, .. } => Some((uuid, mark.as_deref())),
        _ => None,
    }
}

fn is_of_trial(step: &Undo) -> bool {
    matches!(step, Undo::Undefine { name, uuid, .. } if test_define::is_boot_test(name, uuid))
}
