//! The control block: everything the runtime knows about one thread.
//!
//! Every flow of control that uses the runtime has one: user threads, kernel
//! threads that call in from outside, and each LWP's idle context.
//!
//! *Control blocks are type-stable*: they come from chunks that are never given
//! back to the allocator, only reused ([`pool`](crate::pool)). So a stale
//! pointer to one always points to *a* control block, and the epoch in its
//! [`WaitWord`] tells whether it still means the same wait. That is what makes
//! [`WaitKey`](crate::wait::WaitKey) a plain copyable value.
//!
//! *Lifetime*: `refs` counts the running thread itself, its handles, and
//! momentary observers; at zero the block goes back to the pool
//! ([`life`](crate::life)). Fields are grouped by who may touch them.

#[cfg(not(lisle_loom))]
use core::ops::Range;
use core::ptr;

use lisle_lwp::shim::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Cell, Ordering};
use lisle_lwp::sleep::Sleeper;

#[cfg(not(lisle_loom))]
use lisle_lwp::arch::{self, Context};
#[cfg(not(lisle_loom))]
use lisle_lwp::{current::Slot, owner::Holder};

#[cfg(not(lisle_loom))]
use crate::footing::Footing;
use crate::hold::RUNNABLE;
#[cfg(not(lisle_loom))]
use crate::jobs::Scope;
use crate::join::JoinSlot;
#[cfg(not(lisle_loom))]
use crate::thread::local::Locals;
#[cfg(not(lisle_loom))]
use crate::thread::room::Room;
use crate::wait::Reason;
use crate::wait::word::WaitWord;

/// What carries a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A kernel thread that called in, or a thread bound to one of its own.
    Kernel = 0,
    /// The context in which an LWP searches, polls and sleeps.
    Idle = 1,
    /// A user thread that borrows its kernel thread's thread-locals.
    Light = 2,
    /// A user thread with a thread pointer, hence thread-locals, of its own.
    Full = 3,
}

/// How many boosts there have been: policies that order by priority look again when it
/// changes.
#[cfg(not(lisle_loom))]
pub(crate) static BOOSTS: AtomicU64 = AtomicU64::new(0);
#[cfg(lisle_loom)]
loom::lazy_static! {
    pub(crate) static ref BOOSTS: AtomicU64 = AtomicU64::new(0);
}

/// See the module documentation.
#[repr(C, align(64))]
pub(crate) struct Tcb {
    // --- the LWP that runs or resumes the thread; nobody else ---
    /// Empty while it has not begun and has no stack.
    #[cfg(not(lisle_loom))]
    pub(crate) context: Cell<Context>,
    /// Its own thread pointer; 0 if it borrows that of the kernel thread.
    pub(crate) thread_pointer: AtomicUsize,
    /// The LWP that runs the thread, null while it does not run on one.
    #[cfg(not(lisle_loom))]
    pub(crate) lwp: AtomicPtr<crate::sched::lwp::Lwp>,
    /// The idle context of the kernel thread on which it runs.
    #[cfg(not(lisle_loom))]
    pub(crate) carrier: AtomicPtr<Tcb>,
    /// The next in whatever queue holds the thread; owned by that queue.
    pub(crate) link: AtomicPtr<Tcb>,
    /// How often it was switched to; written by the running LWP only.
    pub(crate) switches: AtomicU64,

