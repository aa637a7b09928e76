//! The event hook: what the runtime tells those who record it.
//!
//! One recording at a time. While there is none, each place that could tell
//! something loads one word that hardly ever changes and compares it with zero.
//!
//! ```text
//!   LWP 0 ──► lane ┐
//!   LWP 1 ──► lane ┼── stop ──► Record
//!   others ─► lane ┘  (this one behind a lock)
//! ```
//!
//! *Invariants*. Whoever writes to an LWP's lane owns the LWP, inside the
//! runtime; the lane is that LWP's for as long as it lives, so it has one writer. Nothing here allocates, waits or touches a thread-local between
//! `enter` and `leave`. Nobody writes to a lane once the recording is stopped
//! ([`pass`]).
//!
//! *Rejected*: a callback of the program's: it would run inside the runtime,
//! where it could do next to nothing; a lock-free queue for all: its tail would
//! travel between processors with each event.
//!
//! Crates above read the record; see `lisle-trace`.

mod event;
mod lane;
mod pass;
mod session;

use lisle_lwp::arch;
use lisle_lwp::lock::RawLock;
use lisle_lwp::shim::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

use self::event::{Code, MOST, Text, Who, message_words, with_outcome};
pub use self::event::{Event, Events, Message, What};
pub(crate) use self::lane::Claim;
use self::lane::Lane;
pub use self::session::{Busy, LaneRecord, Record, Session, ThreadKind, ThreadRecord};
use crate::sched::lwp::Lwp;
use crate::sched::on_lwp;
use crate::tcb::{Kind, Tcb};
use crate::wait::{Outcome, Reason, WaitKey};

/// The most LWPs that one recording hears of.
const LANES: usize = 256;

/// The number of the recording, 0 if there is none.
static NUMBER: AtomicU32 = AtomicU32::new(0);
static LWP_LANES: [Lane; LANES] = [const { Lane::new() }; LANES];
/// How many lanes there are.
static PREPARED: AtomicUsize = AtomicUsize::new(0);
/// How many events were lost because an LWP got none, and since when, in ticks.
static LOST: AtomicU64 = AtomicU64::new(0);
static LOST_AT: AtomicU64 = AtomicU64::new(0);
/// The lane of those who have no LWP.
static OUTSIDE: RawLock<Lane> = RawLock::new(Lane::new());
/// Names channels.
static OBJECTS: AtomicU64 = AtomicU64::new(1);

/// Whether somebody records.
#[inline(always)]
pub fn is_on() -> bool {
    // Relaxed: a hint; `Pass::enter` looks again.
    NUMBER.load(Ordering::Relaxed) != 0
}

/// The number of the recording, 0 if there is none.
#[inline]
pub fn number() -> u32 {
    NUMBER.load(Ordering::Relaxed)
}

impl Who {
    #[inline(always)]
    fn of(thread: &Tcb) -> Who {
        Who {
            thread: thread.id.load(Ordering::Relaxed),
            idle: thread.kind() == Kind::Idle,
            switches: thread.switches.load(Ordering::Relaxed),
        }
    }
}

/// The LWP's lane.
///
/// # Safety
/// The caller owns the LWP, inside the runtime.
#[inline(always)]
unsafe fn lane_of(lwp: &Lwp, number: u32) -> Option<&'static Lane> {
    lwp.claim.lane(number, |lane| claim(lwp, number, lane))
}

