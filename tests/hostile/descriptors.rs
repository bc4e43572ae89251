//! Malicious OVF and VMX descriptors.

use std::fs;
use std::path::PathBuf;

use crate::Case;
use crate::support::files::{Desk, Form, Ovf, pack, packed};

pub const CASES: &[Case] = &[
    Case {
        name: "a file above",
        make: |desk| href(desk, "../canary"),
        said: "is not in its folder",
    },
    Case {
        name: "a file above, encoded",
        make: |desk| href(desk, "%2e%2e/canary"),
        said: "is not in its folder",
    },
    Case {
        name: "a file of the host",
        make: |desk| href(desk, "/etc/passwd"),
        said: "is not in its folder",
    },
    Case {
        name: "a file of the net",
        make: |desk| href(desk, "http://host/disk1.vmdk"),
        said: "is not in its folder",
    },
    Case { name: "a file of no name", make: |desk| href(desk, ""), said: "has no href" },
    Case { name: "a link in its folder", make: link, said: "is not in its folder" },
    Case { name: "a device in its folder", make: device, said: "is not in its folder" },
    Case {
        name: "a member above",
        make: |desk| member(desk, "../disk1.vmdk"),
        said: "is not in it",
    },
    Case {
        name: "a name with a NUL",
        make: |desk| member(desk, "disk%00.vmdk"),
        said: "is not in it",
    },
    Case { name: "entities without end", make: laughs, said: "it is not an OVF" },
    Case { name: "an entity of the host", make: entity, said: "it is not an OVF" },
    Case { name: "elements without end", make: deep, said: "nested deeper than 64 levels" },
    Case { name: "systems in systems", make: collections, said: "nested deeper than 64 levels" },
    Case { name: "no XML", make: |desk| text(desk, "<Envelope"), said: "it is no" },
    Case { name: "nothing", make: |desk| text(desk, ""), said: "it is not an OVF" },
    Case { name: "no VM", make: |desk| text(desk, "<Envelope/>"), said: "it describes no VM" },
    Case {
        name: "bytes that are no text",
        make: |desk| bytes(desk, &[0xff, 0xfe, 0, b'<']),
        said: "it is no",
    },
    Case {
        name: "a capacity beyond all",
        make: |desk| replaced(desk, "capacity='4'", "capacity='99999999999999999'"),
        said: "makes no sense",
    },
    Case {
        name: "CPUs beyond all",
        make: |desk| {
            replaced(desk, "<rasd:VirtualQuantity>4<", "<rasd:VirtualQuantity>4000000000<")
        },
        said: "number of CPUs makes no sense",
    },
    Case {
        name: "a difference",
        make: |desk| replaced(desk, "ovf:diskId='d1'", "ovf:diskId='d1' ovf:parentRef='d0'"),
        said: "difference to another",
    },
    Case {
        name: "a disk that is nowhere",
        make: |desk| replaced(desk, "/disk/d1", "/disk/d9"),
        said: "is nowhere",
    },
    Case {
        name: "a packing that nobody knows",
        make: |desk| replaced(desk, "ovf:id='file1'", "ovf:id='file1' ovf:compression='zoo'"),
        said: "compressed as 'zoo'",
    },
    Case {
        name: "chunks beyond number",
        make: |desk| {
            replaced(
                desk,
                "ovf:id='file1'",
                "ovf:id='file1' ovf:size='9999999999' ovf:chunkSize='1'",
            )
        },
        said: "cannot be counted",
    },
    Case { name: "chunks that fill all memory", make: chunks, said: "is too long" },
    Case {
        name: "chunks of long names, of many disks",
        make: |desk| many_chunks(desk, &"x".repeat(4000), 1, Form::Tar),
        said: "more than 16777216 bytes of names of files",
    },
    Case {
        name: "the same, packed",
        make: |desk| many_chunks(desk, &"x".repeat(4000), 1, Form::TarGz),
        said: "more than 16777216 bytes of names of files",
    },
    Case {
        name: "one file of chunks as many disks",
        make: |desk| many_chunks(desk, "part", 1, Form::Tar),
        said: "is two disks at once",
    },
    Case {
        name: "many files of many chunks",
        make: |desk| many_chunks(desk, "part", 20, Form::TarGz),
        said: "more than 65536 files of disks",
    },
    Case {
        name: "elements beyond number",
        make: |desk| {
            let items = "<Item/>".repeat(250_000);
            replaced(
                desk,
                "</VirtualHardwareSection>",
                &format!("{items}</VirtualHardwareSection>"),
            )
        },
        said: "more than 200000 elements",
    },
    Case { name: "disks that nobody uses, of one long name", make: unused, said: "disk1.vmdk" },
    Case { name: "devices beyond number", make: devices, said: "more than 2000 devices" },
    Case { name: "a VMX that is no text", make: vmx_bytes, said: "it names no disk" },
    Case {
        name: "a VMX with a disk of the host",
        make: |desk| vmx(desk, "/etc/passwd"),
        said: "is not in its folder",
    },
    Case {
        name: "a VMX with a disk above",
        make: |desk| vmx(desk, "..|2fcanary"),
        said: "is not in its folder",
    },
    Case { name: "a VMX that is too long", make: vmx_long, said: "it is too long" },
];

/// A folder with this descriptor and no disk.
fn bytes(desk: &Desk, text: &[u8]) -> PathBuf {
    pack(desk, Form::Folder, &[packed("vm.ovf", text)])
}

