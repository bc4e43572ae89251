//! House rules that the compiler does not check: which room may use which, which rooms access the
//! outside world, how long a file may be. ARCHITECTURE.md gives the reasons; change both.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Longest file without its test module, in lines.
const LONGEST_FILE: usize = 500;
/// Longest line of a comment, in columns: rustfmt's `max_width`.
const LONGEST_COMMENT: usize = 100;

/// Rooms, each with the rooms that it may use. `main.rs` and `lib.rs` are no rooms.
const ROOMS: &[(&str, &[&str])] = &[
    ("budget", &[]),
    ("panics", &[]),
    ("model", &[]),
    ("progress", &["model"]),
    ("child", &[]),
    ("kvm", &["child"]),
    ("state", &["model"]),
    ("digest", &["model"]),
    ("manifest", &["digest", "model", "progress", "state"]),
    ("image", &["budget", "model", "panics"]),
    (
        "convert",
        &["budget", "child", "image", "kvm", "manifest", "model", "panics", "progress", "state"],
    ),
    ("domain", &["model"]),
    (
        "libvirt",
        &["budget", "child", "domain", "image", "kvm", "model", "panics", "progress", "state"],
    ),
    ("exporter", &["budget", "digest", "image", "libvirt", "model", "panics", "progress", "state"]),
    (
        "pipeline",
        &[
            "child", "convert", "domain", "exporter", "libvirt", "manifest", "model", "panics",
            "progress", "state",
        ],
    ),
    (
        "settings",
        &[
            "convert", "domain", "exporter", "image", "libvirt", "manifest", "model", "pipeline",
            "state",
        ],
    ),
    ("cli", &["exporter", "model", "panics", "pipeline", "progress", "settings", "state"]),
    ("schemas", &["cli", "convert", "exporter", "manifest", "pipeline"]),
];

/// Words that are allowed only in certain rooms, with the reason.
const BOUND: &[(&str, &[&str], &str)] = &[
    ("virt::", &["libvirt"], "libvirt is behind one door"),
    ("virt_sys::", &["libvirt"], "libvirt is behind one door"),
    ("reqwest::", &["exporter"], "HTTP is behind one door"),
    (
        "quick_xml::",
        &["convert", "exporter", "libvirt"],
        "XML is a matter of wire formats and of wicked",
    ),
    ("isomage::", &["image"], "images are read as bytes in one place"),
    ("process::Command", &["child"], "processes are started in one place"),
    ("Command::new(", &["child"], "processes are started in one place"),
    ("env::var", &["settings"], "the environment is read in one place"),
    ("env::vars", &["settings"], "the environment is read in one place"),
    ("env::var_os", &["settings"], "the environment is read in one place"),
    ("env::vars_os", &["settings"], "the environment is read in one place"),
    ("print!", &["cli"], "only cli prints"),
    ("println!", &["cli"], "only cli prints"),
    ("eprint!", &["cli"], "only cli prints"),
    ("eprintln!", &["cli"], "only cli prints"),
    ("io::stdout()", &["cli"], "only cli prints"),
    ("io::stderr()", &["cli"], "only cli prints"),
    ("indicatif::", &["cli"], "only cli draws"),
    ("clap::", &["cli", "settings"], "only the command line knows clap"),
    ("anyhow::", &["cli", "main"], "rooms have error types of their own"),
    ("fs::read(", READERS, STATE),
    ("fs::read_to_string(", READERS, STATE),
    ("File::open(", OPENERS, STATE),
];
/// Why rooms read state only through `state`.
const STATE: &str = "state and files that users name are read in one place, crate::state";
/// Rooms that read entire files of other kinds: of the system, and of their own work folders.
const READERS: &[&str] =
    &["child", "cli", "convert", "exporter", "image", "kvm", "libvirt", "state"];
/// Rooms that open images and packages.
const OPENERS: &[&str] =
    &["child", "cli", "convert", "exporter", "image", "kvm", "libvirt", "manifest", "state"];

