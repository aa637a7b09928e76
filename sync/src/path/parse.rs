//! The parser of path expressions, in const functions: the compiler runs it for
//! [`path!`](macro@crate::path), the program for [`PathExpression::parse`](super::PathExpression::parse).
//!
//! ```text
//! paths     = selection | { "path" selection "end" }
//! selection = sequence { "," sequence }
//! sequence  = item { ";" item }
//! item      = [ number ":" ] ( name | "(" selection ")" | "{" selection "}" ) [ "*" ]
//! ```

use super::error::{PathError, PathErrorKind};

/// How many nodes a text may have.
pub(super) const NODES: usize = 48;
/// How deeply brackets may be nested.
const DEPTH: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Name,
    Selection,
    Sequence,
    /// `{ }`
    Burst,
    /// `n :`
    Bound,
    /// `*`
    Star,
}

/// A node of the tree; children are linked.
#[derive(Clone, Copy)]
pub(super) struct TreeNode {
    pub(super) kind: Kind,
    /// Where in the text, and how long a name is or how large a bound.
    pub(super) at: usize,
    pub(super) size: usize,
    pub(super) child: usize,
    pub(super) next: usize,
}

/// No node.
pub(super) const NONE: usize = usize::MAX;

/// The tree of a text: the paths are linked by `next`, from node `first`.
#[derive(Clone, Copy)]
pub(super) struct Tree {
    pub(super) nodes: [TreeNode; NODES],
    len: usize,
    pub(super) first: usize,
}

impl Tree {
    /// The node, or what stands alone within its round brackets.
    pub(super) const fn unbracketed(&self, mut node: usize) -> usize {
        while matches!(self.nodes[node].kind, Kind::Selection)
            && self.nodes[self.nodes[node].child].next == NONE
        {
            node = self.nodes[node].child;
        }
        node
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    tree: Tree,
}

/// What [`Result`] and `?` are in other functions.
macro_rules! ok {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return Err(error),
        }
    };
}
pub(super) use ok;

type Parsed = Result<usize, PathError>;

/// Parses a whole text.
pub(super) const fn parse(text: &str) -> Result<Tree, PathError> {
    let empty = TreeNode {
        kind: Kind::Name,
        at: 0,
        size: 0,
        child: NONE,
        next: NONE,
    };
    let mut parser = Parser {
        text: text.as_bytes(),
        at: 0,
        depth: 0,
        tree: Tree {
            nodes: [empty; NODES],
            len: 0,
            first: NONE,
        },
    };
    parser.skip_space();
    if !parser.is_word(b"path") {
        parser.tree.first = ok!(parser.selection());
    } else {
        let mut last = NONE;
        while parser.is_word(b"path") {
            parser.advance(4);
            let path = ok!(parser.selection());
            if !parser.is_word(b"end") {
                return Err(parser.unexpected());
            }
            parser.advance(3);
            if last == NONE {
                parser.tree.first = path;
            } else {
                parser.tree.nodes[last].next = path;
            }
            last = path;
        }
    }
    if parser.at < parser.text.len() {
        return Err(parser.unexpected());
    }
    Ok(parser.tree)
}

const fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

