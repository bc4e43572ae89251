//! INSPECT and FIX: the guest runs on overlays of its disks, which are written back only when every
//! step succeeded. When one way of fixing fails, the next is tried on fresh overlays.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use crate::convert::output_files::NATIVE_LOG;
use crate::convert::proof::Proofs;
use crate::convert::tools::libguestfs::FORCE_TCG;
use crate::convert::{Agent, ConversionRun, Engine, Error};
use crate::model::{Firmware, GuestFacts, OsFamily, SourceVm, Stage, Warning, WarningCode, chain};
use crate::progress::Unit;

use super::attempt::{self, Way};
use super::customize::{self, customize};
use super::facts;
use super::fix::{self, FixReport, FixRequest};
use super::fix_list::FixList;
use super::guestfs::{Appliance, Guestfs};
use super::inspect::{Guest, SystemFamily, inspect};
use super::operated::{Opened, Operated, Unread, fit, is_of_guest};
use super::report::{ConverterStage, FixResult, StageLog};
use super::systems::SystemChoice;
use super::treated::{self, Treated};
use super::work_image::WorkImage;
use super::{luks, v2v, windows};

/// INSPECT and FIX.
pub(super) struct GuestFix<'a> {
    pub(super) run: &'a ConversionRun<'a>,
    /// The VM as its manifest describes it.
    pub(super) vm: SourceVm,
    /// Whether an earlier start showed that the appliance does not run on KVM here.
    pub(super) without_kvm: Cell<bool>,
    pub(super) engine: &'a Engine,
    pub(super) disks: &'a [WorkImage<'a>],
    /// Whether the guest may be changed; otherwise the guest is only read.
    pub(super) fixes: bool,
    /// Notified before an image changes.
    pub(super) proofs: Option<&'a Proofs>,
}

/// The input of one way of fixing.
struct WayInput<'a> {
    guest: &'a Guest,
    overlays: &'a [PathBuf],
    windows: Option<&'a Treated>,
}

