//! Generates MAC addresses: for cards without an address at the source, and for all cards with
//! `--new-mac`.
//!
//! An address is derived from the VM and its destination. The same command therefore generates the
//! same address, and copies of one VM in different directories get different ones.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::super::job::{ImportSettings, real};
use super::super::output::stored;
use super::stage_error::StageError;
use crate::manifest::Manifest;
use crate::model::{MacAddress, SourceNic, SourceVm, Stage, Warning, WarningCode};

/// Prefix of QEMU and libvirt: locally administered, so that no vendor uses it.
const PREFIX: [u8; 3] = [0x52, 0x54, 0x00];

/// Generates an address for every card that has none, or with `new` for every card. `output` is the
/// output directory; `new` is the domain's name, which may be empty.
pub fn give(vm: &mut SourceVm, output: &Path, new: Option<&str>) -> Vec<Warning> {
    give_as(vm, output, new, None)
}

/// As [`give`], for a VM whose export is in `output`: its cards keep the addresses of that export,
/// even if the directory was moved since.
pub fn give_as(
    vm: &mut SourceVm,
    output: &Path,
    new: Option<&str>,
    exported: Option<&SourceVm>,
) -> Vec<Warning> {
    let output = real(output);
    match new {
        Some(domain) => renew(vm, &output, domain, exported),
        None => fill(vm, &output, exported),
    }
}

/// The address that was generated for the card when its VM was exported.
fn made_before(nic: &SourceNic, exported: Option<&SourceVm>) -> Option<MacAddress> {
    let before = exported?.nics.iter().find(|before| before.id == nic.id)?;
    before.mac.filter(|_| before.mac_made)
}

/// The manifest of an export; if the target has `--new-mac`, with new addresses.
///
/// # Errors
/// [`StageError`] when the guest's card names depend on the old addresses.
pub fn renewed(
    manifest: Manifest,
    output: &Path,
    target: &ImportSettings,
) -> Result<(Manifest, Vec<Warning>), StageError> {
    if !target.new_mac {
        return Ok((manifest, Vec::new()));
    }
    let converted = stored::converted(output, &manifest);
    if converted.is_some_and(|disks| disks.0.iter().any(|disk| disk.fixed)) {
        return Err(StageError::because(
            Stage::Preflight,
            "--new-mac: the conversion has tied the guest's names of network cards to the addresses \
             of this export",
            "export and convert again into another --output, with --new-mac",
        ));
    }
    let mut vm = manifest.source_vm();
    let domain = target.domain_name(&vm.name);
    let warnings = give(&mut vm, output, Some(&domain));
    Ok((manifest.with_nics(&vm), warnings))
}

fn fill(vm: &mut SourceVm, output: &Path, exported: Option<&SourceVm>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for index in 0..vm.nics.len() {
        if vm.nics[index].mac.is_some() {
            continue;
        }
        let before = made_before(&vm.nics[index], exported);
        let mac = before.unwrap_or_else(|| address(vm, output, index, None));
        let nic = &mut vm.nics[index];
        let why = without_address(nic, index);
        (nic.mac, nic.mac_made) = (Some(mac), true);
        let text =
            format!("{why}: it gets {mac}; a licence or a DHCP reservation may need to know");
        warnings.push(Warning::new(Stage::Preflight, WarningCode::NicMacMade, text));
    }
    warnings
}

/// Why a card has no address; a disk image does not describe any card.
fn without_address(nic: &SourceNic, index: usize) -> String {
    match &nic.asked {
        Some(_) => format!("{} of --nic has no MAC address", nic.id),
        None if *nic == SourceNic::at(index) => {
            format!("the source describes no network card, and the domain gets {}", nic.id)
        }
        None => format!("{} has no MAC address at its source", named(nic)),
    }
}

