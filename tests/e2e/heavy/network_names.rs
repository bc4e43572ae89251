//! Names of network cards, in one guest with one card for each common form of configuration:
//! changes in the guest, report and warnings.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::ext4::{self, Ext4};
use crate::support::guest;
use crate::support::job::{Ended, read_json};
use serde_json::{Value, json};

/// Files of the guest. A Debian 12 has systemd 252, which reads `.link` files.
const FILES: [(&str, &str); 9] = [
    (
        "/etc/netplan/01-netcfg.yaml",
        "network: {version: 2, ethernets: {lan: {match: {name: ens192}, addresses: [192.0.2.1/24]}, \
         ens224: {}}, vlans: {storage: {id: 30, link: ens224, addresses: [10.30.0.9/24]}}}\n",
    ),
    (
        "/etc/systemd/network/20-ports.network",
        "[Match]\nName=ens256 ens161\n[Network]\nBond=bond0\n",
    ),
    ("/etc/systemd/network/50-wol.link", "[Match]\nOriginalName=*\n[Link]\nWakeOnLan=magic\n"),
    (
        "/etc/udev/rules.d/70-dmz.rules",
        "SUBSYSTEM==\"net\",ACTION==\"add\",KERNELS==\"0000:0c:00.0\",NAME=\"dmz0\"\n",
    ),
    (
        "/etc/network/interfaces",
        "auto lo\niface lo inet loopback\niface dmz0 inet static\n  address 192.0.2.5/24\n  hwaddress \
         ether 02:00:00:00:00:77\nauto eth0\niface eth0 inet dhcp\n",
    ),
    (
        "/etc/NetworkManager/system-connections/web.nmconnection",
        "[connection]\nid=web\ntype=ethernet\ninterface-name=ens225\n[ethernet]\n\
         mac-address=00:0C:29:00:00:99\n[ipv4]\nmethod=manual\naddress1=192.0.2.6/24\n",
    ),
    (
        "/etc/NetworkManager/system-connections/v5.nmconnection",
        "[connection]\nid=v5\ntype=vlan\ninterface-name=v5\n[vlan]\nid=5\nparent=ens257\n",
    ),
    (
        "/var/lib/dhcp/dhclient.eth0.leases",
        "lease {\n  interface \"eth0\";\n  fixed-address 192.0.2.8;\n  option dhcp-client-identifier \
         1:0:50:56:aa:bb:9;\n}\n",
    ),
    // A package manager that fails does not prevent the other fixes.
    ("/usr/bin/dpkg", "#!/bin/sh\nexit 1\n"),
];

/// VMware's slots of the cards, in the order of the VM.
const SLOTS: [u32; 9] = [224, 192, 256, 1184, 1216, 1248, 1280, 33, 34];

fn mac(index: usize) -> String {
    format!("00:50:56:aa:bb:{:02x}", index + 1)
}

/// A disk with the files, and its manifest.
fn prepared(dir: &Path, base: &Path) {
    let disk = dir.join("disk-0.raw");
    let copied = Command::new("cp").arg("--sparse=always").args([base, &disk]).status();
    assert!(copied.expect("cp runs").success());
    Ext4::of_guest(&disk).write(&FILES);
    let nics = SLOTS.iter().enumerate().map(|(index, slot)| {
        json!({
            "id": format!("nic-{index}"), "mac": mac(index), "slot": slot, "model": "vmxnet",
            "network": "VM Network", "connected": true,
        })
    });
    let size = fs::metadata(&disk).expect("there").len();
    let manifest = json!({
        "manifest_version": "1.0",
        "source": {"provider": "vmware", "vm_id": "vm-1", "vm_name": "names"},
        "vm": {"cpu": 1, "mem_gb": 1, "firmware": "bios", "os_hint": "linux"},
        "disks": [{
            "id": "disk-0", "source_format": "raw", "local_path": disk, "boot_order_hint": 0,
            "bytes": size, "disk_type": "boot",
        }],
        "metadata": {"hyperexport": {"source_vm": {
            "provider": "vmware", "id": "vm-1", "name": "names", "power": "off",
            "cpu": {"vcpus": 1, "cores_per_socket": 1}, "memory_mib": 1024, "firmware": "bios",
            "secure_boot": false, "guest": {"id": "", "full_name": "", "family": "linux"},
            "disks": [{
                "id": "disk-0", "key": 2000, "unit": 0, "capacity": size, "boot_order": 0,
                "controller": {"bus": "scsi", "model": "ParaVirtualSCSIController", "number": 0},
            }],
            "nics": nics.collect::<Vec<_>>(),
        }, "capacities": {"disk-0": size}}},
    });
    fs::write(dir.join("manifest.json"), manifest.to_string()).expect("written");
}

