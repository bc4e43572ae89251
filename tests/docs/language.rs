//! Machine-checkable style of the texts for users: errors are statements, contexts are gerunds,
//! hints begin with a verb, and terms are those of the field. The check reads tokens of the
//! sources, so comments and the wrapping of literals do not matter.

use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Verbs that read as an order at the beginning of an error. Words that are also nouns, such as
/// `export`, are in [`NOUNS_TOO`].
const ORDERS: &[&str] = &[
    "abort",
    "add",
    "allow",
    "ask",
    "begin",
    "believe",
    "call",
    "change",
    "check",
    "choose",
    "claim",
    "close",
    "compare",
    "compute",
    "connect",
    "convert",
    "copy",
    "create",
    "cut",
    "decode",
    "define",
    "delete",
    "describe",
    "detach",
    "determine",
    "discard",
    "empty",
    "encode",
    "end",
    "enter",
    "fetch",
    "find",
    "finish",
    "follow",
    "get",
    "give",
    "handle",
    "have",
    "hold",
    "inspect",
    "install",
    "join",
    "keep",
    "kill",
    "leave",
    "list",
    "load",
    "look",
    "make",
    "measure",
    "mount",
    "move",
    "note",
    "obtain",
    "open",
    "parse",
    "prepare",
    "publish",
    "put",
    "query",
    "reach",
    "read",
    "receive",
    "refresh",
    "register",
    "reject",
    "remove",
    "rename",
    "replace",
    "report",
    "resolve",
    "restore",
    "resume",
    "rewrite",
    "run",
    "save",
    "say",
    "see",
    "seek",
    "select",
    "send",
    "serialize",
    "set",
    "show",
    "shut",
    "start",
    "stop",
    "switch",
    "sync",
    "take",
    "tell",
    "trust",
    "try",
    "undefine",
    "understand",
    "undo",
    "unmount",
    "unpack",
    "update",
    "use",
    "validate",
    "verify",
    "wait",
    "work",
    "write",
];

/// Words that are orders only before an object.
const NOUNS_TOO: &[&str] =
    &["download", "export", "format", "import", "log", "plan", "snapshot", "upload"];

/// How an object begins.
const OBJECTS: &[&str] = &["{", "'", "a ", "all ", "an ", "its ", "of the ", "the ", "what "];

/// Words that may begin a hint.
const ADVICE: &[&str] = &[
    "add",
    "allow",
    "ask",
    "attach",
    "change",
    "check",
    "choose",
    "clone",
    "compare",
    "configure",
    "connect",
    "convert",
    "copy",
    "correct",
    "create",
    "decrypt",
    "define",
    "delete",
    "download",
    "enable",
    "export",
    "fix",
    "free",
    "give",
    "grant",
    "install",
    "leave",
    "make",
    "map",
    "move",
    "name",
    "pass",
    "power",
    "read",
    "reconnect",
    "register",
    "remove",
    "rename",
    "repair",
    "report",
    "resume",
    "run",
    "set",
    "shut",
    "start",
    "stop",
    "try",
    "undo",
    "unpack",
    "use",
    "verify",
    "wait",
    "write",
];

/// Words of the style's "not" column that can be detected, each with its replacement.
const NOT: &[(&str, &str)] = &[
    ("badly", "failed"),
    ("cannot be meant", "usage error"),
    ("died", "crashed"),
    ("dies", "crashes"),
    ("fetch", "download"),
    ("for ever", "without end"),
    ("foretold", "reported"),
    ("goes again", "is removed"),
    ("look at", "inspect or check"),
    ("look whether", "check whether"),
    ("looks at", "inspects or checks"),
    ("looks whether", "checks whether"),
    ("see whether", "check whether"),
    ("sum", "checksum"),
    ("sums", "checksums"),
    ("take back", "undo or remove"),
    ("taken back", "undone or removed"),
    ("tell", "report or print"),
    ("tells", "reports or prints"),
    ("told", "reported or printed"),
    ("took back", "undid or removed"),
    ("whole", "complete"),
];

