//! One VM through all its stages: `hyperexport --vm NAME …`, `migrate` and `export`.

use std::sync::mpsc;

use super::args::ExportArgs;
use super::verbs::{ExportVerbArgs, MigrateArgs, Request};
use super::{Exit, block_on_rereading, limit_file, open, tell_report};
use crate::exporter::PackageFormat;
use crate::pipeline::{self, ComesBack, Job, SourceSettings};
use crate::settings::{Environment, Error, Given, LibvirtArgs, TransportArg};

/// Does what flags alone ask for.
///
/// # Errors
/// A usage error, or a result that cannot be printed.
pub fn run(args: &ExportArgs, given: &Given, environment: &Environment) -> anyhow::Result<Exit> {
    start(&Request::of_flags(args)?, given, environment)
}

/// `hyperexport migrate`.
///
/// # Errors
/// As [`run`].
pub fn migrate(
    args: &MigrateArgs,
    given: &Given,
    environment: &Environment,
) -> anyhow::Result<Exit> {
    start(&Request::of_migrate(args, environment)?, given, environment)
}

/// `hyperexport export`.
///
/// # Errors
/// As [`run`].
pub fn export(
    args: &ExportVerbArgs,
    given: &Given,
    environment: &Environment,
) -> anyhow::Result<Exit> {
    start(&Request::of_export(args, environment)?, given, environment)
}

/// Runs the stages that were asked for.
///
/// # Errors
/// As [`run`].
pub(super) fn start(
    request: &Request<'_>,
    given: &Given,
    environment: &Environment,
) -> anyhow::Result<Exit> {
    let job = job(request, given, environment)?;
    let (rereads, wanted) = mpsc::channel();
    let file = request.transfer.bandwidth_limit_file.clone();
    let rereads = file.is_some().then_some(rereads);
    block_on_rereading(rereads, request.printed, |renderer, cancel| async move {
        if let Some(path) = file {
            limit_file::watch(path, job.limit.clone(), renderer.progress(), wanted);
        }
        let report = pipeline::run(job, &renderer.progress(), &cancel).await;
        let shows = request.target.is_some_and(|target| target.after.open);
        open(&report, shows, environment);
        Ok(tell_report(&report, request.printed, request.strict))
    })
}

fn job(args: &Request<'_>, given: &Given, environment: &Environment) -> Result<Job, Error> {
    if args.target.is_some() && args.stages.is_some_and(|stages| !stages.pipeline_convert) {
        return Err(Error::Invalid(
            "--pipeline-convert=false cannot go with a domain: there would be no disk to define"
                .to_owned(),
        ));
    }
    let format = PackageFormat::from(args.format);
    if format == PackageFormat::Ova && (args.manifest || args.stages.is_some()) {
        return Err(Error::Invalid(
            "--format ova cannot go with --manifest or --pipeline: its disks are in one file; \
             --format ovf leaves them beside the descriptor"
                .to_owned(),
        ));
    }
    let running = args.running;
    let shutdown = running.shutdown();
    if shutdown.is_some() && running.snapshot {
        return Err(Error::Invalid(
            "--power-off cannot go with --snapshot: a snapshot is for a VM that goes on running"
                .to_owned(),
        ));
    }
    if args.vm.is_none() && args.source.source.is_empty() {
        return Err(Error::MISSING_VM);
    }
    let (back, follows) = (comes_back(args)?, running.source_after()?);
    if running.snapshot && args.transfer.transport == TransportArg::Datastore {
        return Err(Error::Invalid(
            "--snapshot cannot go with --transport datastore: a snapshot leaves by a lease"
                .to_owned(),
        ));
    }
    let mut source = args.source.resolve(environment, args.vm.as_deref(), args.described)?;
    let vm = match &mut source {
        SourceSettings::VSphere(settings) => {
            args.transfer.apply(settings);
            args.vm.clone().ok_or(Error::MISSING_VM)?
        }
        SourceSettings::Host(host) => {
            only_vsphere(args, given)?;
            let named = args.vm.clone().or_else(|| host.domain.clone());
            named.ok_or(Error::MISSING_VM)?
        }
        // What is meant is known by the files; until they are read they are named by the first.
        SourceSettings::Files(files) => {
            only_running_sources(args, given)?;
            let path = files.paths.first().and_then(|path| path.file_stem());
            args.vm.clone().unwrap_or_else(|| path.unwrap_or_default().to_string_lossy().into())
        }
    };
    given.check()?;
    let target = args.target.map(LibvirtArgs::resolve).transpose()?;
    let conversion = args.stages.map(|stages| stages.resolve(environment)).transpose()?;
    Ok(Job {
        warnings: args.source.vsphere.warnings().into_iter().collect(),
        source,
        vm,
        output: args.output.map(Into::into),
        format,
        manifest: args.manifest,
        power_off: shutdown,
        comes_back: back,
        source_after: follows,
        snapshot: running.snapshot.then_some(running.quiesce),
        limit: args.transfer.limit()?,
        fresh: args.fresh,
        conversion,
        asked: given.conversion(),
        stream_convert: args.stream_convert,
        target: target.map(|target| given.complete(target, environment)),
        new_mac: args.target.is_some_and(|target| target.new_mac),
        strict: args.strict,
        dry_run: args.dry_run,
    })
}

/// When a VM that was switched off comes back, as far as that can be meant.
fn comes_back(args: &Request<'_>) -> Result<ComesBack, Error> {
    let running = args.running;
    if running.power_on_after && running.keep_source_off {
        return Err(Error::Invalid(
            "--power-on-after cannot go with --keep-source-off: it is one or the other".to_owned(),
        ));
    }
    let starts = args.target.map(|target| {
        [
            ("--libvirt-start", target.after.libvirt_start),
            ("--libvirt-autostart", target.libvirt_autostart),
        ]
    });
    if let Some((flag, _)) = starts.iter().flatten().find(|(_, given)| *given)
        && running.power_on_after
    {
        return Err(Error::Invalid(format!(
            "--power-on-after cannot go with {flag}: the VM and its domain would both run"
        )));
    }
    Ok(match (running.power_on_after, running.keep_source_off) {
        (true, _) => ComesBack::Always,
        (_, true) => ComesBack::Never,
        (false, false) => ComesBack::AfterFailure,
    })
}

/// Refuses what is said about a VM of vSphere where there is none.
fn only_vsphere(args: &Request<'_>, given: &Given) -> Result<(), Error> {
    let given = [
        ("--transport", given.is_typed("transport")),
        ("--parallel", given.is_typed("parallel")),
        ("--snapshot", args.running.snapshot),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(Error::Invalid(format!("{flag} is for a VM of vSphere"))),
        None => Ok(()),
    }
}

/// Refuses what is said about a VM that may run where there are only files.
fn only_running_sources(args: &Request<'_>, given: &Given) -> Result<(), Error> {
    only_vsphere(args, given)?;
    match args.running.shutdown() {
        Some(_) => Err(Error::Invalid(
            "--power-off is for a VM of vSphere or a domain of libvirt: files do not run"
                .to_owned(),
        )),
        None => Ok(()),
    }
}
