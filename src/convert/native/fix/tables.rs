//! fstab(5) and crypttab(5): devices by UUID.

use super::devices::Devices;

/// A table with its devices by names that last, and those that could not be helped. All else stays
/// as it is, down to the last space.
pub(super) fn stabilize(text: &str, column: usize, devices: &Devices) -> (String, Vec<String>) {
    let mut lost = Vec::new();
    let mut line = |line: &str| {
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            return line.to_owned();
        }
        let Some(field) = content.split_whitespace().nth(column) else { return line.to_owned() };
        match devices.lasting(field) {
            Some(lasting) => replace_field(line, field, column, &lasting),
            None => {
                if devices.is_lost(field) {
                    lost.push(field.to_owned());
                }
                line.to_owned()
            }
        }
    };
    let fixed = text.split_inclusive('\n').map(&mut line).collect();
    (fixed, lost)
}

/// Replaces one of the fields of a line, which are parted by spaces.
fn replace_field(line: &str, field: &str, column: usize, by: &str) -> String {
    let mut at = 0;
    for index in 0..=column {
        at += line[at..].len() - line[at..].trim_start().len();
        if index < column {
            at += line[at..].find(char::is_whitespace).unwrap_or(0);
        }
    }
    format!("{}{by}{}", &line[..at], &line[at + field.len()..])
}

#[cfg(test)]
mod tests {
    use super::super::devices::devices;
    use super::*;

    #[test]
    fn only_the_device_of_a_line_changes() {
        let devices = devices(&[("/dev/sda1", "5eed"), ("/dev/sda5", "swap")]);
        let fstab = "# /dev/sda1 was here\n/dev/sda1\t/  ext4 errors=remount-ro 0 1\n\
                     UUID=x /home ext4 defaults 0 2\n /dev/sda5 none swap sw 0 0\n/dev/sdb1 /srv xfs\n";
        let (fixed, lost) = stabilize(fstab, 0, &devices);
        assert_eq!(
            fixed,
            "# /dev/sda1 was here\nUUID=5eed\t/  ext4 errors=remount-ro 0 1\n\
             UUID=x /home ext4 defaults 0 2\n UUID=swap none swap sw 0 0\n/dev/sdb1 /srv xfs\n"
        );
        assert_eq!(lost, ["/dev/sdb1"]);
        let (fixed, _) = stabilize("sda5_crypt /dev/sda5 none luks\n", 1, &devices);
        assert_eq!(fixed, "sda5_crypt UUID=swap none luks\n");
    }
}
