//! The pool of donors: what full threads run on between two closures.
//!
//! ```text
//!   LWP's own (at most CACHED)  ◄── half ──►  shared, warm  ──over the limit──► excess ──► ended, joined
//!        spawn / end, no lock                     ▲
//!                                    made in batches when there is none
//! ```
//!
//! A full thread that ends leaves its donor to the next one: its stack is warm, its thread-locals
//! persist. Making a donor costs a kernel thread's start and end, some tens of microseconds, so they
//! are made in batches: while the first is waited for, the others come to be beside it.
//!
//! *Bounds*: the shared pool keeps as many as the limit says; a donor above it is ended by the next
//! idle LWP; one that is busy ends one in a round, because each takes it some twenty microseconds. Long idleness ends those that were not needed since the last look. Ending needs a
//! kernel thread, which the system may refuse; the donor is then kept and tried again.
//!
//! *Entry rule*: [`give`] and [`take`] take one short lock and neither allocate nor make system
//! calls that block; all else is for the idle context and for code outside the runtime.

use std::io;
use std::time::{Duration, Instant};

use lisle_lwp::donor::{Donor, Donors, Ended, List, Starting};
use lisle_lwp::lock::RawLock;
use lisle_lwp::shim::{AtomicUsize, Ordering};
use lisle_lwp::stack::StackSize;

/// What an LWP keeps for itself.
pub(crate) const CACHED: usize = 32;
/// Above this size of a stack it keeps none: what one LWP keeps is missing elsewhere where address space
/// is scarce.
pub(crate) const LARGE: usize = 1 << 20;
/// How many donors are warm at most, unless a runtime asks for more.
pub(crate) const DEFAULT_LIMIT: usize = 1024;
/// How many donors are begun at a time at most, or ended by an LWP that has nothing else to do.
pub(crate) const BATCH: usize = 16;

struct Idle {
    warm: Donors,
    /// The fewest that were there since the last [`trim`].
    low: usize,
}

static IDLE: RawLock<Idle> = RawLock::new(Idle {
    warm: Donors::new(),
    low: 0,
});
/// How many the pool holds, for those who only look.
static WARM: AtomicUsize = AtomicUsize::new(0);
/// The most that a runtime has asked for.
static LIMIT: AtomicUsize = AtomicUsize::new(0);
/// How many stay warm however long they are not needed.
static KEPT: AtomicUsize = AtomicUsize::new(0);
/// How many donors were made and have not been told to end.
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// Begun, and on their way.
static STARTING: RawLock<List<Starting>> = RawLock::new(List::new());
/// Given a kernel thread again, and running to their end.
static ENDING: RawLock<List<Ended>> = RawLock::new(List::new());

/// Raises the limit of warm donors.
pub(crate) fn allow(limit: usize) {
    LIMIT.fetch_max(limit, Ordering::Relaxed);
}

/// A warm donor, if there is one.
pub(crate) fn take(class: StackSize) -> Option<Donor> {
    if WARM.load(Ordering::Relaxed) == 0 {
        return None;
    }
    let mut idle = IDLE.lock();
    let donor = idle.warm.take(class);
    note(&mut idle);
    donor
}

/// Keeps a donor warm.
pub(crate) fn give(donor: Donor) {
    let mut idle = IDLE.lock();
    idle.warm.give(donor);
    note(&mut idle);
}

/// Keeps all but so many of an LWP's own.
pub(crate) fn spill(own: &mut Donors, keep: usize) {
    let mut idle = IDLE.lock();
    while own.len() > keep
        && let Some(donor) = own.take_any()
    {
        idle.warm.give(donor);
    }
    note(&mut idle);
}

fn note(idle: &mut Idle) {
    idle.low = idle.low.min(idle.warm.len());
    WARM.store(idle.warm.len(), Ordering::Relaxed);
}

/// How many are warm above the limit.
pub(crate) fn excess() -> usize {
    let limit = LIMIT.load(Ordering::Relaxed);
    WARM.load(Ordering::Relaxed).saturating_sub(limit)
}

/// How many donors there are, in use or not.
pub(crate) fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// A new donor; begins a few more if there are many already.
///
/// # Errors
/// What the system says when it refuses memory or a kernel thread.
pub(crate) fn make(class: StackSize) -> io::Result<Donor> {
    make_and_begin(class, live() / 4)
}

/// A new donor. If it has to be begun first, so are others beside it: as many as asked for, at most a batch.
fn make_and_begin(class: StackSize, others: usize) -> io::Result<Donor> {
    reap();
    if let Some(begun) = take_begun(class) {
        return finish(begun);
    }
    let first = match Donor::start(class) {
        // The kernel threads of those on their way may be what is too many.
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && settle() => {
            Donor::start(class).map_err(|_| error)?
        }
        first => first?,
    };
    for _ in 0..others.min(BATCH - 1) {
        match Donor::start(class) {
            Ok(begun) => STARTING.lock().push(begun),
            Err(_) => break,
        }
    }
    finish(first)
}

