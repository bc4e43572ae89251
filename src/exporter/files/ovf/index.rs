//! What hardware refers to, found by its id.

use std::collections::{HashMap, HashSet};

use super::schema::{Disk, Envelope, FileReference, Item};

/// The disks and files of an envelope, and which of its items count.
pub(super) struct Index<'a> {
    pub(super) disks: HashMap<&'a str, &'a Disk>,
    pub(super) files: HashMap<&'a str, &'a FileReference>,
    /// The deployment option that everybody gets who chooses none.
    configuration: Option<&'a str>,
}

impl<'a> Index<'a> {
    pub(super) fn of(envelope: &'a Envelope) -> Self {
        let (mut disks, mut files) = (HashMap::new(), HashMap::new());
        for disk in &envelope.disk_section.disk {
            disks.entry(disk.id.as_str()).or_insert(disk);
        }
        for file in &envelope.references.file {
            files.entry(file.id.as_str()).or_insert(file);
        }
        // DSP0243 2.1.1, section 9.8: the one that says so, or else the first.
        let options = &envelope.deployment_option_section.configuration;
        let default = options.iter().find(|option| matches!(option.default.trim(), "true" | "1"));
        let configuration = default.or(options.first()).map(|option| option.id.as_str());
        Self { disks, files, configuration }
    }

    /// Whether an item counts: it is there in any deployment, or in the default one.
    pub(super) fn has(&self, item: &Item) -> bool {
        let mut among = item.configuration.split_whitespace().peekable();
        among.peek().is_none() || among.any(|id| Some(id) == self.configuration)
    }

    /// The files of disks that are not among those which hardware refers to, by their names.
    pub(super) fn unused(&self, used: &HashSet<&str>) -> Vec<String> {
        let files = self.disks.values().filter_map(|disk| self.files.get(disk.file.as_deref()?));
        let unused = files.map(|file| file.href.as_str()).filter(|href| !used.contains(href));
        let mut unused: Vec<_> = unused.map(|href| format!("'{href}'")).collect();
        unused.sort();
        unused.dedup();
        unused
    }
}
