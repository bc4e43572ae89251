//! Rewrites mdadm.conf(5) so that arrays are found by their identity, whatever names their disks
//! have.

use std::ops::Range;

use crate::convert::native::devices::{GuestDevices, is_unstable};

use super::edits::{Edit, edited};

/// Words of an `ARRAY` line that identify the array by its superblocks.
const IDENTITIES: [&str; 4] = ["uuid=", "name=", "super-minor=", "container="];
/// Prefix of the word that lists the devices of an array.
const LIST: &str = "devices=";
/// The type of a member of an array (blkid(8)).
const MEMBER: &str = "linux_raid_member";

/// The byte range of a word in the file.
type Word = Range<usize>;

/// Makes `DEVICE` name all partitions, which mdadm finds by their superblocks, and makes each
/// `ARRAY` name its identity instead of a list of devices. Also returns the arrays that only names
/// of devices identify.
pub(super) fn mend(text: &str, devices: &GuestDevices) -> (String, Vec<String>) {
    let lines = lines(text);
    let end = |edit: &Edit| edit.at.end;
    let (mut edits, mut lost) = (Vec::new(), Vec::new());
    edits.extend(all_partitions(text, &lines));
    for line in lines.iter().filter(|line| is_keyword(text, line, "array")) {
        let is_identity = |word: &Word| is_identity(&value(text, word));
        let has_identity = line.iter().any(is_identity);
        for word in line {
            let value = value(text, word);
            let Some(list) = value.get(LIST.len()..).filter(|_| has_key(&value, LIST)) else {
                continue;
            };
            if has_identity {
                // The white space between two lists is removed once.
                let (at, done) = (without(text, word), edits.last().map_or(0, end));
                edits.push(Edit::new(at.start.max(done)..at.end, ""));
            } else if let Some(uuid) = uuid_of(list, devices) {
                edits.push(Edit::new(word.clone(), format!("UUID={uuid}")));
            } else if list.split(',').any(may_change) {
                lost.push(text[line[0].start..word.end].split_whitespace().collect::<Vec<_>>());
            }
        }
    }
    (edited(text, &edits), lost.into_iter().map(|words| words.join(" ")).collect())
}

/// The edit that makes mdadm search all partitions, where `DEVICE` names single ones.
fn all_partitions(text: &str, lines: &[Vec<Word>]) -> Option<Edit> {
    let named: Vec<_> = lines.iter().filter(|line| is_keyword(text, line, "device")).collect();
    let has = |is: &dyn Fn(&str) -> bool| {
        named.iter().flat_map(|line| line.iter()).any(|word| is(&value(text, word)))
    };
    if !has(&|word| word.starts_with("/dev/")) || has(&|word| word == "partitions") {
        return None;
    }
    let end = named.first()?.last()?.end;
    Some(Edit::new(end..end, " partitions"))
}

/// The words of each line. A line that begins with white space continues the line before it, also
/// behind comments and empty lines (mdadm, `config.c`).
fn lines(text: &str) -> Vec<Vec<Word>> {
    let (mut lines, mut at) = (Vec::<Vec<Word>>::new(), 0);
    for line in text.split_inclusive('\n') {
        let words = words(line, at);
        at += line.len();
        match lines.last_mut().filter(|_| line.starts_with([' ', '\t'])) {
            Some(last) => last.extend(words),
            None if words.is_empty() => {}
            None => lines.push(words),
        }
    }
    lines
}

/// The words of one line, which begins at `start`. Quotes enclose a word with spaces, and `#`
/// begins a comment where a word could begin.
fn words(line: &str, start: usize) -> Vec<Word> {
    let (mut words, mut quote, mut begin) = (Vec::new(), None, None);
    for (at, c) in line.char_indices().chain([(line.len(), '\n')]) {
        let is_end = matches!(c, '\n' | '\r') || quote.is_none() && matches!(c, ' ' | '\t');
        match begin {
            Some(from) if is_end => {
                words.push(start + from..start + at);
                begin = None;
            }
            None if is_end => {}
            None if c == '#' => break,
            _ => {
                begin = begin.or(Some(at));
                quote = match quote {
                    None if matches!(c, '"' | '\'') => Some(c),
                    Some(open) if open == c => None,
                    open => open,
                };
            }
        }
    }
    words
}

