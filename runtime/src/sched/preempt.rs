//! Preemption of full threads: a signal handler switches to the idle context,
//! on the spot.
//!
//! ```text
//!   monitor                     kernel thread of an LWP
//!   slice over? ask, tgkill ──► handler, on the alternate stack, all signals blocked
//!                                 conditions? else back, and hand-over serves
//!                                 enter the runtime; copy the frame to the thread's own stack
//!                               idle context: mask restored; the thread is ready again
//!   …
//!                               resumed, on whatever kernel thread: follow up, leave the runtime,
//!                                 return from the signal by the copy
//! ```
//!
//! Hand-over needs a kernel thread for each thread that computes on; this needs
//! none, so it serves when there are many. The thread is one like any other
//! meanwhile: its registers, vector state, floating-point control and `errno`
//! come back, and its thread-locals are its own. Light threads use those of
//! their kernel thread and are never taken off it.
//!
//! *Conditions*, all looked at on the kernel thread itself, because whoever sent
//! the signal knows only what was:
//! - somebody asked, and the LWP has not switched since;
//! - the thread is a full one, outside the runtime ([`stay_put`]) and not
//!   [`Steady`]; the LWP is its own;
//! - its stack pointer lies in its own stack, with room for the frame and for
//!   resuming: so no handler on an alternate stack, and no other stack of its own;
//! - the interrupted mask is the LWPs': so no handler on the thread's own stack,
//!   nothing between blocking signals and unblocking them (libc does so where it
//!   depends on the kernel thread: starting threads and processes, `raise`);
//! - this handler runs on an alternate stack;
//! - there is a spare in reserve (below).
//!
//! The handler also copies the interrupted stack for whoever makes a dump (`debug/ask.rs`): of any
//! thread, whether or not it can be preempted.
//!
//! *A thread may hold locks of foreign code* when it is preempted: the
//! allocator's, say. Threads that wait for these block in the kernel, and their
//! LWP goes on without them. But idle contexts allocate, too. So a preempted
//! thread stands in a list of the runtime ([`Preempted`]), which each LWP takes
//! from only what it runs at once; and if nobody does for long, a spare kernel
//! thread runs it without an LWP ([`rescue`](super::handover::rescue)), and gives
//! way to the next one in the same manner if that does not help. It is never in a
//! queue that only one LWP serves, and while it waits one spare stays in reserve,
//! because starting one takes locks, too: without a spare nobody is switched.
//!
//! *Rejected*: queueing it with the other ready threads (an idle context that
//! waits for the allocator's lock, whose holder is in its own queue, waits for
//! ever). A handler on the thread's own stack: see [`frame`]. Preempting by the
//! program counter only outside libc: locks are held elsewhere, too.

use core::ffi::{c_int, c_void};
use core::ptr;
use std::io;

use lisle_lwp::arch;
use lisle_lwp::frame::{self, Frame, Saved};
use lisle_lwp::lock::RawLock;
use lisle_lwp::shim::{AtomicUsize, Ordering};
use lisle_lwp::sys;

use super::handover;
use super::lwp::Lwp;
use super::queue::ReadyList;
use super::switch::{PREEMPTED, arrive, depart, enter, leave, running, stay_put};
use crate::footing::Footing;
use crate::runtime::Shared;
use crate::tcb::{Kind, Tcb};

/// Stack below the copied frame for resuming.
const ROOM: usize = 8 << 10;

/// Preempted threads that wait to go on, first in, first out.
#[derive(Debug)]
pub(crate) struct Preempted {
    list: RawLock<ReadyList>,
    len: AtomicUsize,
    /// How many have gone on.
    taken: AtomicUsize,
    /// How many are about to stand here.
    coming: AtomicUsize,
}

impl Preempted {
    pub(crate) fn new() -> Preempted {
        Preempted {
            list: RawLock::new(ReadyList::new()),
            len: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            coming: AtomicUsize::new(0),
        }
    }