    // --- any thread, atomically ---
    pub(crate) wait: WaitWord,
    /// Kind as a number; fixed while the block is in use.
    pub(crate) kind: AtomicU8,
    pub(crate) priority: AtomicU8,
    /// What it inherits from those who wait for it: see [`crate::wait::inherit`].
    pub(crate) boost: AtomicU8,
    /// Whether it is to be held, as bits: see [`crate::hold`].
    pub(crate) suspension: AtomicU8,
    /// Whether it is inside the runtime, or on its way in or out: then no signal
    /// handler may take it off its kernel thread. The thread itself only.
    pub(crate) inside: AtomicU8,
    /// Nesting of [`Steady`](crate::sched::Steady); the thread itself only.
    pub(crate) steady: AtomicU8,
    /// Whether its LWP went on without it when it last announced that it would block;
    /// the thread itself only.
    pub(crate) was_left: AtomicU8,
    /// Nesting of `cancel::shield`; the thread itself only.
    pub(crate) shields: AtomicU32,
    /// Whether it unwinds because of a cancel; the thread itself only.
    pub(crate) cancelling: AtomicU8,
    /// References; zero while the block is free.
    pub(crate) refs: AtomicUsize,
    /// Unique for ever among threads; zero while the block is free.
    pub(crate) id: AtomicU64,
    /// The block's own, for ever: see [`crate::pool::block`]. Zero: it has none.
    pub(crate) number: AtomicU32,
    /// Which life of the process it belongs to: see [`crate::fork`].
    pub(crate) generation: AtomicU32,
    pub(crate) terminated: AtomicU8,
    /// Whether its runtime accounts CPU time.
    pub(crate) accounts_cpu: AtomicU8,
    /// Why the thread waits, and for which one: see [`Reason`].
    pub(crate) reason: AtomicPtr<Reason>,
    pub(crate) reason_detail: AtomicUsize,
    /// Where on its stack those look who claim its wait, or keep it from being claimed; said
    /// before the wait begins.
    pub(crate) place: AtomicPtr<()>,
    /// Whether it was made ready, in models: see [`crate::model::park`].
    #[cfg(lisle_loom)]
    pub(crate) made_ready: AtomicU32,
    /// The deadline of its wait in nanoseconds, and of which one: meaningless for
    /// others. So a wait without a deadline need not say so.
    until: AtomicU64,
    until_epoch: AtomicU64,

    // --- the thread itself ---
    #[cfg(not(lisle_loom))]
    pub(crate) jobs: Scope,

    // --- any thread, atomically ---
    /// Nanoseconds of CPU time, where the runtime accounts them.
    pub(crate) cpu_ns: AtomicU64,
    pub(crate) join: JoinSlot,

    // --- the thread itself; under a seed, the LWP that resumes it ---
    /// Where its fair choices come from; under a seed, which they do not use, its
    /// rank (`sched/seeds.rs`). Zero to begin with.
    pub(crate) random: AtomicU64,

    // --- the thread itself, if its kind is `Kernel` or `Idle` ---
    pub(crate) sleeper: Sleeper,
    /// What a kernel thread that carries LWPs has for itself.
    #[cfg(not(lisle_loom))]
    pub(crate) own: Own,

    // --- immutable while `refs > 0` ---
    pub(crate) parent: AtomicU64,
    /// How long it may compute while others wait, in nanoseconds; 0: as its
    /// runtime says.
    pub(crate) slice_ns: AtomicU64,
    /// After how much CPU time its runtime tells so, once, in nanoseconds; 0:
    /// never. Whoever finds it passed exchanges it for 0.
    pub(crate) limit_ns: AtomicU64,
    /// The runtime it belongs to; null for kernel threads from outside.
    #[cfg(not(lisle_loom))]
    pub(crate) shared: AtomicPtr<crate::runtime::Shared>,
    pub(crate) name: Cell<Option<Box<str>>>,

    // --- the thread itself; before its first switch and after its last one, whoever makes it ---
    #[cfg(not(lisle_loom))]
    pub(crate) footing: Cell<Option<Footing>>,
    #[cfg(not(lisle_loom))]
    pub(crate) locals: Cell<Locals>,

    // --- who spawns it, then the thread itself, then who has its result ---
    #[cfg(not(lisle_loom))]
    pub(crate) room: Room,
}

// SAFETY: every field is either atomic or, as its group says, touched only by
// the one thread or LWP that owns it at that time.
unsafe impl Sync for Tcb {}
// SAFETY: as above; nothing in a control block belongs to a kernel thread.
unsafe impl Send for Tcb {}

