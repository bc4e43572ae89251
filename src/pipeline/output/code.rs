//! Error codes for scripts: the name of the error's variant in kebab case. A variant that only
//! wraps an error of another module has the code of that error.

use std::error::Error;

/// Variants that wrap an error of another module.
const WRAPPERS: [&str; 5] = ["Exporter", "Libvirt", "Plan", "State", "Vsphere"];
/// Variant whose last field determines the code, and the prefix of that field.
const OBSTACLE: (&str, &str) = ("Obstacle", "obstacle: ");

/// The code of an error. Every error type of this crate is an enum that derives `Debug`, whose text
/// begins with the name of the variant.
pub(in crate::pipeline) fn code_of(error: &dyn Error) -> String {
    kebab(variant(&format!("{error:?}")))
}

fn variant(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if WRAPPERS.contains(&name)
        && let Some(inner) = rest.strip_prefix('(')
    {
        return variant(inner);
    }
    let telling = rest.rsplit_once(OBSTACLE.1).filter(|_| name == OBSTACLE.0);
    telling.map_or(name, |(_, value)| variant(value))
}

fn kebab(name: &str) -> String {
    let mut code = String::new();
    for (at, char) in name.char_indices() {
        if char.is_ascii_uppercase() && at > 0 {
            code.push('-');
        }
        code.push(char.to_ascii_lowercase());
    }
    if code.is_empty() { "error".to_owned() } else { code }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{convert, domain, exporter, libvirt, manifest, pipeline};

    /// Scripts match these codes: users notice a changed code.
    #[test]
    fn codes_are_the_names_of_variants() {
        let obstacle = exporter::ExportBlocker::PoweredOn;
        let powered_on = exporter::Error::Obstacle { vm: "web01".into(), obstacle };
        let no_bridge = domain::Error::NoBridge { bridge: "br0".into(), existing: Vec::new() };
        let exists = libvirt::Error::DomainExists { name: "web01".into() };
        let login = exporter::Error::Login {
            username: "me".into(),
            source: exporter::Fault { kind: "InvalidLogin".into(), text: "no".into() },
        };
        let unreadable = manifest::Error::Read {
            path: "/m".into(),
            source: std::io::Error::from(std::io::ErrorKind::NotFound),
        };
        let errors: [(&dyn Error, &str); 8] = [
            (&pipeline::SourceError::from(powered_on), "powered-on"),
            (&pipeline::SourceError::from(login), "login"),
            (&pipeline::SourceError::Running { name: "a".into() }, "running"),
            (&libvirt::Error::Plan(no_bridge), "no-bridge"),
            (&pipeline::SourceError::from(exists), "domain-exists"),
            (
                &convert::Error::NotFound { searched: Vec::new(), passed_over: Vec::new() },
                "not-found",
            ),
            (&unreadable, "read"),
            (&exporter::Error::Cancelled, "cancelled"),
        ];
        for (error, code) in errors {
            assert_eq!(code_of(error), code, "{error:?}");
        }
        assert_eq!(code_of(&std::fmt::Error), "error");
    }
}
