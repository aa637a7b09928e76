use std::alloc::{Layout, alloc, dealloc};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

/// A stack from the heap, unguarded.
struct TestStack(*mut u8);

const SIZE: usize = 64 * 1024;

impl TestStack {
    fn layout() -> Layout {
        Layout::from_size_align(SIZE, 4096).unwrap()
    }

    fn new() -> Self {
        // SAFETY: the layout has a size.
        let base = unsafe { alloc(Self::layout()) };
        assert!(!base.is_null());
        TestStack(base)
    }

    fn top(&self) -> *mut u8 {
        self.0.wrapping_add(SIZE)
    }
}

impl Drop for TestStack {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout; the test has ended the context on it.
        unsafe { dealloc(self.0, Self::layout()) }
    }
}

/// Two contexts that switch to each other: the test and one other.
struct Pair {
    main: Context,
    other: Context,
    body: fn(&mut Pair, usize) -> usize,
}

impl Pair {
    fn new(stack: &TestStack, body: fn(&mut Pair, usize) -> usize) -> Box<Pair> {
        let mut pair = Box::new(Pair {
            main: Context::EMPTY,
            other: Context::EMPTY,
            body,
        });
        // SAFETY: the stack outlives the context: every test runs its body to the end.
        pair.other = unsafe { init(stack.top(), pair_entry, (&raw mut *pair).cast()) };
        pair
    }

    /// From the test to the other context and back.
    fn resume(&mut self, arg: usize) -> usize {
        // SAFETY: `other` is suspended whenever the test runs.
        unsafe { switch(&raw mut self.main, self.other, arg) }
    }

    /// From the other context to the test and back.
    fn suspend(&mut self, arg: usize) -> usize {
        // SAFETY: `main` is suspended whenever the body runs.
        unsafe { switch(&raw mut self.other, self.main, arg) }
    }
}

unsafe extern "C" fn pair_entry(arg: usize, data: *mut ()) -> ! {
    // SAFETY: `Pair::new` passed it, and the two contexts use it in turns.
    let pair = unsafe { &mut *data.cast::<Pair>() };
    let result = (pair.body)(pair, arg);
    // SAFETY: the test is suspended in `resume` and never resumes this context again.
    unsafe { switch_final(pair.main, result) }
}

#[test]
fn smoke_arguments_pass_both_ways() {
    let stack = TestStack::new();
    let mut pair = Pair::new(&stack, |pair, first| {
        assert_eq!(first, 1);
        assert_eq!(pair.suspend(2), 3);
        assert_eq!(pair.suspend(4), usize::MAX);
        6
    });
    assert_eq!(pair.resume(1), 2);
    assert_eq!(pair.resume(3), 4);
    assert_eq!(pair.resume(usize::MAX), 6);
}

#[test]
fn a_context_starts_with_an_aligned_stack() {
    #[repr(align(16))]
    struct Aligned([u8; 16]);
    let stack = TestStack::new();
    let mut pair = Pair::new(&stack, |_, _| {
        let probe = std::hint::black_box(Aligned([1; 16]));
        // Goes through SSE code that faults on a misaligned stack.
        let text = format!("{:.3} {}", std::hint::black_box(1.5f64), probe.0.len());
        assert_eq!(text, "1.500 16");
        (&raw const probe) as usize
    });
    assert_eq!(pair.resume(0) % 16, 0);
}

/// More live integers and floats than there are registers, around a switch.
#[inline(never)]
fn keep_values_live(seed: u64, turn: &mut dyn FnMut()) -> (u64, f64) {
    let ints: [u64; 20] = std::array::from_fn(|i| std::hint::black_box(seed + i as u64));
    let floats: [f64; 40] = std::array::from_fn(|i| std::hint::black_box((seed + i as u64) as f64));
    let mut sums = (0, 0.0);
    for _ in 0..3 {
        turn();
        sums.0 += ints.iter().fold(0, |a, b| a * 3 + b);
        sums.1 += floats.iter().fold(0.0, |a, b| a * 0.5 + b);
    }
    sums
}

