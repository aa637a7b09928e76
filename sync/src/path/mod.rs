//! `PathExpression`: in which order, and how many at a time, operations may run.
//!
//! Definition, sources and interpretation stand at [`PathExpression`].
//!
//! *Picture*. All counters ([`program`]) are fields of one word:
//!
//! ```text
//!   63       62                             0
//!   QUEUED   counter │ … │ counter │ counter      "{read} , write":  readers │ free
//! ```
//!
//! *Protocol*. To begin and to end are one exchange of the word each. If an operation must
//! wait, it enlists under the lock and sets `QUEUED`; while that is set, the word changes
//! under the lock only, and each end begins all operations that it makes possible, in the
//! order of their coming, before it wakes them. *No wake-up is lost*: `QUEUED` is set by a
//! read-modify-write under the lock, and the waiter looks again after it. *Invariant*:
//! whenever the lock is free, no operation that waits is allowed.
//!
//! *Ordering*: to begin (Acquire) pairs with to end (Release), on the word.
//!
//! *Rejected*: a procedural macro: a crate of its own for what const functions do; a
//! semaphore for each counter: as many exchanges, and waiting halfway.

mod error;
mod parse;
mod program;

use core::fmt;
use core::panic::{RefUnwindSafe, UnwindSafe};
use std::borrow::Cow;
use std::time::{Duration, Instant};

use lisle_lwp::shim::{AtomicU64, Ordering};
use lisle_runtime::wait::list::Queue;
use lisle_runtime::wait::{self, Locked, Node, Outcome, Reason, Waiters};
use lisle_runtime::{cancel, time};

pub use self::error::{PathError, PathErrorKind, UnknownOperation};
pub use self::program::Operation;
use self::program::Program;

static REASON: Reason = Reason::new("path expression");

const QUEUED: u64 = 1 << 63;

/// Synchronisation said once, apart from the operations.
///
/// *Definition*. A path expression is a regular expression over the names of operations.
/// Synchronisation is not in the operations: each begins when the expression allows it.
/// (R. H. Campbell, A. N. Habermann, "The specification of process synchronization by
/// path expressions", 1974; R. H. Campbell, R. B. Kolstad, "Path expressions in Pascal",
/// 1979, for the bounds.)
///
/// | text | meaning |
/// |---|---|
/// | `a ; b` | sequence: each b after an a |
/// | `a , b` | selection: one of them |
/// | `{ a }` | simultaneous activation: any number of a at a time, as one |
/// | `n : a` | at most n at a time |
/// | `a* ; b` | repetition: any number of a, one after the other, before the b |
/// | `path … end path … end` | several paths: an operation keeps to all in which it stands |
///
/// `;` binds more closely than `,`. A path is repeated for ever, one cycle at a time; with
/// `n : ( … )` around all of it, n at a time. Round brackets around one thing mean nothing.
/// `{ a }` begins with its first activation, and ends when none is under way; meanwhile
/// further ones may begin, without a bound. So in `{ a ; b }` any number of a may run, and
/// of b as many as there were a without one; it ends when each a has had its b.
///
/// *Interpretation*. The authors translate a path to semaphores on which an operation
/// waits one after the other. Here it waits for all at once: an operation that waits has
/// taken nothing, so a cancel or a timeout has nothing to give back, and operations of
/// several paths cannot deadlock halfway.
///
/// *Who is woken when*: the end of an operation begins, and wakes, all operations that it
/// makes possible, in the order of their coming. One that comes begins at once if the
/// paths allow it: `{ read }` stays open to readers while a writer waits, as the authors
/// have it.
///
/// *Names* are Rust's identifiers of ASCII characters, other than `path` and `end`.
///
/// *Limits*. A text has 16 operations at most, 48 names, brackets, bounds and signs
/// together, and brackets 16 deep. Its counters have 63 bits together, and are 24 at most:
/// one for each path, each `;`, each `{ }` and each bound. A counter has the bits that its
/// bound needs; those without a bound, of `{ }` and of each `;` inside of one, share the
/// rest equally, and need 8 at least: with n bits, 2ⁿ - 1 activations are under way at a
/// time, and others wait. The beginning and the end of an operation may have 12 steps each, counted over
/// all its paths. What is beyond is [`PathErrorKind::TooLarge`].
///
/// *Recursion*. An operation may be performed inside another one, and inside itself, if
/// the paths allow both at a time; else it waits for ever: for `"{read} , write"`, a read
/// inside a read begins, a write inside a read does not. Where another path makes an
/// operation wait for others, a nested one may wait for somebody who waits for the outer
/// one.
///
/// *Fairness*: of the operations that wait, the first that is allowed; an operation that
/// the paths allow bypasses those that they do not. *Cancellation*: waiting to begin is a
/// cancellation point and leaves no trace. *Panics*: an operation that panics, or is
/// cancelled, ends; nothing is poisoned, because the paths protect no data.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::sync::{PathExpression, path};
/// static DISK: PathExpression = path!("{read} , write");
///
/// let found = DISK.perform("read", || DISK.perform("read", || 7));
/// assert_eq!(found, 7);
/// DISK.perform("read", || assert!(DISK.try_perform("write", || ()).is_none()));
/// ```
pub struct PathExpression {
    text: Cow<'static, str>,
    program: Program,
    word: AtomicU64,
    waiting: Waiters<Queue<Operation>>,
}

