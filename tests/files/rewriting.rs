//! Images converted from real streams, checked by the real qemu-img.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use hyperexport::image::{CLUSTER, Compression, Error, OutputFormat, Rewriter, Wrote};

const TARGETS: [(OutputFormat, &str); 4] = [
    (OutputFormat::Qcow2(None), "qcow2"),
    (OutputFormat::Qcow2(Some(Compression::ZLIB)), "qcow2"),
    (OutputFormat::Qcow2(Some(Compression::ZSTD)), "qcow2"),
    (OutputFormat::Raw, "raw"),
];

fn qemu_img(args: &[&str]) -> String {
    let out = Command::new("qemu-img").args(args).output().expect("qemu-img runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&out.stderr));
    text
}

/// Incompressible numbers, the same in each run.
struct Noise(u64);

impl Noise {
    fn fill(&mut self, bytes: &mut [u8]) {
        for word in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            word.copy_from_slice(&self.0.to_le_bytes()[..word.len()]);
        }
    }
}

/// A raw disk of 1.2 GiB and an odd sector: text, noise, single bytes, and long holes, in more than
/// two L2 tables.
fn disk(dir: &Path) -> PathBuf {
    let path = dir.join("disk.raw");
    let file = File::create(&path).expect("created");
    let capacity = (1200 << 20) + 512;
    file.set_len(capacity).expect("sized");
    let mut noise = Noise(42);
    let text: Vec<u8> = b"the quick brown fox jumps over the lazy dog\n".repeat(60_000);
    file.write_all_at(&text, 0).expect("written");
    file.write_all_at(&text, (513 << 20) - 77_777).expect("written");
    let mut bytes = vec![0; 40 << 20];
    noise.fill(&mut bytes);
    // Half of each cluster, so that some compress slightly and some not at all.
    for cluster in bytes.chunks_mut(3 * CLUSTER) {
        let half = cluster.len() / 2;
        cluster[half..].fill(7);
    }
    file.write_all_at(&bytes, (100 << 20) + 1234).expect("written");
    file.write_all_at(&[1], 700 << 20).expect("written");
    file.write_all_at(&[0xff; 700], capacity - 700).expect("written");
    path
}

fn vmdk(raw: &Path) -> PathBuf {
    let path = raw.with_extension("vmdk");
    let (from, to) = (raw.to_str().expect("UTF-8"), path.to_str().expect("UTF-8"));
    let options = ["-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized"];
    qemu_img(&[&["convert"], &options[..], &[from, to]].concat());
    path
}

fn rewrite(
    vmdk: &Path,
    capacity: u64,
    target: OutputFormat,
    out: &Path,
    piece: usize,
) -> Result<Wrote, Error> {
    let file = File::options().read(true).write(true).create_new(true).open(out).expect("created");
    let mut rewriter = Rewriter::new(file, capacity, target);
    let mut stream = File::open(vmdk).expect("opened");
    let mut buffer = vec![0; piece];
    loop {
        let length = stream.read(&mut buffer).expect("read");
        if length == 0 {
            break;
        }
        rewriter.push(&buffer[..length])?;
    }
    rewriter.finish(|bytes, offset| stream.read_exact_at(bytes, offset))
}

fn assert_sound(image: &Path, format: &str, raw: &Path) {
    let (image, raw) = (image.to_str().expect("UTF-8"), raw.to_str().expect("UTF-8"));
    if format == "qcow2" {
        let said = qemu_img(&["check", "-f", "qcow2", image]);
        assert!(said.contains("No errors were found"), "{said}");
        assert!(!said.contains("leaked"), "{said}");
    }
    qemu_img(&["compare", "-f", format, "-F", "raw", image, raw]);
}

#[test]
fn every_target_holds_the_same_disk_and_is_sound() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let raw = disk(dir.path());
    let capacity = raw.metadata().expect("there").len();
    let vmdk = vmdk(&raw);
    for (index, (target, format)) in TARGETS.into_iter().enumerate() {
        let out = dir.path().join(format!("{index}.{format}"));
        let wrote = rewrite(&vmdk, capacity, target, &out, 70_001).expect("rewritten");
        assert!((40 << 20..60 << 20).contains(&wrote.data), "{}", wrote.data);
        assert_sound(&out, format, &raw);
        let blocks = std::os::unix::fs::MetadataExt::blocks(&out.metadata().expect("there")) * 512;
        assert!(blocks < 60 << 20, "{target:?} occupies {blocks}");
    }
}