fn text(desk: &Desk, text: &str) -> PathBuf {
    bytes(desk, text.as_bytes())
}

fn href(desk: &Desk, href: &str) -> PathBuf {
    text(desk, &Ovf::one(href, 4).text())
}

/// One file of many chunks with long names, which many disks use.
fn chunks(desk: &Desk) -> PathBuf {
    let mut ovf = Ovf::one(&"x".repeat(5000), 4);
    ovf.files = ovf.files.replace("/>", " ovf:size='10000' ovf:chunkSize='1'/>");
    ovf.items = ovf.items.repeat(1000);
    text(desk, &ovf.text())
}

/// A package with 1990 disks, of `files` files with 10 000 chunks each.
fn many_chunks(desk: &Desk, href: &str, files: usize, form: Form) -> PathBuf {
    let mut ovf = Ovf::one(href, 4);
    let (file, disk, item) = (ovf.files, ovf.disks, ovf.items);
    let file = file.replace("/>", " ovf:size='10000' ovf:chunkSize='1'/>");
    let number = |text: &str, n: usize| {
        let text = text.replace("file1", &format!("f{n}")).replace(href, &format!("{href}{n}"));
        text.replace("'d1'", &format!("'d{n}'"))
    };
    ovf.files = (0..files).map(|n| number(&file, n)).collect();
    ovf.disks = (0..files).map(|n| number(&disk, n)).collect();
    let use_of = |n| item.replace("/disk/d1", &format!("/disk/d{}", n % files));
    ovf.items = (0..1990).map(use_of).collect();
    pack(desk, form, &[packed("vm.ovf", ovf.text())])
}

/// Many disks without a device name one file with a long name; the disk with a device is missing.
fn unused(desk: &Desk) -> PathBuf {
    let mut ovf = Ovf::one("disk1.vmdk", 4);
    ovf.files += &format!("<File ovf:id='long' ovf:href='{}'/>", "y".repeat(1 << 20));
    for n in 0..2_000 {
        ovf.disks += &format!("<Disk ovf:diskId='u{n}' ovf:fileRef='long' ovf:capacity='4'/>");
    }
    text(desk, &ovf.text())
}

fn devices(desk: &Desk) -> PathBuf {
    let mut ovf = Ovf::one("disk1.vmdk", 4);
    ovf.items = ovf.items.repeat(20_000);
    text(desk, &ovf.text())
}

fn replaced(desk: &Desk, what: &str, with: &str) -> PathBuf {
    let ovf = Ovf::one("disk1.vmdk", 4).text();
    assert!(ovf.contains(what), "{what}");
    text(desk, &ovf.replace(what, with))
}

fn link(desk: &Desk) -> PathBuf {
    let folder = href(desk, "disk1.vmdk");
    std::os::unix::fs::symlink("/etc/passwd", folder.join("disk1.vmdk")).expect("linked");
    folder
}

fn device(desk: &Desk) -> PathBuf {
    let folder = href(desk, "disk1.vmdk");
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
    nix::unistd::mkfifo(&folder.join("disk1.vmdk"), mode).expect("made");
    folder
}

/// An archive with a member of exactly that name: the name is only searched, never written.
fn member(desk: &Desk, href: &str) -> PathBuf {
    let files = [packed("vm.ovf", Ovf::one(href, 4).text()), packed("disk1.vmdk", "KDMV")];
    pack(desk, Form::Tar, &files)
}

fn laughs(desk: &Desk) -> PathBuf {
    let mut entities = "<!ENTITY e0 'ha'>".to_owned();
    for n in 1..30 {
        entities += &format!("<!ENTITY e{n} '{}'>", format!("&e{};", n - 1).repeat(10));
    }
    let ovf = Ovf::one("disk1.vmdk", 4).text().replace("web &lt;01&gt;", "&e29;");
    let (head, body) = ovf.split_once('\n').expect("two lines");
    text(desk, &format!("{head}\n<!DOCTYPE Envelope [{entities}]>{body}"))
}

fn entity(desk: &Desk) -> PathBuf {
    let ovf = Ovf::one("disk1.vmdk", 4).text().replace("web &lt;01&gt;", "&host;");
    let (head, body) = ovf.split_once('\n').expect("two lines");
    let entity = "<!DOCTYPE Envelope [<!ENTITY host SYSTEM 'file:///etc/passwd'>]>";
    text(desk, &format!("{head}\n{entity}{body}"))
}

fn deep(desk: &Desk) -> PathBuf {
    text(desk, &("<Envelope>".to_owned() + &"<a>".repeat(1_000_000)))
}

fn collections(desk: &Desk) -> PathBuf {
    text(desk, &("<Envelope>".to_owned() + &"<VirtualSystemCollection>".repeat(100_000)))
}

fn vmx(desk: &Desk, disk: &str) -> PathBuf {
    let lines =
        format!("memsize = \"64\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"{disk}\"\n");
    fs::write(desk.path("vm.vmx"), lines).expect("written");
    desk.path("vm.vmx")
}

fn vmx_bytes(desk: &Desk) -> PathBuf {
    fs::write(desk.path("vm.vmx"), [0xff; 4096]).expect("written");
    desk.path("vm.vmx")
}

fn vmx_long(desk: &Desk) -> PathBuf {
    fs::write(desk.path("vm.vmx"), "a = \"b\"\n".repeat(1 << 18)).expect("written");
    desk.path("vm.vmx")
}
