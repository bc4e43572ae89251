//! The network cards of an OVF.

use super::schema::{Adapter, Item, Machine, Setting, setting};
use crate::model::{NicModel, SourceNic};

pub(super) fn nic(item: &Item, index: usize) -> SourceNic {
    let subtype = item.subtype.first().map(String::as_str).unwrap_or_default();
    SourceNic {
        mac: [&item.address, &item.mac]
            .into_iter()
            .find_map(|address| address.as_deref()?.trim().parse().ok()),
        slot: slot(item),
        model: model(subtype),
        network: item.connection.first().map(|name| name.trim().to_owned()).unwrap_or_default(),
        connected: item.connected.as_deref().is_none_or(|text| text.trim() != "false"),
        ..SourceNic::at(index)
    }
}

/// The model by the writer's term: a name, VirtualBox's chip, or oVirt's number
/// (`VmInterfaceType`).
fn model(word: &str) -> NicModel {
    let word = word.trim().to_ascii_lowercase();
    match word.as_str() {
        kind if kind.contains("vmxnet3") => NicModel::Vmxnet,
        kind if kind.contains("vmxnet") => NicModel::Vmxnet2,
        kind if kind.contains("virtio") => NicModel::Virtio,
        kind if kind.contains("8139") => NicModel::Rtl8139,
        kind if kind.contains("e1000e") => NicModel::E1000e,
        kind if kind.contains("e1000") || kind.starts_with("8254") => NicModel::E1000,
        kind if kind.contains("pcnet") || kind.starts_with("am79c97") => NicModel::Pcnet,
        "0" | "1" => NicModel::Rtl8139,
        "2" => NicModel::E1000,
        "3" => NicModel::Virtio,
        "6" => NicModel::E1000e,
        _ => NicModel::Other,
    }
}

/// VMware's PCI slot of a device.
pub(super) fn slot(item: &Item) -> Option<u32> {
    setting(&item.config, "slotInfo.pciSlotNumber")?.trim().parse().ok()
}

/// Sets the slots from VMware's VMX lines. These lines may include cards that the VM no longer has.
/// If there are as many lines as cards, each card gets the next line; otherwise the line of its own
/// name.
pub(super) fn slots(nics: &mut [SourceNic], items: &[&Item], lines: &[Setting]) {
    let mut told: Vec<(u32, &str)> = lines.iter().filter_map(line_of_slot).collect();
    told.sort_unstable();
    told.dedup_by_key(|(number, _)| *number);
    let is_told_of_all = told.len() == nics.len();
    for (index, (nic, item)) in nics.iter_mut().zip(items).enumerate() {
        let line = match is_told_of_all {
            true => told.get(index),
            false => number(item).and_then(|own| told.iter().find(|(number, _)| *number == own)),
        };
        nic.slot = nic.slot.or_else(|| line?.1.trim().parse().ok());
    }
}

/// The number of the card and its slot, from a VMX line that sets a slot.
fn line_of_slot(line: &Setting) -> Option<(u32, &str)> {
    let key = line.key.trim().to_ascii_lowercase();
    let number = key.strip_prefix("ethernet")?.strip_suffix(".pcislotnumber")?;
    Some((number.parse().ok()?, line.value.as_str()))
}

/// Number of a card in the VMX: `Network adapter 1` and `Ethernet 1` are `ethernet0`.
fn number(item: &Item) -> Option<u32> {
    let name = item.label().to_ascii_lowercase();
    match name.strip_prefix("network adapter ").or_else(|| name.strip_prefix("ethernet ")) {
        Some(place) => place.trim().parse::<u32>().ok()?.checked_sub(1),
        None => name.strip_prefix("ethernet")?.parse().ok(),
    }
}

/// Sets MAC addresses and chips, which VirtualBox only writes into its own settings. The enabled
/// adapters, in the order of their slots, are the cards.
pub(super) fn of_virtual_box(nics: &mut [SourceNic], machine: &Machine) {
    let is_used = |adapter: &&Adapter| matches!(adapter.enabled.trim(), "true" | "1");
    let mut used: Vec<_> = machine.hardware.network.adapter.iter().filter(is_used).collect();
    used.sort_by_key(|adapter| adapter.slot.trim().parse().unwrap_or(u32::MAX));
    if used.len() != nics.len() {
        return;
    }
    for (nic, adapter) in nics.iter_mut().zip(used) {
        nic.mac = nic.mac.or_else(|| adapter.mac.trim().parse().ok());
        if nic.model == NicModel::Other {
            nic.model = model(&adapter.kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::model;
    use crate::model::NicModel;

    #[test]
    fn every_writer_names_models_in_its_own_way() {
        for (word, expected) in [
            ("VmxNet3", NicModel::Vmxnet),
            ("PCNet32", NicModel::Pcnet),
            ("Am79C973", NicModel::Pcnet),
            ("82540EM", NicModel::E1000),
            ("E1000e", NicModel::E1000e),
            ("virtio", NicModel::Virtio),
            ("3", NicModel::Virtio),
            ("1", NicModel::Rtl8139),
            ("", NicModel::Other),
            ("33", NicModel::Other),
        ] {
            assert_eq!(model(word), expected, "{word}");
        }
    }
}