/// Entry of a card in the report.
fn row(network: &Value, index: usize) -> (Value, Value, Value) {
    let rows = network.as_array().expect("rows");
    let row = rows.iter().find(|row| row["mac"] == mac(index)).expect("every card has a row");
    (row["before"].clone(), row["after"].clone(), row["known_by"].clone())
}

#[test]
fn every_card_keeps_its_name_in_every_form() {
    let Some(base) = guest::guest("uuid") else { return };
    let dir = tempfile::tempdir().expect("a folder");
    prepared(dir.path(), &base.raw);
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyperexport"));
    command.args(["convert", "--json", "--converter", "native", "--pipeline-compress=false"]);
    command.arg("--manifest").arg(dir.path().join("manifest.json"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", dir.path()).current_dir(dir.path()).stdin(Stdio::null());
    let ended = Ended::from(command.output().expect("hyperexport runs")).expect(0);

    let report = read_json(&dir.path().join("report.json"));
    let fix = &report["pipeline"]["stages"]["fix"]["result"];
    let network = &fix["network"];
    for (index, name) in [
        (0, "ens224"),
        (1, "ens192"),
        (2, "ens256"),
        (3, "ens161"),
        (4, "dmz0"),
        (5, "ens225"),
        (6, "ens257"),
    ] {
        assert_eq!(
            row(network, index),
            (json!(name), json!(name), json!("its slot")),
            "{network:#}"
        );
    }
    // In the domain the card of slot 33 comes first, and the kernel names it eth0. No other card
    // can have that name.
    assert_eq!(row(network, 8), (json!("eth0"), json!("net0"), json!("its DHCP lease")));
    assert_eq!(row(network, 7), (Value::Null, Value::Null, Value::Null));
    let kept_by = |index: usize| network[index]["kept_by"].clone();
    assert_eq!(kept_by(0), "/etc/systemd/network/10-hyperexport-ens224.link");
    assert_eq!(kept_by(4), "/etc/udev/rules.d/70-dmz.rules");
    assert_eq!(network[1]["addresses"], json!(["192.0.2.1/24"]));

    let codes: Vec<_> = report["warnings"].as_array().expect("warnings").iter().collect();
    let told = |code: &str, text: &str| {
        codes.iter().any(|warning| {
            warning["code"] == code && warning["message"].as_str().expect("text").contains(text)
        })
    };
    assert!(told("guest-network-stale-mac", "00:0c:29:00:00:99"), "{codes:#?}");
    assert!(told("guest-network-renamed", "eth0 of the guest is now net0"), "{codes:#?}");
    assert!(told("guest-network-card-without-name", &mac(7)), "{codes:#?}");
    assert!(!told("guest-network-by-order", ""), "{codes:#?}");
    assert!(told("guest-tools-not-removed", "open-vm-tools stays"), "{codes:#?}");
    assert_eq!(report["artifacts"][0]["fixed"], true, "{report:#}");
    let changes = fix["changes"].to_string();
    assert!(changes.contains("mac-address=00:50:56:AA:BB:06"), "{changes}");

    let result = Ext4::of_qcow2(&dir.path().join("names.qcow2"));
    let web = "/etc/NetworkManager/system-connections/web.nmconnection";
    let read = [
        "/etc/systemd/network/10-hyperexport-ens192.link",
        "/etc/udev/rules.d/70-dmz.rules",
        "/etc/network/interfaces",
        web,
    ];
    let look = [format!("stat {web}"), "ls -p /etc/systemd/network".to_owned()];
    let seen = read.map(|path| result.read(path)).concat();
    let seen = seen + &look.map(|command| result.ask(&command)).concat();
    for text in [
        "[Match]\nMACAddress=00:50:56:aa:bb:02\nPath=*pci-*\n\n[Link]\nName=ens192\nWakeOnLan=magic\n",
        "ATTR{address}==\"00:50:56:aa:bb:05\", DRIVERS==\"?*\",NAME=\"dmz0\"\n",
        "hwaddress ether 02:00:00:00:00:77\nauto net0\niface net0 inet dhcp\n",
        "mac-address=00:50:56:AA:BB:06\n",
        "Mode:  0600",
        "10-hyperexport-net0.link",
    ] {
        assert!(seen.contains(text), "no {text:?} in {seen}\n{}", ended.stderr);
    }
    assert!(!seen.contains("hyperexport-dmz0.link"), "{seen}");
}

/// A disk with the files that FIX inspects in a Debian 12, whose initramfs is unreadable.
fn unfixable(disk: &Path) {
    let modules =
        ["virtio", "virtio_ring", "virtio_pci", "virtio_blk", "virtio_scsi", "virtio_net"];
    let modules = modules.map(|name| format!("kernel/drivers/{name}.ko:\n")).concat();
    let files = [
        ("/etc/os-release", "ID=debian\nVERSION_ID=12\nPRETTY_NAME=Debian\n"),
        ("/etc/fstab", "/dev/sda1 / ext4 rw 0 0\n"),
        ("/etc/network/interfaces", "auto ens192\niface ens192 inet dhcp\n"),
        ("/boot/vmlinuz-6.1.0-9-amd64", "no kernel"),
        ("/boot/initrd.img-6.1.0-9-amd64", "no archive"),
        ("/usr/lib/modules/6.1.0-9-amd64/modules.dep", &modules),
        ("/usr/lib/udev/rules.d/80-net-setup-link.rules", "#"),
        ("/usr/lib/systemd/libsystemd-shared-252.so", "x"),
        ("/usr/bin/udevadm", "x"),
    ];
    let root = disk.with_extension("tree");
    ext4::tree(&root, &files);
    for folder in ["bin", "etc/systemd/network"] {
        fs::create_dir_all(root.join(folder)).expect("made");
    }
    symlink("usr/lib", root.join("lib")).expect("linked");
    let (first, last) = (2048, 131_071);
    ext4::partitioned(disk, 64 << 20, &[(first, last)]);
    Ext4::make(disk, (first, last), "5eed0000-0000-4000-8000-0000000f1bed", &root);
}

/// A disk image has no card, so a MAC address is generated when the image is read.
#[test]
fn a_guest_that_cannot_be_fixed_keeps_its_name_on_a_made_address() {
    if guest::guest("uuid").is_none() {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let disk = dir.path().join("names.raw");
    unfixable(&disk);
    let output = dir.path().join("out");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyperexport"));
    command.args(["--json", "--pipeline", "--converter", "native", "--manifest"]);
    command.arg("--source").arg(&disk).arg("--output").arg(&output);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", dir.path()).current_dir(dir.path()).stdin(Stdio::null());
    let ended = Ended::from(command.output().expect("hyperexport runs")).expect(0);

    let report = read_json(&output.join("report.json"));
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("guest-initramfs-unreadable"), "{report:#}");
    assert_eq!(report["artifacts"][0]["fixed"], false, "{report:#}");
    let manifest = read_json(&output.join("manifest.json"));
    let mac = manifest["nics"][0]["mac"].as_str().expect("made");
    assert!(ended.stdout.contains("nic-mac-made"), "{}", ended.stdout);
    let result = Ext4::of_qcow2(&output.join("names.qcow2"));
    let seen = result.read("/etc/systemd/network/10-hyperexport-ens192.link");
    assert!(seen.contains(&format!("MACAddress={mac}\n")), "{seen}");
}
