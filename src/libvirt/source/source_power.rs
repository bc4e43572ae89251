//! Power control of domains: shuts down a source for its export and starts it again. Detects
//! whether a defined domain is running, or may start by itself.

use std::time::{Duration, Instant};

use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::ErrorNumber;

use super::super::guest::identity;
use super::super::rollback::undo_step::Undo;
use super::super::{Connection, Error};
use crate::model::PoweredOff;
use crate::progress::Control;

/// Time between two checks of a guest that is shutting down.
const POLL: Duration = Duration::from_millis(250);

impl Connection {
    /// Shuts down a domain's guest and waits until the domain is off. After `limit` the domain is
    /// switched off if `cut` is set. `None` if the domain was off already.
    ///
    /// # Errors
    /// [`Error::Transient`], [`Error::StillOn`], [`Error::Cancelled`], [`Error::Call`].
    pub async fn shut_down(
        &self,
        uuid: &str,
        limit: Duration,
        cut: bool,
        Control { progress, cancel }: Control<'_>,
    ) -> Result<Option<PoweredOff>, Error> {
        let (uuid, progress, cancel) = (uuid.to_owned(), progress.clone(), cancel.clone());
        self.call(move |connect| {
            let (domain, name) = find(connect, &uuid)?;
            let call = |act: &str| Error::call(format!("{act} domain '{name}'"));
            let is_on = || domain.is_active().map_err(call("inspecting"));
            if !is_on()? {
                return Ok(None);
            }
            if !domain.is_persistent().map_err(call("inspecting"))? {
                return Err(Error::Transient { name });
            }
            let asked = domain.shutdown().map_err(call("shutting down"));
            match asked {
                // The guest cannot be asked to shut down, so there is no need to wait.
                Err(error) if cut => progress.note(format!("{error}: cutting its power")),
                asked => {
                    asked?;
                    let begun = Instant::now();
                    while begun.elapsed() < limit {
                        if !is_on()? {
                            return Ok(Some(PoweredOff::Shutdown));
                        }
                        if cancel.is_cancelled() {
                            return Err(Error::Cancelled);
                        }
                        std::thread::sleep(POLL);
                    }
                }
            }
            if !cut {
                return Err(Error::StillOn { name, after: limit });
            }
            match domain.destroy() {
                // The guest shut down at the last moment.
                Err(error) if error.code().is(ErrorNumber::OperationInvalid) => {}
                end => end.map_err(call("switching off"))?,
            }
            Ok(Some(PoweredOff::Cut))
        })
        .await
    }

    /// Starts a domain, unless it runs.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub async fn power_on(&self, uuid: &str) -> Result<(), Error> {
        let uuid = uuid.to_owned();
        self.call(move |connect| {
            let (domain, name) = find(connect, &uuid)?;
            let call = |act: &str| Error::call(format!("{act} domain '{name}'"));
            match domain.is_active().map_err(call("inspecting"))? {
                true => Ok(()),
                false => domain.create().map_err(call("starting")),
            }
        })
        .await
    }

    /// Name of a domain that these steps would undefine and that is running or starts with its
    /// host.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub async fn may_run(&self, steps: &[Undo]) -> Result<Option<String>, Error> {
        let steps = steps.to_vec();
        self.call(move |connect| {
            for step in &steps {
                let Undo::Undefine { name, uuid, mark } = step else { continue };
                let call = || Error::call(format!("inspecting domain '{name}'"));
                let found = identity::find(connect, uuid, mark.as_deref()).map_err(call())?;
                let Some(domain) = found else { continue };
                if domain.is_active().map_err(call())? || domain.autostart().map_err(call())? {
                    return Ok(Some(domain.name().map_err(call())?));
                }
            }
            Ok(None)
        })
        .await
    }
}

fn find(connect: &Connect, uuid: &str) -> Result<(Domain, String), Error> {
    let call = || Error::call(format!("looking up domain {uuid}"));
    let domain = connect.lookup_domain_by_uuid_string(uuid).map_err(call())?;
    let name = domain.name().map_err(call())?;
    Ok((domain, name))
}
