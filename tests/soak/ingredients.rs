//! The things that threads do. Another one is a function and a row in the table.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

use lisle::thread::{self, Builder};
use lisle::{cancel, channel};

use crate::kitchen::{Cook, Random};
use crate::locks::Locks;
use crate::{channels, locks, looks, outside};

/// What a thread does once, and checks.
pub(crate) type Ingredient = fn(&mut Cook<'_>);

pub(crate) const INGREDIENTS: &[(&str, Ingredient)] = &[
    ("spawn", spawn),
    ("detach", detach),
    ("scope", scope),
    ("panic", panics),
    ("unwind", unwinds),
    ("cancel", cancels),
    ("bound", bound),
    ("kernel", kernel_threads),
    ("light", light_threads),
    ("join", fork_and_join),
    ("local", thread_locals),
    ("malloc", allocations),
    ("random", random_numbers),
    ("stdout", standard_output),
    ("mutex", locks::mutexes),
    ("std mutex", locks::std_mutexes),
    ("priorities", locks::priority_mutexes),
    ("rwlock", locks::rwlocks),
    ("semaphore", locks::semaphores),
    ("region", locks::regions),
    ("monitor", locks::monitors),
    ("serializer", locks::serializers),
    ("path", locks::paths),
    ("condvar", locks::condvars),
    ("barrier", locks::barriers),
    ("once", locks::onces),
    ("parker", locks::parkers),
    ("channel", channels::channels),
    ("std channel", channels::std_channels),
    ("mpsc", channels::mpscs),
    ("close", channels::closings),
    ("select", channels::selects),
    ("timer", channels::timers),
    ("oneshot", channels::oneshots),
    ("broadcast", channels::broadcasts),
    ("watch", channels::watches),
    ("entry", channels::entries),
    ("duplex", channels::duplexes),
    ("future", channels::futures),
    ("sleep", outside::sleeps),
    ("block", outside::blocks),
    ("compute", outside::computes),
    ("tcp", outside::tcp),
    ("udp", outside::udp),
    ("unix", outside::unix_sockets),
    ("signal", outside::signals),
    ("names", outside::names),
    ("command", outside::commands),
    ("fork", outside::forks),
    ("setuid", outside::credentials),
    ("list", looks::lists),
    ("dump", looks::dumps),
    ("watchdog", looks::watchdogs),
    ("trace", looks::traces),
];

/// What the threads of a round share.
pub(crate) struct Shared {
    /// Memory on its way from one thread to another.
    blocks: (channel::Sender<Block>, channel::Receiver<Block>),
    pub(crate) locks: Locks,
    detached: AtomicUsize,
    ended: Arc<AtomicUsize>,
}

impl Shared {
    pub(crate) fn new() -> Shared {
        Shared {
            blocks: channel::bounded(200),
            locks: Locks::new(),
            detached: AtomicUsize::new(0),
            ended: Arc::default(),
        }
    }

    /// All threads but the detached ones have ended.
    pub(crate) fn settle(&self) {
        self.locks.settle();
        looks::settle();
        let detached = self.detached.load(Ordering::SeqCst);
        crate::support::until(|| self.ended.load(Ordering::SeqCst) == detached);
        self.blocks.1.try_iter().for_each(|block| block.check());
    }
}

// Threads ------------------------------------------------------------------------

/// How many `Counted` there are.
static LOCALS: AtomicIsize = AtomicIsize::new(0);

pub(crate) fn locals_alive() -> isize {
    LOCALS.load(Ordering::SeqCst)
}

struct Counted(Box<usize>);

impl Counted {
    fn new() -> Counted {
        LOCALS.fetch_add(1, Ordering::SeqCst);
        Counted(Box::new(77))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        assert_eq!(*self.0, 77);
        LOCALS.fetch_sub(1, Ordering::SeqCst);
    }
}

thread_local! {
    static COUNTED: Counted = Counted::new();
    pub(crate) static NUMBER: Cell<usize> = const { Cell::new(0) };
    static LIST: Rc<RefCell<Vec<usize>>> = Rc::default();
}

fn spawn(cook: &mut Cook<'_>) {
    let n = 1 + cook.random.below(20);
    let threads: Vec<_> = (0..n)
        .map(|k| {
            let yields = cook.random.below(4);
            cook.spawn(move || {
                COUNTED.with(|counted| assert_eq!(*counted.0, 77));
                (0..yields).for_each(|_| thread::yield_now());
                vec![k; 10]
            })
        })
        .collect();
    for (k, thread) in threads.into_iter().enumerate() {
        assert_eq!(thread.join().unwrap(), [k; 10]);
    }
}

fn detach(cook: &mut Cook<'_>) {
    let ended = cook.shared.ended.clone();
    let yields = cook.random.below(10);
    cook.shared.detached.fetch_add(1, Ordering::SeqCst);
    drop(cook.spawn(move || {
        COUNTED.with(|_| ());
        (0..yields).for_each(|_| thread::yield_now());
        ended.fetch_add(1, Ordering::SeqCst);
        Counted::new()
    }));
}

fn scope(cook: &mut Cook<'_>) {
    let mut parts = vec![0; 1 + cook.random.below(8)];
    let total = AtomicUsize::new(0);
    thread::scope(|scope| {
        for (n, part) in parts.iter_mut().enumerate() {
            let total = &total;
            let handle = cook.builder().spawn_scoped(scope, move || {
                *part = n;
                thread::yield_now();
                total.fetch_add(n, Ordering::SeqCst);
            });
            if cook.random.once_in(3) {
                handle.unwrap().join().unwrap();
            }
        }
    });
    assert_eq!(parts.iter().sum::<usize>(), total.into_inner());
}

fn panics(cook: &mut Cook<'_>) {
    let number = cook.random.below(1000);
    let thread = cook.spawn(move || -> () {
        COUNTED.with(|_| ());
        let _on_stack = Counted::new();
        thread::yield_now();
        resume_unwind(Box::new(number));
    });
    let payload = thread.join().unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&number));
}