/// Functions and fields whose text is a context: the activity during which an error occurred.
const CONTEXTS: &[&str] =
    &["act", "action", "call", "child_error", "context", "doing", "file", "io", "with_context"];

/// Test modules, whose texts users never see.
const TESTS: &[&str] = &["tests", "played", "fixture"];

/// Kind of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `#[error("…")]`.
    Error,
    /// Activity during which an error occurred.
    Context,
    /// Suggestion to the user.
    Hint,
    /// Help of a flag or a warning.
    Help,
}

/// A text and its line.
#[derive(Debug)]
struct Text {
    kind: Kind,
    line: usize,
    text: String,
}

/// Fault of a text, if any.
fn fault(kind: Kind, text: &str) -> Option<String> {
    let word = text.split([' ', ':']).next().unwrap_or_default();
    let rest = text.get(word.len()..).unwrap_or_default().trim_start();
    if matches!(kind, Kind::Error | Kind::Context) {
        let is_order = ORDERS.contains(&word)
            || NOUNS_TOO.contains(&word) && OBJECTS.iter().any(|object| rest.starts_with(object));
        if is_order {
            return Some(format!("'{word}' reads as an order"));
        }
    }
    if kind == Kind::Context && text.contains(' ') {
        let is_gerund = word.ends_with("ing") || word.starts_with(['{', '-']) || word == "not";
        if !is_gerund {
            return Some(format!("'{word}' is no gerund"));
        }
    }
    if kind == Kind::Hint && text.split_whitespace().count() > 2 {
        let begins = word.starts_with(|c: char| c.is_ascii_alphabetic());
        if begins && !ADVICE.contains(&word) {
            return Some(format!("the hint begins with '{word}', which is no known verb"));
        }
    }
    let words = format!(" {} ", plain(text));
    let not = NOT.iter().find(|(not, _)| words.contains(&format!(" {not} ")));
    not.map(|(not, say)| format!("'{not}': say '{say}'"))
}

/// Only the words of a text, separated by blanks. File names, options, commands and placeholders
/// are omitted.
fn plain(text: &str) -> String {
    let words = text.split_whitespace();
    let of_speech =
        words.filter(|word| !word.contains(['/', '{', '=', '_', '`']) && !word.starts_with("--"));
    let trimmed = of_speech
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase());
    trimmed.collect::<Vec<_>>().join(" ")
}

/// Texts of a source file.
fn texts(source: &str) -> Vec<Text> {
    let tokens: TokenStream = source.parse().expect("Rust");
    let mut found = Vec::new();
    collect(tokens, false, &mut found);
    found
}

fn collect(tokens: TokenStream, in_hint: bool, found: &mut Vec<Text>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Ident(ident) => {
                let name = ident.to_string();
                match name.as_str() {
                    "mod" if is_tests(&tokens[at..]) => at += 2,
                    "fn" => {
                        let hint = tokens.get(at).is_some_and(is_hint);
                        let body = tokens[at..].iter().position(is_end);
                        let body = body.and_then(|end| tokens.get(at + end));
                        if let (true, Some(TokenTree::Group(body))) = (hint, body) {
                            collect(body.stream(), true, found);
                            at += tokens[at..].iter().position(is_end).map_or(0, |end| end + 1);
                        }
                    }
                    "let" if tokens.get(at).is_some_and(is_hint) => {
                        found.extend(first(&tokens[at + 1..]).map(|text| of(Kind::Hint, text)));
                    }
                    _ if CONTEXTS.contains(&name.as_str()) => {
                        found.extend(argument(&tokens[at..]).map(|text| of(Kind::Context, text)));
                    }
                    _ => {}
                }
            }
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                // An attribute, including doc comments.
                if let Some(TokenTree::Group(group)) = tokens.get(at) {
                    found.extend(of_attribute(group.stream()));
                    at += 1;
                }
            }
            TokenTree::Literal(literal) if in_hint => {
                let text = unquoted(&literal.to_string());
                let line = literal.span().start().line;
                found.extend(text.map(|text| of(Kind::Hint, (line, text))));
            }
            // A pattern searched in other programs' output is no text.
            TokenTree::Group(group) => {
                let before = at.checked_sub(2).and_then(|at| tokens.get(at));
                let is_search = before.is_some_and(|token| {
                    ["contains", "join", "starts_with", "ends_with"]
                        .contains(&token.to_string().as_str())
                });
                collect(group.stream(), in_hint && !is_search, found);
            }
            _ => {}
        }
    }
}

