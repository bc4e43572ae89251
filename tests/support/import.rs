//! A VM with images, ready to be imported into a real libvirt.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use hyperexport::domain::{DomainType, Hardware, HostCapabilities, NetworkMap, PlanOptions};
use hyperexport::libvirt::{
    AfterDefine, Connection, DefinedDomain, Error, ImportRequest, Journal, PoolChoice, Settings,
    Transfer,
};
use hyperexport::model::{
    Assumed, Board, Bus, ByteSize, Controller, ConvertedDisk, ConvertedDisks, CpuTopology,
    DiskFormat, DiskId, Firmware, GuestOs, MacAddress, NicModel, Origin, OsFamily, PowerState,
    Sha256Digest, SourceDisk, SourceNic, SourceVm,
};
use hyperexport::progress::Progress;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use virt::storage_pool::StoragePool;

use super::libvirtd::{self, Names};

/// Size of the test disks as the guest sees it, in bytes.
pub const CAPACITY: u64 = 64 << 20;

/// A BIOS Linux VM of that display name with two network interfaces.
pub fn vm(name: &str) -> SourceVm {
    let nic = |index: u8, connected| SourceNic {
        mac: Some(MacAddress([0x00, 0x50, 0x56, 0xaa, 0xbb, index])),
        model: NicModel::Vmxnet,
        network: "VM Network".to_owned(),
        connected,
        ..SourceNic::at(index.into())
    };
    SourceVm {
        provider: "vsphere".to_owned(),
        id: "vm-42".to_owned(),
        name: name.to_owned(),
        instance_uuid: None,
        inventory_path: Some(format!("/DC0/vm/{name}")),
        datacenter: Some("DC0".to_owned()),
        power: PowerState::Off,
        arch: None,
        cpu: CpuTopology::new(4, 2),
        memory_mib: 2049,
        firmware: Firmware::Bios,
        secure_boot: false,
        vtpm: false,
        cdroms: 0,
        board: Board::default(),
        origin: Origin::default(),
        assumed: Assumed::default(),
        guest: GuestOs {
            id: "ubuntu64Guest".to_owned(),
            full_name: "Ubuntu Linux (64-bit)".to_owned(),
            family: OsFamily::Linux,
            network: None,
        },
        disks: Vec::new(),
        nics: vec![nic(1, true), nic(2, false)],
        facts: None,
    }
}

/// Creates a sparse image with 3 MiB of data in its middle.
pub fn image(path: &Path, format: DiskFormat, seed: u8) {
    let path = path.to_str().expect("UTF-8");
    run("qemu-img", &["create", "-q", "-f", format.as_str(), path, &CAPACITY.to_string()]);
    let write = format!("write -q -P {} 20M 3M", seed.max(1));
    run("qemu-io", &["-f", format.as_str(), "-c", &write, path]);
}

/// A folder whose files QEMU's user may access, as those of a pool.
pub fn open_folder() -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).expect("set");
    dir
}

/// Asserts that two images contain the same disk.
pub fn assert_same(a: &Path, b: &Path, format: DiskFormat) {
    let format = format.as_str();
    let paths = [a, b].map(|path| path.to_str().expect("UTF-8"));
    run("qemu-img", &["compare", "-q", "-s", "-f", format, "-F", format, paths[0], paths[1]]);
}

pub fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().expect("qemu-utils is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}");
}

/// Bytes that a file occupies on its file system.
pub fn allocated(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    path.metadata().expect("the file exists").blocks() * 512
}

/// Everything for one import; its names, pools and files are unique and removed on drop.
pub struct Setup {
    pub names: Names,
    pub dir: TempDir,
    pub target: Connection,
    pub host: HostCapabilities,
    pub vm: SourceVm,
    pub disks: ConvertedDisks,
    pub options: PlanOptions,
    pub pool: PoolChoice,
    pub autostart: bool,
    pub after: AfterDefine,
    pub replace: Option<String>,
}

impl Setup {
    /// A setup whose pool has a path but does not exist yet. `None` without libvirt.
    pub async fn new() -> Option<Self> {
        Self::with(Transfer::Auto).await
    }

    pub async fn with(transfer: Transfer) -> Option<Self> {
        Self::at(libvirtd::URI, transfer).await
    }

    /// As [`Self::new`], through another URI of the same daemon.
    pub async fn at(uri: &str, transfer: Transfer) -> Option<Self> {
        if !tokio::task::spawn_blocking(libvirtd::available).await.expect("no panic") {
            return None;
        }
        let settings = Settings { uri: uri.to_owned(), transfer, ..Settings::default() };
        let target = Connection::connect(&settings).await.expect("the daemon answers");
        let host = target.capabilities().await.expect("the daemon knows");
        let names = Names::new();
        let dir = open_folder();
        let options = PlanOptions {
            name: Some(names.name("vm")),
            // Works on every machine, with or without KVM.
            domain_type: Some(DomainType::Qemu),
            bridge: "virbr0".to_owned(),
            network_map: NetworkMap::default(),
            hardware: Hardware::default(),
            allow_unbootable: false,
        };
        let pool = PoolChoice { name: names.name("pool"), path: Some(dir.path().join("pool")) };
        let mut setup = Self {
            vm: vm("Ubuntu-Server"),
            disks: ConvertedDisks(Vec::new()),
            autostart: false,
            after: AfterDefine::default(),
            replace: None,
            names,
            dir,
            target,
            host,
            options,
            pool,
        };
        setup.add_disk(DiskFormat::Qcow2);
        Some(setup)
    }

