//! The boot order in VMware's VMX lines, which vSphere and OVF packages contain, too
//! (`extraConfig`, `vmw:ExtraConfig`).

use crate::model::{Bus, SourceDisk};

/// Maximum number of devices in a boot order: more than a VM has disks.
const MOST_TRIED: usize = 1000;

/// The disks of the firmware's boot order, as indices of `disks`. `setting` returns the value of a
/// VMX key. `hdd` in `bios.bootOrder` stands for all of `bios.hddOrder`.
pub(super) fn boot_disks<'a>(
    setting: impl Fn(&str) -> Option<&'a str>,
    disks: &[&SourceDisk],
) -> Vec<usize> {
    let list = |key: &str| {
        let text = setting(key).unwrap_or_default().to_ascii_lowercase();
        let words = text.split(|c: char| c == ',' || c == ';' || c.is_whitespace());
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let hard_disks = list("bios.hddOrder");
    let kinds = list("bios.bootOrder").into_iter().flat_map(|kind| match kind.as_str() {
        "hdd" | "hd" | "disk" => hard_disks.clone(),
        _ => vec![kind],
    });
    let tried: Vec<String> = kinds.chain(hard_disks.clone()).collect();
    let names: Vec<Option<String>> = disks.iter().map(|disk| vmx_name(disk)).collect();
    let place = |name: &String| names.iter().position(|known| known.as_ref() == Some(name));
    tried.iter().take(MOST_TRIED).filter_map(place).collect()
}

/// Name of a disk in a VMX: `scsi0:1`.
fn vmx_name(disk: &SourceDisk) -> Option<String> {
    let bus = match disk.controller.bus {
        Bus::Ide => "ide",
        Bus::Scsi => "scsi",
        Bus::Sata => "sata",
        Bus::Nvme => "nvme",
        Bus::Other => return None,
    };
    Some(format!("{bus}{}:{}", disk.controller.number, disk.unit))
}
