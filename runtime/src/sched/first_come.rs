//! The private queue of an LWP whose policy is first come, first served.
//!
//! ```text
//!   depth first ───► ahead, a stack ─────────────────────► runs
//!   have begun ────────────────► line ───────────────────► runs
//!   not begun ──┬──────────────►  ▲
//!               └─► outside ──────┘ let in
//! ```
//!
//! *Outside*. A stack is warm while few are used in turn, and a light thread that has not begun has none. So who has
//! not begun joins the line only while that is shorter than [`CROWD`]; the others wait outside, in the same order, and
//! are let in as it gets shorter. A thread that yields stands in the line again, and so comes to its end before a
//! hundred thousand others have begun, each on a stack of its own. One turn in [`LET_IN`] lets one in although the line
//! is long, so that nobody waits for ever behind threads that yield.
//!
//! *Ahead* is a stack of the threads that were spawned [depth first](crate::thread::Builder::depth_first) and have
//! not begun: the newest runs first. One pick in [`TURN`] is of somebody else, and one time in [`PASSES`] all that
//! wait there queue up in the line, the newest first.
//!
//! So whoever stands in the line waits for a number of picks that is bounded by how many are before it; who is
//! outside or ahead comes there after as many turns as stand above.
//!
//! *Fetching*. Most of what a switch among very many threads takes are misses of the caches. Who is let in has its
//! control block fetched, well before it runs. In a long line with nobody outside, those of the next two, and the tops
//! of their stacks, are fetched at each pick.
//!
//! *Invariant*: who stands outside has somebody in the line before it.

use lisle_lwp::shim::Ordering;

use super::queue::ReadyList;
use crate::tcb::Tcb;

/// Up to this length, whoever comes joins the line.
const CROWD: usize = 64;
/// Beyond, one of so many turns lets one in.
const LET_IN: u32 = 16;
/// One in so many picks from ahead is of somebody else.
const TURN: u32 = 1 << 10;
/// After so many, nobody is ahead any more.
const PASSES: u32 = 1 << 16;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct FirstCome {
    line: ReadyList,
    outside: ReadyList,
    ahead: ReadyList,
    /// How many turns there were with somebody outside.
    turns: u32,
    /// How many picks from ahead there were.
    passes: u32,
}

impl FirstCome {
    pub(crate) const fn new() -> FirstCome {
        FirstCome {
            line: ReadyList::new(),
            outside: ReadyList::new(),
            ahead: ReadyList::new(),
            turns: 0,
            passes: 0,
        }
    }

