//! A system on which the technique does not work: a sandbox that refuses what it
//! asks of the kernel. `spawn` gives each thread a kernel thread then, and the rest
//! goes on as ever.

use std::cell::Cell;

use lisle::thread::{self, Builder, Unsupported};

use super::travel::joined;
use crate::support::{alone, end, on, runtime, watchdog};

/// From here on the calling kernel thread, and those it makes, get EPERM for
/// `prctl(PR_GET_TID_ADDRESS)`.
fn refuse_tid_address() {
    use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
    let instruction = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let load = |at| instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, at);
    let unless = |value, skip| instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, skip, value);
    let answer = |value| instruction(BPF_RET | BPF_K, 0, 0, value);
    const PR_GET_TID_ADDRESS: u32 = 40;
    // Of `struct seccomp_data`: the call's number, its first argument.
    let mut program = [
        load(0),
        unless(libc::SYS_prctl as u32, 3),
        load(16),
        unless(PR_GET_TID_ADDRESS, 1),
        answer(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let filter = libc::SECCOMP_MODE_FILTER;
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, filter, &raw const program),
            0
        );
    }
}

thread_local!(static USES: Cell<usize> = const { Cell::new(0) });

#[test]
fn where_the_kernel_does_not_answer_threads_are_bound() {
    let _dog = watchdog();
    alone(
        "fallback::where_the_kernel_does_not_answer_threads_are_bound",
        || {
            refuse_tid_address();
            assert_eq!(thread::full_threads(), Err(Unsupported::TidAddress));
            let why = Unsupported::TidAddress.to_string();
            assert!(why.contains("PR_GET_TID_ADDRESS"), "{why}");
            let rt = runtime(2);
            for fresh in [false, true] {
                let threads: Vec<_> = (0..10)
                    .map(|n| {
                        let builder = Builder::new().on(&rt).fresh(fresh);
                        let body = move || {
                            assert_eq!(USES.replace(n), 0);
                            thread::yield_now();
                            let info = thread::current().info();
                            assert!(info.bound);
                            USES.get()
                        };
                        builder.name(format!("n-{n}")).spawn(body).unwrap()
                    })
                    .collect();
                assert!(joined(threads).into_iter().eq(0..10));
            }
            let mut parts = [0; 4];
            thread::scope(|scope| {
                for part in &mut parts {
                    scope.spawn(|| {
                        thread::park_timeout(std::time::Duration::from_micros(10));
                        *part = 1;
                    });
                }
            });
            assert_eq!(parts, [1; 4]);
            let panics = || -> () { std::panic::resume_unwind(Box::new(5)) };
            let payload = thread::spawn(panics).join().unwrap_err();
            assert_eq!(payload.downcast_ref(), Some(&5));
            // Light threads, and jobs, for which no full thread can be made.
            fn fib(n: u64) -> u64 {
                if n < 2 {
                    return n;
                }
                let (a, b) = lisle::join(|| fib(n - 1), || fib(n - 2));
                a + b
            }
            let sums: Vec<_> = (0..4).map(|_| on(&rt, || fib(15))).collect();
            assert_eq!(joined(sums), [610; 4]);
            end(rt);
        },
    );
}