// No panic leaves it between two states.
impl UnwindSafe for PathExpression {}
impl RefUnwindSafe for PathExpression {}

/// A path expression that is checked, and translated, at compile time.
///
/// `path!("…")`, or `path!("…"; "a", "b")` to declare the names that may stand in it.
/// The notation, from the most to the least closely binding: `{ a }`, `n : a`, `a*`,
/// `a ; b`, `a , b`; `path … end` around each of several.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::sync::{PathExpression, path};
/// static BUFFER: PathExpression = path!("3:(put ; get)"; "put", "get");
/// BUFFER.perform("put", || ());
/// assert!(BUFFER.try_perform("get", || ()).is_some());
/// assert!(BUFFER.try_perform("get", || ()).is_none());
/// ```
///
/// What is wrong is said with its position:
///
/// ```compile_fail,E0080
/// # use lisle_sync::__facade as lisle;
/// // path expression, byte 8: ambiguous: the operation stands twice in one path
/// let twice = lisle::sync::path!("read ;  read");
/// ```
///
/// ```compile_fail,E0080
/// # use lisle_sync::__facade as lisle;
/// // path expression, byte 9: unknown: no such operation was declared
/// let unknown = lisle::sync::path!("{read} , wrte"; "read", "write");
/// ```
#[macro_export]
macro_rules! path {
    ($text:literal) => {
        $crate::path!(@ $text, $crate::__path::compile($text))
    };
    ($text:literal; $($name:literal),+ $(,)?) => {
        $crate::path!(@ $text, $crate::__path::compile_declared($text, &[$($name),+]))
    };
    (@ $text:literal, $compiled:expr) => {
        $crate::__path::assemble($text, {
            const COMPILED: $crate::__path::Compiled = match $compiled {
                Ok(compiled) => compiled,
                Err(error) => error.refuse(),
            };
            COMPILED
        })
    };
}

/// For [`path!`](crate::path!).
#[doc(hidden)]
#[allow(missing_debug_implementations, missing_docs)]
pub mod for_macro {
    use super::*;

    #[derive(Clone, Copy)]
    pub struct Compiled(pub(super) Program);

    pub const fn compile(text: &str) -> Result<Compiled, PathError> {
        match program::compile(text, None) {
            Ok(program) => Ok(Compiled(program)),
            Err(error) => Err(error),
        }
    }

