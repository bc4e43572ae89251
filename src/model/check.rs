//! What an examination of a machine found: `hyperexport doctor`.

use serde::Serialize;

/// How a thing that was examined is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// As it should be.
    Ok,
    /// It is missing and optional.
    Note,
    /// Some migrations will do without it, or be slower.
    Warning,
    /// No migration will work.
    Failed,
}

/// One thing that was examined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Check {
    /// What: stable and short, in kebab case; pools and networks have their names in `about`.
    pub name: &'static str,
    /// Which of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// How it is.
    pub health: Health,
    /// What was seen, for a person.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    /// A thing that is as it should be.
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, about: None, health: Health::Ok, found: found.into(), remedy: None }
    }

    /// A thing that some migrations need.
    pub fn warning(
        name: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let remedy = Some(remedy.into());
        Self { health: Health::Warning, remedy, ..Self::ok(name, found) }
    }

    /// A thing that is optional and missing.
    pub fn note(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { health: Health::Note, ..Self::warning(name, found, remedy) }
    }

    /// A thing that every migration needs, or that the user has asked for.
    pub fn failed(name: &'static str, found: impl Into<String>, remedy: Option<String>) -> Self {
        Self { health: Health::Failed, remedy, ..Self::ok(name, found) }
    }

    /// The same about one of several.
    #[must_use]
    pub fn about(self, which: impl Into<String>) -> Self {
        Self { about: Some(which.into()), ..self }
    }
}
