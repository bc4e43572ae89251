//! The rules of the Artifact Manifest v1.0, one line each. They are checked on the plain JSON, so
//! that every violation, a wrong type too, is reported with its path: `disks[0].boot_order_hint`.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::model::{DiskId, MacAddress, Sha256Digest};

use super::node::{JsonNode, boolean, string, timestamp};
use super::types::{Exact, Manifest};

/// A broken rule of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// JSON path of the value: `disks[0].id`.
    pub path: String,
    /// What the rule requires: `must be an integer of at least 1`.
    pub rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.rule)
    }
}

/// Checks a manifest against the contract.
///
/// # Errors
/// All broken rules.
pub fn check(manifest: &Manifest) -> Result<(), Vec<Violation>> {
    match serde_json::to_value(manifest) {
        Ok(value) => check_value(&value),
        // The only value in these types that JSON cannot represent is a path that is not UTF-8.
        Err(error) => {
            Err(vec![Violation { path: "disks[].local_path".to_owned(), rule: error.to_string() }])
        }
    }
}

/// Checks any JSON value against the contract.
pub(super) fn check_value(value: &Value) -> Result<(), Vec<Violation>> {
    let mut found = Vec::new();
    manifest(&mut JsonNode::root(value, &mut found));
    if found.is_empty() { Ok(()) } else { Err(found) }
}

fn manifest(root: &mut JsonNode<'_>) {
    if !root.is_object() {
        return;
    }
    root.required("manifest_version", |n| n.one_of(&["1.0"]));
    root.optional("source", source);
    root.optional("vm", vm);
    root.required("disks", disks);
    root.optional("nics", |n| n.each(nic));
    root.optional("notes", |n| n.each(|_| {}));
    root.optional("warnings", |n| n.each(warning));
    root.optional("metadata", metadata);
    root.optional("pipeline", pipeline);
    root.optional("configuration", |n| n.flags(&[]));
    root.optional("output", output);
    root.optional("options", options);
    exact_facts_match(root);
}

fn source(node: &mut JsonNode<'_>) {
    if node.is_object() {
        for key in ["provider", "vm_id", "vm_name", "datacenter", "export_method"] {
            node.optional(key, string);
        }
        node.optional("export_timestamp", timestamp);
    }
}

fn vm(node: &mut JsonNode<'_>) {
    if node.is_object() {
        node.optional("cpu", |n| n.at_least(1, u64::from(u32::MAX)));
        node.optional("mem_gb", |n| n.at_least(1, u64::MAX / (1 << 30)));
        node.optional("firmware", |n| n.one_of(&["bios", "uefi", "unknown"]));
        node.optional("secureboot", boolean);
        node.optional("os_hint", |n| n.one_of(&["linux", "windows", "unknown"]));
        node.optional("os_version", string);
    }
}

fn disks(node: &mut JsonNode<'_>) {
    node.each(disk);
    let value = node.value;
    let Some(list) = value.as_array() else { return };
    if list.is_empty() {
        node.broken("must name at least one disk");
    }
    let mut ids = HashSet::new();
    for (i, disk) in list.iter().enumerate() {
        let id = disk.get("id").and_then(Value::as_str);
        if id.is_some_and(|id| !ids.insert(id)) {
            node.broken_at(&format!("[{i}].id"), "must be unique");
        }
    }
}

fn disk(node: &mut JsonNode<'_>) {
    if !node.is_object() {
        return;
    }
    node.required("id", |n| {
        n.text(|t| t.parse::<DiskId>().is_ok(), "must match ^[a-zA-Z0-9_-]{1,64}$")
    });
    node.required("source_format", |n| n.one_of(&["vmdk", "qcow2", "raw", "vhd", "vhdx", "vdi"]));
    node.required("bytes", |n| n.at_least(0, i64::MAX.unsigned_abs()));
    node.required("local_path", |n| {
        n.text(|t| Path::new(t).is_absolute() && !t.contains('\0'), "must be an absolute path")
    });
    node.optional("checksum", |n| {
        n.text(
            |t| t.strip_prefix("sha256:").is_some_and(|d| d.parse::<Sha256Digest>().is_ok()),
            "must be sha256: and 64 lower-case hexadecimal digits",
        )
    });
    node.optional("boot_order_hint", |n| n.at_least(0, u64::from(u32::MAX)));
    node.optional("label", string);
    node.optional("disk_type", |n| n.one_of(&["boot", "data", "unknown"]));
}

fn nic(node: &mut JsonNode<'_>) {
    if node.is_object() {
        node.optional("id", string);
        node.optional("mac", |n| {
            n.text(|t| t.parse::<MacAddress>().is_ok(), "must look like 00:50:56:aa:bb:01")
        });
        node.optional("network", string);
    }
}

fn warning(node: &mut JsonNode<'_>) {
    if node.is_object() {
        for key in ["stage", "message", "timestamp"] {
            node.optional(key, string);
        }
    }
}

fn metadata(node: &mut JsonNode<'_>) {
    if node.is_object() {
        node.optional("hypersdk_version", string);
        node.optional("job_id", string);
        node.optional("created_at", timestamp);
        node.optional("tags", |n| {
            if n.is_object() {
                let value = n.value;
                value.as_object().into_iter().flatten().for_each(|(k, _)| n.optional(k, string));
            }
        });
        node.optional("hyperexport", |n| {
            if let Err(error) = Exact::deserialize(n.value) {
                n.broken(&format!("is not what hyperexport writes: {error}"));
            }
        });
    }
}

fn pipeline(node: &mut JsonNode<'_>) {
    if !node.is_object() {
        return;
    }
    node.optional("inspect", |n| n.flags(&["enabled", "collect_guest_info"]));
    node.optional("fix", |n| {
        n.optional("fstab_mode", |n| n.one_of(&["stabilize-all", "bypath-only", "noop"]));
        n.flags(&[
            "enabled",
            "backup",
            "print_fstab",
            "update_grub",
            "regen_initramfs",
            "remove_vmware_tools",
        ]);
    });
    node.optional("convert", |n| {
        n.optional("compress_level", |n| n.between(1, 9));
        n.flags(&["enabled", "compress"]);
    });
    node.optional("validate", |n| n.flags(&["enabled", "check_image_integrity"]));
}

fn output(node: &mut JsonNode<'_>) {
    if node.is_object() {
        node.optional("directory", string);
        node.optional("format", |n| n.one_of(&["qcow2", "raw", "vdi"]));
        node.optional("filename", string);
    }
}

fn options(node: &mut JsonNode<'_>) {
    if node.is_object() {
        node.optional("dry_run", boolean);
        node.optional("verbose", |n| n.between(0, 3));
        node.optional("report", |n| {
            n.optional("path", string);
            n.flags(&["enabled"]);
        });
    }
}

/// The exact facts must describe the same disks as the contract's fields. Otherwise disks that were
/// edited by hand would get the controllers and sizes of the old disks.
fn exact_facts_match(root: &mut JsonNode<'_>) {
    let ids = |list: Option<&Value>| -> HashSet<String> {
        let items = list.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        items.iter().filter_map(|d| Some(d.get("id")?.as_str()?.to_owned())).collect()
    };
    let exact = root.value.pointer("/metadata/hyperexport/source_vm/disks");
    if exact.is_some() && ids(exact) != ids(root.value.get("disks")) {
        root.broken_at(
            "metadata.hyperexport",
            "must describe the same disks as disks: remove it after editing disks",
        );
    }
}