fn renew(
    vm: &mut SourceVm,
    output: &Path,
    domain: &str,
    exported: Option<&SourceVm>,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for index in 0..vm.nics.len() {
        let before = made_before(&vm.nics[index], exported);
        let mac = before.unwrap_or_else(|| address(vm, output, index, Some(domain)));
        let nic = &mut vm.nics[index];
        let old = nic.mac.replace(mac);
        nic.mac_made = true;
        nic.source_mac = nic.source_mac.or(old);
        let replaced = old.map(|old| format!(" in place of {old}")).unwrap_or_default();
        let text = format!(
            "{} gets the MAC address {mac}{replaced}; a licence or a DHCP reservation may need to know",
            named(nic)
        );
        // The facts that the guest's tools reported are found by the address.
        let told = vm.guest.network.iter_mut().flat_map(|network| &mut network.interfaces);
        told.filter(|told| Some(told.mac) == old).for_each(|told| told.mac = mac);
        warnings.push(Warning::new(Stage::Preflight, WarningCode::NicMacMade, text));
    }
    warnings
}

/// A card as people read it: `nic-0 in network 'VM Network'`.
fn named(nic: &SourceNic) -> String {
    match nic.network.as_str() {
        "" => nic.id.clone(),
        network => format!("{} in network '{network}'", nic.id),
    }
}