impl GuestFix<'_> {
    /// Inspects the guest, and fixes the guest if requested.
    ///
    /// # Errors
    /// Errors that leave the images in doubt or end the run. A guest that cannot be read or fixed
    /// is no error: [`Operated::failure`] contains the reason.
    pub(super) async fn inspect_and_fix(
        &self,
        stages: &mut StageLog,
        warnings: &mut Vec<Warning>,
    ) -> Result<Operated, Error> {
        let (run, begin) = (self.run, Instant::now());
        let overlays = self.overlays().await?;
        let task = run.progress.task("inspect the guest", None, Unit::BasisPoints);
        let opened = self.open_or_read(&overlays, warnings).await;
        drop(task);
        let found = opened.as_ref().map(|opened| opened.guest.clone());
        let found = found.map_err(|unread| &unread.error);
        stages.inspect = ConverterStage::ended(begin.elapsed(), found);
        let mut opened = match opened {
            Ok(opened) => opened,
            Err(Unread { error, facts }) if is_of_guest(&error) => {
                let mut operated = Operated { facts, ..Operated::failed(error) };
                if self.fixes && has_no_system(&operated) {
                    let begin = Instant::now();
                    (operated.changes, operated.fixes) =
                        self.loader_of(&operated, stages, begin, warnings).await?;
                }
                warnings.extend(self.network_as_it_was(&operated));
                if !self.fixes && !run.settings.stages.fix {
                    let why = operated.failure.take();
                    let text = why.map(|why| chain(&why)).unwrap_or_default();
                    warnings.push(Warning::new(
                        Stage::Pipeline,
                        WarningCode::GuestNotInspected,
                        text,
                    ));
                }
                return Ok(operated);
            }
            Err(Unread { error, .. }) => return Err(error),
        };
        if opened.guest.family() == SystemFamily::Windows {
            let Opened { guestfs, guest, .. } = &mut opened;
            warnings.extend(windows::not_shut_down(guestfs, &guest.root).await?);
        }
        if !self.fixes {
            return self.look(opened).await;
        }
        let (hostname, product) = (&opened.guest.hostname, &opened.guest.product);
        run.progress.note(format!("fixing {hostname} ({product})"));
        let begin = Instant::now();
        let _task = run.progress.task("fix the guest", None, Unit::BasisPoints);
        let guest = opened.guest.clone();
        let (mut operated, report) = self.fix(opened, overlays, warnings).await?;
        operated.fixes = report.fixes.clone();
        if let Some(facts) = &mut operated.facts {
            let customized = self.customize(facts).await;
            if matches!(customized, Ok(true)) {
                operated.fixes.unlisted.push(customize::PROGRAM.to_owned());
            }
            match customized.map(drop) {
                // The first start shows whether the guest's own package sources contain the agent.
                Ok(()) if run.settings.agent.first_boot && facts.family == OsFamily::Linux => {
                    facts.agent = None;
                }
                Ok(()) => {}
                Err(error) if is_of_guest(&error) => operated.failure = Some(error),
                Err(error) => return Err(error),
            }
        }
        operated.changes = changes(&report);
        let done = FixResult::Guest {
            boot_disk_id: self.disks.first().map(|work| work.disk.id.clone()),
            changes: report.changes,
            bootable_kernels: if operated.is_fixed() { report.kernels } else { Vec::new() },
            drivers: report.drivers,
            network: report.interfaces,
        };
        let failure = operated.failure.as_ref();
        stages.fix = ConverterStage::done(begin.elapsed(), Some(done), failure);
        if operated.facts.is_none() {
            operated.facts = Some(facts::of(&guest, None, None));
        }
        Ok(operated)
    }

    /// Tries one way after the other until the guest boots from virtio. The result that came
    /// nearest to that is written back.
    async fn fix(
        &self,
        opened: Opened,
        overlays: Vec<PathBuf>,
        warnings: &mut Vec<Warning>,
    ) -> Result<(Operated, FixReport<'_>), Error> {
        let run = self.run;
        let guest = opened.guest.clone();
        let has_v2v = v2v::is_there(run.tools).await;
        let mut ways = attempt::ways(self.engine, guest.family(), has_v2v);
        let (mut opened, mut overlays) = (Some(opened), Some(overlays));
        let (mut best, mut failure) = (None, None);
        let mut windows = None;
        // The gain is compared only where there is a way of fixing.
        let is_treated = guest.family() == SystemFamily::Windows && !ways.is_empty();
        if let Some(opened) = opened.as_mut().filter(|_| is_treated) {
            match Treated::begin(run, opened).await {
                Ok(treated) => windows = Some(treated),
                Err(error) if is_of_guest(&error) => {
                    failure = Some(error);
                    ways.clear();
                }
                Err(error) => return Err(error),
            }
        }
        let windows = windows.as_ref();
        let mut ways = ways.into_iter().peekable();
        while let Some(way) = ways.next() {
            let on = match overlays.take() {
                Some(overlays) => overlays,
                None => self.overlays().await?,
            };
            let mut report = FixReport::new(run.progress);
            let patient = WayInput { guest: &guest, overlays: &on, windows };
            let tried = self.try_way(way, opened.take(), patient, &mut report).await;
            match tried {
                Ok(operated) if windows.is_some_and(|windows| !windows.gained(&operated)) => {
                    warnings.append(&mut report.warnings);
                    let place = run.settings.windows.place();
                    failure = windows.map(|windows| windows.failure(&guest, place.as_deref()));
                }
                Ok(operated) if operated.is_fixed() || ways.peek().is_none() && best.is_none() => {
                    self.commit(&on).await?;
                    warnings.append(&mut report.warnings);
                    return Ok((fit(operated), report));
                }
                Ok(operated) if best.is_none() => {
                    best = Some((operated, report, self.hold(&on)?));
                }
                Ok(_) => {}
                Err(error) if is_of_guest(&error) => {
                    let next = ways.peek().map(|next| format!("; trying {next}"));
                    let text = format!("{way}: {}{}", chain(&error), next.unwrap_or_default());
                    run.progress.note(&text);
                    warnings.push(Warning::new(
                        Stage::Pipeline,
                        WarningCode::FixAttemptFailed,
                        text,
                    ));
                    failure.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        if let Some((operated, mut report, held)) = best {
            self.commit(&held).await?;
            warnings.append(&mut report.warnings);
            return Ok((fit(operated), report));
        }
        self.unfixed(opened, guest, failure, warnings).await
    }

    /// What the guest can boot from unchanged, where no way of fixing succeeded.
    async fn unfixed(
        &self,
        opened: Option<Opened>,
        guest: Guest,
        failure: Option<Error>,
        warnings: &mut Vec<Warning>,
    ) -> Result<(Operated, FixReport<'_>), Error> {
        // Where there was no way of fixing, the first appliance still runs; every other way may
        // have changed its overlays.
        let looked = match opened {
            Some(opened) => self.look(opened).await,
            None => self.look_anew(warnings).await,
        };
        let looked = match looked {
            Err(error) if is_of_guest(&error) => Operated::default(),
            looked => looked?,
        };
        let no_way = || match guest.family() {
            SystemFamily::Windows => Error::NoV2v,
            _ => Error::NotFixed { why: format!("no converter here can change {}", guest.product) },
        };
        // A guest that needs no change has not failed where nothing could change it.
        let was_tried = failure
            .as_ref()
            .is_some_and(|why| !matches!(why, Error::NoDrivers { .. } | Error::VirtioWin { .. }));
        let needs_none = !was_tried && looked.is_fixed();
        let failure = failure.unwrap_or_else(no_way);
        let failure = (!needs_none).then_some(failure);
        let mut report = self.loader_alone(warnings).await?;
        report.drivers = looked.facts.as_ref().and_then(|facts| facts.drivers.clone());
        Ok((Operated { failure, ..looked }, report))
    }

    /// Completes the boot loader of a guest without a readable system, and records the changes.
    async fn loader_of(
        &self,
        operated: &Operated,
        stages: &mut StageLog,
        begin: Instant,
        warnings: &mut Vec<Warning>,
    ) -> Result<(Vec<String>, FixList), Error> {
        let report = self.loader_alone(warnings).await?;
        if !report.changes.is_empty() {
            let done = FixResult::Loader { changes: report.changes.clone() };
            let failure = operated.failure.as_ref();
            stages.fix = ConverterStage::done(begin.elapsed(), Some(done), failure);
        }
        Ok((changes(&report), report.fixes))
    }

    /// Completes the boot loader of a UEFI guest whose system cannot be changed: its EFI system
    /// partition can. Works on separate overlays; on failure the guest stays unchanged.
    async fn loader_alone(&self, warnings: &mut Vec<Warning>) -> Result<FixReport<'_>, Error> {
        let mut report = FixReport::new(self.run.progress);
        if self.vm.firmware != Firmware::Efi && !self.vm.assumed.firmware {
            return Ok(report);
        }
        let overlays = self.overlays().await?;
        match self.complete_loader(&overlays, &mut report).await {
            Ok(()) if report.changes.is_empty() => {}
            Ok(()) => self.commit(&overlays).await?,
            Err(error) if is_of_guest(&error) => {
                report = FixReport::new(self.run.progress);
                let text = format!("the guest's boot loader was not looked for: {}", chain(&error));
                report.warn(WarningCode::GuestEspUnreadable, text);
            }
            Err(error) => return Err(error),
        }
        warnings.append(&mut report.warnings);
        Ok(report)
    }

    async fn complete_loader(
        &self,
        overlays: &[PathBuf],
        report: &mut FixReport<'_>,
    ) -> Result<(), Error> {
        let mut guestfs = self.appliance(overlays, &mut report.warnings).await?;
        fix::loader(&mut guestfs, "", report).await?;
        report.fixes.add(guestfs.take_fixed().await?);
        guestfs.end().await
    }

    async fn try_way<'r>(
        &'r self,
        way: Way,
        mut opened: Option<Opened>,
        WayInput { guest, overlays, windows }: WayInput<'_>,
        report: &mut FixReport<'r>,
    ) -> Result<Operated, Error> {
        let run = self.run;
        if way == Way::VirtV2v {
            if let Some(opened) = opened.take() {
                opened.guestfs.end().await?;
            }
            let (backend_settings, root) = (self.backend_settings(), guest.root.as_str());
            let virtio_win = windows.and_then(Treated::virtio_win);
            let patient = v2v::Patient { overlays, backend_settings, root, virtio_win };
            v2v::fix(run, patient, report).await?;
            report.fixes.unlisted.push(way.to_string());
        }
        let opened = match opened {
            Some(opened) => opened,
            None => self.open(overlays, &mut report.warnings).await?,
        };
        let Opened { mut guestfs, guest: _, mut devices } = opened;
        let agent = if guest.os == "linux" {
            let tidies = way != Way::OwnLeast;
            let wanted = FixRequest { manifest: run.manifest, settings: run.settings, tidies };
            fix::linux(&mut guestfs, guest, &mut devices, &wanted, report).await?;
            report.agent
        } else {
            let found = windows::drivers(&mut guestfs, guest).await?;
            report.drivers = found.map(|found| treated::without_tools(found, guest));
            let agent = windows::has_agent(&mut guestfs).await?;
            if run.settings.agent != Agent::default() {
                let text = "--agent-package and --firstboot-agent are for Linux guests: nothing was \
                            installed";
                report.warnings.push(Warning::new(
                    Stage::Pipeline,
                    WarningCode::AgentForLinux,
                    text,
                ));
            }
            fix::loader(&mut guestfs, "windows", report).await?;
            Some(agent)
        };
        report.fixes.add(guestfs.take_fixed().await?);
        guestfs.end().await?;
        let facts = facts::of(guest, report.drivers.clone(), agent);
        Ok(Operated { facts: Some(facts), ..Operated::default() })
    }

    /// Applies the user's additional changes on separate overlays, so that a failure does not undo
    /// FIX. Returns whether there was anything to do.
    async fn customize(&self, facts: &GuestFacts) -> Result<bool, Error> {
        let mut scripts = Vec::new();
        let is_linux = facts.family == OsFamily::Linux;
        if self.run.settings.agent.first_boot && is_linux && facts.agent == Some(false) {
            let script = self.run.work.tmp().join("install-guest-agent");
            fs::write(&script, fix::agent::FIRST_BOOT)
                .map_err(Error::io(format!("writing {}", script.display())))?;
            scripts.push(script);
        }
        let overlays = self.overlays().await?;
        let is_another = customize(self.run, &overlays, &scripts, self.backend_settings()).await?;
        if is_another {
            self.commit(&overlays).await?;
        }
        Ok(is_another)
    }

    /// `LIBGUESTFS_BACKEND_SETTINGS` from the user, or as an earlier start showed them to be
    /// needed.
    fn backend_settings(&self) -> Option<&str> {
        let needed = Some(FORCE_TCG).filter(|_| self.without_kvm.get());
        self.run.settings.guestfs.backend_settings.as_deref().or(needed)
    }

    /// Starts the appliance, opens encrypted devices, finds the system and mounts its file systems.
    pub(super) async fn open(
        &self,
        overlays: &[PathBuf],
        warnings: &mut Vec<Warning>,
    ) -> Result<Opened, Error> {
        let (mut guestfs, choice) = self.unlocked(overlays, warnings).await?;
        let (guest, devices) = inspect(&mut guestfs, &choice).await?;
        Ok(Opened { guestfs, guest, devices })
    }

    /// Starts the appliance and opens encrypted devices.
    pub(super) async fn unlocked(
        &self,
        overlays: &[PathBuf],
        warnings: &mut Vec<Warning>,
    ) -> Result<(Guestfs, SystemChoice<'_>), Error> {
        let mut guestfs = self.appliance(overlays, warnings).await?;
        let settings = self.run.settings;
        for why in luks::open(&mut guestfs, &settings.keys, &self.vm).await? {
            warnings.push(Warning::new(Stage::Pipeline, WarningCode::GuestDiskNotOpened, why));
        }
        Ok((guestfs, SystemChoice { vm: &self.vm, root: settings.root.as_deref() }))
    }

    /// Starts the appliance; without KVM where KVM does not run guests, unless the user chose the
    /// settings.
    pub(super) async fn appliance(
        &self,
        overlays: &[PathBuf],
        warnings: &mut Vec<Warning>,
    ) -> Result<Guestfs, Error> {
        let run = self.run;
        let log = run.output.join(NATIVE_LOG);
        let given = self.backend_settings();
        let appliance = Appliance { run, log: &log, backend_settings: given };
        match appliance.start(overlays).await {
            Err(error @ (Error::Guestfs { .. } | Error::Appliance { .. })) if given.is_none() => {
                let message = format!("{}; running it without KVM, which is slow", chain(&error));
                run.progress.note(&message);
                let code = WarningCode::LibguestfsWithoutKvm;
                warnings.push(Warning::new(Stage::Pipeline, code, message));
                self.without_kvm.set(true);
                Appliance { backend_settings: Some(FORCE_TCG), ..appliance }.start(overlays).await
            }
            started => started,
        }
    }
}

/// Whether INSPECT found no system, or could not choose between several.
fn has_no_system(operated: &Operated) -> bool {
    matches!(operated.failure, Some(Error::NoSystem { .. } | Error::Systems { .. }))
}

/// The changes, one line each.
fn changes(report: &FixReport<'_>) -> Vec<String> {
    report.changes.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests;
