//! What the behaviour tests share: runtimes, light threads, a log of events,
//! children of the test process, and a watchdog, so that a hang is a failure.
#![allow(dead_code)] // each test binary uses a part of it

use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lisle::policy::PolicyKind;
use lisle::seeded::Schedules;
use lisle::thread::{JoinHandle, State, Thread};
use lisle::upcall::Source;
use lisle::{Runtime, thread};

/// How long any one test may take. It decides only how soon a hang is reported.
const LIMIT: Duration = Duration::from_secs(60);

/// Whether the test runs under an emulator, where everything takes longer.
pub(crate) fn emulated() -> bool {
    std::env::var_os("LISLE_TEST_RUNNER").is_some()
}

/// Stacks that are used, kept by an LWP, or promised.
pub(crate) fn stacks() -> usize {
    let counters = lisle_lwp::stack::StackPool::global().counters();
    counters.live + counters.promised
}

/// A number of repetitions, smaller under an emulator.
pub(crate) fn many(n: usize) -> usize {
    if emulated() { n.div_ceil(10) } else { n }
}

/// Aborts the process, with a list of all threads, if it lives too long.
pub(crate) struct Watchdog {
    stop: Option<Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// Guards the calling test until the watchdog is dropped.
#[must_use = "a dropped watchdog watches nothing"]
pub(crate) fn watchdog() -> Watchdog {
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    let (stop, stopped) = channel();
    let asked = ["LISLE_TEST_SEEDS", "LISLE_FAULT_ROUNDS"];
    let long = emulated() || asked.iter().any(|name| std::env::var_os(name).is_some());
    let limit = if long { LIMIT * 10 } else { LIMIT };
    let fuzzes = std::env::var("LISLE_FUZZ_SECONDS").ok();
    let fuzzes = fuzzes.and_then(|text| text.parse().ok());
    let limit = limit + Duration::from_secs(fuzzes.unwrap_or(0));
    // A child reports its hang before its parent does.
    let limit = match std::env::var_os(CHILD) {
        Some(_) => limit * 3 / 4,
        None => limit,
    };
    let watch = move || {
        if stopped.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            report_and_abort(&format!("watchdog: test {test} hangs"));
        }
    };
    let thread = std::thread::Builder::new()
        .name("watchdog".into())
        .spawn(watch)
        .unwrap();
    Watchdog {
        stop: Some(stop),
        thread: Some(thread),
    }
}

/// What all threads do, and the end of the process.
pub(crate) fn report_and_abort(why: &str) -> ! {
    let mut report = format!("{why}; the threads are\n");
    for info in thread::list() {
        report += &format!("  {info} (switched to {} times)\n", info.switches);
    }
    say(&report);
    // With their calls, if that can be had: what hangs may be in its way.
    let (done, is_done) = channel();
    std::thread::spawn(move || {
        say(&lisle::dump().to_string());
        let _ = done.send(());
    });
    let _ = is_done.recv_timeout(Duration::from_secs(20));
    std::process::abort();
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Writes past the test harness, which captures what tests print.
pub(crate) fn say(text: &str) {
    // SAFETY: the text is readable.
    unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
}

/// For whoever reads the log, or looks for `SKIPPED` in it: this has not been tried here.
pub(crate) fn skipped(what_and_why: &str) {
    say(&format!("SKIPPED: {what_and_why}\n"));
}

/// A runtime of this many LWPs; or, if LISLE_TEST_SEED says a seed, a seeded one, so that
/// what runs there has another schedule under each seed (`ci/seeds.sh`).
pub(crate) fn runtime(lwps: usize) -> Runtime {
    let builder = match std::env::var("LISLE_TEST_SEED") {
        Ok(seed) => Runtime::builder().policy(policy(seed.parse().unwrap())),
        Err(_) => Runtime::builder().lwps(lwps),
    };
    builder.build().unwrap()
}

/// What a seed of a test means: random choices, or random priorities with few changes.
pub(crate) fn schedules(seed: u64) -> Schedules {
    let steps = 20 << (seed / 4 % 4);
    match seed % 4 {
        changes @ 0..=1 => Schedules::Priorities {
            changes: 1 + changes as u32,
            steps,
        },
        _ => Schedules::Random,
    }
}

/// As [`runtime`], but its LWPs stay with the threads that run on them, however long those are held
/// up: for tests of what runs in which order. (Time for which a virtual machine does not run counts
/// as used.)
pub(crate) fn steady(lwps: usize) -> Runtime {
    if std::env::var_os("LISLE_TEST_SEED").is_some() {
        return runtime(lwps);
    }
    let builder = Runtime::builder().lwps(lwps).upcalls(Source::Off);
    builder.build().unwrap()
}

fn policy(seed: u64) -> PolicyKind {
    match schedules(seed) {
        Schedules::Priorities { changes, steps } => PolicyKind::SeededPriorities {
            seed,
            changes,
            steps,
        },
        _ => PolicyKind::Seeded(seed),
    }
}

/// How many seeds: LISLE_TEST_SEEDS if `ci/seeds.sh` asks for more than usual.
pub(crate) fn seeds(usual: usize) -> u64 {
    std::env::var("LISLE_TEST_SEEDS").map_or(many(usual) as u64, |text| text.parse().unwrap())
}

/// Runs the test under as many seeds. Its closures touch thread-locals only in leaves that
/// do not wait and are not inlined.
pub(crate) fn under_seeds(usual: usize, test: impl Fn() + Send + Sync + Clone + 'static) {
    for seed in 0..seeds(usual) {
        // SAFETY: see above.
        unsafe { schedules(seed).check([seed], test.clone()) }
    }
}

/// Shuts a runtime down of which every thread has ended or is about to.
pub(crate) fn end(runtime: Runtime) {
    runtime.shutdown(LIMIT).unwrap();
}

/// Spawns a light thread on a runtime.
pub(crate) fn on<F, T>(runtime: &Runtime, f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    spawn(thread::Builder::new().on(runtime), f)
}

/// Spawns a light thread where the builder says; a full one if LISLE_TEST_FULL is
/// set, so that the tests of light threads are tests of full ones, too.
pub(crate) fn spawn<F, T>(builder: thread::Builder, f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if std::env::var_os("LISLE_TEST_FULL").is_some() {
        return builder.spawn(f).unwrap();
    }
    // SAFETY: the tests' closures touch thread-locals only in leaves that do
    // not wait and are not inlined.
    unsafe { builder.spawn_light(f) }.unwrap()
}

/// Spawns a light thread on the runtime of the calling one.
pub(crate) fn child<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    spawn(thread::Builder::new(), f)
}

