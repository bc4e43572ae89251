//! Our side of the libvirt rows of `make bench`; scripts/bench-libvirt.sh runs it beside virsh.
//!
//! ```text
//! libvirt xml                            the domain that is defined, for virsh to define it too
//! libvirt defines COUNT plain|validate   seconds for COUNT definitions with autostart
//! libvirt import URI copy|stream IMAGE POOL_DIR   seconds for one raw image into a pool
//! ```
#![allow(clippy::print_stdout, reason = "the measured seconds")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use hyperexport::domain::{self, DiskKind, DomainType, HostCapabilities, PlanOptions, PlannedDisk};
use hyperexport::libvirt::{
    AfterDefine, Connection, ImportRequest, Journal, PoolChoice, Settings, Transfer, domain_xml,
    profile,
};
use hyperexport::model::{
    Board, ByteSize, ConvertedDisk, ConvertedDisks, CpuTopology, DiskFormat, DiskId, Firmware,
    GuestOs, OsFamily, PowerState, SourceVm,
};
use hyperexport::progress::Progress;
use tokio_util::sync::CancellationToken;
use virt::connect::Connect;
use virt::sys;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<_> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["xml"] => {
            let target = Connection::connect(&settings("qemu:///system", Transfer::Auto)).await?;
            println!("{}", written(&target.capabilities().await?, "hxb-virsh-NUMBER")?);
            Ok(())
        }
        ["defines", count, how] => defines(count.parse()?, how == "validate").await,
        ["import", uri, how, image, pool] => import(uri, how, image, pool).await,
        // `cargo bench` and `cargo test --benches` without arguments: nothing to measure.
        [] => Ok(()),
        _ => bail!("see the beginning of benches/libvirt.rs"),
    }
}

/// Plans and writes every domain anew, as a run does, over one connection.
async fn defines(count: u32, validate: bool) -> anyhow::Result<()> {
    let target = Connection::connect(&settings("qemu:///system", Transfer::Auto)).await?;
    let host = target.capabilities().await?;
    let connect = Connect::open(Some("qemu:///system"))?;
    let flags = if validate { sys::VIR_DOMAIN_DEFINE_VALIDATE } else { 0 };
    let begun = Instant::now();
    let mut defined = Vec::new();
    for number in 0..count {
        let xml = written(&host, &format!("hxb-{}-{number}", std::process::id()))?;
        let domain = connect.define_domain_xml_flags(&xml, flags)?;
        domain.set_autostart(true)?;
        defined.push(domain);
    }
    println!("{:.2}", begun.elapsed().as_secs_f64());
    defined.iter().try_for_each(virt::domain::Domain::undefine).context("tidy up")
}

/// A domain as it is planned and written for `define`.
fn written(host: &HostCapabilities, name: &str) -> anyhow::Result<String> {
    let (vm, options) = (vm(), options(name));
    let disk = PlannedDisk {
        id: DiskId::from_index(0),
        kind: DiskKind::File,
        path: "/var/lib/libvirt/images/none.qcow2".to_owned(),
        format: DiskFormat::Qcow2,
        boot_order: 0,
        fixed: true,
        medium: false,
    };
    let profile = profile(options.family(&vm))?;
    let spec = domain::plan(&vm, &[disk], profile, host, &options)?;
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    Ok(domain_xml(&spec, uuid.trim())?)
}

/// The whole import of one disk; what it made is undone afterwards.
async fn import(uri: &str, how: &str, image: &str, pool: &str) -> anyhow::Result<()> {
    let transfer = if how == "copy" { Transfer::Auto } else { Transfer::Stream };
    let target = Connection::connect(&settings(uri, transfer)).await?;
    let host = target.capabilities().await?;
    let capacity = Path::new(image).metadata()?.len();
    let name = format!("hxb-{}", std::process::id());
    let (vm, options) = (vm(), options(&name));
    let disks = ConvertedDisks(vec![ConvertedDisk {
        id: DiskId::from_index(0),
        path: PathBuf::from(image),
        format: DiskFormat::Raw,
        capacity: ByteSize(capacity),
        allocated: ByteSize(0),
        boot_order: 0,
        fixed: true,
        medium: false,
        content: None,
    }]);
    let choice = PoolChoice { name, path: Some(PathBuf::from(pool)) };
    let after = AfterDefine::default();
    let request = ImportRequest {
        vm: &vm,
        disks: &disks,
        host: &host,
        options: &options,
        pool: &choice,
        autostart: false,
        after: &after,
        replace: None,
        going: &[],
        undone: &[],
        exactly: None,
    };
    let (progress, cancel) = (Progress::none(), CancellationToken::new());
    let begun = Instant::now();
    let defined = target.import(&request, &Journal::none(), &progress, &cancel).await?;
    println!("{:.2}", begun.elapsed().as_secs_f64());
    let taken = target.take_back(&defined.undo).await?;
    if taken.left.is_empty() { Ok(()) } else { bail!("left behind: {}", taken.left.join(", ")) }
}

fn settings(uri: &str, transfer: Transfer) -> Settings {
    Settings { uri: uri.to_owned(), transfer, ..Settings::default() }
}

fn options(name: &str) -> PlanOptions {
    PlanOptions {
        name: Some(name.to_owned()),
        domain_type: Some(DomainType::Qemu),
        bridge: "virbr0".to_owned(),
        network_map: domain::NetworkMap::default(),
        hardware: domain::Hardware::default(),
        allow_unbootable: false,
    }
}

fn vm() -> SourceVm {
    SourceVm {
        provider: "vsphere".to_owned(),
        id: "vm-1".to_owned(),
        name: "bench".to_owned(),
        instance_uuid: None,
        inventory_path: None,
        datacenter: None,
        power: PowerState::Off,
        arch: None,
        cpu: CpuTopology::new(2, 2),
        memory_mib: 2048,
        firmware: Firmware::Bios,
        secure_boot: false,
        vtpm: false,
        cdroms: 0,
        board: Board::default(),
        origin: hyperexport::model::Origin::default(),
        assumed: hyperexport::model::Assumed::default(),
        guest: GuestOs {
            id: "debian12_64Guest".to_owned(),
            full_name: "Debian GNU/Linux 12 (64-bit)".to_owned(),
            family: OsFamily::Linux,
            network: None,
        },
        disks: Vec::new(),
        nics: Vec::new(),
        facts: None,
    }
}
