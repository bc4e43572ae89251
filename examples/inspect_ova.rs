//! Prints the VMs of a package and the disks of one of them:
//!
//! ```sh
//! cargo run --example inspect_ova -- web01.ova
//! ```
//!
//! The package is read in place: nothing is unpacked or written.
#![allow(clippy::print_stdout, reason = "an example prints its result")]

use std::path::PathBuf;

use anyhow::Context;
use hyperexport::exporter::{FileChoice, FileSettings, Files};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let path = args.next().map(PathBuf::from).context("usage: inspect_ova OVA|OVF|VMX|FOLDER")?;
    let settings = FileSettings { paths: vec![path], choice: FileChoice::default(), rewrite: None };
    let package = Files::open(settings).await?;
    for vm in package.list() {
        println!("{}: {} disks", vm.name, vm.disks.unwrap_or_default());
    }

    // Several VMs need `FileChoice::vm`, which names one of them.
    let inspected = package.inspect().await?;
    let vm = &inspected.vm;
    println!("\n{}: {} CPUs, {} MiB", vm.name, vm.cpu.vcpus, vm.memory_mib);
    for disk in &vm.disks {
        println!("  {} ({}): {}", disk.id, disk.label, disk.capacity);
    }
    for obstacle in inspected.all_obstacles() {
        println!("  in the way: {obstacle}: {}", obstacle.remedy());
    }
    Ok(())
}
