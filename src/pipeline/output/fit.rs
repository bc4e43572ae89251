//! Checks whether an export still matches its VM: compares facts and state then and now.

use jiff::Timestamp;

use super::made::RecordedExport;
use super::result_file::LOCAL;
use super::reuse::{Fit, ReusableExport};
use crate::model::{
    ExportMethod, MacAddress, PowerState, SourceDisk, SourceNic, SourceState, SourceVm, revision,
};

/// Provider whose revision is `config.changeVersion`.
const VSPHERE: &str = "vsphere";
/// Provider whose revision covers only the disks.
const LIBVIRT: &str = "libvirt";

/// Compares an export with the VM's current facts and state.
pub(in crate::pipeline) fn fit(taken: &RecordedExport, vm: &SourceVm, now: &SourceState) -> Fit {
    let mut changes = facts(&taken.vm, vm);
    if is_snapshot(taken) {
        return if changes.is_empty() { Fit::Snapshot } else { Fit::Changed(changes) };
    }
    // An earlier version recorded only the power state of the VM.
    let power = taken.state.as_ref().map_or(taken.vm.power, |state| state.source.power);
    if now.power != power {
        let started =
            now.boot_time.as_ref().map(|time| format!(", started {time}")).unwrap_or_default();
        changes.push(format!(
            "it was {} when it was exported and is {} now{started}",
            power.as_str(),
            now.power.as_str()
        ));
    }
    let then = taken.state.as_ref().map_or("", |state| &state.source.revision);
    let same = revision::is_same(then, &now.revision);
    if same == Some(false) {
        changes.push(if taken.vm.provider == VSPHERE {
            format!(
                "its changeVersion was {then} and is {}: it was reconfigured or ran since",
                now.revision
            )
        } else {
            "its files were written to since".to_owned()
        });
    } else if taken.state.is_none() && changed_after(&now.revision, taken.exported_at) {
        changes.push(format!("its changeVersion is {}, after the export", now.revision));
    }
    match (changes.is_empty(), same) {
        (false, _) => Fit::Changed(changes),
        (true, Some(_)) => Fit::Current,
        (true, None) => Fit::Unknown,
    }
}

/// Whether the disks were read from a snapshot of the running VM.
pub(in crate::pipeline) fn is_snapshot(taken: &RecordedExport) -> bool {
    taken.method == ExportMethod::NfcSnapshot
        || taken.state.as_ref().is_some_and(|state| state.snapshot)
}

/// vSphere's changeVersion is the time of the change.
fn changed_after(revision: &str, exported_at: Timestamp) -> bool {
    revision.parse::<Timestamp>().is_ok_and(|changed| changed > exported_at)
}

