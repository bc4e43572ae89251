//! Device names that depend on the order in which a kernel finds its disks (Linux, devices.txt).

/// The disk that such a name means, counted as the kernel counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KernelOrder {
    /// SCSI, SATA, and parallel ATA by libata.
    Sd(u32),
    /// Parallel ATA by the old driver.
    Hd(u32),
    /// virtio-blk.
    Vd(u32),
    /// Xen.
    Xvd(u32),
    /// NVMe; the unit counts from 0.
    Nvme { controller: u32, unit: u32 },
    /// Disks that a physical machine may have had: SD cards and HP's arrays.
    Numbered(u32),
}

/// A constructor for disks that are counted by letters, from the disk's number.
type Lettered = fn(u32) -> KernelOrder;

const LETTERS: [(&str, Lettered); 4] = [
    ("sd", KernelOrder::Sd),
    ("hd", KernelOrder::Hd),
    ("vd", KernelOrder::Vd),
    ("xvd", KernelOrder::Xvd),
];

/// The disk and the partition of a name; none where the name does not depend on the order.
pub(super) fn ordered(name: &str) -> Option<(KernelOrder, &str)> {
    let name = name.strip_prefix("/dev/")?;
    for (prefix, order) in LETTERS {
        if let Some((number, partition)) = name.strip_prefix(prefix).and_then(letter) {
            return Some((order(u32::try_from(number).ok()?), partition));
        }
    }
    if let Some(rest) = name.strip_prefix("nvme") {
        let (controller, rest) = number(rest)?;
        let (namespace, rest) = number(rest.strip_prefix('n')?)?;
        let unit = namespace.checked_sub(1)?;
        return Some((KernelOrder::Nvme { controller, unit }, partition(rest)?));
    }
    if let Some(rest) = name.strip_prefix("mmcblk") {
        let (disk, rest) = number(rest)?;
        return Some((KernelOrder::Numbered(disk), partition(rest)?));
    }
    let (controller, rest) = number(name.strip_prefix("cciss/c")?)?;
    let (disk, rest) = number(rest.strip_prefix('d')?)?;
    Some((KernelOrder::Numbered(controller.checked_add(disk)?), partition(rest)?))
}

/// The number of a disk by its letters, and its partition: `b12` is 1 and `12`.
pub(super) fn letter(name: &str) -> Option<(usize, &str)> {
    let letters = name.len() - name.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
    let number = name[..letters].bytes().try_fold(0_usize, |number, letter| {
        number.checked_mul(26)?.checked_add(usize::from(letter - b'a') + 1)
    })?;
    let partition = &name[letters..];
    let is_number = partition.chars().all(|c| c.is_ascii_digit());
    (letters > 0 && is_number).then(|| (number - 1, partition))
}

/// The number at the beginning of a text, and the rest.
fn number(text: &str) -> Option<(u32, &str)> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    Some((text[..text.len() - rest.len()].parse().ok()?, rest))
}

/// A partition after the number of a disk: `p2`, or empty.
fn partition(rest: &str) -> Option<&str> {
    let partition = rest.strip_prefix('p').filter(|partition| !partition.is_empty());
    let partition = partition.or_else(|| rest.is_empty().then_some(""))?;
    partition.chars().all(|c| c.is_ascii_digit()).then_some(partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_to_their_end() {
        for (name, order, partition) in [
            ("/dev/sdb12", KernelOrder::Sd(1), "12"),
            ("/dev/hda", KernelOrder::Hd(0), ""),
            ("/dev/vdaa1", KernelOrder::Vd(26), "1"),
            ("/dev/xvde2", KernelOrder::Xvd(4), "2"),
            ("/dev/nvme1n2p3", KernelOrder::Nvme { controller: 1, unit: 1 }, "3"),
            ("/dev/nvme0n1", KernelOrder::Nvme { controller: 0, unit: 0 }, ""),
            ("/dev/mmcblk0p1", KernelOrder::Numbered(0), "1"),
            ("/dev/cciss/c0d1p5", KernelOrder::Numbered(1), "5"),
        ] {
            assert_eq!(ordered(name), Some((order, partition)), "{name}");
        }
        for name in ["/dev/sdvg/x", "/dev/vdata/home", "/dev/nvme0", "/dev/sr0", "/dev/sda1p2"] {
            assert_eq!(ordered(name), None, "{name}");
        }
    }
}
