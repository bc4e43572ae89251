//! Loads a user's own hardware profile (`--libvirt-profile`) and validates it.

use std::path::Path;

use crate::domain::{Family, Profile};
use crate::state;

use super::super::Error;
use super::profile::{ProfileXml, fault};

/// Maximum size of a profile in bytes; the embedded ones have about two thousand.
const LARGEST: u64 = 1 << 20;

/// Loads a profile: domain XML with only `<features>`, `<clock>`, `<pm>` and `<devices>`. It may
/// contain only devices that do not depend on the VM.
///
/// # Errors
/// [`Error::File`] if the file cannot be read. [`Error::Profile`], with the name of the element, if
/// the profile cannot be used: an unknown element would be missing in the domain.
pub fn user_profile(path: &Path) -> Result<Profile, Error> {
    let wrong = |problem: String| Error::Profile { path: path.to_owned(), problem };
    let text = match state::read_small(path, LARGEST) {
        Ok(text) => text,
        Err(state::Error::Read { source, .. }) => return Err(Error::file("reading", path)(source)),
        Err(error) => return Err(wrong(error.to_string())),
    };
    let text = String::from_utf8(text).map_err(|_| wrong("not UTF-8 text".to_owned()))?;
    let profile = ProfileXml::parse(&text).map_err(wrong)?;
    if let Some(problem) = fault(&profile) {
        return Err(wrong(problem));
    }
    Ok(profile.wishes(Family::Generic, Some(text.into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Hint;

    fn load(text: &str) -> Result<Profile, Error> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("own.xml");
        std::fs::write(&path, text).expect("written");
        user_profile(&path)
    }

    #[test]
    fn the_embedded_profiles_are_examples_that_work() {
        for name in ["linux", "linux-legacy", "windows", "windows-legacy", "generic"] {
            let file = format!("{}/vendor-xml/{name}.xml", env!("CARGO_MANIFEST_DIR"));
            assert!(user_profile(Path::new(&file)).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_file_and_element() {
        let devices = |inner: &str| {
            format!("<domain><features><acpi/></features><devices>{inner}</devices></domain>")
        };
        for (text, part) in [
            ("<domain>".to_owned(), "line 1"),
            ("<network/>".to_owned(), "<domain>"),
            (devices("<hub type='usb'/>"), "<hub>"),
            (devices("\n<video>\n<model type='vga' heads='4'/>\n</video>"), "heads"),
            (devices("<emulator>/bin/sh</emulator>"), "<emulator>"),
            (devices("<video/>"), "model"),
            (
                devices("<video><model type='vga'/></video><video><model type='vga'/></video>"),
                "<video>",
            ),
            ("<domain><features/><devices/><cputune/></domain>".to_owned(), "<cputune>"),
        ] {
            let error = load(&text).expect_err(&text);
            let said = error.to_string();
            assert!(said.contains("own.xml") && said.contains(part), "{text}: {said}");
            assert!(error.hint().is_some(), "{said}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_or_endless_is_refused() {
        assert!(user_profile(Path::new("/no/such/profile.xml")).is_err());
        assert!(user_profile(Path::new("/dev/zero")).is_err());
    }
}