/// Entries at the top of the repository; no other files are allowed there.
const TOP_LEVEL: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "benches",
    "build.rs",
    "clippy.toml",
    "deny.toml",
    "docs",
    "examples",
    "packaging",
    "rustfmt.toml",
    "scripts",
    "src",
    "target",
    "tests",
    "vendor-xml",
];
/// Prefix of exports by a person or `make demo`; Git ignores them too.
const EXPORT: &str = "export-";

/// Most files of one name in `src/`: a search by name then shows all at a glance.
const SAME_NAME: usize = 3;
/// Names that every Rust programmer expects in many folders.
const COMMON_NAMES: &[&str] = &["error.rs", "mod.rs", "tests.rs"];

/// Most files of one room that may import each other in a cycle.
const LARGEST_CYCLE: usize = 2;

/// A file of `src/`.
struct Source {
    /// Path below `src/`.
    path: String,
    /// First part of the path.
    room: String,
    text: String,
    /// Code without test modules, comments and the content of quotes; line numbers are unchanged.
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let room = path.split('/').next().unwrap_or(path).trim_end_matches(".rs").to_owned();
        let code = without_tests(&without_prose(text));
        Self { path: path.to_owned(), room, text: text.to_owned(), code }
    }

    /// Number of nested module folders around the items of this file.
    fn depth(&self) -> usize {
        let folders = self.path.matches('/').count();
        if self.path.ends_with("/mod.rs") { folders } else { folders + 1 }
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let read = |file: &PathBuf| {
        let path = file.strip_prefix(&root).expect("below src").to_str().expect("UTF-8");
        Source::new(path, &fs::read_to_string(file).expect("readable"))
    };
    files.sort();
    files.iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Blanks comments and the content of strings and characters, which may contain any words.
fn without_prose(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = prose(rest).unwrap_or(0);
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..length].chars().map(|c| if c == '\n' { c } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

/// Length of the comment, string or character at the beginning of `text`.
fn prose(text: &str) -> Option<usize> {
    let until = |end: &str, from: usize| {
        text[from..].find(end).map_or(text.len(), |at| from + at + end.len())
    };
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(until("*/", 2));
    }
    if let Some(after) = text.strip_prefix('r') {
        let hashes = after.len() - after.trim_start_matches('#').len();
        return after[hashes..]
            .starts_with('"')
            .then(|| until(&format!("\"{}", "#".repeat(hashes)), hashes + 2));
    }
    if text.starts_with('"') {
        return Some(quoted(text, '"'));
    }
    // A lifetime has no closing quote after its first character.
    let mut chars = text.strip_prefix('\'')?.chars();
    let first = chars.next()?;
    (first == '\\' || chars.next() == Some('\'')).then(|| quoted(text, '\''))
}

/// Length of the text in `quote`s at the beginning of `text`.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        if char == quote && !escaped {
            return at + 1;
        }
        escaped = char == '\\' && !escaped;
    }
    text.len()
}

/// Removes test-only modules. They end at a brace in the first column.
fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut lines = code.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" && lines.peek().is_some_and(|next| next.contains("mod ")) {
            let one_line = lines.peek().is_some_and(|next| next.ends_with(';'));
            let end = if one_line { 1 } else { usize::MAX };
            for (number, line) in lines.by_ref().enumerate() {
                if line == "}" || number + 1 == end {
                    break;
                }
            }
        } else {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// Positions of `word` as an entire word.
fn places<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let after = &code[at + word.len()..];
        let ends = !word.ends_with(is_word) || !after.starts_with(is_word);
        ends && !code[..at].ends_with(is_word)
    })
}