#[test]
fn live_values_survive() {
    let expected_main = keep_values_live(7, &mut || {});
    let expected_other = keep_values_live(1000, &mut || {});
    let stack = TestStack::new();
    let mut pair = Pair::new(&stack, |pair, expected| {
        let got = keep_values_live(1000, &mut || {
            pair.suspend(0);
        });
        // SAFETY: the test passes the address of its own local, which it keeps.
        let expected = unsafe { *(expected as *const (u64, f64)) };
        assert_eq!(got, expected);
        1
    });
    let mut ended = 0;
    let got = keep_values_live(7, &mut || {
        ended += pair.resume((&raw const expected_other) as usize);
    });
    assert_eq!(got, expected_main);
    assert_eq!(ended, 0);
    assert_eq!(pair.resume(0), 1);
}

/// The registers that asm cannot declare as clobbered, set by hand around a switch made through a
/// call.
#[cfg(all(target_arch = "x86_64", not(any(lisle_model, miri))))]
#[test]
fn reserved_registers_survive() {
    extern "C" fn turn(pair: *mut Pair) {
        // SAFETY: the test passes its own pair.
        unsafe { (*pair).resume(0) };
    }
    let stack = TestStack::new();
    let mut pair = Pair::new(&stack, |pair, _| {
        // SAFETY: rbx and rbp are restored before the block ends.
        unsafe {
            core::arch::asm!(
                "push rbx", "push rbp", "mov rbx, -1", "mov rbp, -1", "mov r15, rsp", "and rsp, -16",
                "call {f}",
                "mov rsp, r15", "pop rbp", "pop rbx",
                f = sym suspend_by_call, in("rdi") pair, out("r15") _, clobber_abi("sysv64"),
            );
        }
        0
    });
    extern "C" fn suspend_by_call(pair: *mut Pair) {
        // SAFETY: the body passes its own pair.
        unsafe { (*pair).suspend(0) };
    }
    let (b, p): (usize, usize);
    let (r12, r13, r14): (usize, usize, usize);
    // SAFETY: rbx and rbp are restored before the block ends; the stack is realigned for the call.
    unsafe {
        core::arch::asm!(
            "push rbx", "push rbp", "mov r15, rsp", "and rsp, -16",
            "mov rbx, 0x1111", "mov rbp, 0x2222", "mov r12, 0x3333", "mov r13, 0x4444", "mov r14, 0x5555",
            "call {f}",
            "mov rax, rbx", "mov rcx, rbp",
            "mov rsp, r15", "pop rbp", "pop rbx",
            f = sym turn, in("rdi") &raw mut *pair,
            lateout("rax") b, lateout("rcx") p, out("r12") r12, out("r13") r13, out("r14") r14, out("r15") _,
            clobber_abi("sysv64"),
        );
    }
    assert_eq!([b, p], [0x1111, 0x2222]);
    assert_eq!([r12, r13, r14], [0x3333, 0x4444, 0x5555]);
    pair.resume(0);
}

