//! Beginning and ending a recording.

use std::collections::TryReserveError;
use std::time::{Duration, Instant};

use lisle_lwp::arch;
use lisle_lwp::shim::{AtomicU32, Ordering};

use super::event::Events;
use super::lane::{Lane, Written};
use super::{LANES, LOST, LOST_AT, LWP_LANES, NUMBER, OUTSIDE, PREPARED};
use crate::pool;
use crate::sched::{idle, lwp};
use crate::tcb::{Kind, Tcb};

/// The number of the last recording; odd while one begins or lasts.
static LAST: AtomicU32 = AtomicU32::new(0);
/// Lanes for LWPs that begin while the recording lasts.
const SPARE: usize = 8;

/// A recording that lasts. Dropping it ends it.
#[derive(Debug)]
pub struct Session {
    began: Instant,
    ticks: u64,
    ended: bool,
    threads: Vec<ThreadRecord>,
}

/// Somebody records already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

/// What carries a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ThreadKind {
    /// A kernel thread that called in, or a bound thread.
    Kernel,
    /// The idle context of an LWP.
    Idle,
    /// A user thread.
    User,
}

/// A thread that was there when the recording began or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadRecord {
    /// Its number.
    pub id: u64,
    /// What it is.
    pub kind: ThreadKind,
    /// Its name.
    pub name: Option<String>,
}

/// What was recorded.
#[derive(Debug)]
pub struct Record {
    /// The lanes of the LWPs, then that of everybody else.
    pub lanes: Vec<LaneRecord>,
    /// Threads that were there when the recording began or ended.
    pub threads: Vec<ThreadRecord>,
    /// When it began and ended, in ticks.
    pub ticks: (u64, u64),
    /// How long it lasted.
    pub took: Duration,
    /// How many events were lost because there were more LWPs than lanes.
    pub lost: u64,
    /// When an event was first dropped or lost, in ticks: until then nothing is missing.
    /// What was written later may have its causes among what is missing.
    pub whole_until: Option<u64>,
}

impl Record {
    fn empty() -> Record {
        Record {
            lanes: Vec::new(),
            threads: Vec::new(),
            ticks: (0, 0),
            took: Duration::ZERO,
            lost: 0,
            whole_until: None,
        }
    }
}

/// What was recorded in one lane.
#[derive(Debug)]
pub struct LaneRecord {
    words: Vec<u64>,
    /// How many events found no room.
    pub dropped: u64,
    /// The LWP: a number of its runtime, and its own. `None`: the lane of those
    /// who have no LWP.
    pub lwp: Option<(usize, usize)>,
}

impl LaneRecord {
    /// The events, in order.
    pub fn events(&self) -> Events<'_> {
        Events {
            words: &self.words,
            ticks: 0,
        }
    }

    /// How many bytes they take.
    pub fn bytes(&self) -> usize {
        size_of_val(self.words.as_slice())
    }
}

