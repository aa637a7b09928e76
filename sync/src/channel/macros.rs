//! `select!` and `select_biased!`, with crossbeam-channel's grammar.
//!
//! ```text
//!   recv(receiver) -> pattern => body      pattern binds Result<T, RecvError>
//!   send(sender, message) -> pattern => body   … Result<(), SendError<T>>
//!   default => body                        if none is ready
//!   default(timeout) => body               if none is ready within a Duration
//! ```
//!
//! The parser takes one case at a time and numbers it. The numbers index a tuple
//! of references to the ends, which live as long as the scrutinee of a `match`;
//! bodies stand in the caller's own control flow, so `break`, `?` and `return`
//! mean what they say there.

use std::time::Duration;

use super::ends::{Receiver, Sender, deadline_after};
use super::operand::{Grant, Operand};
use super::select::SelectedOperation;
use super::selecting::{self, Patience};

/// An operation of a macro's.
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations)]
pub struct Arm<'a>(selecting::Arm<'a>);

/// How long the macro waits.
#[derive(Debug, Clone, Copy)]
pub struct Wait(Patience);

/// Waits for ever.
pub fn for_ever() -> Wait {
    Wait(Patience::Until(None))
}

/// Does not wait.
pub fn not_at_all() -> Wait {
    Wait(Patience::None)
}

/// Waits so long.
pub fn at_most(timeout: Duration) -> Wait {
    Wait(Patience::Until(deadline_after(timeout)))
}

/// What `recv` is given, through any number of references.
pub fn receiver<T>(receiver: &Receiver<T>) -> &Receiver<T> {
    receiver
}

/// What `send` is given, through any number of references.
pub fn sender<T>(sender: &Sender<T>) -> &Sender<T> {
    sender
}

/// A receive.
pub fn recv<T>(receiver: &Receiver<T>, index: usize) -> Arm<'_> {
    arm(receiver, index)
}

/// A send.
pub fn send<T>(sender: &Sender<T>, index: usize) -> Arm<'_> {
    arm(sender, index)
}

fn arm(operand: &dyn Operand, index: usize) -> Arm<'_> {
    Arm(selecting::Arm { operand, index })
}

/// The arm that is to be carried out. Nothing happens when it is dropped, so that it
/// borrows the ends no longer than it is used, and a body may move or replace them.
#[allow(missing_debug_implementations)]
pub struct Chosen<'a> {
    arm: selecting::Arm<'a>,
    grant: Grant,
}

impl<'a> Chosen<'a> {
    /// The number of the arm.
    pub fn index(&self) -> usize {
        self.arm.index
    }

    /// From here on it must be completed.
    pub fn begin(self) -> SelectedOperation<'a> {
        SelectedOperation::new(self.arm, self.grant)
    }
}

/// Selects among the arms. What is chosen must be begun.
pub fn select<'a, const N: usize>(
    arms: [Arm<'a>; N],
    fair: bool,
    wait: Wait,
) -> Option<Chosen<'a>> {
    let mut arms = arms.map(|arm| arm.0);
    let (at, grant) = selecting::select(&mut arms, fair, wait.0)?;
    let arm = arms[at];
    Some(Chosen { arm, grant })
}

/// Waits until one of several operations can go on, and carries it out.
///
/// An operation is ready if it need not wait: also if it fails because the other
/// side is gone. If several are ready, a random one is chosen. Waiting is a
/// cancellation point.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use std::time::Duration;
/// use lisle::channel::{never, select, unbounded};
///
/// let (sender1, receiver1) = unbounded();
/// let (sender2, receiver2) = unbounded::<u8>();
/// sender1.send(1).unwrap();
///
/// select! {
///     recv(receiver1) -> message => assert_eq!(message, Ok(1)),
///     recv(receiver2) -> _ => unreachable!(),
/// }
/// // The message is made only if the send is chosen.
/// select! {
///     recv(receiver1) -> _ => unreachable!(),
///     send(sender2, 2) -> sent => assert_eq!(sent, Ok(())),
/// }
/// select! {
///     recv(receiver1) -> _ => unreachable!(),
///     default => println!("nothing there"),
/// }
/// // Never ready, if there is none.
/// let perhaps: Option<&lisle::channel::Receiver<u8>> = None;
/// select! {
///     recv(perhaps.unwrap_or(&never())) -> _ => unreachable!(),
///     default(Duration::from_millis(1)) => println!("the time is up"),
/// }
/// ```
#[macro_export]
macro_rules! select {
    ($($tokens:tt)*) => { $crate::__lisle_select!(@fair true $($tokens)*) };
}

