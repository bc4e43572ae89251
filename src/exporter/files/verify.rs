//! What the files of a package are compared with.

use super::names::{has_extension, is_shadow};
use super::store::Store;
use super::sums::{Digests, Sums};
use crate::exporter::Error;

/// The sums that a package tells, as far as they are known.
#[derive(Debug, Clone)]
pub(super) enum Expected {
    /// There are none, or they are not asked for.
    None,
    Known(Sums),
    /// They may come behind the disks in a stream, which has the descriptor of that name and sums.
    Later {
        ovf: (String, Box<Digests>),
    },
}

impl Expected {
    /// The sums to make of a file.
    pub(super) fn digests(&self, prefix: &str, name: &str) -> Digests {
        match self {
            Self::None => Digests::with(None),
            Self::Later { .. } => Digests::all(),
            Self::Known(sums) => {
                Digests::with(sums.of(prefix, name).map(|(algorithm, _)| algorithm))
            }
        }
    }

    /// Compares what was read of a file with what its package says, if it does and that is known.
    ///
    /// # Errors
    /// [`Error::WrongSum`].
    pub(super) fn check(
        &self,
        store: &Store,
        prefix: &str,
        name: &str,
        digests: &Digests,
    ) -> Result<(), Error> {
        let Self::Known(sums) = self else { return Ok(()) };
        let Some((algorithm, expected)) = sums.of(prefix, name) else { return Ok(()) };
        match digests.hex(algorithm) {
            Some(found) if found != expected => Err(Error::WrongSum {
                path: store.path().to_owned(),
                file: name.to_owned(),
                algorithm: algorithm.name(),
                expected: expected.to_owned(),
                found,
            }),
            _ => Ok(()),
        }
    }

    /// Whether a member holds the sums of a stream, which come behind what they are of.
    pub(super) fn are_in(&self, name: &str) -> bool {
        matches!(self, Self::Later { ovf } if is_sums(&ovf.0, name))
    }

    /// What is known when all of the store was seen, and `told` are the files of sums in it.
    ///
    /// # Errors
    /// [`Error::WrongSum`] for the descriptor, [`Error::Unusable`] for sums that make no sense.
    pub(super) fn known(
        &self,
        store: &Store,
        prefix: &str,
        told: &[(String, Vec<u8>)],
    ) -> Result<Self, Error> {
        let Self::Later { ovf } = self else { return Ok(self.clone()) };
        let known = read_sums(store, &ovf.0, told)?;
        known.check(store, prefix, &ovf.0, &ovf.1)?;
        Ok(known)
    }

    /// Whether there is a sum of that file, or may be.
    pub(super) fn may_be_of(&self, prefix: &str, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::Known(sums) => sums.of(prefix, name).is_some(),
            Self::Later { .. } => true,
        }
    }

    /// Whether the package has sums, but none of that file.
    pub(super) fn leaves_out(&self, prefix: &str, name: &str) -> bool {
        matches!(self, Self::Known(sums) if !sums.is_empty() && sums.of(prefix, name).is_none())
    }
}

/// Whether a file of a package may be that of its sums: one beside the descriptor.
pub(super) fn is_sums(ovf: &str, name: &str) -> bool {
    let folder = |name: &str| name.rfind('/').map_or(0, |at| at + 1);
    let is_beside = ovf[..folder(ovf)] == name[..folder(name)];
    is_beside && has_extension(name, "mf") && !is_shadow(name)
}

/// The sums of the package with that descriptor, among the files that [`is_sums`]: the one that is
/// called as the descriptor is, in whatever case (DSP0243 2.1.1, section 6.4), or the only one, since
/// whoever renames an OVF seldom thinks of it.
///
/// # Errors
/// [`Error::Unusable`] for one that makes no sense.
pub(super) fn read_sums(
    store: &Store,
    ovf: &str,
    found: &[(String, Vec<u8>)],
) -> Result<Expected, Error> {
    let own = format!("{}mf", &ovf[..ovf.len() - "ovf".len()]);
    let named = found.iter().find(|(name, _)| name.eq_ignore_ascii_case(&own));
    let only = found.first().filter(|_| found.len() == 1);
    let Some((name, text)) = named.or(only) else { return Ok(Expected::None) };
    let sums = Sums::read(&String::from_utf8_lossy(text)).map_err(|line| {
        store.unusable(format!("'{name}' in it has a line that is no sum: '{line}'"))
    })?;
    Ok(Expected::Known(sums))
}