/// One on its way with a stack of this class.
fn take_begun(class: StackSize) -> Option<Starting> {
    let mut starting = STARTING.lock();
    let mut others = List::new();
    let found = loop {
        match starting.pop() {
            Some(begun) if begun.is_of(class) => break Some(begun),
            Some(other) => others.push(other),
            None => break None,
        }
    };
    while let Some(other) = others.pop() {
        starting.push(other);
    }
    found
}

fn finish(begun: Starting) -> io::Result<Donor> {
    let donor = begun.wait()?;
    LIVE.fetch_add(1, Ordering::Relaxed);
    Ok(donor)
}

/// Waits for all donors on their way; says whether there were any.
fn settle() -> bool {
    let mut starting = core::mem::take(&mut *STARTING.lock());
    let any = !starting.is_empty();
    while let Some(begun) = starting.pop() {
        if let Ok(donor) = finish(begun) {
            give(donor);
        }
    }
    any
}

/// Makes donors until so many are warm, and keeps that many from now on.
///
/// # Errors
/// As for [`make`].
pub(crate) fn warm_up(class: StackSize, count: usize) -> io::Result<()> {
    allow(count);
    KEPT.fetch_max(count, Ordering::Relaxed);
    loop {
        let missing = count.saturating_sub(WARM.load(Ordering::Relaxed));
        let Some(others) = missing.checked_sub(1) else {
            return Ok(());
        };
        give(make_and_begin(class, others)?);
    }
}

/// Ends a donor.
///
/// # Errors
/// The donor, if the system refuses a kernel thread: to be tried again.
pub(crate) fn end(donor: Donor) -> Result<(), Donor> {
    match donor.end() {
        Ok(ended) => {
            LIVE.fetch_sub(1, Ordering::Relaxed);
            ENDING.lock().push(ended);
            Ok(())
        }
        Err((donor, _)) => Err(donor),
    }
}

/// Ends up to `most` warm donors, as long as there are more than `keep`.
fn retire(keep: usize, most: usize) {
    for _ in 0..most {
        let donor = {
            let mut idle = IDLE.lock();
            let donor = match idle.warm.len() > keep {
                true => idle.warm.take_any(),
                false => None,
            };
            note(&mut idle);
            donor
        };
        let Some(donor) = donor else { break };
        if let Err(donor) = end(donor) {
            give(donor);
            break;
        }
    }
    reap();
}

/// Ends some of those above the limit, `most` at most.
pub(crate) fn retire_excess(most: usize) {
    retire(LIMIT.load(Ordering::Relaxed), most);
}

/// Ends those above the limit, and those that were not needed since the last
/// call, but leaves as many as a runtime has asked for. Returns whether the next call may find more to end.
pub(crate) fn trim() -> bool {
    let _ = settle();
    let keep = KEPT.load(Ordering::Relaxed);
    let (warm, unused) = {
        let mut idle = IDLE.lock();
        let warm = idle.warm.len();
        (warm, core::mem::replace(&mut idle.low, warm))
    };
    let needed = keep.max(warm - unused.min(warm));
    retire(needed.min(LIMIT.load(Ordering::Relaxed)), usize::MAX);
    WARM.load(Ordering::Relaxed) > keep
}

/// Takes the stacks of those back that have ended.
pub(crate) fn reap() {
    let mut ending = core::mem::take(&mut *ENDING.lock());
    while let Some(ended) = ending.pop() {
        if let Err(running) = ended.try_join() {
            ENDING.lock().push(running);
        }
    }
}

/// Ends all warm donors and waits for their ends, though not for ever: a
/// thread-local's destructor may take its time. For the last runtime.
pub(crate) fn close(deadline: Instant) {
    KEPT.store(0, Ordering::Relaxed);
    let _ = settle();
    retire(0, usize::MAX);
    let mut pause = Duration::from_micros(20);
    while !ENDING.lock().is_empty() && Instant::now() < deadline {
        crate::runtime::nap(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
        reap();
    }
}

/// Takes the pool's locks over a fork.
pub(crate) fn lock_for_fork() {
    IDLE.lock_raw();
    STARTING.lock_raw();
    ENDING.lock_raw();
}

/// Releases what [`lock_for_fork`] took.
///
/// # Safety
/// The calling thread called `lock_for_fork`, or is its copy in the child.
pub(crate) unsafe fn unlock_after_fork() {
    // SAFETY: passed on.
    unsafe {
        ENDING.unlock_raw();
        STARTING.unlock_raw();
        IDLE.unlock_raw();
    }
}

/// In a forked child: the threads that the donors are exist in the parent only.
pub(crate) fn forget() {
    let mut idle = IDLE.lock();
    idle.warm = Donors::new();
    note(&mut idle);
    *STARTING.lock() = List::new();
    *ENDING.lock() = List::new();
    LIVE.store(0, Ordering::Relaxed);
}