    pub const fn compile_declared(text: &str, names: &[&str]) -> Result<Compiled, PathError> {
        match program::compile(text, Some(names)) {
            Ok(program) => Ok(Compiled(program)),
            Err(error) => Err(error),
        }
    }

    lisle_lwp::const_unless_loom! {
        pub fn assemble(text: &'static str, compiled: Compiled) -> PathExpression {
            PathExpression::assemble(Cow::Borrowed(text), compiled.0)
        }
    }
}

/// What names an operation: an [`Operation`], or its name, which is looked up each time.
pub trait Named: sealed::Sealed {
    /// The operation of this expression.
    #[doc(hidden)]
    fn of(self, path: &PathExpression) -> Operation;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Operation {}
    impl Sealed for &str {}
}

impl Named for Operation {
    #[inline]
    #[track_caller]
    fn of(self, path: &PathExpression) -> Operation {
        if !path.program.knows(self) {
            foreign();
        }
        self
    }
}

impl Named for &str {
    #[inline]
    #[track_caller]
    fn of(self, path: &PathExpression) -> Operation {
        match path.operation(self) {
            Ok(operation) => operation,
            Err(error) => panic!("{error}: {self}"),
        }
    }
}

/// Making one.
impl PathExpression {
    /// A path expression from a text, at run time.
    ///
    /// # Errors
    /// If the text is none; the error says where and why.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use lisle::sync::{PathErrorKind, PathExpression};
    /// let error = PathExpression::parse("{read} , ; write").unwrap_err();
    /// assert_eq!((error.position(), error.kind()), (9, PathErrorKind::Unexpected));
    /// assert!(PathExpression::parse("path {read} , write end").is_ok());
    /// ```
    pub fn parse(text: &str) -> Result<PathExpression, PathError> {
        Self::with_declared(text, None)
    }

    /// As [`PathExpression::parse`], if it names only these operations.
    ///
    /// # Errors
    /// As [`PathExpression::parse`]; if it names another one.
    pub fn parse_declared(text: &str, names: &[&str]) -> Result<PathExpression, PathError> {
        Self::with_declared(text, Some(names))
    }

    fn with_declared(text: &str, names: Option<&[&str]>) -> Result<PathExpression, PathError> {
        let program = program::compile(text, names)?;
        Ok(Self::assemble(Cow::Owned(text.to_owned()), program))
    }

    lisle_lwp::const_unless_loom! {
        fn assemble(text: Cow<'static, str>, program: Program) -> PathExpression {
            PathExpression {
                text,
                word: AtomicU64::new(program.initial()),
                program,
                waiting: Waiters::new(Queue::new()),
            }
        }
    }

    /// The operation of this name, to perform it without looking it up. It belongs to
    /// this expression, and to others of the same text; to perform it in one of another
    /// text is a panic.
    ///
    /// # Errors
    /// If there is none.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// let path = lisle::sync::path!("{read} , write");
    /// let read = path.operation("read").unwrap();
    /// assert_eq!(path.perform(read, || 7), 7);
    /// assert!(path.operation("raed").is_err());
    /// ```
    pub fn operation(&self, name: &str) -> Result<Operation, UnknownOperation> {
        self.program.operation(&self.text, name)
    }

    /// The names of its operations, in the order of the text.
    pub fn operations(&self) -> impl Iterator<Item = &str> {
        self.program.names(&self.text)
    }
}

/// Performing operations.
impl PathExpression {
    /// Runs the body as this operation, when the paths allow it. A cancellation point if
    /// it waits.
    ///
    /// # Panics
    /// If there is no such operation, or it is one of another text; as the body; if an
    /// operation that nothing bounds has been performed so often, without its successors,
    /// that a counter overflows.
    #[inline]
    #[track_caller]
    pub fn perform<R>(&self, operation: impl Named, body: impl FnOnce() -> R) -> R {
        let operation = operation.of(self);
        let begun = self.begin(operation, None);
        debug_assert!(begun);
        self.run(operation, body)
    }

