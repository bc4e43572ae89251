//! `hyperexport man`: manual pages, generated from the command line.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::Exit;
use super::args::ManArgs;
use super::render::print_line;

/// Header of every page.
const SOURCE: &str = concat!("hyperexport ", env!("CARGO_PKG_VERSION"));
/// The date of a page is that of its release: two builds of one release make the same page.
const CHANGELOG: &str = include_str!("../../CHANGELOG.md");

/// Prints the main page, or writes all of them.
///
/// # Errors
/// A file that exists, or that cannot be written.
pub fn run(args: &ManArgs) -> anyhow::Result<Exit> {
    let pages = pages().context("rendering the manual pages")?;
    match &args.output {
        Some(folder) => {
            fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
            for (name, page) in &pages {
                let path = folder.join(name);
                write(&path, page).with_context(|| format!("writing {}", path.display()))?;
            }
        }
        None => {
            let main = pages.iter().take(1).flat_map(|(_, page)| page.lines());
            main.into_iter().try_for_each(print_line).context("printing the manual page")?;
        }
    }
    Ok(Exit::Done)
}

fn write(path: &Path, page: &str) -> io::Result<()> {
    File::create_new(path)?.write_all(page.as_bytes())
}

/// File name and text of every page, the main one first.
fn pages() -> io::Result<Vec<(String, String)>> {
    let mut command = super::command();
    command.build();
    let shown = |command: &&clap::Command| !command.is_hide_set();
    let verbs: Vec<_> = command.get_subcommands().filter(shown).cloned().collect();
    let name = |verb: &clap::Command| format!("hyperexport-{}", verb.get_name());
    let others: Vec<_> = verbs.iter().map(name).collect();
    let mut pages = vec![page(command, "hyperexport", &others)?];
    for verb in verbs {
        let name = name(&verb);
        pages.push(page(verb, &name, &["hyperexport".to_owned()])?);
    }
    Ok(pages)
}

fn page(command: clap::Command, name: &str, others: &[String]) -> io::Result<(String, String)> {
    let after_help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let has_verbs = command.get_subcommands().any(|verb| !verb.is_hide_set());
    let man = Man::new(command).title(name).date(released()).source(SOURCE).manual("hyperexport");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_verbs {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    as_it_stands(&mut rest, &after_help);
    rest.control("SH", ["SEE ALSO"]);
    let others: Vec<_> = others.iter().map(|other| format!("{other}(1)")).collect();
    rest.text([roman(others.join(", "))]);
    rest.to_writer(&mut page)?;
    let page = String::from_utf8(page).map_err(io::Error::other)?;
    // What clap_mangen writes for an empty line is none for mandoc.
    let page = page.replace("\n.br\n\n.br\n", "\n.sp\n").replace("\n\n.br\n", "\n.br\n");
    Ok((format!("{name}.1"), page))
}

/// Blocks of a title, `Example:`, and lines that keep their breaks: one section each.
fn as_it_stands(roff: &mut Roff, text: &str) {
    for block in text.split("\n\n") {
        let Some((title, lines)) = block.trim_matches('\n').split_once('\n') else { continue };
        roff.control("SH", [title.trim_end_matches(':').to_uppercase().as_str()]);
        roff.control("nf", []);
        lines.lines().for_each(|line| {
            roff.text([roman(line)]);
        });
        roff.control("fi", []);
    }
}

/// The date of the last release.
fn released() -> &'static str {
    let releases = CHANGELOG.lines().filter_map(|line| line.strip_prefix("## "));
    releases.filter_map(|title| title.split_once(" - ")).map(|(_, date)| date).next().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shown_verb_has_a_page_and_the_version_is_released() {
        let pages = pages().expect("rendered");
        let names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[0], "hyperexport.1");
        assert!(names.contains(&"hyperexport-convert.1"), "{names:?}");
        assert!(!names.contains(&"hyperexport-man.1"), "{names:?}");
        let release = format!("## {} - {}", env!("CARGO_PKG_VERSION"), released());
        assert!(CHANGELOG.lines().any(|line| line == release), "CHANGELOG.md has no '{release}'");
        for (name, page) in &pages {
            assert!(page.contains(released()), "{name} has no date: {page}");
        }
    }
}