#[test]
fn compressed_images_are_as_small_as_qemu_imgs() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let raw = disk(dir.path());
    let capacity = raw.metadata().expect("there").len();
    let vmdk = vmdk(&raw);
    for (compression, name) in [(Compression::ZLIB, "zlib"), (Compression::ZSTD, "zstd")] {
        let (ours, theirs) = (dir.path().join(name), dir.path().join(format!("qemu-{name}")));
        rewrite(&vmdk, capacity, OutputFormat::Qcow2(Some(compression)), &ours, 1 << 20)
            .expect("done");
        let option = format!("compression_type={name}");
        let (from, to) = (vmdk.to_str().expect("UTF-8"), theirs.to_str().expect("UTF-8"));
        qemu_img(&["convert", "-c", "-f", "vmdk", "-O", "qcow2", "-o", &option, from, to]);
        let size = |path: &Path| path.metadata().expect("there").len() as f64;
        let ratio = size(&ours) / size(&theirs);
        assert!(ratio <= 1.02, "{name}: {ratio}");
    }
}

#[test]
fn the_same_stream_gives_the_same_image_whatever_the_pieces() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let vmdk = host_stream(dir.path(), &[(0, 1), (3, 2), (9000, 3), (17_999, 4)]);
    let target = OutputFormat::Qcow2(Some(Compression::ZSTD));
    let image = |piece: usize| {
        let out = dir.path().join(format!("{piece}.qcow2"));
        rewrite(&vmdk, HOST_CAPACITY, target, &out, piece).expect("rewritten");
        std::fs::read(out).expect("read")
    };
    let first = image(1 << 20);
    for piece in [1, 11, 511, 4096] {
        assert!(image(piece) == first, "pieces of {piece}");
    }
}

/// Size of the disks below, in bytes: 18000 grains, more than two L2 tables.
pub const HOST_CAPACITY: u64 = 18_000 * CLUSTER as u64;

/// A stream as an ESXi host sends it, with grains of one repeated byte.
pub fn host_stream(dir: &Path, grains: &[(u64, u8)]) -> PathBuf {
    let header = |directory: u64| {
        let mut sector = vec![0; 512];
        sector[..4].copy_from_slice(b"KDMV");
        sector[4..8].copy_from_slice(&3u32.to_le_bytes());
        sector[8..12].copy_from_slice(&0x30001u32.to_le_bytes());
        sector[12..20].copy_from_slice(&(HOST_CAPACITY / 512).to_le_bytes());
        sector[20..28].copy_from_slice(&128u64.to_le_bytes());
        sector[44..48].copy_from_slice(&512u32.to_le_bytes());
        sector[56..64].copy_from_slice(&directory.to_le_bytes());
        sector[64..72].copy_from_slice(&128u64.to_le_bytes());
        sector[73..77].copy_from_slice(b"\n \r\n");
        sector[77..79].copy_from_slice(&1u16.to_le_bytes());
        sector
    };
    let mut stream = header(u64::MAX);
    stream.resize(128 * 512, 0);
    for (index, byte) in grains {
        let mut encoder =
            flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&vec![*byte; CLUSTER]).expect("compressed");
        let data = encoder.finish().expect("compressed");
        stream.extend((index * 128).to_le_bytes());
        stream.extend((data.len() as u32).to_le_bytes());
        stream.extend(data);
        stream.resize(stream.len().next_multiple_of(512), 0);
    }
    let marker = |kind: u32, value: u64| {
        let mut sector = value.to_le_bytes().to_vec();
        sector.extend(0u32.to_le_bytes());
        sector.extend(kind.to_le_bytes());
        sector.resize(512, 0);
        sector
    };
    stream.extend(marker(3, 1));
    stream.extend(header(77));
    stream.extend(marker(0, 0));
    let path = dir.join(format!("host-{}.vmdk", stream.len()));
    std::fs::write(&path, stream).expect("written");
    path
}

/// Raw disk with the content of [`host_stream`].
pub fn host_disk(dir: &Path, grains: &[(u64, u8)]) -> PathBuf {
    let path = dir.join("host.raw");
    let file = File::create(&path).expect("created");
    file.set_len(HOST_CAPACITY).expect("sized");
    for (index, byte) in grains {
        file.write_all_at(&vec![*byte; CLUSTER], index * CLUSTER as u64).expect("written");
    }
    path
}

