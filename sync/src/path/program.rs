//! What a path expression is compiled to: counters in one word, and for each operation
//! what its beginning and its end do to them.
//!
//! The translation is Campbell's and Habermann's, with counters for their semaphores.
//! For each part of an expression, `L` is what its beginning has to do, `R` what its end:
//!
//! | part | operations in it |
//! |---|---|
//! | path, at most n at a time (1) | `L` takes from a counter that begins with n, `R` puts |
//! | `a ; b` | a's `R` puts into a new counter, which b's `L` takes from |
//! | `a , b` | both have the `L` and `R` of the selection |
//! | `{ a }` | the first to begin does `L`, the last to end `R`: a counter of those inside |
//! | `n : a` | `L`, and takes from a counter that begins with n |
//! | `a* ; b` | a's `L` is b's, a's `R` undoes it |
//!
//! So after an a everything is as before it: a repetition is refused where something else
//! than it and what follows it might begin then.
//!
//! An operation that stands in several paths does what all of them say, at once.
//!
//! Most beginnings and ends take from one counter at most and put into another at most.
//! They are not interpreted step by step: [`Straight`].

use super::error::{PathError, PathErrorKind, UnknownOperation};
use super::parse::{self, Kind, NONE, Tree, ok};

pub(super) const MAX_BOUND: usize = 65_535;
const OPERATIONS: usize = 16;
const COUNTERS: usize = 24;
/// Of a beginning or an end.
const STEPS: usize = 12;
/// Bits of the word that counters may have.
const BITS: u32 = 63;
/// The least that a counter without a bound is given.
const LEAST: u32 = 8;
/// No bound is known.
const UNBOUNDED: usize = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Waits for the counter to be above 0; takes one.
    Take,
    /// Puts one.
    Put,
    /// Counts in; who is not the first skips so many steps.
    Join(u8),
    /// Counts out; who is not the last skips so many steps.
    Leave(u8),
}

/// What a code without `Join` and `Leave`, of one `Take` and one `Put` at most, does: two
/// tests and a sum.
#[derive(Debug, Clone, Copy)]
struct Straight {
    /// The bits of which one must be set: of the counter it takes from; [`SPARE`] if it
    /// takes from none; no bits if the code is not of this kind.
    some: u64,
    /// The bits of which one must not be set: of the counter it puts into; [`SPARE`] if
    /// it puts into none.
    room: u64,
    /// What is added to the word.
    change: u64,
}

/// The bit of the word that no counter has.
const SPARE: u64 = 1 << BITS;

impl Straight {
    const NOT: Straight = Straight {
        some: 0,
        room: 0,
        change: 0,
    };
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Code {
    steps: [(Step, u8); STEPS],
    len: usize,
    straight: Straight,
}

impl Code {
    const EMPTY: Code = Code {
        steps: [(Step::Put, 0); STEPS],
        len: 0,
        straight: Straight::NOT,
    };

    const fn then(mut self, step: Step, counter: usize) -> Result<Code, PathErrorKind> {
        if self.len == STEPS {
            return Err(PathErrorKind::TooLarge);
        }
        self.steps[self.len] = (step, counter as u8);
        self.len += 1;
        Ok(self)
    }

    /// This, and then `other`.
    const fn and(mut self, other: &Code) -> Result<Code, PathErrorKind> {
        let mut i = 0;
        while i < other.len {
            let (step, counter) = other.steps[i];
            self = ok!(self.then(step, counter as usize));
            i += 1;
        }
        Ok(self)
    }

    #[cfg(all(test, not(lisle_loom)))]
    pub(super) fn is_straight(&self) -> bool {
        self.straight.some != 0
    }

    const fn one(step: Step, counter: usize) -> Code {
        let mut code = Code::EMPTY;
        code.steps[0] = (step, counter as u8);
        code.len = 1;
        code
    }
}

/// What the operations of a part have to do: `L`, how it is undone, `R`.
#[derive(Clone, Copy)]
struct Sides {
    left: Code,
    undo: Code,
    right: Code,
    /// Whether something outside of the part may begin instead of it.
    has_rivals: bool,
    /// How many may be in the part at a time.
    bound: usize,
}

#[derive(Debug, Clone, Copy)]
struct Counter {
    /// What it begins with, and never exceeds if it is bounded.
    initial: usize,
    bound: usize,
    /// One, and all of its bits, in the word.
    unit: u64,
    mask: u64,
}

#[derive(Debug, Clone, Copy)]
struct Compiled {
    /// The name, in the text.
    at: usize,
    len: usize,
    /// The path in which it stood last.
    path: usize,
    begin: Code,
    end: Code,
}

/// See the module documentation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Program {
    operations: [Compiled; OPERATIONS],
    len: usize,
    counters: [Counter; COUNTERS],
    counted: usize,
    /// Of the text: whose operations these are.
    hash: u64,
}