    /// As [`PathExpression::perform`], if the paths allow it now; else `None`.
    ///
    /// # Panics
    /// As [`PathExpression::perform`].
    #[track_caller]
    pub fn try_perform<R>(&self, operation: impl Named, body: impl FnOnce() -> R) -> Option<R> {
        let operation = operation.of(self);
        if self.try_begin(operation) == Begun::MustWait {
            return None;
        }
        Some(self.run(operation, body))
    }

    /// As [`PathExpression::perform`], waiting at most this long; `None` if the time is
    /// up.
    ///
    /// # Panics
    /// As [`PathExpression::perform`].
    #[track_caller]
    pub fn perform_timeout<R>(
        &self,
        operation: impl Named,
        timeout: Duration,
        body: impl FnOnce() -> R,
    ) -> Option<R> {
        let operation = operation.of(self);
        // A deadline beyond the clock's range never comes.
        let begun = self.begin(operation, time::now().checked_add(timeout));
        begun.then(|| self.run(operation, body))
    }

    /// As [`PathExpression::perform_timeout`], until the deadline.
    ///
    /// # Panics
    /// As [`PathExpression::perform`].
    #[track_caller]
    pub fn perform_deadline<R>(
        &self,
        operation: impl Named,
        deadline: Instant,
        body: impl FnOnce() -> R,
    ) -> Option<R> {
        let operation = operation.of(self);
        let begun = self.begin(operation, Some(deadline));
        begun.then(|| self.run(operation, body))
    }

    /// The operation has begun.
    #[inline]
    fn run<R>(&self, operation: Operation, body: impl FnOnce() -> R) -> R {
        let _running = Running {
            path: self,
            operation,
        };
        body()
    }

    #[inline]
    fn begin(&self, operation: Operation, deadline: Option<Instant>) -> bool {
        // A cancellation point only if it waits: what is allowed now begins.
        self.try_begin(operation) == Begun::AtOnce || self.wait(operation, deadline)
    }

