//! Disk images.

use std::fs;
use std::path::PathBuf;

use crate::Case;
use crate::support::files::{Desk, Form, Ovf, pack, packed};

pub const CASES: &[Case] = &[
    Case {
        name: "a VMDK of the host's files",
        make: |desk| text(desk, "RW 8 FLAT \"/etc/passwd\" 0"),
        said: "no file beside it",
    },
    Case {
        name: "the same by a tab",
        make: |desk| text(desk, "RW 8 ZERO\nRW\t8 FLAT \"/etc/passwd\" 0"),
        said: "no file beside it",
    },
    Case {
        name: "a VMDK of files above",
        make: |desk| text(desk, "RW 8 FLAT \"../canary\" 0"),
        said: "no file beside it",
    },
    Case {
        name: "a VMDK of the net",
        make: |desk| text(desk, "RW 8 FLAT \"nbd:host:10809\" 0"),
        said: "no file beside it",
    },
    Case {
        name: "a VMDK of a device",
        make: |desk| text(desk, "RW 8 VMFSRDM \"canary\" 0"),
        said: "of the kind 'VMFSRDM'",
    },
    Case {
        name: "a VMDK with a parent",
        make: |desk| text(desk, "parentFileNameHint=\"canary\"\nRW 8 ZERO"),
        said: "it names a parent image",
    },
    Case {
        name: "a VMDK that is longer than its files",
        make: |desk| text(desk, "RW 99999999 FLAT \"beside\" 0"),
        said: "is cut off",
    },
    Case {
        name: "a VMDK beyond all",
        make: |desk| text(desk, "RW 18446744073709551615 ZERO\nRW 8 ZERO"),
        said: "it is no image",
    },
    Case { name: "a text VMDK in an archive", make: packed_text, said: "names other files" },
    Case { name: "something else in an archive", make: packed_other, said: "it is no VMDK" },
    Case { name: "a VMDK without capacity", make: |desk| sparse(desk, 0, ""), said: "no capacity" },
    Case {
        name: "a sparse VMDK with a parent",
        make: |desk| sparse(desk, 8, "parentFileNameHint=\"x\""),
        said: "it names a parent image",
    },
    Case {
        name: "a qcow2 over a file",
        make: |desk| qcow2(desk, 15, 104),
        said: "it names a backing file",
    },
    Case {
        name: "a qcow2 with its data elsewhere",
        make: |desk| qcow2(desk, 79, 4),
        said: "it names an external data file",
    },
    Case { name: "an encrypted qcow2", make: |desk| qcow2(desk, 35, 2), said: "it is encrypted" },
    Case {
        name: "a VHDX with tables in nowhere",
        make: vhdx,
        said: "it is no image of a disk in vhdx",
    },
    Case {
        name: "an empty image",
        make: |desk| image(desk, "disk.raw", b""),
        said: "it is no image",
    },
    Case { name: "a folder as an image", make: folder, said: "neither an OVF nor a VMX" },
];

fn image(desk: &Desk, name: &str, bytes: &[u8]) -> PathBuf {
    fs::write(desk.path(name), bytes).expect("written");
    desk.path(name)
}

fn text(desk: &Desk, lines: &str) -> PathBuf {
    image(desk, "beside", &[1; 4096]);
    let text = format!("# Disk DescriptorFile\ncreateType=\"custom\"\n{lines}\n");
    image(desk, "disk.vmdk", text.as_bytes())
}

fn packed_text(desk: &Desk) -> PathBuf {
    let disk =
        "# Disk DescriptorFile\nRW 8 FLAT \"manifest.json\" 0\n".to_owned() + &" ".repeat(512);
    let files = [packed("vm.ovf", Ovf::one("disk1.vmdk", 4).text()), packed("disk1.vmdk", disk)];
    pack(desk, Form::Tar, &files)
}

fn packed_other(desk: &Desk) -> PathBuf {
    let files =
        [packed("vm.ovf", Ovf::one("disk1.vmdk", 4).text()), packed("disk1.vmdk", [1; 9000])];
    pack(desk, Form::Zip, &files)
}

fn sparse(desk: &Desk, capacity: u8, descriptor: &str) -> PathBuf {
    let mut bytes = vec![0; 512];
    bytes[..4].copy_from_slice(b"KDMV");
    bytes[12] = capacity;
    bytes.extend(descriptor.as_bytes());
    image(desk, "disk.vmdk", &bytes)
}

fn qcow2(desk: &Desk, at: usize, byte: u8) -> PathBuf {
    let mut bytes = vec![0; 104];
    bytes[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
    bytes[at] = byte;
    image(desk, "disk.qcow2", &bytes)
}

fn vhdx(desk: &Desk) -> PathBuf {
    let mut bytes = vec![0; 256 * 1024];
    bytes[..8].copy_from_slice(b"vhdxfile");
    let table = 192 * 1024;
    bytes[table..table + 4].copy_from_slice(b"regi");
    bytes[table + 8..table + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    image(desk, "disk.vhdx", &bytes)
}

fn folder(desk: &Desk) -> PathBuf {
    fs::create_dir(desk.path("disk.vmdk")).expect("made");
    desk.path("disk.vmdk")
}