/// An operation of a [`PathExpression`](super::PathExpression): its name, looked up.
///
/// It is good for all path expressions of the same text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    index: u8,
    /// Of the text that it was looked up in.
    hash: u64,
}

/// Compiles a text. If operations are declared, it may name no others.
pub(super) const fn compile(text: &str, declared: Option<&[&str]>) -> Result<Program, PathError> {
    let tree = ok!(parse::parse(text));
    let mut program = Program {
        operations: [Compiled {
            at: 0,
            len: 0,
            path: 0,
            begin: Code::EMPTY,
            end: Code::EMPTY,
        }; OPERATIONS],
        len: 0,
        counters: [Counter {
            initial: 0,
            bound: 0,
            unit: 0,
            mask: 0,
        }; COUNTERS],
        counted: 0,
        hash: hash(text.as_bytes()),
    };
    let mut path = tree.first;
    let mut number = 1;
    while path != NONE {
        ok!(program.path(&tree, path, number, text, declared));
        path = tree.nodes[path].next;
        number += 1;
    }
    if !program.lay_out() {
        return Err(PathError::new(PathErrorKind::TooLarge, 0));
    }
    program.straighten();
    Ok(program)
}

/// An error without a place, at a place.
macro_rules! at {
    ($result:expr, $position:expr) => {
        match $result {
            Ok(value) => value,
            Err(kind) => return Err(PathError::new(kind, $position)),
        }
    };
}

/// Fowler, Noll and Vo's, 1a.
const fn hash(text: &[u8]) -> u64 {
    let (mut hash, mut i) = (0xcbf2_9ce4_8422_2325, 0);
    while i < text.len() {
        hash = (hash ^ text[i] as u64).wrapping_mul(0x0100_0000_01b3);
        i += 1;
    }
    hash
}

const fn same(a: &[u8], a_at: usize, b: &[u8], b_at: usize, len: usize) -> bool {
    let mut i = 0;
    while i < len {
        if a[a_at + i] != b[b_at + i] {
            return false;
        }
        i += 1;
    }
    true
}

impl Program {
    const fn path(
        &mut self,
        tree: &Tree,
        root: usize,
        number: usize,
        text: &str,
        declared: Option<&[&str]>,
    ) -> Result<(), PathError> {
        // A whole path is repeated anyhow, and its bound replaces the 1.
        let (mut root, mut bound) = (tree.unbracketed(root), 1);
        if matches!(tree.nodes[root].kind, Kind::Star) {
            root = tree.unbracketed(tree.nodes[root].child);
        }
        if matches!(tree.nodes[root].kind, Kind::Bound) {
            bound = tree.nodes[root].size;
            root = tree.nodes[root].child;
        }
        let cycles = at!(self.counter(bound, bound), tree.nodes[root].at);
        let sides = Sides {
            left: Code::one(Step::Take, cycles),
            undo: Code::one(Step::Put, cycles),
            right: Code::one(Step::Put, cycles),
            has_rivals: false,
            bound,
        };
        let context = Context {
            tree,
            number,
            text,
            declared,
        };
        self.part(&context, root, sides)
    }

    const fn counter(&mut self, initial: usize, bound: usize) -> Result<usize, PathErrorKind> {
        if self.counted == COUNTERS {
            return Err(PathErrorKind::TooLarge);
        }
        self.counters[self.counted].initial = initial;
        self.counters[self.counted].bound = bound;
        self.counted += 1;
        Ok(self.counted - 1)
    }