fn of(kind: Kind, (line, text): (usize, String)) -> Text {
    Text { kind, line, text }
}

fn is_tests(tokens: &[TokenTree]) -> bool {
    tokens.first().is_some_and(|name| TESTS.contains(&name.to_string().as_str()))
}

fn is_hint(token: &TokenTree) -> bool {
    let name = token.to_string();
    name == "hint" || name == "remedy" || name.starts_with("hint_of") || name.ends_with("_hint")
}

/// Whether a token ends a function's signature.
fn is_end(token: &TokenTree) -> bool {
    match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    }
}

/// Literal after `=`, also as that of a `format!`.
fn first(tokens: &[TokenTree]) -> Option<(usize, String)> {
    match tokens {
        [TokenTree::Punct(is), rest @ ..] if is.as_char() == '=' => literal(rest),
        _ => None,
    }
}

/// Literal that is the first argument of a call, or the value of a field.
fn argument(tokens: &[TokenTree]) -> Option<(usize, String)> {
    match tokens {
        [TokenTree::Group(group), ..] if group.delimiter() == Delimiter::Parenthesis => {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            literal(&inner)
        }
        [TokenTree::Punct(is), rest @ ..] if [':', '='].contains(&is.as_char()) => literal(rest),
        _ => None,
    }
}

/// Literal at the beginning, also in a `format!`.
fn literal(tokens: &[TokenTree]) -> Option<(usize, String)> {
    match tokens {
        [TokenTree::Literal(literal), ..] => {
            Some((literal.span().start().line, unquoted(&literal.to_string())?))
        }
        [TokenTree::Punct(and), rest @ ..] if ['&', '|'].contains(&and.as_char()) => literal(rest),
        [TokenTree::Ident(name), TokenTree::Punct(_), TokenTree::Group(group), ..]
            if *name == "format" =>
        {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            literal(&inner)
        }
        _ => None,
    }
}

/// Text of `error("…")` or `doc = "…"`.
fn of_attribute(tokens: TokenStream) -> Option<Text> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    match &tokens[..] {
        [TokenTree::Ident(name), TokenTree::Group(group)] if *name == "error" => {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            literal(&inner).map(|text| of(Kind::Error, text))
        }
        [TokenTree::Ident(name), rest @ ..] if *name == "doc" => {
            first(rest).map(|text| of(Kind::Help, text))
        }
        _ => None,
    }
}

/// Content of a string literal, with a blank for each wrapped line.
fn unquoted(literal: &str) -> Option<String> {
    let text = literal.strip_prefix('"')?.strip_suffix('"')?;
    let mut parts = text.split("\\\n").map(str::trim_start);
    let mut whole = parts.next()?.to_owned();
    parts.for_each(|part| whole.push_str(part));
    Some(whole.replace("\\\"", "\""))
}

/// All sources below `src/`, with their relative paths.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("UTF-8");
                let root = super::path("src");
                let name = path.strip_prefix(root).expect("below").to_string_lossy().into_owned();
                found.push((name, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&super::path("src"), &mut found);
    found.retain(|(name, _)| {
        let mut parts = name.trim_end_matches(".rs").split('/');
        !parts.any(|part| TESTS.contains(&part))
    });
    found.sort();
    found
}

/// Whether doc comments of a file are the help of flags.
fn is_help(path: &str) -> bool {
    path.starts_with("settings/") && path != "settings/mod.rs"
}