    /// A hint; exact before an LWP sleeps, behind the fence of `fall_asleep`.
    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    /// Whether a spare must stay for their rescue.
    pub(crate) fn need_a_reserve(&self) -> bool {
        !self.is_empty() || self.coming.load(Ordering::Relaxed) != 0
    }

    /// How many wait, and how many ever went on.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (
            self.len.load(Ordering::Relaxed),
            self.taken.load(Ordering::Relaxed),
        )
    }

    /// Whoever may hold this lock runs no user thread at that time: idle contexts
    /// and spares.
    pub(super) fn push(&self, thread: &'static Tcb) {
        let mut list = self.list.lock();
        list.push_back(thread);
        self.len.store(list.len(), Ordering::Relaxed);
    }

    /// One that the caller runs at once.
    pub(super) fn take(&self) -> Option<&'static Tcb> {
        if self.is_empty() {
            return None;
        }
        let mut list = self.list.lock();
        let thread = list.pop_front()?;
        self.len.store(list.len(), Ordering::Relaxed);
        self.taken.fetch_add(1, Ordering::Relaxed);
        Some(thread)
    }
}

/// A stay during which no signal handler takes the calling thread off its kernel
/// thread: while it holds a lock of the runtime's outside the runtime.
#[derive(Debug)]
pub(crate) struct Steady(Option<&'static Tcb>);

impl Steady {
    pub(crate) fn new() -> Steady {
        let me = running().filter(|me| me.is_user());
        if let Some(me) = me {
            // Only the thread itself, and a handler above it on its kernel thread.
            let depth = me.steady.load(Ordering::Relaxed);
            me.steady.store(depth + 1, Ordering::Relaxed);
        }
        Steady(me)
    }

    /// Ends one that the calling thread has forgotten.
    pub(crate) fn end() {
        drop(Steady(running().filter(|me| me.is_user())));
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        if let Some(me) = self.0 {
            let depth = me.steady.load(Ordering::Relaxed);
            me.steady.store(depth - 1, Ordering::Relaxed);
        }
    }
}

/// What `Own::asked` says of a thread that has switched so often.
fn ticket(switches: u64) -> u64 {
    switches << 1 | 1
}

/// How a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Nobody asked since the LWP last switched.
    No,
    /// The signal is on its way.
    OnItsWay,
    /// The handler could not switch.
    Refused,
}

/// Looks how the request stands that was made when the LWP had switched so often.
pub(crate) fn asked(carrier: &Tcb, switches: u64) -> Asked {
    match carrier.own.asked.load(Ordering::Relaxed) {
        asked if asked == ticket(switches) => Asked::OnItsWay,
        asked if asked == ticket(switches) - 1 && asked != 0 => Asked::Refused,
        _ => Asked::No,
    }
}

/// Asks the user thread that runs on the carrier's kernel thread to make way,
/// unless the LWP has switched since it had done so `switches` times.
///
/// # Errors
/// If the signal cannot be sent.
pub(crate) fn ask(carrier: &Tcb, switches: u64, signal: c_int) -> io::Result<()> {
    // Relaxed: the system call is a barrier, and the handler runs behind it.
    carrier.own.asked.store(ticket(switches), Ordering::Relaxed);
    sys::tgkill(carrier.own.tid.load(Ordering::Relaxed) as i32, signal)
}

/// In place of a ticket: the thread runs on a spare, without an LWP.
const RESCUED: u64 = u64::MAX;

/// Asks a rescued thread to make way for the next, if one runs on this spare.
///
/// # Errors
/// If the signal cannot be sent.
pub(crate) fn ask_rescued(spare: &Tcb, signal: c_int) -> io::Result<()> {
    // Relaxed: as in `ask`.
    spare.own.asked.store(RESCUED, Ordering::Relaxed);
    sys::tgkill(spare.own.tid.load(Ordering::Relaxed) as i32, signal)
}

/// What each signal did before, by its number: a handler, or 0.
static PREVIOUS: [AtomicUsize; 65] = [const { AtomicUsize::new(0) }; 65];
static INSTALLED: RawLock<u64> = RawLock::new(0);

