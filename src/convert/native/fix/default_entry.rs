//! Finds the entry that a boot loader starts by default, which need not be the first one.
//!
//! This module reads `set default=` of GRUB 2 with `saved_entry` of its environment block,
//! `default` of GRUB Legacy, syslinux and systemd-boot, and `MENU DEFAULT` of syslinux.

use super::entries::{Entry, LONGEST_NAME, MenuItem};

/// Configuration files of systemd-boot (loader.conf(5)).
pub(super) const LOADERS: [&str; 3] =
    ["/boot/loader/loader.conf", "/boot/efi/loader/loader.conf", "/efi/loader/loader.conf"];

/// An entry with its file.
#[derive(Debug, Clone, Default)]
pub(super) struct EntryCandidate {
    pub(super) file: String,
    pub(super) entry: Entry,
    /// Whether the entry is a unified kernel image.
    pub(super) unified: bool,
}

/// A configuration that may name the default entry.
#[derive(Debug, Clone)]
pub(super) struct MenuConfiguration {
    pub(super) file: String,
    pub(super) text: String,
}

/// The index of the default entry among `candidates`. None where no configuration names one of
/// them; the first one then starts. `saved` is GRUB's `saved_entry`.
pub(super) fn find(
    candidates: &[EntryCandidate],
    configurations: &[MenuConfiguration],
    saved: &str,
) -> Option<usize> {
    let marked = candidates.iter().position(|candidate| candidate.entry.is_default);
    let named = |configuration: &MenuConfiguration| {
        let wanted = wanted(&configuration.text, saved)?;
        named(candidates, configuration, &wanted)
    };
    configurations.iter().find_map(named).or(marked)
}

/// The name of the default entry in a configuration.
fn wanted(text: &str, saved: &str) -> Option<String> {
    let last = uncounted(text).filter_map(value).last()?;
    let last = if last.contains("saved_entry") || last == "saved" { saved } else { last };
    (!last.is_empty()).then(|| last.to_owned())
}

/// The lines without those that GRUB runs after its countdown of failed starts. Red Hat's generator
/// writes them into every file (`08_fallback_counting`), and only guests that boot from OSTree
/// count.
fn uncounted(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    text.lines().filter(move |line| {
        let opens = match line.split_whitespace().next() {
            Some("if") if line.trim_end().ends_with("fi") => false,
            Some("if") => depth > 0 || line.contains("boot_counter"),
            Some("fi") => {
                depth = depth.saturating_sub(1);
                false
            }
            _ => false,
        };
        depth += usize::from(opens);
        depth == 0
    })
}

/// The value of a line that sets the default entry.
fn value(line: &str) -> Option<&str> {
    let line = line.trim();
    let line = line.strip_prefix("set ").unwrap_or(line).trim_start();
    let name = line.get(..7).filter(|name| name.eq_ignore_ascii_case("default"))?;
    let rest = line[name.len()..].strip_prefix(['=', ' ', '\t'])?;
    let value = rest.trim().trim_start_matches('=').trim().trim_matches(['"', '\'']);
    // An entry for one start alone (grub-reboot(8)) was meant for the source.
    (!value.contains("next_entry") && !value.is_empty()).then_some(value)
}

