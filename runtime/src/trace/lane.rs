//! Where events are written: a lane per LWP, and one for whoever has none.
//!
//! *Lossless, or it says what it dropped*: a lane that is full counts what it
//! drops. *The entry rule*: what a lane needs is there before the recording
//! begins; writing moves a cursor.
//!
//! *Time*. Reading the processor's counter costs several switches. So a lane on
//! which much happens in quick succession reads it more and more rarely, but at
//! least once in [`STRIDE`] events and once whenever a thread begins to wait, and
//! again for each event as soon as they take longer. Times are shared only by
//! events whose place in their thread and whose partners are known without them
//! ([`Code::may_share`]), and never with what happened outside LWPs or while an
//! LWP was idle.

use core::cell::Cell;
use core::ptr;

use lisle_lwp::arch;
use lisle_lwp::shim::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use super::event::{Code, MOST, Who, head, time};
use super::pass::Pass;

/// At least one in so many events has a time of its own.
const STRIDE: u32 = 32;
/// Events are in quick succession if they take fewer ticks than this on
/// average: less than a microsecond on any processor.
const QUICK: u64 = 1000;

/// See the module documentation. The cells are the writer's while the recording
/// lasts, then those of whoever stopped it.
///
/// An LWP that has taken a lane keeps it until the LWP is dropped, whichever recordings
/// come and go: a writer that comes too late for one recording leaves the `Pass` of its
/// own lane, never that of an LWP that writes to the next.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) pass: Pass,
    /// Whether an LWP has it.
    taken: AtomicBool,
    /// Which recording was last written here.
    used: AtomicU32,
    words: AtomicPtr<u64>,
    capacity: Cell<usize>,
    len: Cell<usize>,
    dropped: Cell<u64>,
    /// When it first had no room, in ticks; 0: never.
    full_at: Cell<u64>,
    last: Cell<u64>,
    /// How many events share a time now, and how many more will.
    stride: Cell<u32>,
    left: Cell<u32>,
    /// Whose it is: the address of a runtime and the number of an LWP.
    lwp: Cell<Option<(usize, usize)>>,
}

// SAFETY: the cells are used by one at a time: see `Pass`.
unsafe impl Sync for Lane {}

/// What a lane holds after a recording.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) words: Vec<u64>,
    pub(super) dropped: u64,
    /// See [`Lane`].
    pub(super) full_at: u64,
    pub(super) lwp: Option<(usize, usize)>,
}

impl Lane {
    pub(super) const fn new() -> Lane {
        Lane {
            pass: Pass::new(),
            taken: AtomicBool::new(false),
            used: AtomicU32::new(0),
            words: AtomicPtr::new(ptr::null_mut()),
            capacity: Cell::new(0),
            len: Cell::new(0),
            dropped: Cell::new(0),
            full_at: Cell::new(0),
            last: Cell::new(0),
            stride: Cell::new(1),
            left: Cell::new(0),
            lwp: Cell::new(None),
        }
    }

    /// Prepares the lane. Nobody writes.
    pub(super) fn begin(&self, words: Vec<u64>) {
        let mut words = core::mem::ManuallyDrop::new(words);
        self.words.store(words.as_mut_ptr(), Ordering::Relaxed);
        self.capacity.set(words.capacity());
        self.len.set(0);
        self.dropped.set(0);
        self.full_at.set(0);
        self.last.set(0);
        self.stride.set(1);
        self.left.set(0);
        self.lwp.set(None);
    }

    /// Takes what was written. Nobody writes any more.
    pub(super) fn end(&self) -> Written {
        let words = self.words.swap(ptr::null_mut(), Ordering::Relaxed);
        let (len, capacity) = (self.len.get(), self.capacity.replace(0));
        let words = match words.is_null() {
            true => Vec::new(),
            // SAFETY: the parts of the vector that `begin` took apart; `len`
            // words were written.
            false => unsafe { Vec::from_raw_parts(words, len, capacity) },
        };
        Written {
            words,
            dropped: self.dropped.get(),
            full_at: self.full_at.get(),
            lwp: self.lwp.get(),
        }
    }

    /// Takes the lane for an LWP that is going to write to this recording. `false`: another
    /// has it, or had it in the same recording and has ended since.
    pub(super) fn take(&self, number: u32) -> bool {
        // Acquire: what the last one did, its number too; pairs with the Release in
        // `give_back`.
        let taken = self
            .taken
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        if taken.is_ok() && self.used.load(Ordering::Relaxed) == number {
            self.give_back();
            return false;
        }
        taken.is_ok()
    }

    /// The LWP that has it writes no more.
    fn give_back(&self) {
        // Release: pairs with the Acquire in `take`.
        self.taken.store(false, Ordering::Release);
    }

