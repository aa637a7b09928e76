//! What channels allocate, and when they give it back. The allocator also aborts
//! if it is called inside the runtime, in every test of this binary.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use lisle::channel::{bounded, unbounded};

use super::support::alone;

struct Counting;

/// Bytes that are allocated.
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// Aborts if the caller is a user thread inside the runtime.
#[inline(never)]
fn check() {
    if lisle::__in_runtime() {
        super::support::say("the allocator was called inside the runtime\n");
        std::process::abort();
    }
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check();
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check();
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        check();
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `f` leaves allocated, in bytes; it must be dropped with what is returned.
fn kept<T>(f: impl FnOnce() -> T) -> (usize, T) {
    let before = LIVE.load(Ordering::Relaxed);
    let value = f();
    (LIVE.load(Ordering::Relaxed).saturating_sub(before), value)
}

#[test]
fn an_unbounded_channel_gives_its_memory_back() {
    alone("memory::an_unbounded_channel_gives_its_memory_back", || {
        const MESSAGES: u64 = 100_000;
        // What the calling thread is given when it first meets lisle is not the channel's.
        let (sender, receiver) = unbounded::<u64>();
        sender.send(1).unwrap();
        assert_eq!(receiver.recv(), Ok(1));
        drop((sender, receiver));
        let before = LIVE.load(Ordering::Relaxed);
        let (sender, receiver) = unbounded::<u64>();
        for round in 1..=3 {
            let (bytes, ()) = kept(|| (0..MESSAGES).for_each(|n| sender.send(n).unwrap()));
            assert!(bytes >= 8 * MESSAGES as usize, "the messages are there");
            assert!(receiver.try_iter().eq(0..MESSAGES));
            let left = LIVE.load(Ordering::Relaxed) - before;
            assert!(left <= 64 << 10, "{left} bytes in round {round}");
        }
        // Also what nobody has received.
        (0..MESSAGES).for_each(|n| sender.send(n).unwrap());
        drop(receiver);
        let left = LIVE.load(Ordering::Relaxed) - before;
        assert!(left <= 2048, "{left} bytes without a receiver");
        drop(sender);
        // The test harness allocates, too, now and then.
        let left = LIVE.load(Ordering::Relaxed).abs_diff(before);
        assert!(left <= 512, "{left} bytes without a channel");
    });
}

#[test]
fn channels_and_messages_take_few_bytes() {
    alone("memory::channels_and_messages_take_few_bytes", || {
        let (empty, ends) = kept(unbounded::<u64>);
        assert!(empty <= 640, "an empty unbounded channel: {empty} bytes");
        let (bytes, ()) = kept(|| (0..31_000).for_each(|n| ends.0.send(n).unwrap()));
        let each = bytes as f64 / 31_000.0;
        assert!(each <= 17.0, "a message of 8 bytes: {each} bytes");
        let (met, _ends) = kept(|| bounded::<u64>(0));
        assert!(met <= 640, "a rendezvous: {met} bytes");
        let (small, _ends) = kept(|| bounded::<u64>(1));
        assert!(small <= 640, "room for one: {small} bytes");
        println!("bytes: {empty} empty, {each:.2} a message, {met} a rendezvous, {small} for one");
    });
}
