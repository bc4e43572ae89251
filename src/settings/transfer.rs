//! How disks are fetched: how many at a time, and how fast.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Error, size};
use crate::exporter::{self, BandwidthLimit};
use crate::model::chain;
use crate::state;

/// Longest file of a rate, in bytes.
const LONGEST_RATE: u64 = 4096;

/// How disks can leave vSphere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TransportArg {
    /// By a lease where the server grants one.
    Auto,
    /// By an export lease.
    Nfc,
    /// From the datastore.
    Datastore,
}

impl From<TransportArg> for exporter::Transport {
    fn from(transport: TransportArg) -> Self {
        match transport {
            TransportArg::Auto => Self::Auto,
            TransportArg::Nfc => Self::Nfc,
            TransportArg::Datastore => Self::Datastore,
        }
    }
}

/// What an export can leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PackageArg {
    /// The disks alone.
    Disks,
    /// The disks and an OVF descriptor.
    Ovf,
    /// One file with all of it.
    Ova,
}

impl From<PackageArg> for exporter::PackageFormat {
    fn from(format: PackageArg) -> Self {
        match format {
            PackageArg::Disks => Self::Disks,
            PackageArg::Ovf => Self::Ovf,
            PackageArg::Ova => Self::Ova,
        }
    }
}

/// Flags about the transfer of disks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Transfer")]
pub struct TransferArgs {
    /// How disks leave vSphere: by an export lease, from the datastore as raw,
    /// or by a lease where there is one
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub transport: TransportArg,
    /// Disks downloaded at a time
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u8).range(1..=32))]
    pub parallel: u8,
    /// Most bytes per second of all disks together, such as 50M, 50MiB, 10MB
    /// or 80Mbit
    #[arg(long, value_name = "RATE", conflicts_with = "bandwidth_limit_file")]
    pub bandwidth_limit: Option<String>,
    /// File that contains the limit, or "none"; it is read again when it changes
    /// and at every SIGUSR1 (and SIGHUP), which changes the limit of a running
    /// transfer
    #[arg(long, value_name = "FILE")]
    pub bandwidth_limit_file: Option<PathBuf>,
}

impl TransferArgs {
    /// Sets what the flags say of vSphere.
    pub fn apply(&self, settings: &mut exporter::Settings) {
        settings.transport = self.transport.into();
        settings.parallel = usize::from(self.parallel);
    }

    /// How fast disks may come in, whatever their source.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a limit is not valid.
    pub fn limit(&self) -> Result<BandwidthLimit, Error> {
        let limit = BandwidthLimit::default();
        if let Some(text) = &self.bandwidth_limit {
            let wrong = |reason| Error::Invalid(format!("--bandwidth-limit: {reason}"));
            limit.set(rate(text).map_err(wrong)?);
        }
        if let Some(path) = &self.bandwidth_limit_file {
            limit.set(read_rate(path).map_err(Error::Invalid)?);
        }
        Ok(limit)
    }
}

/// The limit in the file, in bytes per second; nothing for none.
///
/// # Errors
/// In words, when the file cannot be read or its first line is no limit.
pub fn read_rate(path: &Path) -> Result<Option<u64>, String> {
    let wrong = |reason: String| format!("{}: {reason}", path.display());
    let text = state::read_small(path, LONGEST_RATE).map_err(|error| chain(&error))?;
    let text = String::from_utf8_lossy(&text);
    rate(text.lines().next().unwrap_or_default()).map_err(wrong)
}

/// A rate in bytes per second, or none: `50M`, `80Mbit`, `none`.
fn rate(text: &str) -> Result<Option<u64>, String> {
    let text = text.trim();
    if text == "none" {
        return Ok(None);
    }
    let rate = size::rate(text).filter(|bytes| *bytes > 0);
    rate.map(Some).ok_or_else(|| {
        format!("'{text}' is no rate: write it as {}, {} or none", size::SPELLINGS, size::OF_RATES)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("50M", Some(50 << 20)),
            ("500k", Some(500 << 10)),
            (" 1G\n", Some(1 << 30)),
            ("1000", Some(1000)),
            ("80Mbit/s", Some(10_000_000)),
            ("none", None),
        ] {
            assert_eq!(rate(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "M", "fast", "-1", "1.5", "80Mb", "99999999999G"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