/// Installs the handler for this signal, once per process.
///
/// # Errors
/// The system's: `InvalidInput` for a signal that does not exist or cannot be
/// handled.
pub(crate) fn install(signal: c_int) -> io::Result<()> {
    if !(1..=64).contains(&signal) {
        let why = "the preemption signal must be one from 1 to 64";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let _steady = Steady::new();
    let mut installed = INSTALLED.lock();
    if *installed & 1 << (signal - 1) != 0 {
        return Ok(());
    }
    // SAFETY: only asks.
    let previous = unsafe { sys::sigaction(signal, None)? };
    // A handler of one argument may be called with three.
    if previous.sa_sigaction > libc::SIG_IGN {
        PREVIOUS[signal as usize].store(previous.sa_sigaction, Ordering::Relaxed);
    }
    // SAFETY: all zeroes is an action.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = handle as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: the set is ours to fill; the handler is async-signal-safe.
    unsafe {
        libc::sigfillset(&mut action.sa_mask);
        sys::sigaction(signal, Some(&action)).map_err(|error| {
            let why = format!("signal {signal} cannot be the preemption signal: {error}");
            io::Error::new(error.kind(), why)
        })?;
    }
    *installed |= 1 << (signal - 1);
    Ok(())
}

extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel's arguments.
    let frame = unsafe { Frame::new(info, context) };
    // SAFETY: each thread pointer's owner has such a word.
    let errno = unsafe { libc::__errno_location().read() };
    let ours = frame.is_directed() && (was_asked(frame) | try_to_switch(frame, errno));
    if !ours && let handler @ 1.. = PREVIOUS[signal as usize].load(Ordering::Relaxed) {
        type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
        // SAFETY: the program's own handler, with the kernel's arguments.
        let handler: Handler = unsafe { core::mem::transmute(handler) };
        handler(signal, info, context);
    }
    // SAFETY: as above.
    unsafe { libc::__errno_location().write(errno) };
}

/// Whether somebody wanted to see the stack that was interrupted, and has got it.
#[cfg(feature = "backtrace")]
use crate::debug::answer as was_asked;
/// Nobody looks at stacks.
#[cfg(not(feature = "backtrace"))]
fn was_asked(_: Frame) -> bool {
    false
}

/// Switches to the idle context if all conditions hold: then it does not return.
/// Returns whether the signal was meant for us.
fn try_to_switch(frame: Frame, errno: c_int) -> bool {
    // The word of whatever thread pointer is set; it may be that of a thread that
    // is about to be switched to, or has just been left: those are inside.
    let Some(me) = running() else { return false };
    // SAFETY: control blocks live for ever; only user threads have carriers.
    let Some(carrier) = (unsafe { me.carrier.load(Ordering::Relaxed).as_ref() }) else {
        return false;
    };
    let asked = carrier.own.asked.load(Ordering::Relaxed);
    if asked & 1 == 0 || carrier.own.tid.load(Ordering::Relaxed) != sys::gettid() as u32 {
        return false;
    }
    // From here on whoever asked can see that nothing came of it.
    carrier.own.asked.store(asked - 1, Ordering::Relaxed);
    if me.kind() != Kind::Full || !can_be_left(me, carrier, frame) {
        return true;
    }
    if asked == RESCUED {
        if me.own_lwp().is_none() {
            stay_put(me);
            // SAFETY: by the conditions, as below; the carrier's idle context is
            // suspended where it switched to `me` or a predecessor.
            unsafe {
                save(me, frame, errno);
                handover::go_back(carrier, me, PREEMPTED)
            }
        }
        return true;
    }
    let Some(lwp) = enter(me) else { return true };
    if ticket(lwp.counters.switches.load(Ordering::Relaxed)) != asked || !has_reserve(lwp.shared())
    {
        leave(me);
        return true;
    }
    // SAFETY: by the conditions the stack has room below the frame; the copy, and
    // the context made below it, are resumed once, by `resumed`. What runs as
    // `me` from here on is on the alternate stack, of which nobody needs
    // anything again.
    unsafe {
        save(me, frame, errno);
        let to = depart(me, lwp, carrier, PREEMPTED);
        arch::switch_final(to, ptr::from_ref(me) as usize | PREEMPTED)
    }
}

