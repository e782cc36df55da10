// SPDX-License-Identifier: BSD-2-Clause
//! The core's layers: a file imports from the layers before its own, and names nothing the core must not know.

use crate::source::{Named, Source};

/// The layers by folder (or file), each importing only those before it.
const LAYERS: [&str; 5] = ["words", "memory", "state", "stages", "tunnel"];
/// The layer whose members (files or folders) may not import one another.
const STAGES: &str = "stages";
/// What a heap-free engine without a clock has no words for.
const BANNED_WORDS: [(&str, &str); 4] = [
    ("unsafe", "the core is safe code"),
    ("SystemTime", "time is an argument"),
    ("f32", "routers have no floating-point unit"),
    ("f64", "routers have no floating-point unit"),
];

/// Everything that is wrong with the core's file at `path` (relative to `core/src`), one `path:line: reason` each.
pub(crate) fn violations(path: &str, text: &str) -> Vec<String> {
    let source = Source::read(text);
    let module = module_of(path);
    let mut found = Vec::new();
    if module.first().is_some_and(|layer| rank(layer).is_none()) {
        found.push((1, format!("is in no layer; the layers are {}", LAYERS.join(", "))));
    }
    for (line, word) in &source.words {
        if let Some((_, why)) = BANNED_WORDS.iter().find(|(banned, _)| banned == word) {
            found.push((*line, format!("names `{word}`: {why}")));
        }
        if ["include", "path"].contains(&word.as_str()) && is_inclusion(text, *line, word) {
            found.push((*line, format!("`{word}` brings in code from outside its folder")));
        }
    }
    found.extend(source.floats.iter().map(|line| (*line, "uses a float: routers have no floating-point unit".into())));
    for named in &source.paths {
        let reason = banned_path(named).or_else(|| backward_import(&module, named));
        found.extend(reason.map(|reason| (named.line, reason)));
    }
    found.sort();
    found.into_iter().map(|(line, reason)| format!("{path}:{line}: {reason}")).collect()
}

fn banned_path(named: &Named) -> Option<String> {
    let written = named.segments.join("::");
    let first = named.segments.first()?;
    // Tests run on a machine that has both; the heap-free proof links what ships.
    if !named.tested && (first == "std" || first == "alloc") {
        return Some(format!("names `{written}`: the core has neither std nor a heap"));
    }
    if named.imported && named.segments == ["self"] {
        return Some("renames the crate, which would hide what is imported".into());
    }
    let reads_clock = named.segments.windows(2).any(|pair| pair == ["Instant", "now"]);
    reads_clock.then(|| format!("names `{written}`: time is an argument"))
}

/// Why the file of `module` must not name `named`, if it must not.
fn backward_import(module: &[String], named: &Named) -> Option<String> {
    let own = module.first()?;
    let target = resolve(module, named)?;
    let written = named.segments.join("::");
    let Some(layer) = target.first().filter(|layer| *layer != "*") else {
        return Some(format!("`{written}` names the whole crate, which hides what is imported"));
    };
    let Some(target_rank) = rank(layer) else {
        return Some(format!("`{written}` is in no layer; the layers are {}", LAYERS.join(", ")));
    };
    if rank(own).is_some_and(|own_rank| own_rank < target_rank) {
        return Some(format!("`{written}` imports {layer}, which comes after {own}"));
    }
    let other_stage = own == STAGES && layer == STAGES && target.get(1) != module.get(1) && target.len() > 1;
    let whole_layer = own == STAGES && target == [STAGES] && module.len() > 1;
    (other_stage || whole_layer).then(|| format!("`{written}` imports a stage into another; `tunnel` wires stages"))
}

/// The path from the crate's root, or `None` for a path into another crate or down from here.
fn resolve(module: &[String], named: &Named) -> Option<Vec<String>> {
    let mut at: Vec<String> = module.iter().chain(&named.inside).cloned().collect();
    let mut segments = named.segments.iter().peekable();
    match segments.peek()?.as_str() {
        "crate" => at.clear(),
        "self" | "super" => {}
        _ => return None,
    }
    while let Some(step) = segments.next_if(|step| ["crate", "self", "super"].contains(&step.as_str())) {
        if step == "super" {
            at.pop();
        }
    }
    at.extend(segments.cloned());
    // What is reached through an inline module of this file is this file's own affair; a glob of its parent is not.
    Some(at)
}

fn rank(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|known| *known == layer)
}

/// `state/link.rs` is `[state, link]`; `state/mod.rs` is `[state]`; `lib.rs` is the root.
fn module_of(path: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    stem.split('/').filter(|part| !["mod", "lib"].contains(part)).map(String::from).collect()
}

/// Whether `word` on `line` is `include!` or `#[path = ..]` rather than a name of the code's own.
fn is_inclusion(text: &str, line: usize, word: &str) -> bool {
    let line = text.lines().nth(line - 1).unwrap_or_default().replace(' ', "");
    line.contains(&format!("#[{word}=")) || line.contains(&format!("{word}!("))
}