impl Session {
    /// Begins a recording with room for so many words in each lane.
    ///
    /// # Errors
    /// [`Busy`] in the first place, or the memory is not there.
    pub fn begin(words: usize) -> Result<Result<Session, Busy>, TryReserveError> {
        let last = LAST.load(Ordering::Relaxed);
        // Acquire: what the last one left; pairs with the Release in `end`.
        let mine = last & 1 == 0
            && LAST
                .compare_exchange(last, last + 1, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        if !mine {
            return Ok(Err(Busy));
        }
        crate::runtime::choose_barrier();
        let lwps = lwp::alive();
        let taken = LWP_LANES
            .iter()
            .rposition(Lane::is_taken)
            .map_or(0, |last| last + 1);
        let lanes = (lwps.max(taken) + SPARE).min(LANES);
        // Lanes are taken in order, by LWPs that run: mostly no more than processors.
        // The memory of the others comes when it is written to.
        let now = lwps.min(std::thread::available_parallelism().map_or(1, |n| n.get()));
        let buffers = (0..=lanes).map(|lane| buffer(words, lane <= now)).collect();
        let buffers: Vec<Vec<u64>> = match buffers {
            Ok(buffers) => buffers,
            Err(error) => {
                LAST.store(last, Ordering::Release);
                return Err(error);
            }
        };
        let threads = threads();
        for (lane, buffer) in buffers.into_iter().enumerate() {
            match lane {
                0 => OUTSIDE.lock().begin(buffer),
                n => LWP_LANES[n - 1].begin(buffer),
            }
        }
        PREPARED.store(lanes, Ordering::Relaxed);
        LOST.store(0, Ordering::Relaxed);
        LOST_AT.store(0, Ordering::Relaxed);
        let session = Session {
            began: Instant::now(),
            ticks: arch::ticks(),
            ended: false,
            threads,
        };
        // Release: the lanes; pairs with the Acquire in `Pass::enter`.
        NUMBER.store(last + 1, Ordering::Release);
        Ok(Ok(session))
    }

    /// Ends the recording.
    pub fn end(mut self) -> Record {
        self.close()
    }

    fn close(&mut self) -> Record {
        self.ended = true;
        let number = NUMBER.swap(0, Ordering::Relaxed);
        if number == 0 {
            // In a forked child, whose other threads stopped where they were.
            return Record::empty();
        }
        // Of writers, each either sees that it is over or is seen busy.
        while !idle::barrier() {
            crate::runtime::nap(Duration::from_micros(100));
        }
        let ticks = (self.ticks, arch::ticks());
        let took = self.began.elapsed();
        let prepared = PREPARED.load(Ordering::Relaxed);
        let mut written: Vec<Written> = LWP_LANES[..prepared].iter().map(end).collect();
        written.push(end(&OUTSIDE.lock()));
        let mut threads = core::mem::take(&mut self.threads);
        threads.extend(self::threads());
        let lost = LOST.load(Ordering::Relaxed);
        let dropped_at = written.iter().map(|lane| lane.full_at);
        let whole_until = dropped_at
            .chain([LOST_AT.load(Ordering::Relaxed)])
            .filter(|at| *at != 0)
            .min();
        // Release: all of it; pairs with the Acquire in `begin`. (In a child that
        // was forked meanwhile, no recording begins any more.)
        LAST.store(number.wrapping_add(1), Ordering::Release);
        Record {
            lanes: numbered(written),
            threads,
            ticks,
            took,
            lost,
            whole_until,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.close();
        }
    }
}

/// Room for so many words; `now`: the memory is there already.
fn buffer(words: usize, now: bool) -> Result<Vec<u64>, TryReserveError> {
    let mut buffer: Vec<u64> = Vec::new();
    buffer.try_reserve_exact(words)?;
    if now {
        // Not zero, which the system might give without giving memory.
        buffer.resize(words, 1);
        core::hint::black_box(buffer.as_mut_slice());
        buffer.clear();
    }
    Ok(buffer)
}

fn end(lane: &Lane) -> Written {
    while lane.pass.is_busy() {
        lisle_lwp::sys::sched_yield();
    }
    lane.end()
}

/// Runtimes get small numbers in place of their addresses.
fn numbered(written: Vec<Written>) -> Vec<LaneRecord> {
    let mut runtimes = Vec::new();
    let mut lanes = Vec::new();
    let last = written.len() - 1;
    for (index, lane) in written.into_iter().enumerate() {
        let lwp = lane.lwp.map(|(runtime, lwp)| {
            let at = runtimes.iter().position(|known| *known == runtime);
            let at = at.unwrap_or_else(|| {
                runtimes.push(runtime);
                runtimes.len() - 1
            });
            (at, lwp)
        });
        // Lanes that nobody claimed say nothing.
        if lwp.is_some() || index == last {
            lanes.push(LaneRecord {
                words: lane.words,
                dropped: lane.dropped,
                lwp,
            });
        }
    }
    lanes
}

/// All threads there are.
fn threads() -> Vec<ThreadRecord> {
    let mut threads = Vec::new();
    pool::visit(|thread: &'static Tcb| {
        threads.push(ThreadRecord {
            id: thread.id.load(Ordering::Relaxed),
            kind: match thread.kind() {
                Kind::Kernel => ThreadKind::Kernel,
                Kind::Idle => ThreadKind::Idle,
                Kind::Light | Kind::Full => ThreadKind::User,
            },
            name: thread.name().map(str::to_owned),
        });
    });
    threads
}