/// A word without its quotes.
fn value(text: &str, word: &Word) -> String {
    text[word.clone()].replace(['"', '\''], "")
}

/// Whether a line begins with a keyword, of which three letters suffice.
fn is_keyword(text: &str, line: &[Word], keyword: &str) -> bool {
    let first = line.first().map(|word| value(text, word).to_ascii_lowercase());
    first.is_some_and(|first| first.len() >= 3 && keyword.starts_with(&first))
}

fn has_key(word: &str, key: &str) -> bool {
    word.get(..key.len()).is_some_and(|own| own.eq_ignore_ascii_case(key))
}

fn is_identity(word: &str) -> bool {
    IDENTITIES.iter().any(|key| has_key(word, key) && !word[key.len()..].is_empty())
        && !word.eq_ignore_ascii_case("super-minor=any")
}

/// The bytes to remove with a word: the white space before it, or the complete line of a word that
/// is alone on its line.
fn without(text: &str, word: &Word) -> Range<usize> {
    let start = text[..word.start].rfind('\n').map_or(0, |end| end + 1);
    let end = text[word.end..].find('\n').map_or(text.len(), |end| word.end + end + 1);
    let before = text[start..word.start].trim_end().len();
    match (before, text[word.end..end].trim().is_empty()) {
        (0, true) => start..end,
        (0, false) => {
            let rest = &text[word.end..end];
            word.start..word.end + rest.len() - rest.trim_start_matches([' ', '\t']).len()
        }
        _ => start + before..word.end,
    }
}

/// The UUID of the array that the listed devices are members of, as mdadm writes it; none where
/// they are no members, or members of several arrays.
fn uuid_of(list: &str, devices: &GuestDevices) -> Option<String> {
    let found: Vec<_> = list.split(',').filter_map(|name| devices.resolve(name)).collect();
    let mut uuids = found.iter().map(|device| {
        devices.tag(device, "UUID").filter(|_| devices.tag(device, "TYPE") == Some(MEMBER))
    });
    let first = uuids.next()??;
    let is_one = uuids.all(|uuid| uuid == Some(first));
    let digits: Vec<_> = first.chars().filter(char::is_ascii_hexdigit).collect();
    let words: Vec<String> = digits.chunks(8).map(|word| word.iter().collect()).collect();
    (is_one && digits.len() == 32).then(|| words.join(":"))
}