/// The address of the card at `index`, different from all present and former addresses of the VM.
fn address(vm: &SourceVm, output: &Path, index: usize, domain: Option<&str>) -> MacAddress {
    let taken = |mac: &MacAddress| {
        vm.nics.iter().any(|nic| [nic.mac, nic.source_mac].contains(&Some(*mac)))
    };
    // A vCenter has several names, and an instance UUID already distinguishes it.
    let server = vm.origin.server.as_ref().filter(|_| vm.instance_uuid.is_none());
    let known = [
        Some(&vm.provider),
        server,
        Some(&vm.id),
        vm.instance_uuid.as_ref(),
        vm.inventory_path.as_ref(),
        Some(&vm.name),
    ];
    let mut base = Sha256::new();
    let mut add = |part: &[u8]| {
        base.update((part.len() as u64).to_le_bytes());
        base.update(part);
    };
    known.iter().for_each(|part| add(part.map_or(&[][..], |text| text.as_bytes())));
    add(output.as_os_str().as_encoded_bytes());
    add(domain.unwrap_or_default().as_bytes());
    add(&[u8::from(domain.is_some())]);
    add(&(index as u64).to_le_bytes());
    let candidate = |round: u32| {
        let sum = base.clone().chain_update(round.to_le_bytes()).finalize();
        let [a, b, c] = PREFIX;
        MacAddress([a, b, c, sum[0], sum[1], sum[2]])
    };
    (0..).map(candidate).find(|mac| !taken(mac)).unwrap_or_else(|| candidate(0))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::model::{GuestInterface, GuestNetwork, fixture};

    fn vm(cards: usize) -> SourceVm {
        SourceVm {
            provider: "local".to_owned(),
            id: "/srv/web01.ova".to_owned(),
            name: "web01".to_owned(),
            memory_mib: 512,
            nics: (0..cards).map(SourceNic::at).collect(),
            ..fixture::vm()
        }
    }

    fn macs(vm: &SourceVm) -> Vec<String> {
        vm.nics.iter().map(|nic| nic.mac.expect("one").to_string()).collect()
    }

    fn filled(mut vm: SourceVm, output: &str) -> Vec<String> {
        give(&mut vm, Path::new(output), None);
        macs(&vm)
    }

    #[test]
    fn a_card_that_no_source_describes_is_told_as_such() {
        let mut image = vm(1);
        let told = give(&mut image, Path::new("/no/such/folder"), None);
        assert!(told[0].message.starts_with("the source describes no network card"), "{told:?}");
        let mut described = vm(1);
        described.nics[0].network = "VM Network".to_owned();
        let told = give(&mut described, Path::new("/no/such/folder"), None);
        assert!(told[0].message.contains("has no MAC address at its source"), "{told:?}");
    }

    #[test]
    fn the_same_vm_in_the_same_folder_gets_the_same_addresses() {
        let first = filled(vm(3), "/no/such/folder");
        assert!(first.iter().all(|mac| mac.starts_with("52:54:00:")), "{first:?}");
        assert_eq!(first, filled(vm(3), "/no/such/folder"));
        let mut all: Vec<_> =
            (0..20).flat_map(|n| filled(vm(3), &format!("/no/such/folder-{n}"))).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 60, "twenty copies of three cards");
        let other = SourceVm { name: "web02".to_owned(), ..vm(3) };
        assert_ne!(first, filled(other, "/no/such/folder"));
    }

    #[test]
    fn only_cards_without_an_address_get_one_and_none_that_another_has() {
        let output = Path::new("/no/such/folder");
        let mut open = vm(2);
        give(&mut open, output, None);
        let mut taken = vm(2);
        // The address that the first card would get belongs to the second one already.
        taken.nics[1].mac = open.nics[0].mac;
        let warnings = give(&mut taken, output, None);
        assert_ne!(taken.nics[0].mac, taken.nics[1].mac);
        assert_eq!([taken.nics[0].mac_made, taken.nics[1].mac_made], [true, false]);
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].code, "nic-mac-made");
        assert!(warnings[0].message.contains(&macs(&taken)[0]), "{}", warnings[0].message);
    }

    #[test]
    fn a_link_to_the_folder_changes_nothing_and_neither_does_a_second_name_of_the_vcenter() {
        let dir = tempfile::tempdir().expect("a folder");
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        std::fs::create_dir(&real).expect("made");
        std::os::unix::fs::symlink(&real, &link).expect("linked");
        let at = |path: PathBuf| filled(vm(1), path.to_str().expect("UTF-8"));
        let before = at(real.join("out"));
        assert_eq!(before, at(link.join("out")));
        std::fs::create_dir(real.join("out")).expect("made");
        assert_eq!([at(real.join("out")), at(link.join("out"))], [before.clone(), before]);

        let of = |server: &str, uuid: Option<&str>| {
            let mut vm = vm(1);
            vm.origin.server = Some(server.to_owned());
            vm.instance_uuid = uuid.map(str::to_owned);
            filled(vm, "/no/such/folder")
        };
        assert_eq!(of("vc", Some("u")), of("192.0.2.1", Some("u")));
        assert_ne!(of("esx1", None), of("esx2", None), "moref 1 of two hosts");
    }

    #[test]
    fn new_addresses_replace_all_and_keep_what_they_replaced() {
        let told: MacAddress = "00:50:56:aa:bb:01".parse().expect("valid");
        let mut vm = vm(2);
        vm.nics[0].mac = Some(told);
        let interface = GuestInterface { mac: told, addresses: Vec::new(), dhcp: None };
        vm.guest.network =
            Some(GuestNetwork { interfaces: vec![interface], ..GuestNetwork::default() });
        let original = vm.clone();
        let warnings = give(&mut vm, Path::new("/no/such/folder"), Some("web02"));
        assert_eq!([vm.nics[0].source_mac, vm.nics[1].source_mac], [Some(told), None]);
        assert!(vm.nics.iter().all(|nic| nic.mac_made && nic.mac != Some(told)));
        let network = vm.guest.network.as_ref().expect("kept");
        assert_eq!(Some(network.interfaces[0].mac), vm.nics[0].mac);
        assert!(warnings[0].message.contains("in place of 00:50:56:aa:bb:01"), "{warnings:?}");
        let mut third = original.clone();
        give(&mut third, Path::new("/no/such/folder"), Some("web03"));
        assert_ne!(macs(&vm), macs(&third), "each domain has its own");
        let mut again = original;
        give(&mut again, Path::new("/no/such/folder"), Some("web02"));
        assert_eq!(vm, again);
    }
}