impl Parser<'_> {
    const fn byte(&self) -> u8 {
        if self.at < self.text.len() {
            self.text[self.at]
        } else {
            0
        }
    }

    const fn advance(&mut self, bytes: usize) {
        self.at += bytes;
        self.skip_space();
    }

    const fn skip_space(&mut self) {
        while self.byte().is_ascii_whitespace() {
            self.at += 1;
        }
    }

    const fn unexpected(&self) -> PathError {
        if self.at < self.text.len() {
            PathError::new(PathErrorKind::Unexpected, self.at)
        } else {
            PathError::new(PathErrorKind::UnexpectedEnd, self.at)
        }
    }

    /// How long the name is that stands here.
    const fn word(&self) -> usize {
        let mut len = 0;
        while self.at + len < self.text.len() && is_letter(self.text[self.at + len]) {
            len += 1;
        }
        len
    }

    const fn is_word(&self, word: &[u8]) -> bool {
        if self.word() != word.len() {
            return false;
        }
        let mut i = 0;
        while i < word.len() {
            if self.text[self.at + i] != word[i] {
                return false;
            }
            i += 1;
        }
        true
    }

    const fn add(&mut self, kind: Kind, at: usize, size: usize, child: usize) -> Parsed {
        if self.tree.len == NODES {
            return Err(PathError::new(PathErrorKind::TooLarge, at));
        }
        let node = self.tree.len;
        self.tree.nodes[node] = TreeNode {
            kind,
            at,
            size,
            child,
            next: NONE,
        };
        self.tree.len += 1;
        Ok(node)
    }

    const fn selection(&mut self) -> Parsed {
        self.list(Kind::Selection)
    }

    /// A selection of sequences, or a sequence of items; one alone stands for itself.
    const fn list(&mut self, kind: Kind) -> Parsed {
        let start = self.at;
        let among_sequences = matches!(kind, Kind::Selection);
        let separator = if among_sequences { b',' } else { b';' };
        let first = ok!(self.element(among_sequences));
        let mut last = first;
        while self.byte() == separator {
            self.advance(1);
            let next = ok!(self.element(among_sequences));
            self.tree.nodes[last].next = next;
            last = next;
        }
        if last == first {
            return Ok(first);
        }
        self.add(kind, start, 0, first)
    }

    const fn element(&mut self, sequence: bool) -> Parsed {
        if sequence {
            self.list(Kind::Sequence)
        } else {
            self.item()
        }
    }

    const fn item(&mut self) -> Parsed {
        let start = self.at;
        let mut bound = NONE;
        if self.byte().is_ascii_digit() {
            bound = ok!(self.bound());
        }
        let mut item = ok!(self.primary());
        if bound != NONE {
            item = ok!(self.add(Kind::Bound, start, bound, item));
        }
        if self.byte() == b'*' {
            item = ok!(self.add(Kind::Star, self.at, 0, item));
            self.advance(1);
        }
        Ok(item)
    }

    const fn bound(&mut self) -> Parsed {
        let start = self.at;
        let mut bound = 0;
        while self.byte().is_ascii_digit() {
            bound = bound * 10 + (self.byte() - b'0') as usize;
            if bound > super::program::MAX_BOUND {
                return Err(PathError::new(PathErrorKind::Bound, start));
            }
            self.at += 1;
        }
        if bound == 0 {
            return Err(PathError::new(PathErrorKind::Bound, start));
        }
        self.skip_space();
        if self.byte() != b':' {
            return Err(self.unexpected());
        }
        self.advance(1);
        Ok(bound)
    }

    const fn primary(&mut self) -> Parsed {
        let start = self.at;
        match self.byte() {
            b'(' => {
                let inner = ok!(self.bracketed(b')'));
                // Siblings are linked through the node, so it must be a fresh one.
                self.add(Kind::Selection, start, 0, inner)
            }
            b'{' => {
                let inner = ok!(self.bracketed(b'}'));
                self.add(Kind::Burst, start, 0, inner)
            }
            byte if is_letter(byte) && !byte.is_ascii_digit() => {
                if self.is_word(b"path") || self.is_word(b"end") {
                    return Err(self.unexpected());
                }
                let len = self.word();
                self.advance(len);
                self.add(Kind::Name, start, len, NONE)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// What stands between brackets, of which the first one stands here.
    const fn bracketed(&mut self, closing: u8) -> Parsed {
        if self.depth == DEPTH {
            return Err(PathError::new(PathErrorKind::TooLarge, self.at));
        }
        self.depth += 1;
        self.advance(1);
        let inner = ok!(self.selection());
        if self.byte() != closing {
            return Err(self.unexpected());
        }
        self.advance(1);
        self.depth -= 1;
        Ok(inner)
    }
}
