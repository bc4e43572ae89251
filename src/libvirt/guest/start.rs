//! Starts a defined domain: permanently, or once to prove that it boots.

use tokio_util::sync::CancellationToken;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::sys;

use super::super::rollback::undo_step::Undo;
use super::super::rollback::unwind::Unwind;
use super::super::xml::interfaces;
use super::super::{Connection, DefinedDomain, Error};
use super::console::Console;
use super::watch::{GuestSigns, Wait, watch};

/// Time that a guest that has proved to boot gets to shut down before it is switched off.
const SHUTDOWN: std::time::Duration = std::time::Duration::from_secs(20);

impl Connection {
    /// Starts a domain, unless it is running, and waits until its guest shows the sign in `wait`.
    /// The domain keeps running in any case.
    ///
    /// # Errors
    /// [`Error::NotSeen`] and [`Error::GuestStopped`] with the last lines of its console;
    /// [`Error::Call`] when it does not start.
    pub async fn start(
        &self,
        domain: &DefinedDomain,
        wait: &Wait,
        cancel: &CancellationToken,
    ) -> Result<GuestSigns, Error> {
        let (uuid, wait, cancel) = (domain.uuid.clone(), wait.clone(), cancel.clone());
        self.call(move |connect| {
            let guest = StartingDomain::find(connect, &uuid)?;
            let console = if guest.domain.is_active().map_err(guest.call("inspecting"))? {
                guest.console(wait.sign.needs_console())?
            } else {
                let console = guest.start_paused(wait.sign.needs_console(), 0)?;
                guest.resume()?;
                console
            };
            watch(&guest.domain, &guest.name, console, &wait, &cancel)
        })
        .await
    }
}

/// Starts a domain once with all links down, waits for its sign, and stops it again. The source VM
/// may be running, and must not meet a second machine with its address. The definition stays
/// unchanged: only the paused domain's links are set down. If the run is killed, libvirt stops the
/// domain.
pub(in crate::libvirt) fn prove(
    connect: &Connect,
    uuid: &str,
    wait: &Wait,
    unwind: &Unwind,
    cancel: &CancellationToken,
) -> Result<GuestSigns, Error> {
    let guest = StartingDomain::find(connect, uuid)?;
    unwind.push(Undo::Stop { name: guest.name.clone(), uuid: uuid.to_owned() })?;
    let console = guest.start_paused(true, sys::VIR_DOMAIN_START_AUTODESTROY)?;
    guest.take_links_down()?;
    guest.resume()?;
    let seen = watch(&guest.domain, &guest.name, console, wait, cancel)?;
    guest.stop()?;
    Ok(seen)
}

/// Starts a domain, waits for its sign, and switches it off at once: its writes are discarded.
pub(in crate::libvirt) fn run_once(
    connect: &Connect,
    uuid: &str,
    wait: &Wait,
    cancel: &CancellationToken,
) -> Result<GuestSigns, Error> {
    let guest = StartingDomain::find(connect, uuid)?;
    let console = guest.start_paused(true, sys::VIR_DOMAIN_START_AUTODESTROY)?;
    guest.resume()?;
    watch(&guest.domain, &guest.name, console, wait, cancel)
}

/// Switches a domain off if it runs.
pub(in crate::libvirt) fn switch_off(
    connect: &Connect,
    uuid: &str,
) -> Result<(), virt::error::Error> {
    use virt::error::ErrorNumber::{NoDomain, OperationInvalid};
    let off = connect.lookup_domain_by_uuid_string(uuid).and_then(|domain| domain.destroy());
    match off {
        Err(error) if error.code().is_any(vec![NoDomain, OperationInvalid]) => Ok(()),
        other => other,
    }
}

/// A domain that is being started.
struct StartingDomain<'a> {
    connect: &'a Connect,
    domain: Domain,
    name: String,
}

impl<'a> StartingDomain<'a> {
    fn find(connect: &'a Connect, uuid: &str) -> Result<Self, Error> {
        let call = || Error::call(format!("looking up domain {uuid}"));
        let domain = connect.lookup_domain_by_uuid_string(uuid).map_err(call())?;
        let name = domain.name().map_err(call())?;
        Ok(Self { connect, domain, name })
    }

    fn call(&self, verb: &str) -> impl FnOnce(virt::error::Error) -> Error + use<> {
        Error::call(format!("{verb} domain '{}'", self.name))
    }

    /// Starts the domain with its vCPUs paused, so that no console output is missed.
    fn start_paused(&self, console: bool, flags: u32) -> Result<Option<Console>, Error> {
        let flags = sys::VIR_DOMAIN_START_PAUSED | flags;
        self.domain.create_with_flags(flags).map_err(self.call("starting"))?;
        self.console(console)
    }

    fn console(&self, needed: bool) -> Result<Option<Console>, Error> {
        needed.then(|| Console::open(self.connect, &self.domain, &self.name)).transpose()
    }

    fn resume(&self) -> Result<(), Error> {
        self.domain.resume().map_err(self.call("starting"))
    }

    fn take_links_down(&self) -> Result<(), Error> {
        let xml = self.domain.xml_desc(0).map_err(self.call("reading"))?;
        let interfaces = interfaces::with_links_down(&xml)
            .map_err(|source| Error::Xml { what: format!("domain '{}'", self.name), source })?;
        for interface in interfaces {
            self.domain
                .update_device_flags(&interface, sys::VIR_DOMAIN_AFFECT_LIVE)
                .map_err(self.call("taking a link down of"))?;
        }
        Ok(())
    }

    /// Asks the guest to shut down; switches it off if it does not. The guest has already proved to
    /// boot.
    fn stop(&self) -> Result<(), Error> {
        let begun = std::time::Instant::now();
        if self.domain.shutdown().is_ok() {
            while begun.elapsed() < SHUTDOWN
                && self.domain.is_active().map_err(self.call("stopping"))?
            {
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
        }
        match self.domain.is_active().map_err(self.call("stopping"))? {
            true => self.domain.destroy().map_err(self.call("stopping")),
            false => Ok(()),
        }
    }
}
