//! What the documents of the repository refer to exists: files, headings, and the functions of the walks in `ARCHITECTURE.md`.
//!
//! `scripts/check` runs this. All that is stale is listed at once, each with its line and, where it can be told, with where it is now.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Folders that hold none of our sources or documents.
const SKIPPED: [&str; 4] = ["target", "node_modules", "dist", "generated"];
/// What a path in a document begins with, when it is one from the root of the repository.
const TOP: [&str; 9] = [
    "common/",
    "deploy/",
    "docs/",
    "frontend/",
    "gamestream/",
    "scripts/",
    "streamer/",
    "tests/",
    "web-server/",
];
/// The section with the walks, and how many there are.
const WALKS: (&str, usize) = ("## Five walks", 5);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Every file of the repository below `dir` with one of these extensions, by its path from the root.
fn files(dir: &Path, extensions: &[&str], found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with('.') || SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            files(&path, extensions, found);
        } else if extensions.iter().any(|extension| name.ends_with(extension)) {
            let relative = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            found.insert(relative, std::fs::read_to_string(&path).unwrap());
        }
    }
}

fn all(extensions: &[&str]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    files(&root(), extensions, &mut found);
    found
}

/// Lines of a document with their numbers from 1, without its blocks of code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        (!in_code && !fence).then_some((index + 1, line))
    })
}

/// A line's spans of code, and the line without them.
fn spans(line: &str) -> (Vec<&str>, String) {
    let parts: Vec<&str> = line.split('`').collect();
    let code = parts.iter().skip(1).step_by(2).copied().collect();
    (code, parts.iter().step_by(2).copied().collect::<Vec<_>>().join("` `"))
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text).filter_map(|(_, line)| line.strip_prefix('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

/// Where a link in the document `from` leads, as a path from the root; `None` outside of the repository.
fn resolved(from: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir => drop(parts.pop()?),
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

/// What is wrong with a link; those to other sites are not looked at.
fn broken(documents: &BTreeMap<String, String>, from: &str, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, fragment) =
        link.split_once('#').map_or((link, None), |(path, fragment)| (path, Some(fragment)));
    let target = if path.is_empty() { Some(from.to_owned()) } else { resolved(from, path) };
    let Some(target) = target.filter(|target| root().join(target).exists()) else {
        return Some(format!("there is no {path}"));
    };
    let fragment = fragment?;
    let found =
        documents.get(&target).is_some_and(|text| anchors(text).iter().any(|anchor| anchor == fragment));
    (!found).then(|| format!("{target} has no heading #{fragment}"))
}

/// Targets of the links of a line that has no spans of code any more.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let inline = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let defined =
        line.strip_prefix('[').and_then(|line| line.split_once("]: ")).map(|(_, target)| target.trim());
    inline.chain(defined)
}

#[test]
fn links_and_paths_in_documents_lead_somewhere() {
    let documents = all(&[".md"]);
    let mut stale = Vec::new();
    let mut seen = 0;
    for (name, text) in &documents {
        for (number, line) in prose(text) {
            let (code, line) = spans(line);
            for link in links(&line) {
                seen += 1;
                stale.extend(broken(&documents, name, link).map(|why| format!("{name}:{number}: {why}")));
            }
            for path in code.iter().filter(|code| is_path(code)) {
                seen += 1;
                if !root().join(path).exists() {
                    stale.push(format!("{name}:{number}: there is no {path}"));
                }
            }
        }
    }
    assert!(seen > 100, "only {seen} links and paths were found: the documents are not read");
    assert!(stale.is_empty(), "\n{}", stale.join("\n"));
}

/// Whether a span of code is a path from the root, and no pattern or command.
fn is_path(code: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "/-_.".contains(c);
    TOP.iter().any(|top| code.starts_with(top)) && code.chars().all(plain) && !code.contains("..")
}

/// A step of a walk: a file, and the functions of it that are named.
#[derive(Debug)]
struct Step {
    line: usize,
    file: String,
    functions: Vec<String>,
}

/// The steps of each walk by its heading. A span of code that ends like a source names a file; one that ends in `()` a function of the file before it.
fn walks(text: &str) -> Vec<(String, Vec<Step>)> {
    let mut walks: Vec<(String, Vec<Step>)> = Vec::new();
    let section = prose(text).skip_while(|(_, line)| *line != WALKS.0).skip(1);
    for (line, content) in section.take_while(|(_, line)| !line.starts_with("## ")) {
        if let Some(heading) = content.strip_prefix("### ") {
            walks.push((heading.to_owned(), Vec::new()));
        }
        let Some((_, steps)) = walks.last_mut() else { continue };
        for code in spans(content).0 {
            let file = [".rs", ".ts", ".tsx"].iter().any(|extension| code.ends_with(extension));
            if file {
                steps.push(Step { line, file: code.to_owned(), functions: Vec::new() });
            } else if let (Some(function), Some(step)) = (code.strip_suffix("()"), steps.last_mut()) {
                step.functions.push(function.to_owned());
            }
        }
    }
    walks
}

/// Whether a source defines a function: `name`, or `Type::name` when it names the type too.
fn defines(file: &str, source: &str, function: &str) -> bool {
    let mut path = function.rsplit("::");
    let name = path.next().unwrap();
    if !path.all(|of| word_at(source, of, |_| true)) {
        return false;
    }
    let opens = |rest: &str| rest.starts_with(['(', '<']);
    if file.ends_with(".rs") {
        return word_at(source, &format!("fn {name}"), opens);
    }
    let line_of_method = |line: &str| {
        let line = line.trim_start();
        let modifiers = ["private ", "async ", "static ", "readonly ", "#"];
        let line = modifiers.iter().fold(line, |line, modifier| line.strip_prefix(modifier).unwrap_or(line));
        line.strip_prefix(name).is_some_and(|rest| opens(rest) || rest.starts_with(" = ("))
            && !line.ends_with(';')
    };
    word_at(source, &format!("function {name}"), opens) || source.lines().any(line_of_method)
}

/// Whether a source has `word`, not as a part of a longer one, and what follows it is accepted.
fn word_at(source: &str, word: &str, accepted: impl Fn(&str) -> bool) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    source.match_indices(word).any(|(at, _)| {
        let after = &source[at + word.len()..];
        !source[..at].ends_with(part_of_word) && !after.starts_with(part_of_word) && accepted(after)
    })
}