#[cold]
fn claim(lwp: &Lwp, number: u32, kept: Option<&'static Lane>) -> Option<&'static Lane> {
    // Acquire: how many lanes there are; pairs with the Release of whoever started.
    fence(Ordering::Acquire);
    let lanes = &LWP_LANES[..PREPARED.load(Ordering::Relaxed)];
    let lane = kept.or_else(|| lanes.iter().find(|lane| lane.take(number)))?;
    if lane.pass.enter(&NUMBER, number) {
        let lwp = (core::ptr::from_ref(lwp.shared()) as usize, lwp.index);
        lane.belongs_to(lwp, number);
        lane.pass.leave();
    }
    Some(lane)
}

/// There is no lane for so many events.
#[cold]
fn lose(events: u64) {
    if LOST.fetch_add(events, Ordering::Relaxed) == 0 {
        LOST_AT.store(arch::ticks(), Ordering::Relaxed);
    }
}

/// The LWP has been given to `next`.
///
/// # Safety
/// The caller owns the LWP, inside the runtime.
#[cold]
#[inline(never)]
pub(crate) unsafe fn switched(lwp: &Lwp, next: &Tcb) {
    // SAFETY: passed on.
    unsafe { write_switch(lwp, 1, |lane| lane.switch(Who::of(next))) }
}

/// As [`switched`], from `me`, which begins to wait: both in one pass over the lane.
///
/// # Safety
/// As [`switched`].
#[cold]
#[inline(never)]
pub(crate) unsafe fn parked_and_switched(lwp: &Lwp, me: &Tcb, next: &Tcb) {
    let write = |lane: &Lane| lane.parked_and_switched(Who::of(me), wait_of(me), Who::of(next));
    // SAFETY: passed on.
    unsafe { write_switch(lwp, 2, write) }
}

/// As [`switched`], by a thread that yields, on the fast way.
///
/// # Safety
/// As [`switched`].
#[cold]
#[inline(never)]
pub(crate) unsafe fn yielded(lwp: &Lwp, next: &Tcb) {
    // SAFETY: passed on.
    unsafe { write_switch(lwp, 1, |lane| lane.yielded(Who::of(next))) }
}

#[inline(always)]
unsafe fn write_switch(lwp: &Lwp, events: u64, write: impl FnOnce(&Lane)) {
    let number = number();
    if number == 0 {
        return;
    }
    // SAFETY: passed on.
    let Some(lane) = (unsafe { lane_of(lwp, number) }) else {
        lose(events);
        return;
    };
    if lane.pass.enter(&NUMBER, number) {
        write(lane);
        lane.pass.leave();
    }
}

/// Writes an event of the calling thread, or, if `who` is somebody, of another
/// one that waits. Anywhere but on the way of a switch.
#[cold]
#[inline(never)]
fn note(code: Code, who: Option<Who>, count: usize, more: impl Iterator<Item = u64>) {
    on_lane(|pen| pen.write(code, who, count, more));
}

/// Who may write to a lane now.
struct Pen<'a> {
    lane: &'a Lane,
    me: Who,
    /// Whether it is an LWP's.
    inside: bool,
}

impl Pen<'_> {
    #[inline(always)]
    fn write(&self, code: Code, who: Option<Who>, count: usize, more: impl Iterator<Item = u64>) {
        let who = who.unwrap_or(self.me);
        self.lane.write(code, who, !self.inside, count, more);
    }

    #[inline(always)]
    fn message(&self, code: Code, channel: u64, token: u64, by: Option<Waiter>) {
        let (words, count) = message_words(channel, token, by.map(|by| by.epoch));
        self.write(code, by.map(|by| by.who), count, words.into_iter());
    }
}

