//! Path expressions: parsed or refused with a place and a reason, and the same paths
//! however they are written.

use lisle::sync::{PathErrorKind, PathExpression};

use crate::driver::{Random, fuzz};
use crate::support::{many, watchdog};

const WORDS: &[&[u8]] = &[
    b"path ",
    b" end",
    b";",
    b",",
    b"{",
    b"}",
    b"(",
    b")",
    b"*",
    b"2:",
    b"65535:",
    b"0:",
    b"a",
    b"read",
    b" ",
    b"\n",
    b"((((",
    b"{{{{",
    b"99999999999999999999:",
    b"\xc3\xa9",
];

/// Which of the operations could be performed, in some order.
fn walk(path: &PathExpression, names: &[String]) -> Vec<bool> {
    let mut random = Random::new(names.len() as u64);
    let mut perform = || {
        let name = &names[random.below(names.len())];
        path.try_perform(name.as_str(), || ()).is_some()
    };
    (0..60).map(|_| perform()).collect()
}

/// The same paths with blanks wherever they may be.
fn spaced(text: &str) -> String {
    let mut spaced = String::new();
    for part in text.split_inclusive([';', ',', '(', ')', '{', '}', '*', ':']) {
        let symbol = part.ends_with([';', ',', '(', ')', '{', '}', '*', ':']);
        let (word, symbol) = part.split_at(part.len() - usize::from(symbol));
        spaced += &format!("{word} \n{symbol}\t");
    }
    spaced
}

fn check(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let path = match PathExpression::parse(&text) {
        Ok(path) => path,
        Err(error) => {
            assert!(error.position() <= text.len(), "{error}");
            assert!(!error.to_string().is_empty());
            // The compiler is told the same.
            assert_eq!(text.parse::<PathExpression>().unwrap_err(), error);
            return format!("{:?}", error.kind());
        }
    };
    let names: Vec<String> = path.operations().map(str::to_owned).collect();
    assert!(!names.is_empty() && names.iter().all(|name| path.operation(name).is_ok()));
    let declared: Vec<_> = names.iter().map(String::as_str).collect();
    assert!(PathExpression::parse_declared(&text, &declared).is_ok());
    let unknown = PathExpression::parse_declared(&text, &declared[1..]).unwrap_err();
    assert_eq!(unknown.kind(), PathErrorKind::Unknown);
    let steps = walk(&path, &names);
    assert!(steps.iter().any(|step| *step), "nothing can ever begin");

    let is_whole = text.contains("path") || text.contains("end");
    let framed = (!is_whole).then(|| format!("path {text} end"));
    for same in [Some(spaced(&text)), framed].into_iter().flatten() {
        match PathExpression::parse(&same) {
            Ok(same) => assert_eq!(walk(&same, &names), steps, "{same:?}"),
            Err(error) => assert_eq!(error.kind(), PathErrorKind::TooLarge, "{same:?}: {error}"),
        }
    }
    let begun = steps.iter().filter(|step| **step).count();
    format!("{} operations, {begun} begun", names.len())
}

#[test]
fn paths_are_parsed_or_refused() {
    let _dog = watchdog();
    let rounds = many(20_000) as u64;
    fuzz("paths", &["tests/fuzz/corpus/paths"], WORDS, rounds, check);
}