#[test]
fn every_step_of_the_walks_names_a_file_and_functions_that_it_has() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let sources = all(&[".rs", ".ts", ".tsx"]);
    let walks = walks(&text);
    assert_eq!(walks.len(), WALKS.1, "walks in ARCHITECTURE.md: {walks:?}");
    let mut stale = Vec::new();
    for (walk, steps) in &walks {
        assert!(steps.len() >= 4, "{walk} has {} steps", steps.len());
        for Step { line, file, functions } in steps {
            let at = format!("ARCHITECTURE.md:{line}");
            let Some(source) = sources.get(file) else {
                stale.push(format!("{at}: there is no {file}{}", moved(&sources, functions)));
                continue;
            };
            if functions.is_empty() {
                stale.push(format!("{at}: no function of {file} is named"));
            }
            for function in functions.iter().filter(|function| !defines(file, source, function)) {
                let now = moved(&sources, std::slice::from_ref(function));
                stale.push(format!("{at}: {file} has no {function}(){now}"));
            }
        }
    }
    assert!(stale.is_empty(), "\n{}", stale.join("\n"));
}

/// Says which files define all of these functions, where they are few.
fn moved(sources: &BTreeMap<String, String>, functions: &[String]) -> String {
    let all = |(file, source): &(&String, &String)| {
        functions.iter().all(|function| defines(file, source, function))
    };
    let found: Vec<&str> = sources
        .iter()
        .filter(|(file, _)| !file.starts_with("tests/"))
        .filter(all)
        .map(|(file, _)| file.as_str())
        .collect();
    if functions.is_empty() || found.is_empty() || found.len() > 4 {
        return String::new();
    }
    format!(
        "; {} {} in {}",
        functions.join(", "),
        if functions.len() == 1 { "is" } else { "are" },
        found.join(", ")
    )
}

/// Names of the entries of a folder, without hidden ones and those that are made.
fn names(dir: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(dir)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.') && !SKIPPED.contains(&name.as_str())).collect()
}

#[test]
fn the_code_map_lists_every_crate_package_and_script() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, map) = text.split_once("## Code map").unwrap();
    let map = map.split("\n## ").next().unwrap();
    let packages = names("frontend").into_iter().filter(|name| root().join("frontend").join(name).is_dir());
    let tests = names("tests").into_iter().chain(names("scripts")).chain(packages);
    let missing: Vec<String> = tests.filter(|name| !word_at(map, name, |_| true)).collect();
    assert!(missing.is_empty(), "not in the code map of ARCHITECTURE.md: {missing:?}");
}

#[test]
fn what_is_stale_is_seen() {
    let documents =
        BTreeMap::from([("docs/API.md".to_owned(), "# A heading\n```\n# none\n```\n".to_owned())]);
    assert_eq!(broken(&documents, "README.md", "docs/API.md#a-heading"), None);
    assert_eq!(broken(&documents, "docs/CONFIG.md", "API.md#a-heading"), None);
    assert!(broken(&documents, "docs/CONFIG.md", "API.md#none").is_some());
    assert!(broken(&documents, "docs/CONFIG.md", "docs/API.md").is_some());
    assert!(broken(&documents, "README.md", "../outside").is_some());
    let rust = "impl Shard { pub fn run<T>(self) {} fn on_unit(&mut self) {} }";
    assert!(defines("a.rs", rust, "Shard::run") && defines("a.rs", rust, "on_unit"));
    assert!(!defines("a.rs", rust, "on") && !defines("a.rs", rust, "Peer::run"));
    let script =
        "  private async open(url: string): void {\n    this.close();\n  }\nexport function start(): void {}";
    assert!(defines("a.ts", script, "open") && defines("a.ts", script, "start"));
    assert!(!defines("a.ts", script, "close"));
}
