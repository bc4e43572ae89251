//! Results of `hyperexport doctor`.

use serde::Serialize;

/// Result of a check, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// The check has passed.
    Ok,
    /// An optional component is missing.
    Note,
    /// Some migrations fail or are slower.
    Warning,
    /// No migration works.
    Failed,
}

/// Result of one check of `hyperexport doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Check {
    /// Name of the check: stable and short, in kebab case. Pools and networks are named in `about`.
    pub name: &'static str,
    /// Name of the checked object, if the check runs for several objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Result of the check.
    pub health: Health,
    /// What the check has found, as text for people.
    pub found: String,
    /// How to fix the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    /// A check that has passed.
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, about: None, health: Health::Ok, found: found.into(), remedy: None }
    }

    /// A check whose failure affects some migrations.
    pub fn warning(
        name: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let remedy = Some(remedy.into());
        Self { health: Health::Warning, remedy, ..Self::ok(name, found) }
    }

    /// A check for an optional component that is missing.
    pub fn note(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { health: Health::Note, ..Self::warning(name, found, remedy) }
    }

    /// A check that every migration needs, or that the user has asked for, and that has failed.
    pub fn failed(name: &'static str, found: impl Into<String>, remedy: Option<String>) -> Self {
        Self { health: Health::Failed, remedy, ..Self::ok(name, found) }
    }

    /// The same result for one of several objects, by the object's name.
    #[must_use]
    pub fn about(self, which: impl Into<String>) -> Self {
        Self { about: Some(which.into()), ..self }
    }
}
