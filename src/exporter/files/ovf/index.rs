//! Index of the objects that hardware items refer to, by id.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use super::cost::Cost;
use super::schema::{Collection, DescribedDisk, Envelope, FileReference, Item, Product};
use crate::exporter::files::file_names::has_extension;

/// The disks and files of an envelope, and the rules by which its items count.
pub(super) struct Index<'a> {
    pub(super) disks: HashMap<&'a str, &'a DescribedDisk>,
    pub(super) files: HashMap<&'a str, &'a FileReference>,
    /// The files by their `href`, which is a path in oVirt's storage.
    by_path: HashMap<&'a str, &'a FileReference>,
    /// The product sections of all collections.
    pub(super) products: Vec<&'a Product>,
    /// Remaining budget of the description.
    pub(super) cost: RefCell<Cost>,
    /// The default deployment option.
    configuration: Option<&'a str>,
}

impl<'a> Index<'a> {
    pub(super) fn of(envelope: &'a Envelope) -> Self {
        let (mut disks, mut files, mut by_path) = (HashMap::new(), HashMap::new(), HashMap::new());
        for disk in &envelope.disk_section.disk {
            disks.entry(disk.id.as_str()).or_insert(disk);
        }
        for file in &envelope.references.file {
            files.entry(file.id.as_str()).or_insert(file);
            if file.href.contains('/') {
                by_path.entry(file.href.as_str()).or_insert(file);
            }
        }
        // DSP0243 2.1.1, section 9.8: the option marked as the default, or else the first.
        let options = &envelope.deployment_option_section.configuration;
        let default = options.iter().find(|option| matches!(option.default.trim(), "true" | "1"));
        let configuration = default.or(options.first()).map(|option| option.id.as_str());
        let mut products = Vec::new();
        collect(&envelope.virtual_system_collection, &mut products);
        Self { disks, files, by_path, products, cost: RefCell::default(), configuration }
    }

    pub(super) fn file_of(&self, disk: &DescribedDisk) -> Option<&'a FileReference> {
        let reference = disk.file.as_deref()?;
        self.files.get(reference).or_else(|| self.by_path.get(reference)).copied()
    }

    /// Whether an item counts: it belongs to all deployment options or to the default one, and is
    /// not a bound of a range.
    pub(super) fn has(&self, item: &Item) -> bool {
        let of_all = item.configuration.trim().is_empty();
        let is_device = matches!(item.bound.trim(), "" | "normal");
        is_device && (of_all || self.is_default(&item.configuration))
    }

    /// Whether the default deployment option is among `options`.
    pub(super) fn is_default(&self, options: &str) -> bool {
        options.split_whitespace().any(|id| Some(id) == self.configuration)
    }

    /// Names of the CD-ROM images that hardware does not refer to.
    pub(super) fn unused_media(&self, used: &HashSet<&str>) -> Vec<String> {
        let files = self.files.values().map(|file| file.href.as_str());
        let unused = files.filter(|href| has_extension(href, "iso") && !used.contains(href));
        let mut unused: Vec<_> = unused.map(str::to_owned).collect();
        unused.sort();
        unused
    }

    /// Names of the disk files that hardware does not refer to.
    pub(super) fn unused(&self, used: &HashSet<&str>) -> Vec<String> {
        // Many disks may refer to one file with a long name, which is then compared and written
        // once.
        let mut known = HashSet::new();
        let files = self.disks.values().filter_map(|disk| self.file_of(disk));
        let files = files.filter(|file| known.insert(std::ptr::from_ref(*file)));
        let unused = files.map(|file| file.href.as_str()).filter(|href| !used.contains(href));
        let mut unused: Vec<_> = unused.collect();
        unused.sort_unstable();
        unused.dedup();
        unused.into_iter().map(|href| format!("'{href}'")).collect()
    }
}

fn collect<'a>(collections: &'a [Collection], products: &mut Vec<&'a Product>) {
    for collection in collections {
        products.extend(&collection.product_section);
        collect(&collection.virtual_system_collection, products);
    }
}
