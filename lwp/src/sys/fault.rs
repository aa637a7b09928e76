//! Making system calls fail on purpose. Compiled for tests and with the feature `faults`.
//!
//! A *site* is a place in the source that makes a call. While a [`Recording`] or a plan is alive,
//! each site that is passed is noted with its hits, so that a test can run once to learn the sites,
//! and then once more for each of them:
//!
//! ```
//! # #[cfg(feature = "faults")] {
//! use lisle_lwp::sys::{self, Call, fault};
//! let recording = fault::record();
//! sys::thread_cpu_time().unwrap();
//! for site in recording.sites() {
//!     let plan = fault::arm(fault::Plan::once(site.call).at(site));
//!     // … run again: every failure must come out as an error, with nothing leaked …
//!     # let _ = plan.fired();
//! }
//! # }
//! ```
//!
//! Faults are *global*: they hit every kernel thread of the process. A plan without a site belongs
//! in a test binary that runs nothing else at the time; [`exclusive`] keeps such tests apart from
//! each other.
//!
//! # Invariants
//! The check allocates nothing, locks nothing and touches no thread-local: it runs inside the
//! runtime. So all tables have a fixed size and consist of atomics; a plan is published by the
//! Release store of its state, and a site by the exchange of its key. Only counters change while a
//! plan is armed.
//!
//! # Rejected
//! A spin lock around the tables: a preempted holder would wait in a run queue whose LWP spins.
//! `LD_PRELOAD`: does not see raw system calls, and names addresses instead of sites.

use core::panic::Location;
use std::io;

use super::Call;
use crate::lock::{RawGuard, RawLock};
use crate::shim::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};

const SITES: usize = 1024;
const PLANS: usize = 8;

/// How many recordings, plans and random modes are alive: the one word that an idle fault layer
/// reads.
static ACTIVE: AtomicU32 = AtomicU32::new(0);
static TABLE: [Slot; SITES] = [const { Slot::new() }; SITES];
static ARMED: [PlanSlot; PLANS] = [const { PlanSlot::new() }; PLANS];
static RANDOM: Random = Random::new();
static TESTS: RawLock<()> = RawLock::new(());

/// A place in the source that makes system calls, and how often it was passed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// What it calls.
    pub call: Call,
    /// Its file as the compiler names it.
    pub file: &'static str,
    /// Its line.
    pub line: u32,
    /// How often it was passed since the recording began.
    pub hits: u32,
}

/// Which calls are to fail.
#[derive(Copy, Clone, Debug)]
pub struct Plan {
    call: Call,
    site: Option<(&'static str, u32)>,
    skip: u32,
    count: u32,
    errno: i32,
}

impl Plan {
    /// The next call of this kind fails with its usual error.
    pub const fn once(call: Call) -> Plan {
        Plan {
            call,
            site: None,
            skip: 0,
            count: 1,
            errno: call.usual_errno(),
        }
    }

    /// Every call of this kind fails with its usual error.
    pub const fn always(call: Call) -> Plan {
        Plan::once(call).times(u32::MAX)
    }

    /// Only at this site.
    pub const fn at(mut self, site: Site) -> Plan {
        self.site = Some((site.file, site.line));
        self
    }

    /// Only after `skip` calls that succeed.
    pub const fn after(mut self, skip: u32) -> Plan {
        self.skip = skip;
        self
    }

    /// At most `count` times.
    pub const fn times(mut self, count: u32) -> Plan {
        self.count = count;
        self
    }

