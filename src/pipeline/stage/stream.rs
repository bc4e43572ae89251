//! Conversion of disks during the download: of streams of a lease and of members of a package.
//! Export and conversion end together, and only the result takes space.
//!
//! FIX then works on the exported file itself. A manifest must always match its files, so it is
//! written after the conversion, with the checksums of the results. A run that is killed before
//! leaves no manifest; the next one reuses the disks whose checksums match.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::super::job::Job;
use super::super::output::{converted, stored};
use super::conversion;
use super::stage_error::{At, StageError};
use super::stage_runner::StageRunner;
use crate::convert;
use crate::exporter::source::SourceSettings;
use crate::exporter::{PackageFormat, Rewrite, Streaming, Transport};
use crate::manifest::{self, Disk, Manifest};
use crate::model::{ConvertedDisks, DiskId, Stage};

/// Makes the source convert disks during the download, unless that is impossible or disabled.
///
/// # Errors
/// [`StageError`] when it is required and impossible.
pub fn prepare(job: &mut Job) -> Result<(), StageError> {
    if job.stream_convert == Some(false) {
        return Ok(());
    }
    match rewrite(job) {
        Ok(rewrite) => {
            match &mut job.source {
                SourceSettings::VSphere(settings) => settings.rewrite = Some(rewrite),
                SourceSettings::Files(settings) => settings.rewrite = Some(rewrite),
                SourceSettings::Host(_) => {}
            }
            Ok(())
        }
        Err(_) if job.stream_convert.is_none() => Ok(()),
        Err(why) => Err(refused(why)),
    }
}

/// Rejects a disk that cannot be converted during the download, if that is required for all disks.
///
/// # Errors
/// [`StageError`] with the first such disk.
pub fn check(job: &Job, streaming: &[(DiskId, Streaming)]) -> Result<(), StageError> {
    let kept = streaming.iter().find_map(|(disk, streaming)| match streaming {
        Streaming::No(why) => Some((disk, why)),
        Streaming::Yes | Streaming::Open => None,
    });
    match kept {
        Some((disk, why)) if job.stream_convert == Some(true) => {
            Err(refused(&format!("{disk}: {why}")).coded("not-streamable"))
        }
        _ => Ok(()),
    }
}

fn refused(why: &str) -> StageError {
    StageError::because(
        Stage::Preflight,
        format!("--stream-convert: {why}"),
        "leave the flag out: disks are then converted after the export",
    )
}

/// Whether any disk is converted during the download, as far as that is known beforehand.
pub fn is_on(streaming: &[(DiskId, Streaming)]) -> bool {
    streaming.iter().any(|(_, streaming)| streaming.may())
}

/// Compression of disks during the download, if any disk is converted then.
pub fn compression(job: &Job, streaming: &[(DiskId, Streaming)]) -> Option<String> {
    job.conversion.as_ref().filter(|_| is_on(streaming)).map(named)
}

/// Compression of converted disks: `zstd 3`, `none`.
pub fn named(settings: &convert::Settings) -> String {
    settings
        .compression
        .map_or_else(|| "none".to_owned(), |kind| format!("{} {}", kind.kind(), kind.level()))
}

/// How streams are converted, or why they are not.
fn rewrite(job: &Job) -> Result<Rewrite, &'static str> {
    let conversion = job.conversion.as_ref().ok_or("nothing is converted without --pipeline")?;
    if !conversion.stages.convert || conversion.dry_run {
        return Err("nothing is to be converted");
    }
    if !convert::is_ours(conversion, None) {
        return Err("hyper2kvm reads complete files only: use --converter native");
    }
    if job.format != PackageFormat::Disks {
        return Err("a package is made of VMDKs, which would not exist");
    }
    let rewrite =
        Rewrite { compression: conversion.compression, required: job.stream_convert == Some(true) };
    match &job.source {
        SourceSettings::VSphere(settings) if settings.transport == Transport::Datastore => {
            Err("only the export lease of vSphere sends streams")
        }
        SourceSettings::VSphere(_) | SourceSettings::Files(_) => Ok(rewrite),
        SourceSettings::Host(_) => Err("the volumes of a libvirt host are read as they are"),
    }
}

/// Runs FIX and VALIDATE on disks that are already converted, then writes their manifest. The
/// result is written first, so that a kill in between leaves no export that seems unconverted.
pub async fn finish(
    job: &Job,
    ledger: &mut StageRunner<'_>,
    manifest: &mut Manifest,
    output: &Path,
    settings: &convert::Settings,
) -> Option<ConvertedDisks> {
    let consuming = convert::Settings { consume: true, ..settings.clone() };
    let converted = conversion::convert(ledger, manifest, output, &consuming).await;
    converted::note(ledger, &job.asked, settings);
    let described = match &converted {
        Some(disks) => describe(ledger, manifest, disks, settings.stages.fix).await,
        // Also after an interruption: the export is worth the seconds of its verification.
        None => manifest::verify_sums(manifest, ledger.progress, &CancellationToken::new()).await,
    };
    if described.is_ok() {
        ledger.report.disks = stored::exported_disks(manifest).unwrap_or_default();
    }
    if described.is_ok() && converted.is_some() {
        ledger.save_so_far(output);
    }
    let path = output.join(manifest::FILE_NAME);
    let written = async {
        described
            .and_then(|()| manifest::write(manifest, &path, manifest::Overwrite::No))
            .at(Stage::Manifest)
    };
    ledger.stage(Stage::Manifest, written).await?;
    ledger.report.manifest = Some(path);
    converted
}

/// Replaces the streams in the manifest by the converted disks, which FIX may have changed.
async fn describe(
    ledger: &StageRunner<'_>,
    manifest: &mut Manifest,
    results: &ConvertedDisks,
    changed: bool,
) -> Result<(), manifest::Error> {
    for result in &results.0 {
        if manifest.received(&result.id).is_none() {
            continue;
        }
        let Some(disk) = manifest.disks.iter_mut().find(|disk| disk.id == result.id) else {
            continue;
        };
        let read = |source| manifest::Error::Read { path: result.path.clone(), source };
        let bytes = std::fs::metadata(&result.path).map_err(read)?.len();
        let now = Disk { local_path: result.path.clone(), bytes, ..disk.clone() };
        let mut proofs = ledger.report.proof.iter().flat_map(|proof| &proof.disks);
        let content = proofs.find(|proof| proof.id == result.id).map(|proof| proof.result);
        let checksum = match changed {
            true => Some(manifest::sum_of(&now, ledger.progress, ledger.cancel).await?),
            // The same file under another name.
            false => now.checksum,
        };
        *disk = Disk { checksum, ..now };
        // The hash must be that of the named file, which FIX may have changed.
        manifest.set_content(&result.id, content);
    }
    Ok(())
}