    /// How many threads wait here.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.line.len() + self.outside.len() + self.ahead.len()
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, thread: &'static Tcb) {
        if self.line.len() >= CROWD && thread.switches.load(Ordering::Relaxed) == 0 {
            self.outside.push_back(thread);
        } else {
            self.line.push_back(thread);
        }
    }

    #[inline(always)]
    pub(crate) fn push_ahead(&mut self, thread: &'static Tcb) {
        self.ahead.push_front(thread);
    }

    /// The first in the line.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<&'static Tcb> {
        let thread = self.line.pop_front();
        if self.outside.is_empty() {
            self.fetch();
        } else {
            self.let_in();
        }
        thread
    }

    /// Lets one in if there is room in the line, or if it has waited long enough. There is one.
    #[cold]
    fn let_in(&mut self) {
        self.turns = self.turns.wrapping_add(1);
        if (self.line.len() < CROWD || self.turns.is_multiple_of(LET_IN))
            && let Some(thread) = self.outside.pop_front()
        {
            // Many run before it does. The first line is there already, because ...
            thread.fetch(0..Tcb::LINES);
            if let Some(next) = self.outside.front() {
                // ... it was next.
                next.fetch(0..1);
            }
            self.line.push_back(thread);
        }
    }

    /// Has fetched what the next ones need, if so many wait that the caches do not hold it.
    #[inline(always)]
    fn fetch(&self) {
        if self.line.len() <= CROWD {
            return;
        }
        if let Some(first) = self.line.front() {
            // Of the first, where its stack is has been fetched when it was the second.
            first.fetch_stack(0..2);
            if let Some(second) = self.line.second() {
                second.fetch(0..2);
            }
        }
    }

    /// The newest of those that are ahead, unless it is somebody else's turn.
    #[inline(always)]
    pub(crate) fn pop_ahead(&mut self) -> Option<&'static Tcb> {
        if self.ahead.is_empty() {
            return None;
        }
        self.passes = self.passes.wrapping_add(1);
        if !self.passes.is_multiple_of(TURN) {
            return self.ahead.pop_front();
        }
        if self.passes.is_multiple_of(PASSES) {
            self.line.append(&mut self.ahead);
        }
        None
    }

    /// The newest of those that are ahead, whosever turn it is.
    #[inline(always)]
    pub(crate) fn pop_ahead_at_once(&mut self) -> Option<&'static Tcb> {
        self.ahead.pop_front()
    }

    /// The first in the line, left in place. `None` if somebody is ahead.
    #[inline(always)]
    pub(crate) fn front(&self) -> Option<&'static Tcb> {
        if self.ahead.is_empty() {
            self.line.front()
        } else {
            None
        }
    }

    /// Removes the [front](FirstCome::front) and puts `thread`, which has begun, behind all others in the line.
    #[inline(always)]
    pub(crate) fn rotate(&mut self, thread: &'static Tcb) {
        if self.outside.is_empty() {
            self.line.rotate(thread);
            self.fetch();
        } else {
            let _ = self.pop();
            self.line.push_back(thread);
        }
    }

    /// Whether somebody stands in the line, and so perhaps outside.
    #[inline(always)]
    pub(crate) fn has_line(&self) -> bool {
        !self.line.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Threads that have not begun.
    fn threads(n: usize) -> Vec<&'static Tcb> {
        (0..n)
            .map(|_| &*Box::leak(Box::new(Tcb::blank())))
            .collect()
    }

    fn begun() -> &'static Tcb {
        let thread = threads(1)[0];
        thread.switches.store(1, Ordering::Relaxed);
        thread
    }

    fn is(a: Option<&'static Tcb>, b: &'static Tcb) -> bool {
        a.is_some_and(|a| core::ptr::eq(a, b))
    }

    #[test]
    fn who_has_not_begun_keeps_the_order() {
        let (mut queue, t) = (FirstCome::new(), threads(500));
        t.iter().for_each(|t| queue.push(t));
        assert_eq!((queue.len(), queue.line.len()), (500, CROWD));
        assert!(t.iter().all(|t| is(queue.pop(), t)));
        assert!(queue.pop().is_none() && queue.len() == 0);
    }

    #[test]
    fn who_has_begun_goes_before_those_outside() {
        let (mut queue, t, begun) = (FirstCome::new(), threads(500), begun());
        t.iter().for_each(|t| queue.push(t));
        queue.push(begun);
        assert!(t[..CROWD].iter().all(|t| is(queue.pop(), t)));
        assert!(is(queue.pop(), begun));
    }

    /// The line does not get shorter: each comes back.
    #[test]
    fn who_is_outside_is_let_in_after_a_while() {
        let (mut queue, mut running) = (FirstCome::new(), begun());
        let last = threads(1)[0];
        threads(CROWD + 10).iter().for_each(|t| queue.push(t));
        queue.push(last);
        let turns = (0..).take_while(|_| {
            let next = queue.front().unwrap();
            queue.rotate(running);
            running = next;
            !core::ptr::eq(running, last)
        });
        // Eleven were outside, and then it stood behind the line.
        assert!(turns.count() <= 11 * LET_IN as usize + CROWD + 11);
    }

    #[test]
    fn who_is_ahead_lets_others_have_their_turn() {
        let (mut queue, other) = (FirstCome::new(), begun());
        queue.push(other);
        let ahead = threads(2 * TURN as usize);
        ahead.iter().for_each(|t| queue.push_ahead(t));
        let newest = ahead.iter().rev();
        assert!(
            newest
                .take(TURN as usize - 1)
                .all(|t| is(queue.pop_ahead(), t))
        );
        assert!(queue.pop_ahead().is_none());
        assert!(is(queue.pop(), other));
        assert!(queue.pop().is_none() && is(queue.pop_ahead_at_once(), ahead[TURN as usize]));
    }
}