impl Tcb {
    pub(crate) fn blank() -> Tcb {
        Tcb {
            #[cfg(not(lisle_loom))]
            context: Cell::new(Context::EMPTY),
            thread_pointer: AtomicUsize::new(0),
            #[cfg(not(lisle_loom))]
            lwp: AtomicPtr::new(ptr::null_mut()),
            #[cfg(not(lisle_loom))]
            carrier: AtomicPtr::new(ptr::null_mut()),
            link: AtomicPtr::new(ptr::null_mut()),
            switches: AtomicU64::new(0),
            wait: WaitWord::new(),
            kind: AtomicU8::new(Kind::Kernel as u8),
            priority: AtomicU8::new(0),
            boost: AtomicU8::new(0),
            suspension: AtomicU8::new(RUNNABLE),
            inside: AtomicU8::new(0),
            steady: AtomicU8::new(0),
            was_left: AtomicU8::new(0),
            shields: AtomicU32::new(0),
            cancelling: AtomicU8::new(0),
            refs: AtomicUsize::new(0),
            id: AtomicU64::new(0),
            number: AtomicU32::new(0),
            generation: AtomicU32::new(0),
            terminated: AtomicU8::new(0),
            accounts_cpu: AtomicU8::new(0),
            reason: AtomicPtr::new(ptr::null_mut()),
            place: AtomicPtr::new(ptr::null_mut()),
            #[cfg(lisle_loom)]
            made_ready: AtomicU32::new(0),
            reason_detail: AtomicUsize::new(0),
            until: AtomicU64::new(0),
            until_epoch: AtomicU64::new(0),
            #[cfg(not(lisle_loom))]
            jobs: Scope::blank(),
            cpu_ns: AtomicU64::new(0),
            join: JoinSlot::new(),
            random: AtomicU64::new(0),
            sleeper: Sleeper::new(),
            #[cfg(not(lisle_loom))]
            own: Own::new(),
            parent: AtomicU64::new(0),
            slice_ns: AtomicU64::new(0),
            limit_ns: AtomicU64::new(0),
            #[cfg(not(lisle_loom))]
            shared: AtomicPtr::new(ptr::null_mut()),
            name: Cell::new(None),
            #[cfg(not(lisle_loom))]
            footing: Cell::new(None),
            #[cfg(not(lisle_loom))]
            locals: Cell::new(Locals::new()),
            #[cfg(not(lisle_loom))]
            room: Room::new(),
        }
    }

    #[inline(always)]
    pub(crate) fn kind(&self) -> Kind {
        match self.kind.load(Ordering::Relaxed) {
            0 => Kind::Kernel,
            1 => Kind::Idle,
            2 => Kind::Light,
            _ => Kind::Full,
        }
    }

    /// Whether it borrows the thread-locals of the kernel thread that runs it.
    pub(crate) fn is_light(&self) -> bool {
        self.kind() == Kind::Light
    }

    pub(crate) fn limit_ns(&self) -> u64 {
        self.limit_ns.load(Ordering::Relaxed)
    }

    /// Charges CPU time. Returns whether its limit has been passed for the first
    /// time: then it has none from now on.
    #[cfg(not(lisle_loom))]
    pub(crate) fn charge(&self, nanoseconds: u64) -> bool {
        self.is_over(self.cpu_ns.fetch_add(nanoseconds, Ordering::Relaxed) + nanoseconds)
    }

    /// Whether it has passed its limit if it has used so much, for the first time: then it has
    /// none from now on.
    #[cfg(not(lisle_loom))]
    pub(crate) fn is_over(&self, used: u64) -> bool {
        let limit = self.limit_ns();
        // Exchanged, because two may look at a time.
        limit != 0 && used > limit && self.limit_ns.swap(0, Ordering::Relaxed) != 0
    }

    /// How many lines of memory a block takes.
    #[cfg(not(lisle_loom))]
    pub(crate) const LINES: usize = size_of::<Tcb>() / 64;

    /// Has some of its lines fetched, because they will be needed soon.
    #[cfg(not(lisle_loom))]
    #[inline(always)]
    pub(crate) fn fetch(&self, lines: Range<usize>) {
        let block = ptr::from_ref(self) as usize;
        lines.for_each(|line| arch::prefetch(block + line * 64));
    }

    /// Has some lines of its stack fetched, if it has one, counted from the one where it goes on. It is ready, and
    /// whoever calls has it.
    #[cfg(not(lisle_loom))]
    #[inline(always)]
    pub(crate) fn fetch_stack(&self, lines: Range<isize>) {
        // SAFETY: nobody else touches the context of a thread that is ready.
        let context = self.context.with(|context| unsafe { *context });
        if !context.is_empty() {
            let stack = context.address();
            lines.for_each(|line| arch::prefetch(stack.wrapping_add_signed(line * 64)));
        }
    }

    /// Whether LWPs run it, rather than a kernel thread of its own.
    #[inline(always)]
    pub(crate) fn is_user(&self) -> bool {
        self.kind.load(Ordering::Relaxed) >= Kind::Light as u8
    }

    /// The priority with which it is scheduled: its own, or what it inherits.
    #[inline]
    pub(crate) fn effective_priority(&self) -> u8 {
        let own = self.priority.load(Ordering::Relaxed);
        own.max(self.boost.load(Ordering::Relaxed))
    }

