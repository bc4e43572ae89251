//! Streams made by hand, like those of an ESXi host and of qemu-img.

use super::{InvalidStream, Piece, Stream, StreamEnd};

const SECTOR: usize = 512;
/// Sectors of a grain.
const GRAIN: u64 = 128;
/// Size of the disk in bytes, which needs two grain tables.
const CAPACITY: u64 = 40 << 20;

fn header(directory: u64, overhead: u64) -> Vec<u8> {
    let mut sector = vec![0; SECTOR];
    sector[..4].copy_from_slice(b"KDMV");
    sector[4..8].copy_from_slice(&3u32.to_le_bytes());
    sector[8..12].copy_from_slice(&0x30001u32.to_le_bytes());
    sector[12..20].copy_from_slice(&(CAPACITY / 512).to_le_bytes());
    sector[20..28].copy_from_slice(&GRAIN.to_le_bytes());
    sector[44..48].copy_from_slice(&512u32.to_le_bytes());
    sector[56..64].copy_from_slice(&directory.to_le_bytes());
    sector[64..72].copy_from_slice(&overhead.to_le_bytes());
    sector[73..77].copy_from_slice(b"\n \r\n");
    sector[77..79].copy_from_slice(&1u16.to_le_bytes());
    sector
}

fn marker(value: u64, size: u32, kind: u32) -> Vec<u8> {
    let mut sector = value.to_le_bytes().to_vec();
    sector.extend(size.to_le_bytes());
    sector.extend(kind.to_le_bytes());
    sector.resize(SECTOR, 0);
    sector
}

fn grain(index: u64, size: usize) -> Vec<u8> {
    let mut bytes = (index * GRAIN).to_le_bytes().to_vec();
    bytes.extend((size as u32).to_le_bytes());
    bytes.extend(std::iter::repeat_n(0xa5, size));
    bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
    bytes
}

/// Stream of an ESXi host: tables, directory and footer after the grains.
fn host_stream() -> Vec<u8> {
    let mut stream = header(u64::MAX, 2);
    stream.resize(2 * SECTOR, b'#');
    stream.extend(grain(0, 700));
    stream.extend(grain(3, 500));
    stream.extend(marker(4, 0, 1));
    stream.resize(stream.len() + 4 * SECTOR, 7);
    stream.extend(grain(639, 9));
    stream.extend(marker(4, 0, 1));
    stream.resize(stream.len() + 4 * SECTOR, 7);
    stream.extend(marker(1, 0, 2));
    stream.resize(stream.len() + SECTOR, 7);
    stream.extend(marker(1, 0, 3));
    stream.extend(header(99, 2));
    stream.extend(marker(0, 0, 0));
    stream
}

/// Stream of qemu-img: directory and tables before the grains, no footer.
fn qemu_stream() -> Vec<u8> {
    let mut stream = header(1, 10);
    let mut directory = vec![0; SECTOR];
    directory[..4].copy_from_slice(&2u32.to_le_bytes());
    stream.extend(directory);
    let mut table = vec![0; 4 * SECTOR];
    table[..4].copy_from_slice(&10u32.to_le_bytes());
    table[12..16].copy_from_slice(&12u32.to_le_bytes());
    stream.extend(table);
    stream.resize(10 * SECTOR, 0);
    stream.extend(grain(0, 700));
    stream.extend(grain(3, 500));
    stream
}

fn check(stream: &[u8], piece: usize) -> Result<StreamEnd, InvalidStream> {
    let mut check = Stream::new(CAPACITY);
    stream.chunks(piece).try_for_each(|piece| check.push(piece, |_| {}))?;
    check.finish(|buffer, offset| {
        let bytes = stream.get(offset as usize..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    })
}

#[test]
fn whole_streams_are_accepted_in_any_pieces() {
    for stream in [host_stream(), qemu_stream()] {
        for piece in [1, 7, 512, 100_000] {
            assert_eq!(check(&stream, piece).expect("sound"), StreamEnd::Whole, "{piece}");
        }
    }
}

#[test]
fn a_cut_anywhere_is_seen() {
    for stream in [host_stream(), qemu_stream()] {
        for length in 0..stream.len() {
            // Only the padding of the last sector may be missing after an end marker.
            let end = check(&stream[..length], 512).expect("sound so far");
            assert_eq!(end, StreamEnd::Early, "{length} of {}", stream.len());
        }
    }
}

#[test]
fn progress_follows_the_grains() {
    let stream = host_stream();
    let mut check = Stream::new(CAPACITY);
    check.push(&stream[..2 * SECTOR + 20], |_| {}).expect("sound");
    assert_eq!(check.reached(), 1 << 16);
    check.push(&stream[2 * SECTOR + 20..], |_| {}).expect("sound");
    assert_eq!(check.reached(), CAPACITY);
}

#[test]
fn nonsense_is_refused_where_it_stands() {
    let mut no_magic = host_stream();
    no_magic[0] = 0;
    let mut other_subformat = host_stream();
    other_subformat[10] = 0;
    let mut other_size = host_stream();
    other_size[12] = 1;
    let mut mangled = host_stream();
    mangled[75] = b'\n';
    let mut outside = host_stream();
    outside[2 * SECTOR + 5] = 9;
    let mut long = host_stream();
    long[2 * SECTOR + 11] = 9;
    let mut wrong_footer = host_stream();
    let at = wrong_footer.len() - 2 * SECTOR;
    wrong_footer[at] = 0;
    let mut trailing = host_stream();
    trailing.push(1);
    for (name, stream) in [
        ("magic", no_magic),
        ("subformat", other_subformat),
        ("size", other_size),
        ("line ends", mangled),
        ("outside", outside),
        ("long", long),
        ("footer", wrong_footer),
        ("trailing", trailing),
        ("html", b"<html>not found</html>".repeat(30)),
    ] {
        assert!(check(&stream, 4096).is_err(), "{name}");
    }
}

#[test]
fn grains_that_no_table_names_are_refused() {
    let mut stream = qemu_stream();
    stream.extend(grain(5, 100));
    assert!(matches!(check(&stream, 512), Err(InvalidStream::Grains { found: 3, named: 2 })));
}

#[test]
fn grains_are_handed_out_whole_whatever_the_pieces() {
    let stream = host_stream();
    for piece in [1, 7, 512, 100_000] {
        let (mut check, mut grains) = (Stream::new(CAPACITY), Vec::<(u64, u32, Vec<u8>)>::new());
        for piece in stream.chunks(piece) {
            let visit = |piece: Piece<'_>| match piece {
                Piece::Grain { sector, length } => grains.push((sector, length, Vec::new())),
                Piece::Data(data) => grains.last_mut().expect("begun").2.extend_from_slice(data),
            };
            check.push(piece, visit).expect("sound");
        }
        let found: Vec<_> =
            grains.iter().map(|(at, size, data)| (*at, *size, data.len())).collect();
        assert_eq!(found, [(0, 700, 700), (3 * GRAIN, 500, 500), (639 * GRAIN, 9, 9)]);
        assert!(grains.iter().all(|(_, _, data)| data.iter().all(|byte| *byte == 0xa5)));
    }
}