/// Whether KVM may have another name for a device, or for those that a pattern means.
fn may_change(name: &str) -> bool {
    let is_pattern = name.contains(['*', '?', '[']);
    let ordered = ["/dev/sd", "/dev/hd", "/dev/vd", "/dev/xvd", "/dev/nvme", "/dev/disk/by-"];
    is_unstable(name) || is_pattern && ordered.iter().any(|order| name.starts_with(order))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::native::devices::{devices, tagged};

    fn mended(text: &str) -> String {
        let (fixed, lost) = mend(text, &GuestDevices::default());
        assert!(lost.is_empty(), "{lost:?}");
        assert_eq!(mend(&fixed, &GuestDevices::default()).0, fixed, "it is changed once");
        fixed
    }

    #[test]
    fn two_lists_on_one_line_both_go() {
        let devices = devices(&[("/dev/sda", "a")]);
        for end in ["", "\n", "\nMAILADDR root\n"] {
            let line = "ARRAY /dev/md0 UUID=1:2:3:4\n devices=/dev/sda devices=/dev/sdb";
            let (fixed, lost) = mend(&format!("{line}{end}"), &devices);
            assert!(!fixed.contains("devices="), "{fixed}");
            assert!(lost.is_empty() && fixed.ends_with(end.trim_start()), "{fixed:?}");
            assert!(!end.contains("MAIL") || fixed.contains("\nMAILADDR root\n"), "{fixed:?}");
        }
    }

    #[test]
    fn arrays_are_found_by_their_superblocks() {
        let before = "DEVICE /dev/sda1 /dev/sdb1 # two\nARRAY /dev/md0 devices=/dev/sda1,/dev/sdb1 UUID=1:2:3:4\n";
        let after = "DEVICE /dev/sda1 /dev/sdb1 partitions # two\nARRAY /dev/md0 UUID=1:2:3:4\n";
        assert_eq!(mended(before), after);
        for text in ["DEVICE partitions containers\n", "ARRAY <ignore> UUID=1:2:3:4\n", ""] {
            assert_eq!(mended(text), text);
        }
    }

    #[test]
    fn a_list_of_devices_may_stand_on_a_line_of_its_own() {
        for (before, after) in [
            (
                "ARRAY /dev/md5 level=raid5 num-devices=3 UUID=1:2:3:4\n   devices=/dev/sdb1,/dev/sdc1,/dev/sdd1\nMAILADDR root\n",
                "ARRAY /dev/md5 level=raid5 num-devices=3 UUID=1:2:3:4\nMAILADDR root\n",
            ),
            (
                "arr /dev/md5\n\n# why\n\tDEVICES=/dev/sdb1 Name=\"a b:5\" # x\n",
                "arr /dev/md5\n\n# why\n\tName=\"a b:5\" # x\n",
            ),
            (
                "ARRAY /dev/md5\tdevices=/dev/sd[bc]1\n\tsuper-minor=5",
                "ARRAY /dev/md5\n\tsuper-minor=5",
            ),
            ("ARRAY /dev/md5 name=h:5\r\n  devices=/dev/sdb1\r\n", "ARRAY /dev/md5 name=h:5\r\n"),
        ] {
            assert_eq!(mended(before), after);
        }
    }

    #[test]
    fn devices_to_search_may_stand_on_several_lines() {
        for (before, after) in [
            ("Dev /dev/sda1\n /dev/sdb1 # b\n", "Dev /dev/sda1\n /dev/sdb1 partitions # b\n"),
            ("DEVICE /dev/sd*\nDEVICE\tpartitions\n", "DEVICE /dev/sd*\nDEVICE\tpartitions\n"),
            ("#DEVICE /dev/sda1\n", "#DEVICE /dev/sda1\n"),
        ] {
            assert_eq!(mended(before), after);
        }
    }

    #[test]
    fn an_array_by_its_devices_alone_gets_its_uuid() {
        let member = |device: &'static str, uuid: &'static str| {
            (device, vec![("TYPE", MEMBER), ("UUID", uuid)])
        };
        let (one, other) =
            ("0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9", "11111111-2222-3333-4444-555555555555");
        let known = tagged(&[
            member("/dev/sdb1", one),
            member("/dev/sdc1", one),
            member("/dev/sdd1", other),
            ("/dev/sde1", vec![("TYPE", "ext4"), ("UUID", one)]),
        ]);
        let array = |words: &str| format!("ARRAY /dev/md5 {words}\n");
        assert_eq!(
            mend(&array("devices=/dev/sdb1,/dev/sdc1"), &known).0,
            array("UUID=0a1b2c3d:4e5f6071:8293a4b5:c6d7e8f9")
        );
        for list in ["/dev/sdb1,/dev/sdd1", "/dev/sde1", "/dev/sdz1", "/dev/sd[bc]1"] {
            let text = array(&format!("super-minor=any devices={list}"));
            let (fixed, lost) = mend(&text, &known);
            assert_eq!((fixed.as_str(), lost.len()), (text.as_str(), 1), "{list}");
        }
        let stable = array("devices=/dev/mapper/a,/dev/mapper/b");
        assert_eq!(mend(&stable, &devices(&[])), (stable, Vec::new()));
    }
}