/// The entry that a configuration names by a title, an id, a number, or a path of these through
/// submenus (GRUB manual, "default").
fn named(
    candidates: &[EntryCandidate],
    configuration: &MenuConfiguration,
    wanted: &str,
) -> Option<usize> {
    let is_loader = LOADERS.contains(&configuration.file.as_str());
    // The matcher calls itself once for each `*`: a long pattern of a guest would exhaust the
    // stack.
    let pattern = Some(wanted).filter(|wanted| is_loader && wanted.len() <= LONGEST_NAME);
    let by_pattern = pattern.and_then(|wanted| glob::Pattern::new(&wanted.to_lowercase()).ok());
    let is_called = |candidate: &EntryCandidate| {
        let Some(item) = candidate.entry.menu.last() else { return false };
        let matches = |name: &String| {
            name == wanted || by_pattern.as_ref().is_some_and(|p| p.matches(&name.to_lowercase()))
        };
        item.names.iter().any(matches)
    };
    let steps: Vec<_> = wanted.split('>').collect();
    // Numbers count the lines of one menu: the lines of the file, or the files that it includes.
    let includes = configuration.text.contains("blscfg");
    let is_at = |candidate: &EntryCandidate| {
        let (menu, own) = (&candidate.entry.menu, candidate.file == configuration.file);
        let is_step = |(item, step): (&MenuItem, &&str)| {
            step.parse() == Ok(item.index) || item.names.iter().any(|name| name == step)
        };
        let included = includes && candidate.file.contains("/loader/entries/");
        (own || included) && menu.len() == steps.len() && menu.iter().zip(&steps).all(is_step)
    };
    let by_place = candidates.iter().position(is_at);
    by_place.or_else(|| candidates.iter().position(is_called))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::native::fix::entries;

    /// The kernel of the default entry of these files, `saved` in GRUB's environment block.
    fn default(files: &[(&str, &str)], saved: &str) -> String {
        let mut candidates = Vec::new();
        for (file, text) in files {
            let found = entries::read(file, text).into_iter();
            let file = (*file).to_owned();
            candidates.extend(found.map(|entry| EntryCandidate {
                file: file.clone(),
                entry,
                unified: false,
            }));
        }
        for (index, candidate) in candidates.iter_mut().enumerate() {
            if candidate.file.contains("/loader/entries/") {
                candidate.entry.menu[0].index = index;
            }
        }
        let configurations: Vec<_> = files
            .iter()
            .map(|(file, text)| MenuConfiguration {
                file: (*file).to_owned(),
                text: (*text).to_owned(),
            })
            .collect();
        let found = find(&candidates, &configurations, saved).unwrap_or(0);
        candidates[found].entry.kernel.clone()
    }

    const GRUB: &str = "if [ \"${next_entry}\" ] ; then\n   set default=\"${next_entry}\"\nelse\n   \
        set default=\"${saved_entry}\"\nfi\nmenuentry 'New' --id new {\n linux /new\n}\n\
        submenu 'More' --id more {\n menuentry 'Old' --id old {\n linux /old\n }\n}\n";

    #[test]
    fn grub_starts_the_entry_that_was_saved() {
        let of = |saved| default(&[("/boot/grub/grub.cfg", GRUB)], saved);
        for (saved, kernel) in [
            ("", "/new"),
            ("0", "/new"),
            ("more>old", "/old"),
            ("More>Old", "/old"),
            ("1>0", "/old"),
            ("Old", "/old"),
            ("gone", "/new"),
        ] {
            assert_eq!(of(saved), kernel, "{saved}");
        }
        let fixed = GRUB.replace("${saved_entry}", "1>old");
        assert_eq!(default(&[("/boot/grub/grub.cfg", &fixed)], ""), "/old");
    }

    /// What grub2-mkconfig of Fedora and Red Hat writes behind the header.
    const COUNTING: &str = "if [ -n \"${boot_counter}\" -a \"${boot_success}\" = \"0\" ]; then\n  \
        if  [ \"${boot_counter}\" = \"0\" -o \"${boot_counter}\" = \"-1\" ]; then\n    \
        set default=1\n    set boot_counter=-1\n  else\n    decrement boot_counter\n  fi\n  \
        save_env boot_counter\nfi\n";

    #[test]
    fn a_countdown_of_failed_starts_names_no_default() {
        let header = "if [ x ]; then\n set default=\"${saved_entry}\"\nfi\n";
        let flat = "menuentry 'New' {\n linux /new\n}\nmenuentry 'Old' {\n linux /old\n}\n";
        let flat = format!("{header}{COUNTING}{flat}");
        let included = format!("{header}{COUNTING}blscfg\n");
        let files = [
            ("/boot/loader/entries/f00-6.9.conf", "title New\nlinux /new\n"),
            ("/boot/loader/entries/f00-5.1.conf", "title Old\nlinux /old\n"),
            ("/boot/grub2/grub.cfg", included.as_str()),
        ];
        for (saved, kernel) in [("", "/new"), ("Old", "/old")] {
            assert_eq!(default(&[("/boot/grub2/grub.cfg", &flat)], saved), kernel, "{saved}");
            assert_eq!(default(&files, saved), kernel, "{saved}");
        }
        let short = "if [ \"${boot_counter}\" ]; then decrement boot_counter; fi\n";
        for more in ["", short] {
            let later = format!("{flat}{more}set default=Old\n");
            assert_eq!(default(&[("/boot/grub2/grub.cfg", &later)], ""), "/old", "{more}");
        }
    }

    #[test]
    fn entries_in_files_are_saved_by_the_names_of_their_files() {
        let files = [
            ("/boot/loader/entries/f00-6.9.conf", "title New\nlinux /new\n"),
            ("/boot/loader/entries/f00-5.1.conf", "title Old\nlinux /old\n"),
            ("/boot/grub2/grub.cfg", "set default=\"${saved_entry}\"\nblscfg\n"),
        ];
        for (saved, kernel) in [("f00-5.1", "/old"), ("1", "/old"), ("0", "/new"), ("", "/new")] {
            assert_eq!(default(&files, saved), kernel, "{saved}");
        }
    }

    #[test]
    fn systemd_boot_takes_patterns() {
        let of = |name: &str| {
            let text = format!("timeout 3\ndefault {name}\n");
            let files = [
                ("/boot/loader/loader.conf", text.as_str()),
                ("/boot/loader/entries/arch.conf", "linux /new\n"),
                ("/boot/loader/entries/arch-lts.conf", "linux /old\n"),
            ];
            default(&files, "")
        };
        assert_eq!(of("arch-lts.conf"), "/old");
        assert_eq!(of("Arch-*"), "/old");
        assert_eq!(of("@saved"), "/new");
    }

    #[test]
    fn a_long_pattern_matches_nothing() {
        let (pattern, title) = ("*a".repeat(1_000_000), "a".repeat(1_000_000));
        let files = [
            ("/boot/loader/loader.conf", format!("default {pattern}\n")),
            ("/boot/loader/entries/1.conf", "linux /new\n".to_owned()),
            ("/boot/loader/entries/2.conf", format!("title {title}\nlinux /old\n")),
        ];
        let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        assert_eq!(default(&files, ""), "/new");
    }

    #[test]
    fn older_boot_loaders_name_theirs() {
        let legacy = "default=1\ntitle New\n kernel /new\ntitle Old\n kernel /old\n";
        assert_eq!(default(&[("/boot/grub/menu.lst", legacy)], ""), "/old");
        let syslinux = "DEFAULT old\nLABEL new\n KERNEL /new\nLABEL old\n KERNEL /old\n";
        assert_eq!(default(&[("/boot/extlinux.conf", syslinux)], ""), "/old");
        let menu =
            "DEFAULT menu.c32\nLABEL new\n LINUX /new\nLABEL old\n MENU DEFAULT\n LINUX /old\n";
        assert_eq!(default(&[("/boot/extlinux.conf", menu)], ""), "/old");
    }
}