/// Differences between the VM then and now. Values that only a running guest reports are skipped,
/// and so are values missing on one side: an earlier version may not have recorded them.
fn facts(then: &SourceVm, now: &SourceVm) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, then: &dyn ToString, now: &dyn ToString| {
        let (then, now) = (then.to_string(), now.to_string());
        if then != now {
            found.push(format!("{what} was {then} and is {now}"));
        }
    };
    if let (Some(then), Some(now)) = (&then.instance_uuid, &now.instance_uuid) {
        compare("its instance UUID", then, now);
    }
    compare("its name", &then.name, &now.name);
    compare("its number of CPUs", &then.cpu.vcpus, &now.cpu.vcpus);
    compare("its cores per socket", &then.cpu.cores_per_socket, &now.cpu.cores_per_socket);
    compare("its memory in MiB", &then.memory_mib, &now.memory_mib);
    if !then.assumed.firmware && !now.assumed.firmware {
        compare("its firmware", &format!("{:?}", then.firmware), &format!("{:?}", now.firmware));
        compare("its secure boot", &then.secure_boot, &now.secure_boot);
    }
    compare("its number of disks", &then.disks.len(), &now.disks.len());
    for disk in &now.disks {
        let Some(before) = then.disks.iter().find(|before| before.id == disk.id) else { continue };
        let id = &disk.id;
        compare(&format!("the size of {id}"), &before.capacity, &disk.capacity);
        compare(&format!("the place of {id}"), &place(before), &place(disk));
        if let (Some(then), Some(now)) = (&before.uuid, &disk.uuid) {
            compare(&format!("the UUID of {id}"), then, now);
        }
    }
    if now.provider == LIBVIRT {
        compare("its virtual TPM", &then.vtpm, &now.vtpm);
        compare("its number of CD-ROM drives", &then.cdroms, &now.cdroms);
    }
    // Network cards of files are described by the files or made up.
    if now.provider != LOCAL {
        compare("its number of network interfaces", &then.nics.len(), &now.nics.len());
        for nic in &now.nics {
            let Some(before) = then.nics.iter().find(|before| before.id == nic.id) else {
                continue;
            };
            let id = &nic.id;
            compare(&format!("the network of {id}"), &before.network, &nic.network);
            if let (Some(then), Some(now)) = (address(before), address(nic)) {
                compare(&format!("the address of {id}"), &then, &now);
            }
            if now.provider == LIBVIRT {
                let model = |nic: &SourceNic| format!("{:?}", nic.model).to_lowercase();
                compare(&format!("the model of {id}"), &model(before), &model(nic));
            }
        }
    }
    found
}

/// The address of a card at its source, before `--new-mac`.
fn address(nic: &SourceNic) -> Option<MacAddress> {
    nic.source_mac.or(nic.mac.filter(|_| !nic.mac_made))
}

fn place(disk: &SourceDisk) -> String {
    let controller = &disk.controller;
    format!("{:?} {}:{}", controller.bus, controller.number, disk.unit)
}

/// A time for people: `2026-11-26 05:12 UTC`.
pub(in crate::pipeline) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// How long ago an event was, in the largest unit that fits: `3 hours ago`.
fn age(seconds: i64) -> String {
    let (number, unit) = match seconds.max(0) {
        s if s < 120 => return "just now".to_owned(),
        s if s < 2 * 3600 => (s / 60, "minutes"),
        s if s < 2 * 86_400 => (s / 3600, "hours"),
        s => (s / 86_400, "days"),
    };
    format!("{number} {unit} ago")
}

/// A note that the export matches the current state of its VM; `None` if that is less certain,
/// which is reported as a warning.
pub(in crate::pipeline) fn current(kept: &ReusableExport, now: &SourceState) -> Option<String> {
    let (name, power) = (&kept.taken.vm.name, now.power.as_str());
    match kept.fit {
        Fit::Current if kept.taken.vm.provider == VSPHERE => {
            Some(format!("{name} is {power} and unchanged since, changeVersion {}", now.revision))
        }
        _ => None,
    }
}