/// Waits in destructors because of a panic, several deep.
fn unwinds(cook: &mut Cook<'_>) {
    struct OnDrop<F: FnMut()>(F);
    impl<F: FnMut()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    fn nest(depth: usize) {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _guard = OnDrop(|| {
                thread::yield_now();
                assert!(std::thread::panicking());
                if depth > 0 {
                    nest(depth - 1);
                }
                assert!(
                    thread::spawn(std::thread::panicking)
                        .join()
                        .is_ok_and(|other| !other)
                );
            });
            resume_unwind(Box::new(depth));
        }));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&depth));
    }
    nest(cook.random.below(4));
    assert!(!std::thread::panicking());
}

fn cancels(cook: &mut Cook<'_>) {
    let thread = cook.spawn(|| {
        let _on_stack = Counted::new();
        loop {
            thread::park();
        }
    });
    if cook.random.once_in(2) {
        thread::yield_now();
    }
    thread.thread().cancel();
    let outcome: std::thread::Result<()> = thread.join();
    assert!(outcome.unwrap_err().is::<cancel::Cancelled>());
}

fn bound(cook: &mut Cook<'_>) {
    let own = cook.runtime.clone();
    let other = Builder::new().bound().spawn(move || {
        COUNTED.with(|_| ());
        Builder::new().on(&own).spawn(|| 5).unwrap().join().unwrap()
    });
    thread::yield_now();
    assert_eq!(other.unwrap().join().unwrap(), 5);
}

fn kernel_threads(cook: &mut Cook<'_>) {
    let (sender, receiver) = channel::bounded(1);
    let own = cook.runtime.clone();
    let kernel = std::thread::spawn(move || {
        COUNTED.with(|_| ());
        let inner = Builder::new()
            .on(&own)
            .spawn(move || sender.send(6))
            .unwrap();
        inner.join().unwrap().unwrap();
    });
    assert_eq!(receiver.recv(), Ok(6));
    let waits = move || kernel.join().unwrap();
    lisle::blocking(waits);
}