#[test]
fn a_hosts_stream_is_taken_in_any_order() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    // Back and forth between three L2 tables, with a grain of zeros.
    let grains = [(17_000, 1), (0, 2), (8200, 3), (1, 0), (2, 4), (17_001, 5), (8199, 6)];
    let (vmdk, raw) = (host_stream(dir.path(), &grains), host_disk(dir.path(), &grains));
    for (index, (target, format)) in TARGETS.into_iter().enumerate() {
        let out = dir.path().join(format!("{index}.{format}"));
        let wrote = rewrite(&vmdk, HOST_CAPACITY, target, &out, 5000).expect("rewritten");
        assert_eq!(wrote.data, 6 * CLUSTER as u64);
        assert_sound(&out, format, &raw);
    }
}

#[test]
fn many_refcount_blocks_are_right() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    // More than 2 GiB of clusters in the file, hence more than two refcount blocks.
    let out = dir.path().join("large.qcow2");
    let file = File::options().read(true).write(true).create_new(true).open(&out).expect("created");
    let capacity = 40_000 * CLUSTER as u64;
    let mut writer =
        hyperexport::image::qcow2::Qcow2Writer::new(file, capacity, None).expect("begun");
    let mut content = vec![0; CLUSTER];
    for cluster in 0..40_000u64 {
        content[..8].copy_from_slice(&(cluster + 1).to_le_bytes());
        writer.write(cluster, &content, false).expect("written");
    }
    writer.finish().expect("finished");
    let said = qemu_img(&["check", "-f", "qcow2", out.to_str().expect("UTF-8")]);
    assert!(said.contains("No errors were found") && said.contains("40000/40000"), "{said}");
}

#[test]
fn hostile_streams_are_refused() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let twice = host_stream(dir.path(), &[(5, 1), (5, 2)]);
    let whole = std::fs::read(host_stream(dir.path(), &[(5, 1)])).expect("read");
    let data = 128 * 512;
    let change = |at: usize, bytes: &[u8]| {
        let mut stream = whole.clone();
        stream[at..at + bytes.len()].copy_from_slice(bytes);
        stream
    };
    let run = |stream: &[u8]| {
        let path = dir.path().join("hostile.vmdk");
        std::fs::write(&path, stream).expect("written");
        TARGETS.map(|(target, _)| {
            let out = dir.path().join("hostile.out");
            let result = rewrite(&path, HOST_CAPACITY, target, &out, 4096);
            std::fs::remove_file(out).expect("removed");
            result.map(|_| ())
        })
    };
    let text = |error: Error| {
        let mut text = error.to_string();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            text = format!("{text}: {source}");
            cause = source;
        }
        text
    };
    for (name, stream, expected) in [
        ("a grain that does not inflate", change(data + 14, &[0xff; 8]), "damaged"),
        ("a grain beyond the disk", change(data, &(1u64 << 40).to_le_bytes()), "outside"),
        ("a grain off its boundary", change(data, &7u64.to_le_bytes()), "outside"),
        ("a grain longer than it may be", change(data + 8, &u32::MAX.to_le_bytes()), "too long"),
        ("grains of 4 KiB", change(20, &8u64.to_le_bytes()), "grains of 4096 bytes"),
        ("grains of 32 MiB", change(20, &(1u64 << 16).to_le_bytes()), "grains of 33554432 bytes"),
        ("another size", change(12, &9u64.to_le_bytes()), "instead of"),
        ("cut off", whole[..whole.len() - 1024].to_vec(), "ends at"),
        ("cut off in its header", whole[..300].to_vec(), "ends at 0"),
        ("nothing", Vec::new(), "ends at 0"),
    ] {
        for result in run(&stream) {
            let said = text(result.expect_err(name));
            assert!(said.contains(expected), "{name}: {said}");
        }
    }
    let out = dir.path().join("twice.qcow2");
    let error =
        rewrite(&twice, HOST_CAPACITY, OutputFormat::Qcow2(None), &out, 4096).expect_err("twice");
    assert!(matches!(error, Error::Twice { offset } if offset == 5 * CLUSTER as u64), "{error}");
}

#[test]
fn a_full_disk_is_an_error_that_says_so() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let vmdk = host_stream(dir.path(), &[(0, 1)]);
    let file = File::options().read(true).write(true).open("/dev/full").expect("opened");
    let mut rewriter = Rewriter::new(file, HOST_CAPACITY, OutputFormat::Qcow2(None));
    rewriter.push(&std::fs::read(vmdk).expect("read")).expect("not yet at the disk");
    let error = rewriter.finish(|_, _| Ok(())).expect_err("full");
    let Error::Write(error) = error else { panic!("{error}") };
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}
