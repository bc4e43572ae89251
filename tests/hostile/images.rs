//! Malicious disk images.

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
        said: "it stands for a device of its host",
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
        said: "it is not an image",
    },
    Case { name: "a text VMDK in an archive", make: packed_text, said: "names other files" },
    Case { name: "something else in an archive", make: packed_other, said: "it is not a VMDK" },
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
    Case { name: "a VHDX with tables in nowhere", make: vhdx, said: "no image of a disk in vhdx" },
    Case {
        name: "an empty image",
        make: |desk| image(desk, "disk.raw", b""),
        said: "it is not an image",
    },
    Case { name: "the difference of a VHD", make: vhd, said: "it names a parent image" },
    Case { name: "the difference of a VDI", make: vdi, said: "it names a parent image" },
    Case { name: "the difference of a VHDX", make: vhdx_child, said: "it names a parent image" },
    Case {
        name: "a qcow2 whose tables are one",
        make: |desk| changed(desk, "qcow2", &["cluster_size=512"], tables_in_one),
        said: "its tables are cut off, or lie over each other",
    },
    Case {
        name: "a stream whose tables are one",
        make: stream_of_one_table,
        said: "its tables are cut off, or lie over each other",
    },
    Case {
        name: "an extent whose tables are one",
        make: |desk| extent(desk, 1 << 20, 0),
        said: "its tables are cut off, or lie over each other",
    },
    Case {
        name: "an extent whose grains are one",
        make: |desk| extent(desk, 1, 6),
        said: "its data is cut off, or lies over each other",
    },
    Case {
        name: "a sparse VMDK whose grains are one",
        make: |desk| {
            extent(desk, 1, 6);
            desk.path("extent.vmdk")
        },
        said: "its data is cut off, or lies over each other",
    },
    Case {
        name: "one file as many extents",
        make: |desk| text(desk, &"RW 8 FLAT \"beside\" 0\n".repeat(2600)),
        said: "names the same part of a file twice",
    },
    Case {
        name: "a pipe as an image",
        make: |desk| pipe(desk, "disk.raw"),
        said: "not an ordinary file",
    },
    Case {
        name: "a pipe as a package",
        make: |desk| pipe(desk, "vm.ova"),
        said: "not an ordinary file",
    },
    Case {
        name: "a device as an image",
        make: |_| PathBuf::from("/dev/zero"),
        said: "not an ordinary file",
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

/// Header of a sparse VMDK with grains of 64 KiB and 512 of them per table, whose directory is at
/// sector 1.
fn vmdk_header(tables: u64, flags: u32, overhead: u64) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"KDMV\x01");
    put(8, &flags.to_le_bytes());
    put(12, &(tables * 512 * 128).to_le_bytes());
    put(20, &128_u64.to_le_bytes());
    put(44, &512_u32.to_le_bytes());
    put(56, &1_u64.to_le_bytes());
    put(64, &overhead.to_le_bytes());
    put(73, b"\n \r\n");
    put(77, &[u8::from(flags != 0)]);
    header
}

/// A directory with `tables` entries for the same table, each of whose entries is `grain`.
fn directory_of_one_table(tables: u64, grain: u32) -> Vec<u8> {
    let place = 1 + (tables * 4).div_ceil(512);
    let mut bytes = u32::try_from(place).expect("small").to_le_bytes().repeat(tables as usize);
    bytes.resize((place as usize - 1) * 512, 0);
    bytes.extend(grain.to_le_bytes().repeat(512));
    bytes
}

fn stream_of_one_table(desk: &Desk) -> PathBuf {
    let tables = directory_of_one_table(1 << 20, 0);
    let overhead = 1 + tables.len() as u64 / 512;
    image(desk, "disk.vmdk", &[vmdk_header(1 << 20, 0x30001, overhead), tables].concat())
}

/// A descriptor with one sparse extent, whose `tables` directory entries name the same table, and
/// whose table entries name the same grain.
fn extent(desk: &Desk, tables: u64, grain: u32) -> PathBuf {
    let mut bytes = [vmdk_header(tables, 1, 1), directory_of_one_table(tables, grain)].concat();
    bytes.extend([7; 128 * 512]);
    // An embedded descriptor: otherwise the file would be rejected as a part of a disk.
    bytes[28] = u8::from(tables == 1);
    image(desk, "extent.vmdk", &bytes);
    text(desk, &format!("RW {} SPARSE \"extent.vmdk\"", tables * 512 * 128))
}

/// A modified image of `qemu-img`.
fn changed(desk: &Desk, format: &str, options: &[&str], change: fn(&mut Vec<u8>)) -> PathBuf {
    let raw = desk.raw("disk.raw", 2);
    let path = desk.image(&raw, &format!("image.{format}"), format, options);
    let mut bytes = fs::read(&path).expect("readable");
    change(&mut bytes);
    fs::write(&path, bytes).expect("written");
    path
}

/// A VHD of type difference, with a matching checksum in its footer.
fn vhd(desk: &Desk) -> PathBuf {
    let path = changed(desk, "vpc", &[], |bytes| {
        let end = bytes.len() - 512;
        for footer in [0, end] {
            bytes[footer + 63] = 4;
            bytes[footer + 64..footer + 68].fill(0);
            let sum = bytes[footer..footer + 512].iter().map(|byte| u32::from(*byte)).sum::<u32>();
            bytes[footer + 64..footer + 68].copy_from_slice(&(!sum).to_be_bytes());
        }
    });
    let named = desk.path("disk.vhd");
    fs::rename(path, &named).expect("renamed");
    named
}

fn vdi(desk: &Desk) -> PathBuf {
    changed(desk, "vdi", &[], |bytes| bytes[76] = 4)
}

/// Sets a flag in the file parameters (MS-VHDX, 2.6.2.1) at QEMU's offset: 64 KiB into the
/// metadata, which follow the headers and the log.
fn vhdx_child(desk: &Desk) -> PathBuf {
    changed(desk, "vhdx", &[], |bytes| {
        let id = *b"\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b";
        let item = bytes.windows(16).position(|window| window == id).expect("an item");
        let table = bytes.windows(8).position(|window| window == b"metadata").expect("a table");
        let offset = u32::from_le_bytes(bytes[item + 16..item + 20].try_into().expect("four"));
        bytes[table + offset as usize + 4] |= 0b10;
    })
}

/// An L1 table whose entries all name the same L2 table.
fn tables_in_one(bytes: &mut Vec<u8>) {
    let first = u64::from_be_bytes(bytes[40..48].try_into().expect("eight")) as usize;
    let entry = bytes[first..first + 8].to_vec();
    let table = bytes.len() as u64;
    bytes[36..40].copy_from_slice(&(1_u32 << 20).to_be_bytes());
    bytes[40..48].copy_from_slice(&table.to_be_bytes());
    bytes.extend(entry.repeat(1 << 20));
}

fn pipe(desk: &Desk, name: &str) -> PathBuf {
    let path = desk.path(name);
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("made");
    path
}

fn folder(desk: &Desk) -> PathBuf {
    fs::create_dir(desk.path("disk.vmdk")).expect("made");
    desk.path("disk.vmdk")
}