/// Makes a context that goes on where the signal came.
///
/// # Safety
/// There is room for it below the stack pointer; it is resumed once. Nothing that
/// depends on floating-point control follows.
unsafe fn save(me: &Tcb, frame: Frame, errno: c_int) {
    // SAFETY: passed on.
    unsafe {
        let saved = frame.copy();
        let data = saved.address();
        data.sub(16).cast::<c_int>().write(errno);
        let again = arch::init(data.sub(16), resumed, data.cast());
        me.context.with_mut(|context| *context = again);
        frame::reset_float_control();
    }
}

/// Whether a spare waits, and will, in case that nobody else can serve the thread
/// which is about to be preempted: whoever starts spares may wait for a lock that
/// the thread holds. If so the thread counts as coming.
fn has_reserve(shared: &Shared) -> bool {
    // Where the system refuses kernel threads, nobody waits for a lock to start one.
    let has = shared.spares.has_one_for(&shared.preempted.coming) || shared.watch.is_refused();
    if !has {
        shared.preempted.coming.fetch_sub(1, Ordering::Relaxed);
    }
    has
}

/// Whether the thread can be taken off its kernel thread as it is now.
fn can_be_left(me: &Tcb, carrier: &Tcb, frame: Frame) -> bool {
    if me.inside.load(Ordering::Relaxed) != 0
        || me.steady.load(Ordering::Relaxed) != 0
        || carrier.own.holder.is_inside()
        || frame.mask() != carrier.own.mask.load(Ordering::Relaxed)
    {
        return false;
    }
    let here = ptr::from_ref(&frame) as usize;
    // SAFETY: nobody touches the footing of a thread that runs.
    me.footing.with(|footing| match unsafe { &*footing } {
        Some(Footing::Donor(donor)) => {
            let stack = donor.limit() as usize..donor.stack().end() as usize;
            let room = frame.size() + ROOM;
            stack.contains(&frame.stack_pointer())
                && !stack.contains(&here)
                && frame.stack_pointer() - stack.start > room
        }
        _ => false,
    })
}

/// The first function of the context in which a preempted thread is resumed.
unsafe extern "C" fn resumed(arg: usize, data: *mut ()) -> ! {
    let me = running().expect("a full thread has its word");
    // SAFETY: `arg` is what the switch passed; `data` is the copy of the frame,
    // and below it `errno`.
    unsafe {
        match me.own_lwp() {
            Some(_) => arrive(me, arg),
            // On a spare, without an LWP.
            None => me.inside.store(0, Ordering::Relaxed),
        }
        let errno = data.byte_sub(16).cast::<c_int>().read();
        libc::__errno_location().write(errno);
        Saved::at(data.cast()).resume()
    }
}

/// What an idle context does about a thread that was taken off its kernel thread.
pub(super) fn follow_up(shared: &Shared, lwp: &Lwp, idle: &Tcb, thread: &'static Tcb) {
    sys::set_signal_mask(idle.own.mask.load(Ordering::Relaxed));
    let id = thread.id.load(Ordering::Relaxed);
    // Before the upcall, which is foreign code and may wait for what it holds.
    shared.preempted.push(thread);
    shared.preempted.coming.fetch_sub(1, Ordering::Relaxed);
    shared.announce();
    shared.watch.log.note_switched(lwp.index, id);
}

/// The mask of signals for kernel threads that carry LWPs: that of the calling
/// thread, without the one that preempts.
pub(crate) fn carriers_mask(signal: Option<c_int>) -> u64 {
    let mask = sys::signal_mask();
    signal.map_or(mask, |signal| mask & !(1 << (signal - 1)))
}
