//! Starting what was defined: for good, or once to prove that it boots.

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

/// How long a guest that proved itself may take to shut down before it is switched off.
const SHUTDOWN: std::time::Duration = std::time::Duration::from_secs(20);

impl Connection {
    /// Starts a domain, unless it runs already, and waits until its guest shows what `wait` asks
    /// for. The domain runs on, whatever it shows.
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

/// Starts a domain once with every link down, so that the source, which may run, meets no second
/// machine of its address; waits for its sign, and stops it again. Its definition is not touched:
/// the links are taken down in the paused machine only. A run that is killed leaves it stopped.
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

/// Starts a domain, waits for its sign, and switches it off at once: nothing of what it wrote
/// counts.
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

    /// Starts it with its processors stopped, so that not a word on its console is missed.
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

    /// Asks the guest to shut down; it has proved itself, and is switched off if it does not.
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