    const fn part(
        &mut self,
        context: &Context<'_>,
        at: usize,
        sides: Sides,
    ) -> Result<(), PathError> {
        let node = context.tree.nodes[at];
        match node.kind {
            Kind::Name => self.name(context, at, sides),
            Kind::Selection => {
                let mut child = node.child;
                let mut sides = sides;
                sides.has_rivals |= context.tree.nodes[child].next != NONE;
                while child != NONE {
                    ok!(self.part(context, child, sides));
                    child = context.tree.nodes[child].next;
                }
                Ok(())
            }
            Kind::Sequence => self.sequence(context, at, sides),
            Kind::Burst => {
                let inside = at!(self.counter(0, UNBOUNDED), node.at);
                let (join, leave) = (
                    Code::one(Step::Join(sides.left.len as u8), inside),
                    Code::one(Step::Leave(sides.right.len as u8), inside),
                );
                let undo = Code::one(Step::Leave(sides.undo.len as u8), inside);
                let sides = Sides {
                    left: at!(join.and(&sides.left), node.at),
                    undo: at!(undo.and(&sides.undo), node.at),
                    right: at!(leave.and(&sides.right), node.at),
                    // The next activation may begin as well as this one go on.
                    has_rivals: true,
                    bound: UNBOUNDED,
                };
                self.part(context, node.child, sides)
            }
            Kind::Bound => {
                let places = at!(self.counter(node.size, node.size), node.at);
                let put = Code::one(Step::Put, places);
                let sides = Sides {
                    left: at!(sides.left.then(Step::Take, places), node.at),
                    undo: at!(put.and(&sides.undo), node.at),
                    right: at!(put.and(&sides.right), node.at),
                    has_rivals: sides.has_rivals,
                    bound: if sides.bound == UNBOUNDED || node.size < sides.bound {
                        node.size
                    } else {
                        sides.bound
                    },
                };
                self.part(context, node.child, sides)
            }
            Kind::Star => Err(PathError::new(PathErrorKind::Repetition, node.at)),
        }
    }

    const fn sequence(
        &mut self,
        context: &Context<'_>,
        at: usize,
        sides: Sides,
    ) -> Result<(), PathError> {
        let nodes = &context.tree.nodes;
        let (mut child, mut here) = (nodes[at].child, sides);
        while child != NONE {
            let next = nodes[child].next;
            let item = nodes[context.tree.unbracketed(child)];
            if matches!(item.kind, Kind::Star) && next != NONE {
                if here.has_rivals {
                    return Err(PathError::new(PathErrorKind::Repetition, item.at));
                }
                // Its operations leave everything as it was before them: so what follows
                // may begin instead of it.
                here.has_rivals = true;
                let again = Sides {
                    right: here.undo,
                    ..here
                };
                ok!(self.part(context, item.child, again));
            } else if next != NONE {
                let done = at!(self.counter(0, sides.bound), nodes[child].at);
                here.right = Code::one(Step::Put, done);
                ok!(self.part(context, child, here));
                here.left = Code::one(Step::Take, done);
                here.undo = Code::one(Step::Put, done);
                here.has_rivals = false;
            } else {
                here.right = sides.right;
                ok!(self.part(context, child, here));
            }
            child = next;
        }
        Ok(())
    }

    const fn name(
        &mut self,
        context: &Context<'_>,
        at: usize,
        sides: Sides,
    ) -> Result<(), PathError> {
        let node = context.tree.nodes[at];
        let text = context.text.as_bytes();
        if !context.is_declared(node.at, node.size) {
            return Err(PathError::new(PathErrorKind::Unknown, node.at));
        }
        let mut i = 0;
        while i < self.len {
            let known = self.operations[i];
            if known.len == node.size && same(text, known.at, text, node.at, node.size) {
                break;
            }
            i += 1;
        }
        if i == OPERATIONS {
            return Err(PathError::new(PathErrorKind::TooLarge, node.at));
        }
        let operation = &mut self.operations[i];
        if i == self.len {
            self.len += 1;
            operation.at = node.at;
            operation.len = node.size;
        } else if operation.path == context.number {
            return Err(PathError::new(PathErrorKind::Ambiguous, node.at));
        }
        operation.path = context.number;
        operation.begin = at!(operation.begin.and(&sides.left), node.at);
        operation.end = at!(operation.end.and(&sides.right), node.at);
        Ok(())
    }

    /// Gives each counter its bits. `false` if there are not enough.
    const fn lay_out(&mut self) -> bool {
        let (mut taken, mut unbounded, mut i) = (0, 0, 0);
        while i < self.counted {
            match self.counters[i].bound {
                UNBOUNDED => unbounded += 1,
                bound => taken += usize::BITS - bound.leading_zeros(),
            }
            i += 1;
        }
        if taken + unbounded * LEAST > BITS {
            return false;
        }
        let share = match (BITS - taken).checked_div(unbounded) {
            Some(share) => share,
            None => 0,
        };
        let (mut shift, mut i) = (0, 0);
        while i < self.counted {
            let counter = &mut self.counters[i];
            let width = match counter.bound {
                UNBOUNDED => share,
                bound => usize::BITS - bound.leading_zeros(),
            };
            counter.unit = 1 << shift;
            counter.mask = ((1_u64 << width) - 1) << shift;
            shift += width;
            i += 1;
        }
        true
    }

    /// Finds the codes that are straight, once the counters have their bits.
    const fn straighten(&mut self) {
        let mut i = 0;
        while i < self.len {
            let Compiled { begin, end, .. } = self.operations[i];
            self.operations[i].begin.straight = self.straight(&begin);
            self.operations[i].end.straight = self.straight(&end);
            i += 1;
        }
    }