/// What happened, in order.
pub(crate) struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Log(self.0.clone())
    }
}

impl<T> Log<T> {
    pub(crate) fn new() -> Self {
        Log(Arc::new(Mutex::new(Vec::new())))
    }

    /// Notes an event. A leaf: std's lock looks at a thread-local.
    #[inline(never)]
    pub(crate) fn note(&self, event: T) {
        self.lock().push(event);
    }

    /// Takes what was noted so far.
    #[inline(never)]
    pub(crate) fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.lock())
    }

    /// What was noted as the how manieth, from 0.
    #[inline(never)]
    pub(crate) fn get(&self, index: usize) -> Option<T>
    where
        T: Clone,
    {
        self.lock().get(index).cloned()
    }

    #[inline(never)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits on the calling kernel thread until the condition holds.
pub(crate) fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Computes for so long.
#[inline(never)]
pub(crate) fn hog(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        (0..1_000).for_each(|turn| _ = std::hint::black_box(turn));
    }
}

/// Waits until the thread waits for this reason.
pub(crate) fn until_waiting(thread: &Thread, reason: &str) {
    until(|| matches!(thread.info().state, State::Waiting { reason: r, .. } if r == reason));
}

/// Waits until the thread is in this state.
pub(crate) fn until_state(thread: &Thread, state: State) {
    until(|| thread.info().state == state);
}

/// The message of a panic.
pub(crate) fn message(payload: &(dyn std::any::Any + Send)) -> &str {
    match payload.downcast_ref::<&str>() {
        Some(text) => text,
        None => payload.downcast_ref::<String>().map_or("?", |text| text),
    }
}

/// By which signal a process ends that a full thread aborts. musl's `raise` finds no
/// kernel thread by the thread's number, so that its `abort` crashes instead.
pub(crate) const ABORTED: i32 = if cfg!(target_env = "musl") {
    libc::SIGSEGV
} else {
    libc::SIGABRT
};

const CHILD: &str = "LISLE_TEST_CHILD";

/// A command that starts this program: by the words in LISLE_TEST_RUNNER (an
/// emulator) or LISLE_TEST_LOADER (another libc's loader) if there are any.
pub(crate) fn this_program() -> Command {
    let words = |name| std::env::var(name).unwrap_or_default();
    let (runner, loader) = (words("LISLE_TEST_RUNNER"), words("LISLE_TEST_LOADER"));
    // By a loader, the kernel thinks that the loader is the program.
    let program = match loader.is_empty() {
        true => std::env::current_exe().unwrap(),
        false => std::env::args_os().next().unwrap().into(),
    };
    let mut words = runner.split_whitespace().chain(loader.split_whitespace());
    match words.next() {
        Some(first) => {
            let mut command = Command::new(first);
            command.args(words).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Runs `deed` in a child process that runs only the named test, with these
/// environment variables; in that child, does it and exits. Returns what the
/// child left.
pub(crate) fn in_child(test: &str, variables: &[(&str, &str)], deed: fn()) -> Output {
    if std::env::var_os(CHILD).is_some() {
        deed();
        std::process::exit(0);
    }
    this_program()
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// As [`in_child`], for a deed that has the process to itself and must succeed.
pub(crate) fn alone(test: &str, deed: fn()) {
    let output = in_child(test, &[], deed);
    assert!(
        output.status.success(),
        "{}\n{}\n{}",
        output.status,
        stdout(&output),
        stderr(&output)
    );
}

/// What a child wrote to standard error.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a child wrote to standard output, without the test harness's own lines.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