    /// Whether an LWP has it. A hint.
    pub(super) fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Relaxed)
    }

    /// Who writes to it in this recording. The caller may write.
    pub(super) fn belongs_to(&self, lwp: (usize, usize), number: u32) {
        self.used.store(number, Ordering::Relaxed);
        self.lwp.set(Some(lwp));
    }

    /// The place of the next `count` words, if there is room for them.
    #[inline(always)]
    fn room(&self, count: usize) -> Option<*mut u64> {
        let len = self.len.get();
        if self.capacity.get() - len < count {
            self.drop_one();
            return None;
        }
        self.len.set(len + count);
        // SAFETY: inside the buffer.
        Some(unsafe { self.words.load(Ordering::Relaxed).add(len) })
    }

    #[cold]
    fn drop_one(&self) {
        self.dropped.set(self.dropped.get() + 1);
        if self.full_at.get() == 0 {
            self.full_at.set(arch::ticks());
        }
    }

    /// The time of an event, unless it shares that of the last one. `own`: it does
    /// not.
    #[inline(always)]
    fn moment(&self, own: bool) -> Option<u64> {
        let left = self.left.get();
        if left > 0 && !own {
            self.left.set(left - 1);
            return None;
        }
        let now = arch::ticks();
        let events = u64::from(self.stride.get() - left);
        let quick = now.wrapping_sub(self.last.get()) < QUICK * events;
        let stride = if quick {
            (self.stride.get() * 2).min(STRIDE)
        } else {
            1
        };
        self.stride.set(stride);
        self.left.set(stride - 1);
        self.last.set(now);
        Some(now)
    }

    /// Writes a switch of a thread that yields. The caller may write.
    #[inline(always)]
    pub(super) fn yielded(&self, to: Who) {
        self.put(
            self.moment(false),
            head(Code::Switch, to, 0),
            0,
            core::iter::empty(),
        );
    }

    /// Writes a switch. The caller may write.
    #[inline]
    pub(super) fn switch(&self, to: Who) {
        self.put(
            self.moment(true),
            head(Code::Switch, to, 0),
            0,
            core::iter::empty(),
        );
    }

    /// Writes that a thread begins to wait, and the switch from it, which has the same
    /// time. The caller may write.
    #[inline]
    pub(super) fn parked_and_switched(&self, from: Who, wait: [u64; 3], to: Who) {
        let switch = head(Code::Switch, to, 0);
        let words = wait.into_iter().chain([switch]);
        let park = head(Code::Park, from, wait.len());
        if !self.put(self.moment(true), park, wait.len() + 1, words) {
            // They are two.
            self.drop_one();
        }
    }

    /// Writes any other event. `own`: with a time of its own. The caller may write.
    #[inline(always)]
    pub(super) fn write(
        &self,
        code: Code,
        who: Who,
        own: bool,
        count: usize,
        more: impl Iterator<Item = u64>,
    ) {
        debug_assert!(count <= MOST);
        let moment = self.moment(own || who.idle || !code.may_share());
        self.put(moment, head(code, who, count), count, more);
    }

    /// Writes the time, if there is a new one, the head, and `count` words. `false`: there
    /// was no room.
    #[inline(always)]
    fn put(
        &self,
        moment: Option<u64>,
        head: u64,
        count: usize,
        more: impl Iterator<Item = u64>,
    ) -> bool {
        let timed = usize::from(moment.is_some());
        let Some(mut at) = self.room(timed + 1 + count) else {
            // What shares this time has none.
            self.left.set(0);
            return false;
        };
        // SAFETY: room for all of them.
        unsafe {
            if let Some(now) = moment {
                at.write(time(now));
                at = at.add(1);
            }
            at.write(head);
            for (i, word) in more.take(count).enumerate() {
                at.add(1 + i).write(word);
            }
        }
        true
    }
}

/// An LWP's lane, and the number of the recording for which it has said so there. Owner
/// only.
#[derive(Debug)]
pub(crate) struct Claim {
    number: Cell<u32>,
    lane: Cell<Option<&'static Lane>>,
}

impl Claim {
    pub(crate) const fn new() -> Claim {
        Claim {
            number: Cell::new(0),
            lane: Cell::new(None),
        }
    }

    /// The lane for this recording; the first time what `take` makes of the last one's.
    #[inline(always)]
    pub(super) fn lane(
        &self,
        number: u32,
        take: impl FnOnce(Option<&'static Lane>) -> Option<&'static Lane>,
    ) -> Option<&'static Lane> {
        if self.number.get() != number {
            self.lane.set(take(self.lane.get()));
            self.number.set(number);
        }
        self.lane.get()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.get() {
            lane.give_back();
        }
    }
}
