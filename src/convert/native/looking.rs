//! Finds out what an unchanged guest can boot from; reads the guest only.

use std::path::PathBuf;

use crate::convert::Error;
use crate::model::{GuestFacts, OsFamily, Stage, Warning, WarningCode};

use super::guest_fix::GuestFix;
use super::guestfs::Guestfs;
use super::inspect::inspect;
use super::operated::{Opened, Operated, Unread, is_of_guest, nothing};
use super::{evidence, facts, fix, windows};

impl GuestFix<'_> {
    /// INSPECT alone: what the unchanged guest can boot from.
    pub(super) async fn look(&self, opened: Opened) -> Result<Operated, Error> {
        let Opened { mut guestfs, guest, devices } = opened;
        let (drivers, agent) = match guest.os_family() {
            OsFamily::Linux => {
                let kernels = fix::kernels::find(&mut guestfs).await?;
                let drivers = evidence::of_linux(&mut guestfs, &kernels, &devices).await?;
                (drivers, Some(fix::agent::is_installed(&mut guestfs).await?))
            }
            OsFamily::Windows => {
                let drivers = windows::drivers(&mut guestfs, &guest).await?;
                (drivers, Some(windows::has_agent(&mut guestfs).await?))
            }
            OsFamily::Unknown => (None, None),
        };
        guestfs.end().await?;
        Ok(Operated { facts: Some(facts::of(&guest, drivers, agent)), ..Operated::default() })
    }

    /// Opens the guest. Where no system can be read, the same appliance reads an unencrypted
    /// `/boot`: each start of an appliance takes longer than all reading.
    pub(super) async fn open_or_read(
        &self,
        overlays: &[PathBuf],
        warnings: &mut Vec<Warning>,
    ) -> Result<Opened, Unread> {
        let (mut guestfs, choice) = self.unlocked(overlays, warnings).await?;
        let error = match inspect(&mut guestfs, &choice).await {
            Ok((guest, devices)) => return Ok(Opened { guestfs, guest, devices }),
            Err(error) => error,
        };
        let Error::NoSystem { encrypted } = &error else { return Err(error.into()) };
        let facts = self.without_root(guestfs).await?;
        let facts = facts.or_else(|| encrypted.is_empty().then(nothing));
        Err(Unread { error, facts })
    }

    /// The warning that the names of network cards may change in a guest that cannot be read.
    pub(super) fn network_as_it_was(&self, operated: &Operated) -> Option<Warning> {
        let Some(Error::NoSystem { encrypted }) = &operated.failure else { return None };
        let is_linux = operated.facts.as_ref().is_some_and(|facts| facts.family == OsFamily::Linux);
        let is_windows = self.vm.guest.family == OsFamily::Windows;
        let may_be_lost = !is_windows && (is_linux || !encrypted.is_empty());
        let is_wanted =
            self.fixes && self.run.settings.preserve_network && !self.vm.nics.is_empty();
        let remedy = match encrypted.first() {
            Some(device) => format!("give --key {device}:file:PATH, or "),
            None => String::new(),
        };
        (is_wanted && may_be_lost).then(|| {
            let text = format!(
                "the guest's files cannot be read, so nothing keeps the names of its network cards: \
                 ens192 becomes enp1s0 on KVM, and no network configuration fits; {remedy}tie the names \
                 to the MAC addresses in the guest before the export"
            );
            Warning::new(Stage::Pipeline, WarningCode::GuestNetworkNotKept, text)
        })
    }

    /// The facts in an unencrypted `/boot` of a guest whose root cannot be read.
    async fn without_root(&self, mut guestfs: Guestfs) -> Result<Option<GuestFacts>, Error> {
        let read = async {
            guestfs.run("unmounting the guest's file systems", &["umount-all"]).await?;
            let drivers = evidence::of_clear_boot(&mut guestfs, &self.vm).await?;
            guestfs.end().await?;
            Ok(drivers)
        };
        match read.await {
            Ok(drivers) => Ok(drivers.map(|drivers| GuestFacts {
                family: OsFamily::Linux,
                drivers: Some(drivers),
                ..nothing()
            })),
            Err(error) if !is_of_guest(&error) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// [`Self::look`] on fresh overlays.
    pub(super) async fn look_anew(&self, warnings: &mut Vec<Warning>) -> Result<Operated, Error> {
        let overlays = self.overlays().await?;
        let opened = self.open(&overlays, warnings).await?;
        self.look(opened).await
    }
}
