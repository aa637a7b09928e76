//! Full threads when the system refuses kernel threads: none is begun without an
//! error, and none is lost at its end: it is kept and tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lisle::Runtime;
use lisle::thread::{self, Builder};
use lisle_lwp::sys::Call;
use lisle_lwp::sys::fault::{self, Plan, Site};

use super::Held;
use crate::support::{alone, end, until, watchdog};

static DESTROYED: AtomicUsize = AtomicUsize::new(0);

struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        DESTROYED.fetch_add(1, Ordering::SeqCst);
    }
}

thread_local!(static COUNTED: Counted = const { Counted });

fn destroyed() -> usize {
    DESTROYED.load(Ordering::SeqCst)
}

/// Uses full threads, pooled and fresh.
fn scenario() {
    let rt = Runtime::builder().lwps(2).build().unwrap();
    for fresh in [false, true] {
        let thread = Builder::new().on(&rt).fresh(fresh);
        let thread = thread.spawn(|| COUNTED.with(|_| ())).unwrap();
        thread.join().unwrap();
    }
    end(rt);
}

/// Where a donor begins, and where it gets its kernel thread back.
fn sites() -> [Site; 2] {
    let recording = fault::record();
    scenario();
    let sites = recording.sites();
    drop(recording);
    ["donor/mod.rs", "donor/end.rs"].map(|file| {
        let of = |site: &&Site| site.call == Call::Clone && site.file.ends_with(file);
        *sites.iter().find(of).unwrap()
    })
}

fn settled() -> ([Site; 2], Held) {
    for _ in 0..3 {
        scenario();
    }
    let sites = sites();
    (sites, Held::settled())
}

#[test]
fn a_refused_beginning_is_an_error() {
    let _faults = fault::exclusive();
    let _dog = watchdog();
    let ([begin, _], before) = settled();
    let dropped = Arc::new(AtomicUsize::new(0));
    struct Noted(Arc<AtomicUsize>);
    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let rt = Runtime::builder().lwps(1).build().unwrap();
    for fresh in [false, true] {
        let plan = fault::arm(Plan::always(Call::Clone).at(begin));
        let noted = Noted(dropped.clone());
        let builder = Builder::new().on(&rt).fresh(fresh);
        let refused = builder.spawn(move || drop(noted));
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EAGAIN));
        assert!(plan.fired() > 0);
        drop(plan);
        assert_eq!(dropped.load(Ordering::SeqCst), 1 + usize::from(fresh));
        let builder = Builder::new().on(&rt).fresh(true);
        assert_eq!(builder.spawn(|| 5).unwrap().join().unwrap(), 5);
    }
    // A scope loses nobody either.
    let plan = fault::arm(Plan::always(Call::Clone).at(begin));
    let mut part = 0;
    thread::scope(|scope| {
        let builder = Builder::new().on(&rt).fresh(true);
        assert!(builder.spawn_scoped(scope, || part = 1).is_err());
    });
    drop(plan);
    end(rt);
    before.assert_again(&"a refused beginning");
}

/// A fresh thread whose end is refused is not joined before its destructors have
/// run, on an LWP or off it; and meanwhile the LWP runs others.
#[test]
fn a_refused_end_is_tried_again() {
    let _faults = fault::exclusive();
    let _dog = watchdog();
    let ([_, at_end], before) = settled();
    for lwps in [1, 2] {
        let rt = Runtime::builder().lwps(lwps).build().unwrap();
        for blocks in [false, true] {
            let made = destroyed();
            let plan = fault::arm(Plan::always(Call::Clone).at(at_end));
            let body = move || {
                COUNTED.with(|_| ());
                if blocks {
                    // Its LWP goes on without it.
                    std::thread::sleep(Duration::from_millis(30));
                }
            };
            let thread = Builder::new().on(&rt).fresh(true).spawn(body).unwrap();
            until(|| plan.fired() >= 3);
            assert!(!thread.is_finished());
            for n in 0..20 {
                let other = Builder::new().on(&rt).spawn(move || n);
                assert_eq!(other.unwrap().join().unwrap(), n);
            }
            assert_eq!(destroyed(), made);
            drop(plan);
            thread.join().unwrap();
            assert_eq!(destroyed(), made + 1);
        }
        end(rt);
    }
    before.assert_again(&"a refused end");
}

