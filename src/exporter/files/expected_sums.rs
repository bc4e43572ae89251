//! Expected checksums of the files of a package.

use super::descriptor_text;
use super::file_names::{has_extension, is_shadow};
use super::store::Store;
use super::sums::{Digests, Sums};
use crate::exporter::Error;

/// The checksums in a package, as far as they are known.
#[derive(Debug, Clone)]
pub(super) enum Expected {
    /// The package has no checksums, or they are ignored.
    None,
    Known(Sums),
    /// The checksums may follow the disks in a stream. `ovf` is the name of the descriptor with its
    /// digests.
    Later {
        ovf: (String, Box<Digests>),
    },
}

impl Expected {
    /// The digests to compute of a file.
    pub(super) fn digests(&self, prefix: &str, name: &str) -> Digests {
        match self {
            Self::None => Digests::with(&[]),
            Self::Later { .. } => Digests::all(),
            Self::Known(sums) => Digests::with(sums.of(prefix, name)),
        }
    }

    /// Compares the digests of a file with its checksums in the package, if these exist and are
    /// known.
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
                // If the checksums come last in a stream, only the usual algorithms were computed.
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

    /// Whether a member contains the checksums of a stream, which follow the files.
    pub(super) fn are_in(&self, name: &str) -> bool {
        matches!(self, Self::Later { ovf } if is_sums(&ovf.0, name))
    }

    /// The expected checksums after the entire store was read; `told` are the checksum files in it.
    ///
    /// # Errors
    /// [`Error::WrongSum`] for the descriptor, [`Error::Sums`] for invalid checksums.
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

    /// Whether that file has a checksum, or may have one.
    pub(super) fn may_be_of(&self, prefix: &str, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::Known(sums) => !sums.of(prefix, name).is_empty(),
            Self::Later { .. } => true,
        }
    }

    /// Whether the package has checksums, but none of that file.
    pub(super) fn leaves_out(&self, prefix: &str, name: &str) -> bool {
        matches!(self, Self::Known(sums) if !sums.is_empty() && sums.of(prefix, name).is_empty())
    }
}

/// Whether a file of a package may be its checksum file: a `.mf` file beside the descriptor.
pub(super) fn is_sums(ovf: &str, name: &str) -> bool {
    let folder = |name: &str| name.rfind('/').map_or(0, |at| at + 1);
    let is_beside = ovf[..folder(ovf)] == name[..folder(name)];
    is_beside && has_extension(name, "mf") && !is_shadow(name)
}

/// The checksums of the package with that descriptor, from the files that [`is_sums`] accepts. All
/// such files count, since users who rename an OVF seldom rename its checksum file. For a file in
/// several of them, the checksum file named after the descriptor, in any case, takes precedence
/// (DSP0243 2.1.1, section 6.4).
///
/// # Errors
/// [`Error::Sums`] for an invalid checksum file.
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

/// Whether a checksum file belongs to another descriptor in the same directory, by its name.
pub(super) fn is_of_another(sums: &str, ovf: &str, beside: &[String]) -> bool {
    let stem = |name: &str| name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_lowercase();
    let mut called = beside.iter().filter(|other| stem(other) == stem(sums));
    stem(sums) != stem(ovf) && called.next().is_some()
}