/// Lets the calling thread write.
#[inline(always)]
fn on_lane(write: impl FnOnce(Pen<'_>)) {
    let number = number();
    if number == 0 {
        return;
    }
    on_lwp(|me, lwp| {
        let nobody = Who {
            thread: 0,
            idle: false,
            switches: 0,
        };
        let me = me.map_or(nobody, Who::of);
        let outside;
        let lane = match lwp {
            None => {
                outside = OUTSIDE.lock();
                &*outside
            }
            // SAFETY: `on_lwp` gives what the caller owns, inside the runtime.
            Some(lwp) => match unsafe { lane_of(lwp, number) } {
                Some(lane) => lane,
                None => {
                    lose(1);
                    return;
                }
            },
        };
        if lane.pass.enter(&NUMBER, number) {
            write(Pen {
                lane,
                me,
                inside: lwp.is_some(),
            });
            lane.pass.leave();
        }
    });
}

fn note_words<const N: usize>(code: Code, words: [u64; N]) {
    note(code, None, N, words.into_iter());
}

/// What for a thread waits, and for which time.
fn wait_of(me: &Tcb) -> [u64; 3] {
    let (reason, detail) = match me.reason() {
        Some((reason, detail)) => (core::ptr::from_ref::<Reason>(reason) as u64, detail as u64),
        None => (0, 0),
    };
    [reason, detail, me.wait.epoch()]
}

/// The calling thread is going to wait, and not to be switched away from.
pub(crate) fn parked(me: &Tcb) {
    note_words(Code::Park, wait_of(me));
}

/// The calling thread's wait, which somebody else ended, is over before it left its
/// stack.
pub(crate) fn over_at_once(me: &Tcb, epoch: u64, outcome: Outcome) {
    parked(me);
    resumed(epoch, outcome);
}

/// The calling thread, which has a kernel thread of its own or was cancelled, has waited. It
/// may have ended the wait itself, because its deadline passed.
pub(crate) fn resumed(epoch: u64, outcome: Outcome) {
    note_words(Code::Resume, [with_outcome(epoch, outcome)]);
}

/// Whose wait the caller is going to end: to be asked before it does, because the
/// control block may be another thread's after that. `None`: nobody records.
#[inline(always)]
pub(crate) fn whom(thread: &Tcb) -> Option<u64> {
    is_on().then(|| thread.id.load(Ordering::Relaxed))
}

/// The calling thread has ended a wait.
pub(crate) fn woke(whom: u64, epoch: u64, outcome: Outcome) {
    note_words(Code::Wake, [with_outcome(whom, outcome), epoch]);
}

/// The calling thread leaves a token with a thread that does not wait for it, or is yet to be
/// parked.
pub(crate) fn left_token(whom: u64) {
    note_words(Code::Token, [whom]);
}

/// The calling thread has found a token.
pub(crate) fn took_token() {
    note_words(Code::Took, []);
}

/// The calling thread makes another one.
pub(crate) fn spawned(child: u64, name: Option<&str>) {
    let name = Text::new(name.unwrap_or(""), MOST - 1);
    let words = core::iter::once(child).chain(name.write());
    note(Code::Spawn, None, 1 + name.words(), words);
}

/// The calling thread ends.
pub(crate) fn exited() {
    note_words(Code::Exit, []);
}

/// The calling thread has joined another one.
pub(crate) fn joined(ended: u64) {
    note_words(Code::Join, [ended]);
}

/// The calling LWP stole.
pub(crate) fn stole(victim: &Lwp, thread: &Tcb) {
    let thread = thread.id.load(Ordering::Relaxed);
    note_words(Code::Steal, [victim.index as u64, thread]);
}

/// There was an upcall.
pub(crate) fn upcall(kind: crate::watch::Kind, lwp: Option<usize>, thread: u64) {
    let lwp = lwp.map_or(0, |lwp| lwp as u64 + 1);
    note_words(Code::Upcall, [kind as u64, lwp, thread]);
}

/// The calling thread leaves a scope; it borrows nothing any more.
pub(crate) fn left_scope(scope: usize) {
    note_words(Code::LeaveScope, [scope as u64]);
}

/// The calling thread has waited for the end of a scope's threads.
pub(crate) fn ended_scope(scope: usize) {
    note_words(Code::EndScope, [scope as u64]);
}

/// Records something that happened in the calling thread, and what some clock
/// said then: pairs of a process and its count. At most about a thousand bytes
/// of both are kept; the event says whether that is all.
pub fn local(label: &str, clock: &[(u64, u64)]) {
    // A kernel thread from outside becomes somebody.
    let _ = crate::current::me();
    let mut label = Text::new(label, MOST / 2);
    let pairs = clock.len().min((MOST - label.words()) / 2);
    if pairs < clock.len() {
        label.clip_clock();
    }
    let clock = clock[..pairs]
        .iter()
        .flat_map(|(who, count)| [*who, *count]);
    let words = label.write().chain(clock);
    note(Code::Local, None, label.words() + 2 * pairs, words);
}

/// A name for something that a recording tells of, which nothing else has.
pub fn new_object() -> u64 {
    OBJECTS.fetch_add(1, Ordering::Relaxed)
}

/// Whose wait it is: to be taken down before the wait ends, because a kernel
/// thread may be gone after that.
#[derive(Debug, Clone, Copy)]
pub struct Waiter {
    who: Who,
    epoch: u64,
}

impl Waiter {
    /// Takes down whose wait it is.
    pub fn of(key: WaitKey) -> Waiter {
        Waiter {
            who: Who::of(key.block()),
            epoch: key.epoch_number(),
        }
    }
}

/// A message enters a channel: sent by the calling thread or, if that is whose
/// wait this is, by one that waits.
pub fn sent(channel: u64, token: u64, by: Option<Waiter>) {
    message(Code::Send, channel, token, by);
}

/// A message is sent by the calling thread and received by one that waits; what it
/// is to either side.
#[cold]
#[inline(never)]
pub fn handed_over(channel: u64, sent: u64, received: u64, to: Waiter) {
    on_lane(|pen| {
        pen.message(Code::Send, channel, sent, None);
        pen.message(Code::Receive, channel, received, Some(to));
    });
}

/// A message leaves a channel: `by` as above.
pub fn received(channel: u64, token: u64, by: Option<Waiter>) {
    message(Code::Receive, channel, token, by);
}

#[cold]
#[inline(never)]
fn message(code: Code, channel: u64, token: u64, by: Option<Waiter>) {
    on_lane(|pen| pen.message(code, channel, token, by));
}

/// Takes the lock over a fork.
pub(crate) fn lock_for_fork() {
    OUTSIDE.lock_raw();
}

/// Releases what [`lock_for_fork`] took.
///
/// # Safety
/// The calling thread called `lock_for_fork`, or is its copy in the child.
pub(crate) unsafe fn unlock_after_fork() {
    // SAFETY: passed on.
    unsafe { OUTSIDE.unlock_raw() };
}

/// The child of a fork is not recorded.
pub(crate) fn forget() {
    NUMBER.store(0, Ordering::Relaxed);
}