/// First names after `crate::`, also those of a list in braces, each with its position.
fn named_from_root(code: &str) -> Vec<(usize, &str)> {
    let mut names = Vec::new();
    for place in places(code, "crate::") {
        let path = &code[place + "crate::".len()..];
        let Some(list) = path.strip_prefix('{') else {
            names.push((place, first_word(path)));
            continue;
        };
        let mut depth = 0_usize;
        let mut item = 0;
        for (at, char) in list.char_indices() {
            match char {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    names.push((place, first_word(&list[item..at])));
                    item = at + 1;
                    if char == '}' {
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    names
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start();
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

/// Positions of functions with a tuple parameter: the meaning of its parts has no name, least of
/// all in a call.
fn tuple_parameters(code: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for place in places(code, "fn ") {
        // After the name and the generic parameters.
        let after = &code[place + "fn ".len()..];
        let name = after.find(|c| !is_word(c)).unwrap_or(after.len());
        let generics = if after[name..].starts_with('<') { closing(&after[name..]) } else { 0 };
        let list = &after[name + generics..];
        if name > 0 && list.starts_with('(') {
            let parameters = parts(&list[1..closing(list) - 1]);
            found.extend(parameters.iter().any(|one| is_tuple_parameter(one)).then_some(place));
        }
    }
    found
}

/// Length of the bracketed text at the beginning of `text`.
fn closing(text: &str) -> usize {
    let (mut depth, mut before) = (0_usize, ' ');
    for (at, char) in text.char_indices() {
        match char {
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '>' if before != '-' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
        before = char;
    }
    text.len()
}

/// Parts between commas outside of brackets.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut begin, mut at) = (Vec::new(), 0, 0);
    while let Some(char) = text[at..].chars().next() {
        match char {
            '(' | '[' | '{' | '<' => at += closing(&text[at..]),
            ',' => {
                parts.push(text[begin..at].trim());
                at += 1;
                begin = at;
            }
            _ => at += char.len_utf8(),
        }
    }
    parts.extend(Some(text[begin..].trim()).filter(|rest| !rest.is_empty()));
    parts
}

fn is_tuple_parameter(parameter: &str) -> bool {
    let typed = match parameter.strip_prefix('(') {
        Some(_) => return true,
        None => parameter.split_once(':').map_or("", |(_, typed)| typed),
    };
    let mut typed = typed.trim_start_matches(['&', ' ']);
    if let Some(rest) = typed.strip_prefix('\'') {
        typed = rest.trim_start_matches(is_word).trim_start();
    }
    let typed = typed.strip_prefix("mut ").unwrap_or(typed);
    typed.starts_with('(') && parts(&typed[1..closing(typed) - 1]).len() > 1
}

/// Violated rules of a file, one per line.
fn faults(source: &Source) -> Vec<String> {
    let Source { path, room, code, .. } = source;
    let mut faults = Vec::new();
    if !source.text.starts_with("//!") {
        faults
            .push(format!("src/{path}: open with //! and say what the module is responsible for"));
    }
    let lines = code.lines().count();
    if lines > LONGEST_FILE {
        faults.push(format!("src/{path}: {lines} lines are too many, split it at {LONGEST_FILE}"));
    }
    let at = |place: usize| format!("src/{path}:{}", code[..place].matches('\n').count() + 1);
    faults.extend(long_comments(&format!("src/{path}"), &source.text));
    for (word, rooms, reason) in BOUND {
        for place in places(code, word).filter(|_| !rooms.contains(&room.as_str())) {
            faults.push(format!("{}: {word} stands here, but {reason}", at(place)));
        }
    }
    for place in tuple_parameters(code) {
        let advice = "name its parts: parameters, a struct, or Control";
        faults.push(format!("{}: a function takes a tuple, {advice}", at(place)));
    }
    if room == "lib" || room == "main" {
        return faults;
    }
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| name == room) else {
        faults.push(format!("src/{path}: {room} is no room of the table in tests/layout.rs"));
        return faults;
    };
    for (place, name) in named_from_root(code) {
        let is_room = ROOMS.iter().any(|(room, _)| *room == name);
        if is_room && name != room && !allowed.contains(&name) {
            faults.push(format!("{}: {room} may not name {name}", at(place)));
        }
    }
    let out = "super::".repeat(source.depth());
    for place in places(code, &out) {
        faults.push(format!("{}: leaves {room} by {out}, say crate::", at(place)));
    }
    faults
}

/// Comments longer than the limit, which rustfmt does not wrap.
fn long_comments(path: &str, text: &str) -> Vec<String> {
    let is_long =
        |line: &str| line.trim_start().starts_with("//") && line.chars().count() > LONGEST_COMMENT;
    let lines = text.lines().enumerate().filter(|(_, line)| is_long(line));
    lines
        .map(|(number, _)| format!("{path}:{}: wrap it at {LONGEST_COMMENT} columns", number + 1))
        .collect()
}

#[test]
fn comments_of_the_tests_are_wrapped() {
    let mut files = Vec::new();
    for folder in ["tests", "benches", "examples"] {
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut files);
    }
    let read = |path: &PathBuf| fs::read_to_string(path).expect("readable");
    let faults =
        files.iter().flat_map(|path| long_comments(&path.display().to_string(), &read(path)));
    assert_eq!(faults.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_code_keeps_to_its_rooms() {
    let sources = sources();
    for (room, _) in ROOMS {
        assert!(sources.iter().any(|s| s.room == *room), "src/ has no {room}: change the table");
    }
    let faults: Vec<_> = sources.iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// A name that a `use` statement imports into a file.
struct Import {
    path: Vec<String>,
    name: String,
    public: bool,
}

/// The `use` statements of a file, and its code without them.
fn imports(code: &str) -> (Vec<Import>, String) {
    let (mut imports, mut rest) = (Vec::new(), String::new());
    let mut statement: Option<(bool, String)> = None;
    for line in code.lines() {
        let begins = line.trim_start();
        let public = begins.starts_with("pub");
        let begins = begins.split_once("use ").filter(|(vis, _)| {
            vis.is_empty() || vis.trim_end() == "pub" || vis.starts_with("pub(")
        });
        match (&mut statement, begins) {
            (Some((_, text)), _) => text.push_str(line.trim()),
            (None, Some((_, text))) => statement = Some((public, text.trim().to_owned())),
            (None, None) => {
                rest.push_str(line);
                rest.push('\n');
            }
        }
        if let Some((public, text)) = statement.take_if(|(_, text)| text.ends_with(';')) {
            import_tree(text.trim_end_matches(';'), &[], public, &mut imports);
        }
    }
    (imports, rest)
}

/// Adds every name of a `use` tree below `prefix`.
fn import_tree(tree: &str, prefix: &[String], public: bool, imports: &mut Vec<Import>) {
    let tree = tree.trim();
    let Some((head, list)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").map_or((tree, None), |(p, n)| (p, Some(n)));
        let mut path: Vec<_> = prefix.iter().cloned().chain(segments(path)).collect();
        if path.last().is_some_and(|last| last == "self" || last == "*") && path.len() > 1 {
            path.pop();
        }
        let name = name.or(path.last().map(String::as_str)).unwrap_or_default().to_owned();
        return imports.push(Import { path, name, public });
    };
    let prefix: Vec<_> = prefix.iter().cloned().chain(segments(head)).collect();
    let (mut depth, mut item) = (0_usize, 0);
    for (at, char) in list.char_indices() {
        match char {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                if !list[item..at].trim().is_empty() {
                    import_tree(&list[item..at], &prefix, public, imports);
                }
                item = at + 1;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
}

fn segments(path: &str) -> impl Iterator<Item = String> {
    path.split("::").map(str::trim).filter(|segment| !segment.is_empty()).map(str::to_owned)
}

/// Paths in code outside of `use` statements.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for root in ["crate::", "super::", "self::"] {
        for place in places(code, root) {
            // The rest of a longer path, or a visibility: `pub(in crate::room)`.
            if code[..place].ends_with("::") || code[..place].ends_with("(in ") {
                continue;
            }
            let path = &code[place..];
            let end = path.find(|c: char| !is_word(c) && c != ':').unwrap_or(path.len());
            found.push(segments(&path[..end]).collect());
        }
    }
    found
}

/// Imports between files.
struct Graph {
    /// Index of each file by its module path.
    modules: BTreeMap<Vec<String>, usize>,
    /// Module path of each file.
    paths: Vec<Vec<String>>,
    imports: Vec<Vec<Import>>,
}

impl Graph {
    fn new(sources: &[Source]) -> Self {
        let path = |source: &Source| {
            let path = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
            path.split('/').map(str::to_owned).collect::<Vec<_>>()
        };
        let paths: Vec<_> = sources.iter().map(path).collect();
        let modules = paths.iter().cloned().enumerate().map(|(at, path)| (path, at)).collect();
        let imports = sources.iter().map(|source| imports(&source.code).0).collect();
        Self { modules, paths, imports }
    }

    /// The file that defines what `path` means in the file `from`. Re-exports are followed to the
    /// defining file.
    fn definition(&self, from: usize, path: &[String], hops: usize) -> Option<usize> {
        let mut module = self.paths[from].clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => {
                module.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {}
            first => {
                module.push(first.to_owned());
                if !self.modules.contains_key(&module) {
                    return None;
                }
                rest = &rest[1..];
            }
        }
        for segment in rest {
            if segment == "super" {
                module.pop();
                continue;
            }
            module.push(segment.clone());
            if self.modules.contains_key(&module) {
                continue;
            }
            module.pop();
            let file = *self.modules.get(&module)?;
            let import = self.imports[file].iter().find(|import| import.name == *segment);
            return match import.filter(|_| hops > 0) {
                Some(import) => self.definition(file, &import.path, hops - 1).or(Some(file)),
                None => Some(file),
            };
        }
        self.modules.get(&module).copied()
    }

    /// Files of the same room that a file imports from. Re-exports of a `mod.rs` do not count as
    /// imports.
    fn neighbours(&self, sources: &[Source], from: usize) -> BTreeSet<usize> {
        let source = &sources[from];
        let is_door = source.path.ends_with("mod.rs");
        let imported = self.imports[from].iter().filter(|import| !(import.public && is_door));
        let mut paths = paths(&imports(&source.code).1);
        paths.extend(imported.map(|import| import.path.clone()));
        let files = paths.iter().filter_map(|path| self.definition(from, path, 8));
        files.filter(|file| *file != from && sources[*file].room == source.room).collect()
    }
}

/// Groups of files of one room that import each other in a cycle, largest first.
fn cycles(sources: &[Source]) -> Vec<Vec<&str>> {
    let graph = Graph::new(sources);
    let next: Vec<_> = (0..sources.len()).map(|at| graph.neighbours(sources, at)).collect();
    let reached = |from: usize| {
        let (mut reached, mut left) = (BTreeSet::new(), vec![from]);
        while let Some(at) = left.pop() {
            left.extend(next[at].iter().filter(|to| reached.insert(**to)));
        }
        reached
    };
    let reached: Vec<_> = (0..sources.len()).map(reached).collect();
    let group = |at: usize| -> Vec<usize> {
        reached[at].iter().copied().filter(|to| reached[*to].contains(&at)).collect()
    };
    let groups: BTreeSet<_> = (0..sources.len()).map(group).collect();
    let names = |group: &Vec<usize>| group.iter().map(|at| sources[*at].path.as_str()).collect();
    let mut groups: Vec<Vec<&str>> = groups.iter().map(names).collect();
    groups.retain(|group| group.len() > LARGEST_CYCLE);
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    groups
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = sources();
    let cycles = cycles(&sources);
    let lists: Vec<_> = cycles.iter().map(|files| files.join(" ")).collect();
    assert!(lists.is_empty(), "\n{}\n", lists.join("\n"));
}

#[test]
fn cycles_are_found_behind_re_exports() {
    let file = |path: &str, code: &str| Source::new(path, &format!("//! A file.\n{code}"));
    let mut sources = vec![
        file("image/mod.rs", "mod a;\nmod b;\nmod c;\npub use a::A;\npub use c::{\n    C,\n};"),
        file("image/a.rs", "use super::b::{self, B};"),
        file("image/b.rs", "pub struct B;\nfn f(c: super::C) {}"),
        file("image/c.rs", "use crate::{image::A, model::D};\npub struct C;"),
        file("image/d.rs", "use super::a::A as Other;"),
    ];
    assert_eq!(cycles(&sources), [["image/a.rs", "image/b.rs", "image/c.rs"]]);
    sources.remove(2);
    assert!(cycles(&sources).is_empty(), "{:?}", cycles(&sources));
}

#[test]
fn few_files_have_the_same_name() {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Source { path, .. } in sources() {
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        names.entry(name).or_default().push(path);
    }
    names.retain(|name, files| files.len() > SAME_NAME && !COMMON_NAMES.contains(&name.as_str()));
    assert!(names.is_empty(), "more than {SAME_NAME} files have one name: {names:#?}");
}

#[test]
fn the_top_level_is_the_agreed_one() {
    for entry in fs::read_dir(env!("CARGO_MANIFEST_DIR")).expect("a folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        let known =
            TOP_LEVEL.contains(&name.as_str()) || name.starts_with(EXPORT) || name.starts_with('.');
        assert!(known, "{name} is not part of the top level that tests/layout.rs lists");
    }
}

/// Faults of a file with that path and code.
fn wrong(path: &str, code: &str) -> String {
    faults(&Source::new(path, &format!("//! A room.\n{code}"))).join("\n")
}

#[test]
fn broken_rules_are_found() {
    for (path, code, fault) in [
        (
            "model/x.rs",
            "use crate::libvirt::Connection;",
            "model/x.rs:2: model may not name libvirt",
        ),
        ("domain/x.rs", "use crate::{\n model::{A, B},\n convert,\n};", "may not name convert"),
        ("domain/x.rs", "fn f(x: crate::cli::X) {}", "may not name cli"),
        ("domain/mod.rs", "use super::libvirt;", "leaves domain by super::"),
        ("libvirt/xml/x.rs", "use super::super::super::cli;", "leaves libvirt"),
        ("domain/x.rs", "use virt::connect::Connect;", "libvirt is behind one door"),
        ("convert/x.rs", "\n\nuse std::process::Command;", "convert/x.rs:4: process::Command"),
        ("exporter/x.rs", "fn f() { std::env::var_os(\"X\"); }", "the environment"),
        ("exporter/x.rs", "fn f() { println!(); }", "only cli prints"),
        ("pipeline/x.rs", "fn f() -> anyhow::Result<()> {}", "error types of their own"),
        ("pipeline/x.rs", "fn f() { fs::read(\"result.json\"); }", "read in one place"),
        ("settings/x.rs", "fn f() { File::open(\"key\"); }", "read in one place"),
        ("image/x.rs", "fn f((a, b): (u8, bool)) {}", "image/x.rs:2: a function takes a tuple"),
        (
            "image/x.rs",
            "impl A {\n fn f<'a, T: Fn(u8) -> B>(\n &self,\n x: &'a (A, B),\n) {}\n}",
            "x.rs:3: a function takes",
        ),
        ("attic/x.rs", "", "no room of the table"),
        ("model/x.rs", &"fn f() {}\n".repeat(500), "501 lines are too many"),
        ("model/x.rs", &format!("/// {}", "word ".repeat(20)), "x.rs:2: wrap it at 100 columns"),
    ] {
        let found = wrong(path, code);
        assert!(found.contains(fault), "{path}: {code}\nfound: {found}");
    }
    let silent = faults(&Source::new("model/x.rs", "fn f() {}"));
    assert!(silent[0].contains("open with //!"), "{silent:?}");
}

#[test]
fn kept_rules_are_no_faults() {
    for (path, code) in [
        ("libvirt/x.rs", "use crate::{domain, model};\nuse virt::connect::Connect;"),
        ("libvirt/xml/x.rs", "use super::super::Error;"),
        (
            "image/x.rs",
            "fn f(E { a, b }: E, x: &(dyn A + 'a), y: fn((u8, u8)) -> B, z: ()) -> (A, B) {}",
        ),
        ("image/x.rs", "fn f(x: impl Fn((u8, u8)), y: Vec<(A, B)>) { g(|(a, b): (A, B)| a) }"),
        ("model/x.rs", "// crate::cli prints by println!\n/* virt:: */ fn f<'a>(x: &'a str) {}"),
        ("model/x.rs", "const A: &str = \"crate::cli \\\" println!\"; const B: char = '\"';"),
        ("model/x.rs", "const A: &str = r#\"use \"crate::cli\"\"#;"),
        ("model/x.rs", "use crate::libvirtual;\nfn f() { xprintln!(); }"),
        ("model/x.rs", "#[cfg(test)]\nmod tests {\n    use crate::cli;\n}\n"),
        ("convert/x.rs", "fn f() { std::env::current_dir(); }"),
    ] {
        assert_eq!(wrong(path, code), "", "{path}: {code}");
    }
}