    /// `None` if `QUEUED` is set.
    #[inline]
    fn try_begin_fast(&self, operation: Operation) -> Option<Begun> {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & QUEUED == 0 {
            let Some(next) = self.program.begin(operation, word) else {
                return Some(Begun::MustWait);
            };
            // Acquire: pairs with the Release of the ends.
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return Some(Begun::AtOnce),
                Err(now) => word = now,
            }
        }
        None
    }

    #[inline]
    fn try_begin(&self, operation: Operation) -> Begun {
        match self.try_begin_fast(operation) {
            Some(begun) => begun,
            None => self.try_begin_queued(operation),
        }
    }

    #[cold]
    fn try_begin_queued(&self, operation: Operation) -> Begun {
        let mut waiting = self.queue_up();
        let begun = self.begin_queued(operation);
        self.settle(&mut waiting);
        begun
    }

    /// Begins an operation while the word changes under the lock only.
    fn begin_queued(&self, operation: Operation) -> Begun {
        match self.program.begin(operation, self.queued_word()) {
            Some(next) => {
                self.set_queued_word(next);
                Begun::AtOnce
            }
            None => Begun::MustWait,
        }
    }

    #[cold]
    fn wait(&self, operation: Operation, deadline: Option<Instant>) -> bool {
        let Ok(wait) = wait::begin(&REASON, core::ptr::from_ref(self).addr(), true) else {
            cancel::deliver()
        };
        let node = Node::new(&wait, operation);
        if self.enlist(&node) == Begun::AtOnce {
            // A cancel that came meanwhile is delivered at the next wait.
            let _ = wait.abandon();
            return true;
        }
        let outcome = wait.block(deadline);
        if outcome != Outcome::Woken {
            self.withdraw(&node);
        }
        if outcome == Outcome::Cancelled {
            cancel::deliver();
        }
        outcome == Outcome::Woken
    }

    fn enlist(&self, node: &Node<Operation>) -> Begun {
        let mut waiting = self.queue_up();
        let begun = self.begin_queued(node.data);
        if begun == Begun::MustWait {
            // SAFETY: the waiter blocks until it is unlinked, or withdraws.
            unsafe { waiting.push(node) };
        }
        self.settle(&mut waiting);
        begun
    }

    /// A waiter's wait has ended otherwise. It had taken nothing.
    fn withdraw(&self, node: &Node<Operation>) {
        let mut waiting = self.queue_up();
        // SAFETY: pushed to this queue.
        unsafe { waiting.remove(node) };
        self.settle(&mut waiting);
    }

    #[inline]
    fn end(&self, operation: Operation) {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & QUEUED == 0 {
            let Some(next) = self.program.end(operation, word) else {
                overflow();
            };
            // Release: pairs with the Acquire of the begins.
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
        self.end_queued(operation);
    }

    #[cold]
    fn end_queued(&self, operation: Operation) {
        let mut waiting = self.queue_up();
        let ended = self.program.end(operation, self.queued_word());
        if let Some(next) = ended {
            self.set_queued_word(next);
            self.begin_waiting(&mut waiting);
        }
        self.settle(&mut waiting);
        drop(waiting);
        if ended.is_none() {
            overflow();
        }
    }

    /// Begins all waiting operations that are allowed, always the first of them.
    fn begin_waiting(&self, waiting: &mut Locked<'_, Queue<Operation>>) {
        loop {
            let word = self.queued_word();
            let allowed = |node: &Node<Operation>| self.program.begin(node.data, word).is_some();
            // SAFETY: we hold the lock and forget the node once woken.
            let Some(node) = (unsafe { waiting.find(allowed) }) else {
                return;
            };
            // SAFETY: found there.
            unsafe { waiting.remove(node) };
            let operation = node.data;
            if waiting.wake(node.key()) {
                self.begin_queued(operation);
            }
            // Else it timed out or was cancelled: it has not begun.
        }
    }

    /// Takes the lock and sets `QUEUED`.
    fn queue_up(&self) -> Locked<'_, Queue<Operation>> {
        let waiting = self.waiting.lock();
        // Acquire: pairs with the Release of ends; the lock orders the rest.
        self.word.fetch_or(QUEUED, Ordering::Acquire);
        waiting
    }

    /// Under the lock, `QUEUED` being set.
    fn queued_word(&self) -> u64 {
        self.word.load(Ordering::Relaxed) & !QUEUED
    }

    /// Under the lock, `QUEUED` being set.
    fn set_queued_word(&self, word: u64) {
        self.word.store(word | QUEUED, Ordering::Relaxed);
    }

    /// Clears `QUEUED` if nobody waits. Under the lock.
    fn settle(&self, waiting: &mut Locked<'_, Queue<Operation>>) {
        if waiting.is_empty() {
            // Release: what happened under the lock; pairs with the Acquire of begins.
            self.word.fetch_and(!QUEUED, Ordering::Release);
        }
    }
}

/// Whether an operation has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    AtOnce,
    MustWait,
}

/// Ends its operation when dropped.
struct Running<'a> {
    path: &'a PathExpression,
    operation: Operation,
}

impl Drop for Running<'_> {
    #[inline]
    fn drop(&mut self) {
        self.path.end(self.operation);
    }
}

#[cold]
#[track_caller]
fn foreign() -> ! {
    panic!("the operation is of another path expression")
}

#[cold]
fn overflow() -> ! {
    panic!("an operation was performed too often without its successors")
}

impl fmt::Debug for PathExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PathExpression").field(&self.text).finish()
    }
}

impl core::str::FromStr for PathExpression {
    type Err = PathError;

    fn from_str(text: &str) -> Result<PathExpression, PathError> {
        PathExpression::parse(text)
    }
}

#[cfg(all(test, not(lisle_loom)))]
mod tests;