    /// With this error number.
    pub const fn errno(mut self, errno: i32) -> Plan {
        self.errno = errno;
        self
    }
}

/// One recorded site: `key` is exchanged from null once; `call` follows it.
struct Slot {
    key: AtomicPtr<Location<'static>>,
    /// The call plus one; 0 while unknown.
    call: AtomicU8,
    hits: AtomicU32,
}

impl Slot {
    const fn new() -> Slot {
        Slot {
            key: AtomicPtr::new(core::ptr::null_mut()),
            call: AtomicU8::new(0),
            hits: AtomicU32::new(0),
        }
    }
}

/// One armed plan. `state` owns the rest: FREE -> TAKEN by the test, TAKEN -> LIVE publishes the
/// fields.
struct PlanSlot {
    state: AtomicU8,
    call: AtomicU8,
    line: AtomicU32,
    /// Address and length of the file name; null for any site.
    file: AtomicPtr<u8>,
    file_len: AtomicU32,
    skip: AtomicU32,
    count: AtomicU32,
    errno: AtomicU32,
    /// Matching calls so far.
    seen: AtomicU32,
    fired: AtomicU32,
}

const FREE: u8 = 0;
const TAKEN: u8 = 1;
const LIVE: u8 = 2;

impl PlanSlot {
    const fn new() -> PlanSlot {
        PlanSlot {
            state: AtomicU8::new(FREE),
            call: AtomicU8::new(0),
            line: AtomicU32::new(0),
            file: AtomicPtr::new(core::ptr::null_mut()),
            file_len: AtomicU32::new(0),
            skip: AtomicU32::new(0),
            count: AtomicU32::new(0),
            errno: AtomicU32::new(0),
            seen: AtomicU32::new(0),
            fired: AtomicU32::new(0),
        }
    }

