//! Malicious archives.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use crate::Case;
use crate::support::files::{Desk, Form, Ovf, gzip, pack, packed};

pub const CASES: &[Case] = &[
    Case {
        name: "a link as the disk",
        make: |desk| special(desk, EntryType::Symlink),
        said: "not an ordinary file",
    },
    Case {
        name: "a hard link",
        make: |desk| special(desk, EntryType::Link),
        said: "not an ordinary file",
    },
    Case {
        name: "a device",
        make: |desk| special(desk, EntryType::Char),
        said: "not an ordinary file",
    },
    Case {
        name: "a sparse file",
        make: |desk| special(desk, EntryType::GNUSparse),
        said: "not an ordinary file",
    },
    Case { name: "a sparse file of pax", make: pax_sparse, said: "it contains a sparse file" },
    Case { name: "a size beyond all", make: pax_size, said: "a size makes no sense" },
    Case {
        name: "a disk whose size wraps around",
        make: |desk| wraps(desk, 1),
        said: "a size makes no sense",
    },
    Case {
        name: "a descriptor whose size wraps around",
        make: |desk| wraps(desk, 0),
        said: "a size makes no sense",
    },
    Case { name: "notes without number", make: notes, said: "members and notes about them" },
    Case { name: "a name without end", make: long_name, said: "a name in it is too long" },
    Case { name: "one name twice", make: twice, said: "twice" },
    Case {
        name: "a descriptor without end",
        make: long_descriptor,
        said: "'vm.ovf' in it is too long",
    },
    Case { name: "sums without end", make: long_sums, said: "'vm.mf' in it is too long" },
    Case { name: "a disk without end", make: endless_disk, said: "is longer than a disk of" },
    Case {
        name: "a disk without end, twice packed",
        make: endless_gzip,
        said: "is longer than a disk of",
    },
    Case { name: "files without number", make: many, said: "more than 10000 files" },
    Case { name: "two packages", make: two_packages, said: "it contains several packages" },
    Case { name: "no package", make: no_package, said: "no OVF descriptor found in it" },
    Case { name: "a header that lies", make: wrong_sum, said: "a tar header has a wrong checksum" },
    Case { name: "a zip with a link", make: zip_link, said: "not an ordinary file" },
    Case { name: "a zip bomb", make: zip_bomb, said: "is longer than a disk of" },
    Case { name: "nonsense as xz", make: nonsense_xz, said: "cut off or damaged" },
    Case { name: "an xz that wants all memory", make: greedy_xz, said: "memory limit reached" },
    Case { name: "one file as two disks", make: two_disks, said: "is two disks at once" },
    Case { name: "a sum that is none", make: no_sum, said: "a line that is no checksum" },
];

/// Descriptor of one disk of 4 MiB.
fn ovf() -> String {
    Ovf::one("disk1.vmdk", 4).text()
}

/// Beginning of an endless image: a sparse VMDK that is not streamOptimized.
fn beginning() -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..4].copy_from_slice(b"KDMV");
    header[12] = 1;
    header
}

fn add<W: Write>(tar: &mut Builder<W>, name: &str, bytes: &[u8]) {
    let mut header = Header::new_ustar();
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, name, bytes).expect("written");
}

fn create(desk: &Desk) -> (PathBuf, File) {
    let path = desk.path("vm.ova");
    let file = File::create(&path).expect("created");
    (path, file)
}

/// An archive whose disk is not a regular file.
fn special(desk: &Desk, kind: EntryType) -> PathBuf {
    let (path, file) = create(desk);
    let mut tar = Builder::new(file);
    add(&mut tar, "vm.ovf", ovf().as_bytes());
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_path("disk1.vmdk").expect("fits");
    header.set_link_name("/etc/passwd").expect("fits");
    header.set_size(0);
    header.set_cksum();
    tar.append(&header, std::io::empty()).expect("written");
    tar.finish().expect("written");
    path
}

/// An archive with a pax header before the disk.
fn with_note(desk: &Desk, key: &str, value: &str) -> PathBuf {
    let (path, file) = create(desk);
    let mut tar = Builder::new(file);
    add(&mut tar, "vm.ovf", ovf().as_bytes());
    tar.append_pax_extensions([(key, value.as_bytes())]).expect("written");
    add(&mut tar, "disk1.vmdk", b"KDMV");
    tar.finish().expect("written");
    path
}

fn pax_sparse(desk: &Desk) -> PathBuf {
    with_note(desk, "GNU.sparse.major", "1")
}

fn pax_size(desk: &Desk) -> PathBuf {
    with_note(desk, "size", "18446744073709551615")
}

/// An archive whose member `at` has 2^64-1 bytes, which GNU tar writes in binary. With its padding
/// the length overflows to 0.
fn wraps(desk: &Desk, at: usize) -> PathBuf {
    let (path, file) = create(desk);
    let mut tar = Builder::new(file);
    for (n, name) in ["vm.ovf", "readme", "disk1.vmdk"].into_iter().enumerate() {
        let text = if n == 0 { ovf() } else { String::new() };
        let mut header = Header::new_gnu();
        header.set_path(name).expect("fits");
        header.set_size(if n == at { u64::MAX } else { text.len() as u64 });
        header.set_cksum();
        tar.get_mut().write_all(header.as_bytes()).expect("written");
        let mut content = text.into_bytes();
        content.resize(content.len().next_multiple_of(512), 0);
        tar.get_mut().write_all(&content).expect("written");
    }
    tar.finish().expect("written");
    path
}