    /// Sets what it inherits. If it is ready, its place in the queue changes.
    pub(crate) fn set_boost(&self, boost: u8) {
        self.boost.store(boost, Ordering::Relaxed);
        // Release: the boost; pairs with the Acquire in the policy.
        BOOSTS.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn name(&self) -> Option<&str> {
        // SAFETY: the name does not change while there are references, and the
        // caller has one.
        self.name.with(|name| unsafe { (*name).as_deref() })
    }

    /// Says why the thread is about to wait. Only the thread itself calls it.
    #[inline]
    pub(crate) fn set_reason(&self, reason: &'static Reason, detail: usize) {
        self.reason
            .store(ptr::from_ref(reason).cast_mut(), Ordering::Relaxed);
        self.reason_detail.store(detail, Ordering::Relaxed);
    }

    pub(crate) fn reason(&self) -> Option<(&'static Reason, usize)> {
        let reason = self.reason.load(Ordering::Relaxed);
        // SAFETY: only `set_reason` writes the pointer, from a `&'static`.
        let reason = unsafe { reason.as_ref() }?;
        Some((reason, self.reason_detail.load(Ordering::Relaxed)))
    }

    /// Says until when the wait of this epoch lasts at most. Only the thread
    /// itself calls it.
    pub(crate) fn set_until(&self, epoch: u64, deadline: u64) {
        self.until.store(deadline, Ordering::Relaxed);
        // Release: pairs with the Acquire in `until`.
        self.until_epoch.store(epoch, Ordering::Release);
    }

    /// The deadline of the wait of this epoch, if it has one.
    pub(crate) fn until(&self, epoch: u64) -> Option<u64> {
        // Acquire: pairs with the Release in `set_until`.
        let known = self.until_epoch.load(Ordering::Acquire) == epoch;
        known.then(|| self.until.load(Ordering::Relaxed))
    }
}

/// What belongs to a kernel thread that carries LWPs, whichever it carries.
#[cfg(not(lisle_loom))]
#[derive(Debug)]
pub(crate) struct Own {
    /// Its side of the owner words.
    pub(crate) holder: Holder,
    /// The word by which it knows its current thread.
    pub(crate) slot: Cell<Slot>,
    /// Its thread pointer, if it carries LWPs.
    pub(crate) pointer: AtomicUsize,
    /// The kernel's id of it; set by kernel threads that carry none, too.
    pub(crate) tid: AtomicU32,
    /// What it was last switched to.
    pub(crate) runs: AtomicPtr<Tcb>,
    /// Which thread it runs that it has rescued.
    pub(crate) rescued: AtomicPtr<Tcb>,
    /// Which thread a signal is on its way to: see [`crate::sched::preempt`].
    pub(crate) asked: AtomicU64,
    /// Up to which of its CPU time what runs there without an LWP has been charged, in nanoseconds:
    /// see [`crate::watch::stay`].
    pub(crate) cpu_when_left: AtomicU64,
    /// Its mask of blocked signals.
    pub(crate) mask: AtomicU64,
    /// While it is a spare: which LWP it is to take. See [`crate::spares`].
    pub(crate) order: AtomicPtr<crate::sched::lwp::Lwp>,
}

#[cfg(not(lisle_loom))]
impl Own {
    fn new() -> Own {
        Own {
            holder: Holder::new(),
            slot: Cell::new(ptr::null()),
            pointer: AtomicUsize::new(0),
            tid: AtomicU32::new(0),
            runs: AtomicPtr::new(ptr::null_mut()),
            rescued: AtomicPtr::new(ptr::null_mut()),
            asked: AtomicU64::new(0),
            cpu_when_left: AtomicU64::new(0),
            mask: AtomicU64::new(0),
            order: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// It is the calling kernel thread's from now on, which does not carry LWPs yet.
    /// Whoever had it before may have.
    pub(crate) fn is_the_callers(&self) {
        let tid = lisle_lwp::sys::gettid() as u32;
        self.tid.store(tid, Ordering::Relaxed);
        self.pointer.store(0, Ordering::Relaxed);
    }
}

impl core::fmt::Debug for Tcb {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Tcb")
            .field("id", &self.id)
            .field("refs", &self.refs)
            .finish_non_exhaustive()
    }
}