/// The same on aarch64: x19, x29 and the low halves of d8 and d15, which the callee must keep.
#[cfg(all(target_arch = "aarch64", not(any(lisle_model, miri))))]
#[test]
fn reserved_registers_survive() {
    extern "C" fn turn(pair: *mut Pair) {
        // SAFETY: the test passes its own pair.
        unsafe { (*pair).resume(0) };
    }
    let stack = TestStack::new();
    let mut pair = Pair::new(&stack, |pair, _| {
        // SAFETY: x19 is restored before the block ends.
        unsafe {
            core::arch::asm!(
                "str x19, [sp, #-16]!", "mov x19, #-1", "fmov d8, x19", "fmov d15, x19",
                "bl {f}",
                "ldr x19, [sp], #16",
                f = sym suspend_by_call, in("x0") pair, clobber_abi("C"),
            );
        }
        0
    });
    extern "C" fn suspend_by_call(pair: *mut Pair) {
        // SAFETY: the body passes its own pair.
        unsafe { (*pair).suspend(0) };
    }
    let (a, b, c, d): (usize, usize, usize, usize);
    // SAFETY: x19 and x29 are restored before the block ends.
    unsafe {
        core::arch::asm!(
            "stp x19, x29, [sp, #-16]!",
            "mov x19, #0x1111", "mov x29, #0x2222", "mov x9, #0x3333", "fmov d8, x9", "mov x9, #0x4444", "fmov d15, x9",
            "bl {f}",
            "mov x0, x19", "mov x1, x29", "fmov x2, d8", "fmov x3, d15",
            "ldp x19, x29, [sp], #16",
            f = sym turn, inout("x0") (&raw mut *pair) => a, lateout("x1") b, lateout("x2") c, lateout("x3") d,
            clobber_abi("C"),
        );
    }
    assert_eq!([a, b, c, d], [0x1111, 0x2222, 0x3333, 0x4444]);
    pair.resume(0);
}

#[test]
fn panic_is_caught_at_the_base() {
    let stack = TestStack::new();
    let mut pair = Pair::new(&stack, |pair, _| {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _guard = SetOnDrop(pair);
            if std::hint::black_box(true) {
                std::panic::resume_unwind(Box::new(17usize));
            }
        }));
        *caught.unwrap_err().downcast::<usize>().unwrap()
    });
    // The guard suspends from its destructor, in the middle of unwinding, then the payload arrives.
    assert_eq!(pair.resume(0), 99);
    assert_eq!(pair.resume(0), 17);

    struct SetOnDrop<'a>(&'a mut Pair);
    impl Drop for SetOnDrop<'_> {
        fn drop(&mut self) {
            self.0.suspend(99);
        }
    }
}

#[test]
fn a_real_panic_unwinds_inside_a_context() {
    let stack = TestStack::new();
    let mut pair = Pair::new(&stack, |_, n| {
        let caught = catch_unwind(|| {
            let empty: &[u8] = std::hint::black_box(&[]);
            empty[n]
        });
        usize::from(caught.is_err())
    });
    assert_eq!(pair.resume(3), 1);
}

#[cfg(not(any(lisle_model, miri)))]
#[test]
fn a_backtrace_ends_at_the_entry() {
    let stack = TestStack::new();
    let mut pair = Pair::new(&stack, |_, _| {
        let text = std::backtrace::Backtrace::force_capture().to_string();
        let frames: Vec<_> = text.lines().collect();
        assert!(text.contains("pair_entry"), "{text}");
        let entry = frames.iter().rposition(|l| l.contains("pair_entry"));
        let after: Vec<_> = frames[entry.unwrap() + 1..]
            .iter()
            .filter(|line| !line.trim_start().starts_with("at "))
            .collect();
        // At most the trampoline itself.
        assert!(after.len() <= 1, "{text}");
        1
    });
    assert_eq!(pair.resume(0), 1);
}

/// A ring of contexts, each switching straight to its neighbour.
struct Ring {
    contexts: Vec<Context>,
    main: Context,
    left: usize,
    visits: Vec<usize>,
    /// How many have ended.
    ended: usize,
}

struct Seat {
    ring: *mut Ring,
    index: usize,
}

unsafe extern "C" fn ring_entry(_: usize, data: *mut ()) -> ! {
    // SAFETY: the test passed its seat and ring, and one context runs at a time.
    let (ring, me) = unsafe {
        let seat = &*data.cast::<Seat>();
        (seat.ring, seat.index)
    };
    // SAFETY: as above; no reference is kept over a switch.
    unsafe {
        while (*ring).left > 0 {
            (*ring).left -= 1;
            (&mut (*ring).visits)[me] += 1;
            let next = (me + 1) % (*ring).contexts.len();
            let next_context = (&(*ring).contexts)[next];
            prefetch(next_context.address());
            let received = switch(&raw mut (&mut (*ring).contexts)[me], next_context, me);
            let before = if me == 0 { (*ring).contexts.len() } else { me } - 1;
            assert_eq!(received, before);
        }
        // One after the other, round the ring, to the end.
        (*ring).ended += 1;
        if (*ring).ended == (*ring).contexts.len() {
            switch_final((*ring).main, me)
        }
        let next = (me + 1) % (*ring).contexts.len();
        switch_final((&(*ring).contexts)[next], me)
    }
}