/// A shutdown waits for such a thread, and names it when its time is over. The
/// runtime is lost then, hence a process of its own.
#[test]
fn a_thread_whose_end_is_refused_survives() {
    // The child's pipes are descriptors, too.
    let _faults = fault::exclusive();
    let _dog = watchdog();
    alone("donors::a_thread_whose_end_is_refused_survives", || {
        let ([_, at_end], _) = settled();
        let (made, plan) = (
            destroyed(),
            fault::arm(Plan::once(Call::Clone).at(at_end).times(100)),
        );
        let rt = Runtime::builder().lwps(2).build().unwrap();
        let fresh = Builder::new().on(&rt).fresh(true);
        let thread = fresh.spawn(|| COUNTED.with(|_| ())).unwrap();
        end(rt);
        assert!(thread.is_finished());
        assert_eq!(destroyed(), made + 1);
        assert_eq!(plan.fired(), 100);
        drop(plan);
        let rt = Runtime::builder().lwps(2).build().unwrap();
        let plan = fault::arm(Plan::always(Call::Clone).at(at_end));
        let fresh = Builder::new().on(&rt).fresh(true).name("refused".into());
        drop(fresh.spawn(|| COUNTED.with(|_| ())).unwrap());
        let error = rt.shutdown(Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.survivors().len(), 1);
        assert_eq!(error.survivors()[0].name.as_deref(), Some("refused"));
        drop(plan);
    });
}

/// The pool keeps what it cannot end, and ends it with a later runtime.
#[test]
fn a_pool_keeps_what_it_cannot_end() {
    let _faults = fault::exclusive();
    let _dog = watchdog();
    let ([_, at_end], before) = settled();
    let made = destroyed();
    let rt = Runtime::builder().lwps(2).build().unwrap();
    let plan = fault::arm(Plan::always(Call::Clone).at(at_end));
    let threads: Vec<_> = (0..10)
        .map(|_| {
            let body = || {
                COUNTED.with(|_| ());
                thread::park();
            };
            Builder::new().on(&rt).spawn(body).unwrap()
        })
        .collect();
    threads.iter().for_each(|thread| thread.thread().unpark());
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    end(rt);
    assert!(plan.fired() > 0);
    assert_eq!(destroyed(), made);
    drop(plan);
    scenario();
    // The scenario's fresh one, and its other one if it was not among them: donors
    // are made in batches.
    assert!((11..=12).contains(&(destroyed() - made)));
    before.assert_again(&"a pool");
}

/// Beginnings and ends fail at random.
#[test]
fn a_storm_of_refusals() {
    let _faults = fault::exclusive();
    let _dog = watchdog();
    let (_, before) = settled();
    for seed in 0..20 {
        let rt = Runtime::builder().lwps(2).idle_threads(0).build().unwrap();
        let storm = fault::random(seed, 0.4, &[Call::Clone]);
        let ended = Arc::new(AtomicUsize::new(0));
        let mut begun = 0;
        for n in 0..50 {
            let ended = ended.clone();
            let builder = Builder::new().on(&rt).fresh(n % 2 == 0);
            let body = move || {
                thread::yield_now();
                ended.fetch_add(1, Ordering::SeqCst);
            };
            if let Ok(thread) = builder.spawn(body) {
                begun += 1;
                if n % 3 == 0 {
                    thread.join().unwrap();
                }
            }
        }
        end(rt);
        drop(storm);
        assert_eq!(ended.load(Ordering::SeqCst), begun);
        scenario();
        before.assert_again(&seed);
    }
}
