//! An unfixed guest boots from its original controller. A guest whose controller is unknown boots
//! in `after`.

use std::os::unix::fs::PermissionsExt;

use crate::support::guest;
use crate::support::import::{Setup, source_disk};
use hyperexport::model::{ByteSize, CpuTopology, DiskFormat, Firmware};

/// The exported guest of `tests/guest`, which boots on IDE but not on virtio.
#[tokio::test]
async fn a_guest_that_nobody_has_fixed_boots_from_the_controller_that_it_had() {
    let Some(mut setup) = Setup::new().await else { return };
    let built = tokio::task::spawn_blocking(|| guest::guest("bios")).await;
    let Some(guest) = built.expect("no panic") else { return };
    setup.vm.firmware = Firmware::Bios;
    setup.vm.memory_mib = 1024;
    setup.vm.cpu = CpuTopology::new(1, 1);
    let disk = &mut setup.disks.0[0];
    disk.path = guest.raw;
    disk.format = DiskFormat::Raw;
    disk.capacity = ByteSize(disk.path.metadata().expect("there").len());
    disk.fixed = false;
    setup.vm.disks = vec![source_disk("ParaVirtualSCSIController")];
    let open = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(setup.dir.path(), open).expect("set");
    let defined = setup.import().await.expect("imports");
    assert!(defined.xml.contains("bus='scsi'"), "{}", defined.xml);
    let name = defined.name;
    tokio::task::spawn_blocking(move || guest::assert_boots(&name)).await.expect("it boots");
}
