//! Plain data types that all modules share: the source VM, the export, the conversion. They depend
//! on no external system and contain no policy.

mod arch;
mod board;
mod chain;
mod check;
mod converted;
mod disk_format;
mod disk_target;
mod disk_uuid;
mod export_file;
mod exported;
#[cfg(test)]
pub(crate) mod fixture;
mod guest_facts;
mod hint;
mod names;
mod pci;
mod proof;
pub mod revision;
mod secret;
mod shell;
pub mod shown;
mod source_after;
mod source_vm;
mod units;
mod warning;
mod warning_code;

pub use arch::{DOMAIN_ARCH, emulates, normal_arch};
pub use board::{Board, NotKept, SmbiosText, SoundCard};
pub use chain::chain;
pub use check::{Check, Health};
pub use converted::{ConvertedDisk, ConvertedDisks};
pub use disk_format::DiskFormat;
pub use disk_target::disk_target;
pub use disk_uuid::disk_uuid;
pub use export_file::ExportFile;
pub use exported::{
    ExportMethod, ExportState, ExportedDisk, ExportedMedium, ExportedNvram, ExportedVm, PoweredOff,
    ReceivedStream, SourceState,
};
pub use guest_facts::{GuestBus, GuestCard, GuestDrivers, GuestFacts, Lack};
pub use hint::Hint;
pub use names::file_name;
pub(crate) use pci::{PciAddress, plug_order};
pub use proof::{ChangedBlock, DiskProof, FileChange, FixedFile, Proof};
pub use secret::Secret;
pub use shell::quoted;
pub use source_after::{SourceAfter, SourceStep};
pub use source_vm::{
    AskedNic, Assumed, Bus, Controller, CpuTopology, Firmware, GuestInterface, GuestNetwork,
    GuestOs, NicModel, Origin, OsFamily, PowerState, SourceDisk, SourceNic, SourceVm,
};
pub use units::{ByteSize, DiskId, InvalidValue, MacAddress, Sha256Digest};
pub use warning::{Stage, Warning};
pub use warning_code::WarningCode;