fn light_threads(cook: &mut Cook<'_>) {
    let threads: Vec<_> = (0..1 + cook.random.below(10))
        .map(|n| {
            crate::support::on(cook.runtime, move || {
                thread::yield_now();
                Box::new(n)
            })
        })
        .collect();
    for (n, thread) in threads.into_iter().enumerate() {
        assert_eq!(*thread.join().unwrap(), n);
    }
}

fn fork_and_join(cook: &mut Cook<'_>) {
    fn fib(n: usize) -> usize {
        if n < 2 {
            return n;
        }
        let (a, b) = lisle::join(|| fib(n - 1), || fib(n - 2));
        if n == 8 {
            thread::yield_now();
        }
        a + b
    }
    let n = 5 + cook.random.below(10);
    let expected = (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0;
    assert_eq!(fib(n), expected);
    let squares = lisle::cobegin((0..5usize).map(|k| {
        move || {
            thread::yield_now();
            k * k
        }
    }));
    assert_eq!(squares, [0, 1, 4, 9, 16]);
}

// What belongs to a thread -------------------------------------------------------

fn thread_locals(cook: &mut Cook<'_>) {
    let number = cook.random.below(usize::MAX);
    NUMBER.set(number);
    let mine = LIST.with(Rc::clone);
    mine.borrow_mut().clear();
    for k in 0..cook.random.below(20) {
        // SAFETY: the calling thread's own word.
        unsafe { *libc::__errno_location() = k as i32 };
        let again = LIST.with(Rc::clone);
        again.borrow_mut().push(k);
        thread::yield_now();
        assert!(Rc::ptr_eq(&mine, &again) && NUMBER.get() == number);
        // SAFETY: as above.
        assert_eq!(unsafe { *libc::__errno_location() }, k as i32);
        assert_eq!(mine.borrow().len(), k + 1);
    }
}

fn random_numbers(cook: &mut Cook<'_>) {
    use rand::RngExt;
    let mut generator = rand::rng();
    let mut drawn = HashSet::new();
    for _ in 0..1 + cook.random.below(10) {
        assert!(drawn.insert(generator.random::<u64>()));
        thread::yield_now();
        assert!(drawn.insert(rand::random::<u64>()));
    }
}

/// A lock of std that its owner may take again, over a wait.
fn standard_output(cook: &mut Cook<'_>) {
    let outer = std::io::stderr().lock();
    if cook.random.once_in(4) {
        thread::yield_now();
    }
    let inner = std::io::stderr().lock();
    drop((outer, inner));
}

/// Memory that says what should be in it.
struct Block(Vec<u8>);

impl Block {
    fn new(random: &mut Random) -> Block {
        let most = [64, 500, 4000, 200_000][random.below(4)];
        let size = 1 + random.below(most);
        let mut memory = vec![0; size];
        let mark = size as u8 ^ 0x5A;
        (memory[0], memory[size - 1]) = (mark, mark);
        Block(memory)
    }

    fn check(&self) {
        let mark = self.0.len() as u8 ^ 0x5A;
        assert_eq!((self.0[0], self.0[self.0.len() - 1]), (mark, mark));
    }
}

/// Made here, grown there, freed elsewhere.
fn allocations(cook: &mut Cook<'_>) {
    let mut kept = Vec::new();
    for _ in 0..cook.random.below(60) {
        let mut block = Block::new(&mut cook.random);
        block.0.reserve_exact(cook.random.below(1000));
        match cook.random.below(3) {
            0 => drop(cook.shared.blocks.0.try_send(block)),
            _ => kept.push(block),
        }
        if let Ok(block) = cook.shared.blocks.1.try_recv() {
            block.check();
        }
        if cook.random.once_in(10) {
            thread::yield_now();
        }
    }
    kept.iter().for_each(Block::check);
}
