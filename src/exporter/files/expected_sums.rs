//! What the files of a package are compared with.

use super::descriptor_text;
use super::file_names::{has_extension, is_shadow};
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
            Self::None => Digests::with(&[]),
            Self::Later { .. } => Digests::all(),
            Self::Known(sums) => Digests::with(sums.of(prefix, name)),
        }
    }

    /// Compares what was read of a file with what its package says, if it does and that is known.
    ///
    /// # Errors
    /// [`Error::WrongSum`], [`Error::Sums`].
    pub(super) fn check(
        &self,
        store: &Store,
        prefix: &str,
        name: &str,
        digests: &Digests,
    ) -> Result<(), Error> {
        let Self::Known(sums) = self else { return Ok(()) };
        for (algorithm, expected) in sums.of(prefix, name) {
            let algorithm_name = algorithm.name();
            let found = digests.hex(*algorithm).ok_or_else(|| {
                // Of a stream whose sums come last only the usual ones are made.
                let what = "come behind the files of a compressed archive: unpack it first";
                store.bad_sums(format!("its {algorithm_name} checksums {what}"))
            })?;
            if found != *expected {
                return Err(Error::WrongSum {
                    path: store.path().to_owned(),
                    file: name.to_owned(),
                    algorithm: algorithm_name,
                    expected: expected.clone(),
                    found,
                });
            }
        }
        Ok(())
    }

    /// Whether a member holds the sums of a stream, which come behind what they are of.
    pub(super) fn are_in(&self, name: &str) -> bool {
        matches!(self, Self::Later { ovf } if is_sums(&ovf.0, name))
    }

    /// What is known when all of the store was seen, and `told` are the files of sums in it.
    ///
    /// # Errors
    /// [`Error::WrongSum`] for the descriptor, [`Error::Sums`] for sums that make no sense.
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
            Self::Known(sums) => !sums.of(prefix, name).is_empty(),
            Self::Later { .. } => true,
        }
    }

    /// Whether the package has sums, but none of that file.
    pub(super) fn leaves_out(&self, prefix: &str, name: &str) -> bool {
        matches!(self, Self::Known(sums) if !sums.is_empty() && sums.of(prefix, name).is_empty())
    }
}

/// Whether a file of a package may be that of its sums: one beside the descriptor.
pub(super) fn is_sums(ovf: &str, name: &str) -> bool {
    let folder = |name: &str| name.rfind('/').map_or(0, |at| at + 1);
    let is_beside = ovf[..folder(ovf)] == name[..folder(name)];
    is_beside && has_extension(name, "mf") && !is_shadow(name)
}

/// The sums of the package with that descriptor, in the files that [`is_sums`]. All of them count,
/// since anyone who renames an OVF seldom thinks of its sums. Of what the one tells that is called
/// as the descriptor is, in whatever case (DSP0243 2.1.1, section 6.4), it alone counts.
///
/// # Errors
/// [`Error::Sums`] for one that makes no sense.
pub(super) fn read_sums(
    store: &Store,
    ovf: &str,
    found: &[(String, Vec<u8>)],
) -> Result<Expected, Error> {
    let own = format!("{}mf", &ovf[..ovf.len() - "ovf".len()]);
    let (mut of_own, mut of_others) = (Sums::default(), Sums::default());
    for (name, text) in found {
        let sums = Sums::read(&descriptor_text::of_sums(text)).map_err(|line| {
            store.bad_sums(format!("'{name}' in it has a line that is no checksum: '{line}'"))
        })?;
        match name.eq_ignore_ascii_case(&own) {
            true => of_own.join(sums),
            false => of_others.join(sums),
        }
    }
    of_own.add(of_others);
    Ok(if found.is_empty() { Expected::None } else { Expected::Known(of_own) })
}

/// Whether a file of sums belongs to another descriptor beside it, by its name.
pub(super) fn is_of_another(sums: &str, ovf: &str, beside: &[String]) -> bool {
    let stem = |name: &str| name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_lowercase();
    let mut called = beside.iter().filter(|other| stem(other) == stem(sums));
    stem(sums) != stem(ovf) && called.next().is_some()
}
