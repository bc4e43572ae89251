//! What a guest can start from as it is: read, and nothing changed.

use std::path::PathBuf;

use crate::convert::Error;
use crate::model::{GuestFacts, OsFamily, Warning};

use super::surgery::{Opened, Operated, Surgery, is_of_guest, nothing};
use super::{evidence, facts, fix, windows};

impl Surgery<'_> {
    /// INSPECT alone: what the guest can start from as it is.
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

    /// What a clear `/boot` tells of a guest whose root cannot be read.
    pub(super) async fn without_root(
        &self,
        overlays: &[PathBuf],
        warnings: &mut Vec<Warning>,
    ) -> Result<Option<GuestFacts>, Error> {
        let started = self.appliance(overlays, warnings).await;
        let Ok(mut guestfs) = started else { return Ok(None) };
        let drivers = evidence::of_clear_boot(&mut guestfs, &self.vm).await;
        match (drivers, guestfs.end().await) {
            (Ok(Some(drivers)), Ok(())) => Ok(Some(GuestFacts {
                family: OsFamily::Linux,
                drivers: Some(drivers),
                ..nothing()
            })),
            (Err(error), _) if !is_of_guest(&error) => Err(error),
            _ => Ok(None),
        }
    }

    /// The same on overlays of its own.
    pub(super) async fn look_anew(&self, warnings: &mut Vec<Warning>) -> Result<Operated, Error> {
        let overlays = self.overlays().await?;
        let opened = self.open(&overlays, warnings).await?;
        self.look(opened).await
    }
}