#[track_caller]
fn assert_refused(path: &str, text: &str, reason: &str) {
    let found = violations(path, text);
    assert_eq!(found.len(), 1, "{path} holding {text:?} should break one rule, but: {found:?}");
    assert!(found[0].contains(reason), "expected {reason:?}, found {found:?}");
}

#[test]
fn a_layer_that_imports_a_later_one_is_reported() {
    assert_refused(
        "words/time.rs",
        "use crate::stages::seal::Sealer;",
        "words/time.rs:1: `crate::stages::seal::Sealer`",
    );
    assert_refused("memory/pool.rs", "use crate::{words::ids::LinkId, state::link::Link};", "imports state");
    assert_refused("state/mod.rs", "pub use crate::tunnel::Tunnel;", "imports tunnel");
    assert_refused("stages/seal.rs", "fn f(tunnel: &crate::tunnel::Tunnel) {}", "imports tunnel");
}

#[test]
fn a_path_inside_a_function_counts_like_an_import() {
    assert_refused("words/ids.rs", "// why\nfn f() -> u8 { g(|| crate::memory::pool::SIZE) }", "words/ids.rs:2:");
    assert_refused("words/ids.rs", "macro_rules! m { () => { $crate::state::link::X } }", "imports state");
}

#[test]
fn climbing_out_of_a_layer_counts_like_an_import() {
    assert_refused("words/time.rs", "use super::super::stages::seal;", "imports stages");
    assert_refused("words/time.rs", "mod tests { use super::super::super::state::link; }", "imports state");
    assert_refused("words/time.rs", "#[cfg(test)] mod tests { use crate::state::link; }", "imports state");
    assert_refused("words/time.rs", "use super::super::*;", "names the whole crate");
    assert_refused("words/time.rs", "use crate as root;", "names the whole crate");
    assert_refused("words/time.rs", "extern crate self as root;", "renames the crate");
}

#[test]
fn a_stage_that_imports_a_stage_is_reported() {
    assert_refused("stages/seal.rs", "use crate::stages::open::Opener;", "imports a stage into another");
    assert_refused("stages/seal.rs", "use super::open::Opener;", "imports a stage into another");
    assert_refused("stages/reorder/ring.rs", "use super::super::seal;", "imports a stage into another");
    assert_refused("stages/seal.rs", "use super::*;", "imports a stage into another");
    assert_refused("stages/seal.rs", "use crate::stages;", "imports a stage into another");
}

#[test]
fn what_the_core_has_no_words_for_is_reported() {
    assert_refused("words/a.rs", "use std::vec::Vec;", "neither std nor a heap");
    assert_refused(
        "words/a.rs",
        "#[cfg(test)] mod tests {} fn f() { std::process::exit(1) }",
        "neither std nor a heap",
    );
    assert_refused("words/a.rs", "extern crate alloc;", "neither std nor a heap");
    assert_refused("words/a.rs", "fn f(x: ::alloc::boxed::Box<u8>) {}", "neither std nor a heap");
    assert_refused("words/a.rs", "fn f() { unsafe { g() } }", "safe code");
    assert_refused("words/a.rs", "fn f() { Instant::now() }", "time is an argument");
    assert_refused("words/a.rs", "use core::x::SystemTime;", "time is an argument");
    assert_refused("words/a.rs", "type T = f64;", "floating-point");
    assert_refused("words/a.rs", "const T: u8 = (2.5) as u8;", "float");
    assert_refused("words/a.rs", "#[path = \"../stages/seal.rs\"] mod seal;", "outside its folder");
    assert_refused("words/a.rs", "include!(\"b.rs\");", "outside its folder");
    assert_refused("extras/a.rs", "", "is in no layer");
}

#[test]
fn what_the_layers_allow_is_not_reported() {
    let allowed = [
        ("lib.rs", "pub mod words; pub use tunnel::Tunnel;"),
        ("words/time.rs", "use super::ids::LinkId; mod tests { use super::*; use crate::words::ids; }"),
        ("words/mod.rs", "pub(super) fn f() {} pub(in crate::words) mod time; use self::time::Instant;"),
        ("state/link.rs", "use crate::{memory::packet::Packet, state::keys, words::time::Instant};"),
        (
            "stages/reorder/ring.rs",
            "use super::Reorder; use crate::stages::reorder::gap; use crate::state::link::Link;",
        ),
        ("stages/seal.rs", "mod tests { use super::*; use core::fmt; } fn alloc(std: u8) -> u8 { std + pair.0.1 }"),
        ("stages/open.rs", "#[cfg(test)] mod tests { extern crate std; use std::vec::Vec; }"),
        ("tunnel/mod.rs", "use crate::stages::{open, seal}; mod timers;"),
        ("tunnel/timers.rs", "use super::Tunnel; use crate::stages::reorder;"),
    ];
    for (path, text) in allowed {
        assert_eq!(violations(path, text), Vec::<String>::new(), "{text}");
    }
}