    /// Adds a disk whose image is outside the pool.
    pub fn add_disk(&mut self, format: DiskFormat) {
        let index = self.disks.0.len();
        let path = self.dir.path().join(format!("image {index}.{format}"));
        image(&path, format, u8::try_from(index + 1).expect("few disks"));
        self.disks.0.push(ConvertedDisk {
            id: DiskId::from_index(index),
            format,
            capacity: ByteSize(CAPACITY),
            allocated: ByteSize(allocated(&path)),
            boot_order: u32::try_from(index).expect("few disks"),
            path,
            fixed: true,
            medium: false,
            content: None,
        });
    }

    pub fn request(&self) -> ImportRequest<'_> {
        ImportRequest {
            vm: &self.vm,
            disks: &self.disks,
            host: &self.host,
            options: &self.options,
            pool: &self.pool,
            autostart: self.autostart,
            after: &self.after,
            replace: self.replace.as_deref(),
            going: &[],
            undone: &[],
            exactly: None,
        }
    }

    pub async fn import(&self) -> Result<DefinedDomain, Error> {
        let (progress, cancel) = (Progress::none(), CancellationToken::new());
        self.target.import(&self.request(), &Journal::none(), &progress, &cancel).await
    }

    pub fn pool_dir(&self) -> PathBuf {
        self.dir.path().join("pool")
    }

    /// Defines the pool beforehand, without starting it.
    pub fn make_pool(&self) -> StoragePool {
        std::fs::create_dir_all(self.pool_dir()).expect("made");
        let (name, dir) = (&self.pool.name, self.pool_dir());
        let xml = format!(
            "<pool type='dir'><name>{name}</name><target><path>{}</path></target></pool>",
            dir.display()
        );
        libvirtd::connect().define_storage_pool_xml(&xml, 0).expect("a pool")
    }

    /// Asserts that neither libvirt nor the pool's folder contains anything of this setup.
    pub fn assert_nothing_left(&self) {
        assert_eq!(self.names.domains(), [""; 0]);
        assert_eq!(self.names.pools(), [""; 0]);
        assert!(!self.pool_dir().exists(), "the pool's folder is left");
    }
}

/// Content hash of a disk, computed from a raw copy by the steps of the documentation.
pub fn content(disk: &ConvertedDisk) -> Sha256Digest {
    let raw = tempfile::NamedTempFile::new().expect("a file");
    let [from, to] = [&disk.path, raw.path()].map(|path: &Path| path.to_str().expect("UTF-8"));
    run("qemu-img", &["convert", "-f", disk.format.as_str(), "-O", "raw", from, to]);
    let bytes = std::fs::read(raw.path()).expect("read");
    let blocks = bytes.chunks(4 << 20).flat_map(Sha256::digest);
    Sha256Digest(Sha256::digest(blocks.collect::<Vec<u8>>()).into())
}

/// Full chain of an error, as the user reads it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

/// Mounts a file system of 64 MiB at the pool's path.
pub fn small_file_system(setup: &Setup) -> Option<Mount> {
    let file = setup.dir.path().join("small.ext4");
    std::fs::File::create(&file).and_then(|file| file.set_len(64 << 20)).expect("made");
    let dir = setup.pool_dir();
    std::fs::create_dir_all(&dir).expect("made");
    let (file, at) = (file.to_str().expect("UTF-8"), dir.to_str().expect("UTF-8"));
    run("mkfs.ext4", &["-q", file]);
    let mounted = Command::new("mount").args(["-o", "loop", file, at]).output();
    let mounted = mounted.expect("mount runs");
    if !mounted.status.success() {
        libvirtd::skip(&format!("no loop mounts: {}", String::from_utf8_lossy(&mounted.stderr)));
        return None;
    }
    Some(Mount(at.to_owned()))
}

/// A mount point, unmounted on drop.
pub struct Mount(String);

impl Drop for Mount {
    fn drop(&mut self) {
        let ended = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(ended.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// A disk of 2 GiB on a SCSI controller of that model, in vSphere's spelling.
pub fn source_disk(model: &str) -> SourceDisk {
    SourceDisk {
        id: DiskId::from_index(0),
        key: 2000,
        label: "Hard disk 1".to_owned(),
        controller: Controller { bus: Bus::Scsi, model: model.to_owned(), number: 0, slot: None },
        unit: 0,
        capacity: ByteSize(1 << 31),
        boot_order: 0,
        backing: None,
        uuid: None,
    }
}