    fn take(&self) -> bool {
        self.state
            .compare_exchange(FREE, TAKEN, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    fn fill(&self, plan: Plan) {
        let (file, line) = plan.site.unwrap_or(("", 0));
        let pointer = match plan.site {
            Some(_) => file.as_ptr().cast_mut(),
            None => core::ptr::null_mut(),
        };
        self.call.store(plan.call as u8, Ordering::Relaxed);
        self.line.store(line, Ordering::Relaxed);
        self.file.store(pointer, Ordering::Relaxed);
        self.file_len.store(file.len() as u32, Ordering::Relaxed);
        self.skip.store(plan.skip, Ordering::Relaxed);
        self.count.store(plan.count, Ordering::Relaxed);
        self.errno.store(plan.errno as u32, Ordering::Relaxed);
        self.seen.store(0, Ordering::Relaxed);
        self.fired.store(0, Ordering::Relaxed);
        // Publishes the fields; pairs with the Acquire in `verdict`.
        self.state.store(LIVE, Ordering::Release);
    }

    /// The error this plan has for a call at `place`, if any.
    fn verdict(&self, call: Call, place: &Location<'static>) -> Option<i32> {
        // Pairs with the Release in `fill`.
        if self.state.load(Ordering::Acquire) != LIVE
            || self.call.load(Ordering::Relaxed) != call as u8
        {
            return None;
        }
        let file = self.file.load(Ordering::Relaxed);
        if !file.is_null() {
            let len = self.file_len.load(Ordering::Relaxed) as usize;
            // SAFETY: `fill` stored the parts of a `&'static str`.
            let file = unsafe { core::slice::from_raw_parts(file, len) };
            if place.line() != self.line.load(Ordering::Relaxed) || place.file().as_bytes() != file
            {
                return None;
            }
        }
        let n = self.seen.fetch_add(1, Ordering::Relaxed);
        let skip = self.skip.load(Ordering::Relaxed);
        if n < skip || n - skip >= self.count.load(Ordering::Relaxed) {
            return None;
        }
        self.fired.fetch_add(1, Ordering::Relaxed);
        Some(self.errno.load(Ordering::Relaxed) as i32)
    }
}

/// The seeded random mode: the n-th question asked of it fails if the n-th number is below the
/// threshold.
struct Random {
    threshold: AtomicU64,
    calls: AtomicU64,
    /// With any of a call's errors, not with its usual one only.
    any: AtomicBool,
    seed: AtomicU64,
    asked: AtomicU64,
    fired: AtomicU32,
    live: AtomicBool,
}

impl Random {
    const fn new() -> Random {
        Random {
            threshold: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            any: AtomicBool::new(false),
            seed: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            fired: AtomicU32::new(0),
            live: AtomicBool::new(false),
        }
    }

    fn verdict(&self, call: Call) -> Option<i32> {
        // Pairs with the Release in `random`.
        if !self.live.load(Ordering::Acquire)
            || self.calls.load(Ordering::Relaxed) & (1 << call as u8) == 0
        {
            return None;
        }
        let n = self.asked.fetch_add(1, Ordering::Relaxed);
        let number = mix(self.seed.load(Ordering::Relaxed).wrapping_add(n));
        if number >= self.threshold.load(Ordering::Relaxed) {
            return None;
        }
        self.fired.fetch_add(1, Ordering::Relaxed);
        let errnos = match self.any.load(Ordering::Relaxed) {
            true => call.errnos(),
            false => &call.errnos()[..1],
        };
        Some(errnos[(mix(number) % errnos.len() as u64) as usize])
    }
}

/// The output function of splitmix64, with its increment folded in.
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Asked by every wrapper of [`sys`](super) before its call.
#[inline]
#[track_caller]
pub(super) fn check(call: Call) -> io::Result<()> {
    // Relaxed: a call that races with arming may go either way.
    if ACTIVE.load(Ordering::Relaxed) == 0 {
        return Ok(());
    }
    consult(call, Location::caller())
}

#[cold]
fn consult(call: Call, place: &'static Location<'static>) -> io::Result<()> {
    note(call, place);
    let planned = ARMED.iter().find_map(|plan| plan.verdict(call, place));
    match planned.or_else(|| RANDOM.verdict(call)) {
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        None => Ok(()),
    }
}

/// Counts a hit of `place`. When the table is full, new sites go unrecorded.
fn note(call: Call, place: &'static Location<'static>) {
    let key = core::ptr::from_ref(place).cast_mut();
    let start = (key as usize / align_of::<Location<'static>>()) % SITES;
    for slot in TABLE[start..].iter().chain(&TABLE[..start]) {
        // Relaxed: the location itself is immutable and static.
        let found = slot.key.compare_exchange(
            core::ptr::null_mut(),
            key,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if found.is_ok() || found == Err(key) {
            slot.call.store(call as u8 + 1, Ordering::Relaxed);
            slot.hits.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }
}

/// Notes the sites that are passed while it lives.
#[derive(Debug)]
pub struct Recording(());

/// Begins a recording with all hits at zero.
pub fn record() -> Recording {
    for slot in &TABLE {
        slot.hits.store(0, Ordering::Relaxed);
    }
    ACTIVE.fetch_add(1, Ordering::Relaxed);
    Recording(())
}

impl Recording {
    /// The sites passed since the recording began, in the order of their places in the source.
    pub fn sites(&self) -> Vec<Site> {
        let mut sites: Vec<Site> = Vec::new();
        for slot in &TABLE {
            let hits = slot.hits.load(Ordering::Relaxed);
            let call = slot.call.load(Ordering::Relaxed);
            let key = slot.key.load(Ordering::Relaxed);
            if hits == 0 || call == 0 {
                continue;
            }
            // SAFETY: `note` stores only pointers made from `&'static Location`.
            let place: &'static Location<'static> = unsafe { &*key };
            let call = Call::ALL[usize::from(call) - 1];
            // The compiler may make several copies of one location.
            let known = sites.iter_mut().find(|site| {
                (site.call, site.file, site.line) == (call, place.file(), place.line())
            });
            match known {
                Some(site) => site.hits += hits,
                None => sites.push(Site {
                    call,
                    file: place.file(),
                    line: place.line(),
                    hits,
                }),
            }
        }
        sites.sort_by_key(|site| (site.file, site.line));
        sites
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        ACTIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A plan in force; dropping it ends it.
#[derive(Debug)]
pub struct Armed(usize);

/// Puts a plan in force.
///
/// # Panics
/// If eight plans are in force already.
pub fn arm(plan: Plan) -> Armed {
    let index = ARMED.iter().position(PlanSlot::take);
    let index = index.expect("too many fault plans at once");
    ARMED[index].fill(plan);
    ACTIVE.fetch_add(1, Ordering::Relaxed);
    Armed(index)
}

impl Armed {
    /// How many calls it has made fail.
    pub fn fired(&self) -> u32 {
        ARMED[self.0].fired.load(Ordering::Relaxed)
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        ARMED[self.0].state.store(FREE, Ordering::Relaxed);
        ACTIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The random mode in force; dropping it ends it.
#[derive(Debug)]
pub struct Randomly(());

/// Makes each of the given kinds of calls fail with this probability and its usual error, by a sequence
/// that `seed` determines.
///
/// # Panics
/// If the random mode is in force already, or the probability is not between 0 and 1.
pub fn random(seed: u64, probability: f64, calls: &[Call]) -> Randomly {
    begin(seed, probability, |call| calls.contains(&call), false)
}

/// As [`random`], for all calls but these, with any of their errors.
///
/// # Panics
/// As for [`random`].
pub fn storm(seed: u64, probability: f64, but: &[Call]) -> Randomly {
    begin(seed, probability, |call| !but.contains(&call), true)
}

fn begin(seed: u64, probability: f64, fails: impl Fn(Call) -> bool, any: bool) -> Randomly {
    assert!((0.0..=1.0).contains(&probability), "not a probability");
    assert!(!RANDOM.live.load(Ordering::Relaxed), "already random");
    let calls = Call::ALL.into_iter().filter(|call| fails(*call));
    let mask = calls.fold(0, |mask, call| mask | 1 << call as u8);
    let threshold = (probability * u64::MAX as f64) as u64;
    RANDOM.threshold.store(threshold, Ordering::Relaxed);
    RANDOM.calls.store(mask, Ordering::Relaxed);
    RANDOM.any.store(any, Ordering::Relaxed);
    RANDOM.seed.store(mix(seed), Ordering::Relaxed);
    RANDOM.asked.store(0, Ordering::Relaxed);
    RANDOM.fired.store(0, Ordering::Relaxed);
    // Publishes the fields; pairs with the Acquire in `Random::verdict`.
    RANDOM.live.store(true, Ordering::Release);
    ACTIVE.fetch_add(1, Ordering::Relaxed);
    Randomly(())
}

impl Randomly {
    /// How many calls it has made fail.
    pub fn fired(&self) -> u32 {
        RANDOM.fired.load(Ordering::Relaxed)
    }
}

impl Drop for Randomly {
    fn drop(&mut self) {
        RANDOM.live.store(false, Ordering::Relaxed);
        ACTIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Keeps tests with faults apart: held by one test at a time, released on drop.
pub fn exclusive() -> RawGuard<'static, ()> {
    loop {
        if let Some(held) = TESTS.try_lock() {
            return held;
        }
        // Not `lock`: its system calls would show in the holder's recording.
        // SAFETY: no preconditions.
        unsafe { libc::usleep(1000) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::guarded;

    /// The unit tests of this crate run beside these, so every plan here names its own site.
    fn attempt() -> Result<u8, i32> {
        guarded(Call::Control, || Ok(1)).map_err(|error| error.raw_os_error().unwrap())
    }

    fn site_of_attempt() -> Site {
        let recording = record();
        attempt().unwrap();
        attempt().unwrap();
        let sites = recording.sites();
        *sites
            .iter()
            .find(|site| site.call == Call::Control && site.file.ends_with("fault.rs"))
            .expect("recorded")
    }

    #[test]
    fn a_plan_skips_fails_and_ends() {
        let _tests = exclusive();
        let site = site_of_attempt();
        assert_eq!(site.hits, 2);
        let plan = arm(Plan::once(Call::Control)
            .at(site)
            .after(1)
            .times(2)
            .errno(libc::EIO));
        let got: Vec<_> = (0..4).map(|_| attempt()).collect();
        assert_eq!(got, [Ok(1), Err(libc::EIO), Err(libc::EIO), Ok(1)]);
        assert_eq!(plan.fired(), 2);
        drop(plan);
        let plan = arm(Plan::always(Call::Control).at(site));
        assert_eq!(attempt(), Err(libc::EINVAL));
        drop(plan);
        assert_eq!(attempt(), Ok(1));
    }

    #[test]
    fn another_line_is_another_site() {
        let _tests = exclusive();
        let mut site = site_of_attempt();
        site.line += 1;
        let plan = arm(Plan::always(Call::Control).at(site));
        assert_eq!(attempt(), Ok(1));
        assert_eq!(plan.fired(), 0);
    }

    #[test]
    fn random_is_repeatable() {
        let _tests = exclusive();
        let run = |seed| {
            let random = random(seed, 0.25, &[Call::Control]);
            let got: Vec<_> = (0..200).map(|_| attempt().is_err()).collect();
            assert_eq!(random.fired() as usize, got.iter().filter(|&&e| e).count());
            got
        };
        let (a, b, c) = (run(1), run(1), run(2));
        assert_eq!(a, b);
        assert_ne!(a, c);
        let failed = a.iter().filter(|&&e| e).count();
        assert!((20..80).contains(&failed), "{failed} of 200");
    }
}