/// Faults of a source file, one per line.
fn faults(path: &str, source: &str) -> Vec<String> {
    let texts = texts(source).into_iter().filter(|text| text.kind != Kind::Help || is_help(path));
    let faults = texts.filter_map(|Text { kind, line, text }| {
        Some(format!("src/{path}:{line}: {}: {text}", fault(kind, &text)?))
    });
    faults.collect()
}

#[test]
fn errors_hints_and_help_keep_the_style() {
    let sources = sources();
    let found: Vec<_> = sources.iter().flat_map(|(path, text)| faults(path, text)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    // Each kind occurs often: a reader that finds no text would also find no fault.
    let all: Vec<_> = sources.iter().flat_map(|(_, text)| texts(text)).collect();
    for (kind, least) in
        [(Kind::Error, 200), (Kind::Context, 150), (Kind::Hint, 100), (Kind::Help, 1000)]
    {
        let read = all.iter().filter(|text| text.kind == kind).count();
        assert!(read > least, "{read} texts of {kind:?} were read");
    }
}

#[test]
fn warnings_keep_the_style() {
    for code in hyperexport::model::WarningCode::ALL {
        for text in [code.meaning(), code.remedy()] {
            assert_eq!(fault(Kind::Help, text), None, "{code}: {text}");
            assert!(!text.is_empty() && !text.ends_with('.'), "{code}: {text}");
        }
        // The meaning may begin with the name of a program.
        assert!(code.remedy().starts_with(|c: char| c.is_uppercase()), "{code}");
    }
}

#[test]
fn broken_rules_are_found() {
    let broken = r##"
        #[derive(thiserror::Error)]
        enum Error {
            #[error("trust the certificate of {host}")]
            Untrusted,
            #[error("export {disk}: no address")]
            NoUrl,
            #[error("the image is not whole")]
            Cut,
        }
        fn open() {
            file.map_err(Error::io("open the file"))?;
            file.map_err(Error::call(format!("look up {name}")))?;
            let error = Error::File { action: "read", doing: "a bad context" };
        }
        impl Error {
            fn hint(&self) -> Option<String> {
                Some(match self {
                    Self::Cut => "the image was broken off".to_owned(),
                    Self::NoUrl => format!("look at \
                        the server {host}"),
                })
            }
        }
        fn refuse() {
            let hint = "somebody must do this";
        }
    "##;
    let found = faults("libvirt/error.rs", broken);
    let lines: Vec<_> =
        found.iter().filter_map(|fault| fault.split(':').nth(1)?.parse::<usize>().ok()).collect();
    assert_eq!(lines, [4, 6, 8, 12, 13, 14, 14, 19, 20, 26], "{found:#?}");
    let help = "struct Args {\n/// Look at the disks\npub inspect: bool,\n}";
    assert_eq!(faults("settings/pipeline.rs", help).len(), 1);
}

#[test]
fn kept_rules_are_no_faults() {
    let kept = r##"
        //! What looks at the whole disk is no text.
        enum Error {
            /// It tells the whole story.
            #[error("certificate of {host} is not trusted")]
            Untrusted,
            #[error("export lease was lost")]
            Lost,
            #[error(transparent)]
            Other(#[from] Inner),
            #[error("{action} {path}")]
            File,
        }
        fn open() {
            file.map_err(Error::io("opening the file"))?;
            log("open the file");
        }
        impl Error {
            fn hint(&self) -> Option<String> {
                Some(match self {
                    Self::Lost if text.contains("was taken back again") => "run".to_owned(),
                    _ => format!("run the same command again{}", ""),
                })
            }
        }
        mod tests {
            #[error("read this")]
            struct Odd;
        }
    "##;
    assert_eq!(faults("libvirt/error.rs", kept), [""; 0]);
    assert_eq!(fault(Kind::Hint, "pass --checksum=sum, whatever {told} says"), None);
}