/// Describes the relation of a snapshot to the current VM, in one sentence.
pub(in crate::pipeline) fn of_snapshot(
    taken: &RecordedExport,
    name: &str,
    now: &SourceState,
) -> String {
    let at = taken.exported_at;
    let age = age(Timestamp::now().as_second() - at.as_second());
    let power = match (now.power, &now.boot_time) {
        (PowerState::On, Some(time)) => format!("on now, started {time}"),
        (power, _) => format!("{} now", power.as_str()),
    };
    let since = match taken.state.as_ref().map(|state| state.source.revision.as_str()) {
        Some(revision) if revision.is_empty() || now.revision.is_empty() => String::new(),
        Some(revision) if revision == now.revision => {
            format!(", its changeVersion still {revision}")
        }
        Some(revision) => format!(", its changeVersion was {revision} and is {}", now.revision),
        None => String::new(),
    };
    format!(
        "the disks are those of a snapshot of {}, {age}, while {name} ran: what it has written since \
         is not on them; it is {power}{since}",
        time(at)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Bus, ByteSize, Controller, CpuTopology, DiskId, ExportState, Firmware, GuestOs, NicModel,
        OsFamily, SourceNic, fixture,
    };

    fn vm() -> SourceVm {
        SourceVm {
            provider: VSPHERE.to_owned(),
            id: "vm-1".to_owned(),
            name: "web01".to_owned(),
            instance_uuid: Some("u".to_owned()),
            cpu: CpuTopology::new(2, 1),
            memory_mib: 512,
            guest: GuestOs { family: OsFamily::Linux, ..fixture::vm().guest },
            disks: vec![SourceDisk {
                id: DiskId::from_index(0),
                key: 2000,
                label: String::new(),
                controller: Controller {
                    bus: Bus::Scsi,
                    model: "P".to_owned(),
                    number: 0,
                    slot: None,
                },
                unit: 0,
                capacity: ByteSize(1 << 20),
                boot_order: 0,
                backing: None,
                uuid: None,
            }],
            nics: vec![SourceNic {
                mac: Some("00:50:56:aa:bb:01".parse().expect("an address")),
                model: NicModel::Vmxnet,
                network: "VM Network".to_owned(),
                ..SourceNic::at(0)
            }],
            ..fixture::vm()
        }
    }

    fn state(power: PowerState, revision: &str) -> SourceState {
        SourceState { power, revision: revision.to_owned(), boot_time: None }
    }

    fn taken(state: Option<SourceState>) -> RecordedExport {
        RecordedExport {
            exported_at: "2026-11-26T05:12:30Z".parse().expect("a time"),
            method: ExportMethod::NfcLease,
            compression: None,
            state: state.map(|source| ExportState {
                source,
                snapshot: false,
                powered_off: None,
                asked: Some(std::collections::BTreeMap::new()),
            }),
            vm: vm(),
        }
    }

    fn changed(fit: Fit) -> String {
        match fit {
            Fit::Changed(changes) => changes.join("; "),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_export_is_current_while_nothing_happened_to_its_vm() {
        let off = state(PowerState::Off, "a");
        assert_eq!(fit(&taken(Some(off.clone())), &vm(), &off), Fit::Current);
        let mut running = off.clone();
        running.power = PowerState::On;
        running.boot_time = Some("2026-11-26T06:00:00Z".to_owned());
        let said = changed(fit(&taken(Some(off.clone())), &vm(), &running));
        assert_eq!(
            said,
            "it was off when it was exported and is on now, started 2026-11-26T06:00:00Z"
        );
        let said = changed(fit(&taken(Some(off)), &vm(), &state(PowerState::Off, "b")));
        assert!(said.contains("changeVersion was a and is b"), "{said}");
    }

    #[test]
    fn an_export_of_an_earlier_version_is_not_taken_for_current() {
        let off = |revision| state(PowerState::Off, revision);
        assert_eq!(fit(&taken(None), &vm(), &off("")), Fit::Unknown);
        assert_eq!(fit(&taken(None), &vm(), &off("2026-11-26T05:12:00Z")), Fit::Unknown);
        let said = changed(fit(&taken(None), &vm(), &off("2026-11-26T05:13:00Z")));
        assert!(said.contains("after the export"), "{said}");
        changed(fit(&taken(None), &vm(), &state(PowerState::On, "")));
    }

    #[test]
    fn a_snapshot_is_never_current() {
        let on = state(PowerState::On, "a");
        let mut snapshot = taken(Some(on.clone()));
        snapshot.method = ExportMethod::NfcSnapshot;
        for now in [on.clone(), state(PowerState::Off, "a"), state(PowerState::Off, "b")] {
            assert_eq!(fit(&snapshot, &vm(), &now), Fit::Snapshot);
        }
        let said = of_snapshot(&snapshot, "web01", &state(PowerState::Off, "b"));
        for part in ["2026-11-26 05:12 UTC", "web01 ran", "is off now", "was a and is b"] {
            assert!(said.contains(part), "no {part} in {said}");
        }
    }

    #[test]
    fn facts_that_count_are_named_and_others_are_passed_over() {
        let off = state(PowerState::Off, "a");
        let now = |change: fn(&mut SourceVm)| {
            let mut vm = vm();
            change(&mut vm);
            fit(&taken(Some(off.clone())), &vm, &off)
        };
        for same in [
            now(|vm| vm.guest.full_name = "told by tools".to_owned()),
            now(|vm| vm.inventory_path = Some("/DC0/vm/moved".to_owned())),
            now(|vm| vm.disks[0].uuid = Some("new in this version".to_owned())),
            now(|vm| vm.nics[0].slot = Some(192)),
            now(|vm| vm.disks[0].boot_order = 3),
        ] {
            assert_eq!(same, Fit::Current);
        }
        for (fit, said) in [
            (now(|vm| vm.memory_mib = 1024), "its memory in MiB was 512 and is 1024"),
            (now(|vm| vm.cpu.vcpus = 4), "its number of CPUs was 2 and is 4"),
            (now(|vm| vm.disks[0].capacity = ByteSize(2 << 20)), "the size of disk-0 was 1.0 MiB"),
            (now(|vm| vm.disks.clear()), "its number of disks was 1 and is 0"),
            (
                now(|vm| vm.nics[0].network = "DMZ".to_owned()),
                "the network of nic-0 was VM Network",
            ),
            (now(|vm| vm.firmware = Firmware::Efi), "its firmware was Bios and is Efi"),
        ] {
            let found = changed(fit);
            assert!(found.contains(said), "no '{said}' in {found}");
        }
    }

    #[test]
    fn a_domain_that_was_edited_since_has_changed_although_its_volumes_have_not() {
        let off = state(PowerState::Off, "volumes");
        let mut domain = vm();
        domain.provider = LIBVIRT.to_owned();
        let then = RecordedExport { vm: domain.clone(), ..taken(Some(off.clone())) };
        assert_eq!(fit(&then, &domain, &off), Fit::Current);
        let edited = |edit: fn(&mut SourceVm)| {
            let mut edited = domain.clone();
            edit(&mut edited);
            changed(fit(&then, &edited, &off))
        };
        for (found, said) in [
            (edited(|vm| vm.vtpm = true), "its virtual TPM was false and is true"),
            (edited(|vm| vm.cdroms = 1), "its number of CD-ROM drives was 0 and is 1"),
            (edited(|vm| vm.nics.push(SourceNic::at(1))), "its number of network interfaces was 1"),
            (edited(|vm| vm.nics[0].network = "br1".to_owned()), "the network of nic-0 was VM"),
            (
                edited(|vm| vm.nics[0].model = NicModel::E1000),
                "the model of nic-0 was vmxnet and is e1000",
            ),
        ] {
            assert!(found.contains(said), "no '{said}' in {found}");
        }
    }

    #[test]
    fn an_address_that_was_given_to_a_card_is_no_change_of_its_source() {
        let off = state(PowerState::Off, "a");
        let mut renewed = vm();
        let nic = &mut renewed.nics[0];
        nic.source_mac = nic.mac.replace("52:54:00:aa:bb:01".parse().expect("an address"));
        nic.mac_made = true;
        assert_eq!(fit(&taken(Some(off.clone())), &renewed, &off), Fit::Current);
        renewed.nics[0].source_mac = Some("00:50:56:aa:bb:02".parse().expect("an address"));
        let said = changed(fit(&taken(Some(off.clone())), &renewed, &off));
        assert!(said.contains("the address of nic-0 was 00:50:56:aa:bb:01"), "{said}");
    }

    #[test]
    fn ages_are_told_in_the_unit_that_fits() {
        for (seconds, said) in [
            (3, "just now"),
            (-5, "just now"),
            (300, "5 minutes ago"),
            (3 * 3600, "3 hours ago"),
            (5 * 86_400, "5 days ago"),
        ] {
            assert_eq!(age(seconds), said);
        }
    }
}