/// A member with fifty thousand pax headers.
fn notes(desk: &Desk) -> PathBuf {
    let (path, file) = create(desk);
    let mut tar = Builder::new(GzEncoder::new(file, flate2::Compression::fast()));
    for _ in 0..50_000 {
        tar.append_pax_extensions([("comment", b"x".as_slice())]).expect("written");
    }
    add(&mut tar, "vm.ovf", ovf().as_bytes());
    tar.into_inner().expect("written").finish().expect("written");
    path
}

/// A GNU long name of 64 GiB, of which the archive may contain any part.
fn long_name(desk: &Desk) -> PathBuf {
    let (path, file) = create(desk);
    let mut out = GzEncoder::new(file, flate2::Compression::fast());
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_path("././@LongLink").expect("fits");
    header.set_size(64 << 30);
    header.set_cksum();
    out.write_all(header.as_bytes()).expect("written");
    (0..64).for_each(|_| out.write_all(&vec![b'a'; 1 << 20]).expect("written"));
    out.finish().expect("written");
    path
}

fn twice(desk: &Desk) -> PathBuf {
    let disk = || packed("disk1.vmdk", beginning());
    pack(desk, Form::Tar, &[packed("vm.ovf", ovf()), disk(), packed("vm.ovf", "<Envelope/>")])
}

fn long_descriptor(desk: &Desk) -> PathBuf {
    let text = ovf() + &" ".repeat(9 << 20);
    pack(desk, Form::TarGz, &[packed("vm.ovf", text)])
}

fn long_sums(desk: &Desk) -> PathBuf {
    let sums = "\n".repeat(2 << 20);
    pack(desk, Form::Tar, &[packed("vm.ovf", ovf()), packed("vm.mf", sums)])
}

fn endless_disk(desk: &Desk) -> PathBuf {
    let disk = [beginning(), vec![0; 160 << 20]].concat();
    pack(desk, Form::TarGz, &[packed("vm.ovf", ovf()), packed("disk1.vmdk", disk)])
}

fn endless_gzip(desk: &Desk) -> PathBuf {
    let mut ovf = Ovf::one("disk1.vmdk", 4);
    ovf.files = ovf.files.replace("/>", " ovf:compression='gzip'/>");
    let disk = gzip(&[beginning(), vec![0; 160 << 20]].concat());
    pack(desk, Form::Tar, &[packed("vm.ovf", ovf.text()), packed("disk1.vmdk", disk)])
}

fn many(desk: &Desk) -> PathBuf {
    let files: Vec<_> = (0..10_001).map(|n| packed(&format!("{n}"), "")).collect();
    pack(desk, Form::Tar, &files)
}

fn two_packages(desk: &Desk) -> PathBuf {
    pack(desk, Form::Tar, &[packed("a.ovf", ovf()), packed("b.ovf", ovf())])
}

fn no_package(desk: &Desk) -> PathBuf {
    pack(desk, Form::Zip, &[packed("readme", "nothing")])
}

fn wrong_sum(desk: &Desk) -> PathBuf {
    let files = [packed("vm.ovf", ovf()), packed("disk1.vmdk", beginning())];
    let path = pack(desk, Form::Tar, &files);
    let mut bytes = fs::read(&path).expect("readable");
    let second = 512 + ovf().len().next_multiple_of(512);
    bytes[second + 124] ^= 1;
    fs::write(&path, bytes).expect("written");
    path
}

fn zip_link(desk: &Desk) -> PathBuf {
    let (path, file) = create(desk);
    let mut out = zip::ZipWriter::new(file);
    let options = zip::write::SimpleFileOptions::default();
    out.start_file("vm.ovf", options).expect("written");
    out.write_all(ovf().as_bytes()).expect("written");
    out.add_symlink("disk1.vmdk", "/etc/passwd", options).expect("written");
    out.finish().expect("written");
    path
}

fn zip_bomb(desk: &Desk) -> PathBuf {
    let disk = [beginning(), vec![0; 160 << 20]].concat();
    pack(desk, Form::Zip, &[packed("vm.ovf", ovf()), packed("disk1.vmdk", disk)])
}

fn nonsense_xz(desk: &Desk) -> PathBuf {
    let path = desk.path("vm.ova");
    fs::write(&path, [b"\xfd7zXZ\0".to_vec(), vec![0x5a; 4096]].concat()).expect("written");
    path
}

/// A stream whose decompression needs 1.5 GiB of memory.
fn greedy_xz(desk: &Desk) -> PathBuf {
    let (path, file) = create(desk);
    let mut options = liblzma::stream::LzmaOptions::new_preset(0).expect("a preset");
    options.dict_size(1536 << 20);
    let mut filters = liblzma::stream::Filters::new();
    filters.lzma2(&options);
    let check = liblzma::stream::Check::Crc32;
    let stream = liblzma::stream::Stream::new_stream_encoder(&filters, check).expect("a stream");
    let mut out = liblzma::write::XzEncoder::new_stream(file, stream);
    out.write_all(&vec![0; 1 << 20]).expect("written");
    out.finish().expect("written");
    path
}

fn two_disks(desk: &Desk) -> PathBuf {
    let mut ovf = Ovf::one("disk1.vmdk", 4);
    ovf.disks += "<Disk ovf:diskId='d2' ovf:fileRef='file1' ovf:capacity='4194304'/>";
    ovf.items += &ovf.items.replace("/disk/d1", "/disk/d2");
    pack(desk, Form::Tar, &[packed("vm.ovf", ovf.text()), packed("disk1.vmdk", beginning())])
}

fn no_sum(desk: &Desk) -> PathBuf {
    let files = [packed("vm.ovf", ovf()), packed("vm.mf", "MD5(vm.ovf)= 00\n")];
    pack(desk, Form::Tar, &files)
}
