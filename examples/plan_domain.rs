//! Plans the domain of an export and prints its XML. Nothing is made in libvirt:
//!
//! ```sh
//! cargo run --example plan_domain -- export-web01/manifest.json qemu:///system
//! ```
//!
//! The plan is a pure function of the manifest's VM, the disks, the abilities of the host and your
//! options.
#![allow(clippy::print_stdout, reason = "an example prints its result")]

use std::path::PathBuf;

use anyhow::Context;
use hyperexport::domain::{self, DiskKind, Hardware, NetworkMap, PlanOptions, PlannedDisk};
use hyperexport::{libvirt, manifest};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let path = args.next().map(PathBuf::from).context("usage: plan_domain MANIFEST [URI]")?;
    let uri = args
        .next()
        .map_or_else(|| Ok("qemu:///system".to_owned()), std::ffi::OsString::into_string);
    let uri = uri.ok().context("a URI is UTF-8")?;

    let manifest = manifest::read(&path)?;
    let vm = manifest.source_vm();
    let settings = libvirt::Settings { uri, ..libvirt::Settings::default() };
    let host = libvirt::Connections::default().open(&settings).await?.capabilities().await?;

    // Where the host would open the images; `libvirt` uploads them to a pool and plans with its
    // paths.
    let disks: Vec<_> = (0..)
        .zip(manifest.disks_in_boot_order())
        .map(|(boot_order, disk)| PlannedDisk {
            id: disk.id.clone(),
            kind: DiskKind::File,
            path: disk.local_path.display().to_string(),
            format: disk.source_format,
            boot_order,
            // No converter has put drivers of virtio into this guest.
            fixed: false,
            medium: false,
        })
        .collect();
    let options = PlanOptions {
        name: None,
        domain_type: None,
        bridge: "virbr0".to_owned(),
        network_map: NetworkMap::default(),
        hardware: Hardware::default(),
        allow_unbootable: false,
    };
    let profile = libvirt::profile(options.family(&vm))?;
    let plan = domain::plan(&vm, &disks, profile, &host, &options)?;
    println!("{}", libvirt::domain_xml(&plan, "00000000-0000-4000-8000-000000000000")?);
    Ok(())
}