    const fn straight(&self, code: &Code) -> Straight {
        let mut straight = Straight {
            some: SPARE,
            room: SPARE,
            change: 0,
        };
        let mut i = 0;
        while i < code.len {
            let (step, counter) = code.steps[i];
            let Counter { unit, mask, .. } = self.counters[counter as usize];
            match step {
                Step::Take if straight.some == SPARE => {
                    straight.some = mask;
                    straight.change = straight.change.wrapping_sub(unit);
                }
                Step::Put if straight.room == SPARE => {
                    straight.room = mask;
                    straight.change = straight.change.wrapping_add(unit);
                }
                _ => return Straight::NOT,
            }
            i += 1;
        }
        // What it takes makes room for what it puts.
        if straight.some == straight.room && straight.some != SPARE {
            return Straight::NOT;
        }
        straight
    }

    /// The word with which everything begins.
    pub(super) const fn initial(&self) -> u64 {
        let (mut word, mut i) = (0, 0);
        while i < self.counted {
            word += self.counters[i].initial as u64 * self.counters[i].unit;
            i += 1;
        }
        word
    }

    pub(super) const fn operation(
        &self,
        text: &str,
        name: &str,
    ) -> Result<Operation, UnknownOperation> {
        let (text, name) = (text.as_bytes(), name.as_bytes());
        let mut i = 0;
        while i < self.len {
            let known = &self.operations[i];
            if known.len == name.len() && same(text, known.at, name, 0, name.len()) {
                return Ok(Operation {
                    index: i as u8,
                    hash: self.hash,
                });
            }
            i += 1;
        }
        Err(UnknownOperation)
    }

    /// Whether the operation was looked up in the text of this program.
    #[inline]
    pub(super) fn knows(&self, operation: Operation) -> bool {
        operation.hash == self.hash
    }

    /// The names of all operations.
    pub(super) fn names<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        let all = self.operations[..self.len].to_vec();
        all.into_iter().map(move |op| &text[op.at..op.at + op.len])
    }

    /// The word when the operation has begun; `None` if it may not begin.
    #[inline]
    pub(super) fn begin(&self, operation: Operation, word: u64) -> Option<u64> {
        self.run(&self.operations[usize::from(operation.index)].begin, word)
    }

    /// The word when the operation has ended; `None` if a counter would overflow.
    #[inline]
    pub(super) fn end(&self, operation: Operation, word: u64) -> Option<u64> {
        self.run(&self.operations[usize::from(operation.index)].end, word)
    }

    #[inline]
    pub(super) fn run(&self, code: &Code, word: u64) -> Option<u64> {
        let Straight { some, room, change } = code.straight;
        if (word | SPARE) & some != 0 && !word & room != 0 {
            return Some(word.wrapping_add(change));
        }
        match some {
            0 => self.run_steps(code, word),
            _ => None,
        }
    }

    #[cfg(all(test, not(lisle_loom)))]
    pub(super) fn codes(&self) -> impl Iterator<Item = &Code> {
        let operations = self.operations[..self.len].iter();
        operations.flat_map(|operation| [&operation.begin, &operation.end])
    }

    #[inline]
    pub(super) fn run_steps(&self, code: &Code, mut word: u64) -> Option<u64> {
        let mut i = 0;
        while i < code.len {
            let (step, counter) = code.steps[i];
            let Counter { unit, mask, .. } = self.counters[usize::from(counter)];
            i += 1;
            match step {
                Step::Take if word & mask == 0 => return None,
                Step::Put | Step::Join(_) if word & mask == mask => return None,
                Step::Take => word -= unit,
                Step::Put => word += unit,
                Step::Join(others) => {
                    if word & mask != 0 {
                        i += usize::from(others);
                    }
                    word += unit;
                }
                Step::Leave(others) => {
                    word -= unit;
                    if word & mask != 0 {
                        i += usize::from(others);
                    }
                }
            }
        }
        Some(word)
    }
}

/// What stays the same while one path is compiled.
struct Context<'a> {
    tree: &'a Tree,
    number: usize,
    text: &'a str,
    declared: Option<&'a [&'a str]>,
}

impl Context<'_> {
    const fn is_declared(&self, at: usize, len: usize) -> bool {
        let Some(names) = self.declared else {
            return true;
        };
        let mut i = 0;
        while i < names.len() {
            let name = names[i].as_bytes();
            if name.len() == len && same(self.text.as_bytes(), at, name, 0, len) {
                return true;
            }
            i += 1;
        }
        false
    }
}