/// As [`select!`](crate::select!); if several operations are ready, the first one
/// is chosen.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::channel::{select_biased, unbounded};
/// let (urgent, urgently) = unbounded();
/// let (sender, receiver) = unbounded();
/// sender.send("when there is time").unwrap();
/// urgent.send("now").unwrap();
/// let first = select_biased! {
///     recv(urgently) -> message => message,
///     recv(receiver) -> message => message,
/// };
/// assert_eq!(first, Ok("now"));
/// ```
#[macro_export]
macro_rules! select_biased {
    ($($tokens:tt)*) => { $crate::__lisle_select!(@fair false $($tokens)*) };
}

/// See the module documentation of `macros.rs`.
///
/// A state is: `fair (arms…) (default) (numbers left) (the case whose body comes)
/// tokens…`.
#[doc(hidden)]
#[macro_export]
macro_rules! __lisle_select {
    (@fair $fair:tt $(,)?) => {
        ::core::compile_error!("empty `select!` block")
    };
    (@fair $fair:tt $($tokens:tt)+) => {
        $crate::__lisle_select!(
            @case $fair () ()
            (0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
             32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47)
            $($tokens)+
        )
    };

    // The head of a case.
    (@case $fair:tt $arms:tt $default:tt $numbers:tt) => {
        $crate::__lisle_select!(@run $fair $arms $default)
    };
    (@case $fair:tt $arms:tt $default:tt () $($rest:tt)+) => {
        ::core::compile_error!("too many operations in a `select!` block")
    };
    (@case $fair:tt $arms:tt $default:tt ($n:tt $($ns:tt)*)
        recv($end:expr $(,)?) -> $result:pat => $($rest:tt)+) => {
        $crate::__lisle_select!(
            @body $fair $arms $default ($($ns)*) (recv $n ($end) () ($result)) $($rest)+
        )
    };
    (@case $fair:tt $arms:tt $default:tt ($n:tt $($ns:tt)*)
        send($end:expr, $message:expr $(,)?) -> $result:pat => $($rest:tt)+) => {
        $crate::__lisle_select!(
            @body $fair $arms $default ($($ns)*) (send $n ($end) ($message) ($result)) $($rest)+
        )
    };
    (@case $fair:tt $arms:tt () $numbers:tt default $(())? => $($rest:tt)+) => {
        $crate::__lisle_select!(@body $fair $arms () $numbers (default ()) $($rest)+)
    };
    (@case $fair:tt $arms:tt () $numbers:tt default($timeout:expr $(,)?) => $($rest:tt)+) => {
        $crate::__lisle_select!(@body $fair $arms () $numbers (default ($timeout)) $($rest)+)
    };
    (@case $fair:tt $arms:tt ($($default:tt)+) $numbers:tt default $($rest:tt)*) => {
        ::core::compile_error!("there can be only one `default` case in a `select!` block")
    };
    (@case $fair:tt $arms:tt $default:tt $numbers:tt default $args:tt -> $($rest:tt)*) => {
        ::core::compile_error!("expected `=>` after `default` case, found `->`")
    };
    (@case $fair:tt $arms:tt $default:tt $numbers:tt recv $args:tt => $($rest:tt)*) => {
        ::core::compile_error!("expected `->` after `recv` case, found `=>`")
    };
    (@case $fair:tt $arms:tt $default:tt $numbers:tt send $args:tt => $($rest:tt)*) => {
        ::core::compile_error!("expected `->` after `send` operation, found `=>`")
    };
    (@case $fair:tt $arms:tt $default:tt $numbers:tt $($rest:tt)+) => {
        ::core::compile_error!(::core::concat!(
            "expected `recv(receiver) -> result => body`, ",
            "`send(sender, message) -> result => body`, `default => body` or ",
            "`default(timeout) => body`, found `", ::core::stringify!($($rest)+), "`"
        ))
    };

    // The body of a case: a block, or an expression and a comma.
    (@body $fair:tt $arms:tt $default:tt $numbers:tt $case:tt { $($body:tt)* }; $($rest:tt)*) => {
        ::core::compile_error!(
            "did you mean to put a comma instead of the semicolon after `}`?"
        )
    };
    (@body $fair:tt $arms:tt $default:tt $numbers:tt $case:tt { $($body:tt)* }, $($rest:tt)*) => {
        $crate::__lisle_select!(@add $fair $arms $default $numbers $case { $($body)* } $($rest)*)
    };
    (@body $fair:tt $arms:tt $default:tt $numbers:tt $case:tt $body:expr, $($rest:tt)*) => {
        $crate::__lisle_select!(@add $fair $arms $default $numbers $case { $body } $($rest)*)
    };
    (@body $fair:tt $arms:tt $default:tt $numbers:tt $case:tt { $($body:tt)* } $($rest:tt)*) => {
        $crate::__lisle_select!(@add $fair $arms $default $numbers $case { $($body)* } $($rest)*)
    };
    (@body $fair:tt $arms:tt $default:tt $numbers:tt $case:tt $body:expr) => {
        $crate::__lisle_select!(@add $fair $arms $default $numbers $case { $body })
    };

    // A whole case.
    (@add $fair:tt $arms:tt () $numbers:tt (default $timeout:tt) $body:tt $($rest:tt)*) => {
        $crate::__lisle_select!(@case $fair $arms ($timeout $body) $numbers $($rest)*)
    };
    (@add $fair:tt ($($arms:tt)*) $default:tt $numbers:tt ($($case:tt)+) $body:tt $($rest:tt)*) => {
        $crate::__lisle_select!(
            @case $fair ($($arms)* ($($case)+ $body)) $default $numbers $($rest)*
        )
    };

    // All cases.
    (@run $fair:tt ($(($kind:ident $n:tt ($end:expr) $message:tt ($result:pat) $body:tt))*) $default:tt) => {
        match ($($crate::__lisle_select!(@end $kind $end),)*) {
            ends => {
                let wait = $crate::__lisle_select!(@wait $default);
                let arms = [$($crate::channel::macros::$kind(ends.$n, $n)),*];
                match $crate::channel::macros::select(arms, $fair, wait) {
                    $(::core::option::Option::Some(chosen) if chosen.index() == $n => {
                        let $result = $crate::__lisle_select!(@complete $kind chosen (ends.$n) $message);
                        $body
                    })*
                    ::core::option::Option::Some(_) => ::core::unreachable!(),
                    ::core::option::Option::None => $crate::__lisle_select!(@default $default),
                }
            }
        }
    };
    (@end recv $end:expr) => { $crate::channel::macros::receiver(&$end) };
    (@end send $end:expr) => { $crate::channel::macros::sender(&$end) };
    (@complete recv $chosen:ident ($end:expr) ()) => { $chosen.begin().recv($end) };
    (@complete send $chosen:ident ($end:expr) ($message:expr)) => { $chosen.begin().send($end, $message) };
    (@wait ()) => { $crate::channel::macros::for_ever() };
    (@wait (() $body:tt)) => { $crate::channel::macros::not_at_all() };
    (@wait (($timeout:expr) $body:tt)) => { $crate::channel::macros::at_most($timeout) };
    (@default ()) => { ::core::unreachable!() };
    (@default ($timeout:tt $body:tt)) => { $body };
}