fn run_ring(contexts: usize, rounds: usize) {
    let stacks: Vec<_> = (0..contexts).map(|_| TestStack::new()).collect();
    let mut ring = Ring {
        contexts: vec![Context::EMPTY; contexts],
        main: Context::EMPTY,
        left: contexts * rounds,
        visits: vec![0; contexts],
        ended: 0,
    };
    let ring_pointer = &raw mut ring;
    let mut seats: Vec<_> = (0..contexts)
        .map(|index| Seat {
            ring: ring_pointer,
            index,
        })
        .collect();
    for (i, stack) in stacks.iter().enumerate() {
        let seat = (&raw mut seats[i]).cast();
        // SAFETY: stacks, seats and ring outlive the contexts, all of which end before the switch
        // below returns.
        unsafe { (&mut (*ring_pointer).contexts)[i] = init(stack.top(), ring_entry, seat) };
    }
    // SAFETY: as above; the first context expects its predecessor's index.
    unsafe {
        let first = (&(*ring_pointer).contexts)[0];
        switch(&raw mut (*ring_pointer).main, first, contexts - 1);
    }
    assert_eq!(ring.ended, contexts);
    assert!(ring.visits.iter().all(|&n| n == rounds));
}

#[test]
fn round_robin_of_a_thousand() {
    run_ring(if cfg!(miri) { 5 } else { 1000 }, 5);
}

#[test]
fn ping_pong() {
    let turns = if cfg!(any(lisle_model, miri)) {
        1_000
    } else {
        1_000_000
    };
    let stack = TestStack::new();
    let mut pair = Pair::new(&stack, |pair, mut n| {
        while n != 0 {
            n = pair.suspend(n + 1);
        }
        0
    });
    for n in 1..turns {
        assert_eq!(pair.resume(n), n + 1);
    }
    assert_eq!(pair.resume(0), 0);
}

/// A context saved by one kernel thread and resumed by another goes on where it was.
#[test]
fn contexts_migrate() {
    let stack = TestStack::new();
    let mut pair = Pair::new(&stack, |pair, _| {
        let mut sum = 0;
        for i in 0.. {
            match pair.suspend(sum) {
                0 => break,
                n => sum += n + i - i,
            }
        }
        sum
    });
    assert_eq!(pair.resume(1), 0);
    for n in 1..=8 {
        let address = &raw mut *pair as usize;
        std::thread::spawn(move || {
            // SAFETY: the test waits for this thread, which alone uses the pair meanwhile.
            unsafe { (*(address as *mut Pair)).resume(n) }
        })
        .join()
        .unwrap();
    }
    assert_eq!(pair.resume(0), 36);
}

/// `switch_final` ends the kernel thread of a model context with its thread-local destructors run.
#[cfg(all(lisle_model, not(miri)))]
#[test]
#[allow(clippy::disallowed_macros, clippy::disallowed_types)]
fn model_threads_end_with_destructors() {
    use std::sync::atomic::{AtomicBool, Ordering};
    static DROPPED: AtomicBool = AtomicBool::new(false);
    struct Flag;
    impl Drop for Flag {
        fn drop(&mut self) {
            DROPPED.store(true, Ordering::Release);
        }
    }
    thread_local!(static FLAG: Flag = const { Flag });
    let stack = TestStack::new();
    let mut pair = Pair::new(&stack, |_, _| FLAG.with(|_| 5));
    assert_eq!(pair.resume(0), 5);
    // Pairs with the Release above; it ends in its own time.
    while !DROPPED.load(Ordering::Acquire) {
        std::hint::spin_loop();
    }
}
