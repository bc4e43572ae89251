//! A VM for tests of all modules.

use super::{
    Assumed, Board, CpuTopology, Firmware, GuestOs, Origin, OsFamily, PowerState, SourceVm,
};

/// A VM without devices, to which a test adds what it checks.
pub(crate) fn vm() -> SourceVm {
    SourceVm {
        provider: "local".to_owned(),
        id: String::new(),
        name: "vm".to_owned(),
        instance_uuid: None,
        inventory_path: None,
        datacenter: None,
        power: PowerState::Off,
        arch: None,
        cpu: CpuTopology::new(1, 1),
        memory_mib: 1024,
        firmware: Firmware::Bios,
        secure_boot: false,
        vtpm: false,
        cdroms: 0,
        board: Board::default(),
        origin: Origin::default(),
        assumed: Assumed::default(),
        guest: GuestOs {
            id: String::new(),
            full_name: String::new(),
            family: OsFamily::Unknown,
            network: None,
        },
        disks: Vec::new(),
        nics: Vec::new(),
        facts: None,
    }
}
