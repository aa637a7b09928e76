//! Libraries with thread-locals that are loaded while full threads exist.

use std::ffi::{CString, c_char, c_int};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use lisle::thread::Builder;

use super::travel::Trip;
use crate::support::{many, watchdog};

/// Two thread-locals, one set and one zero at first.
const SOURCE: &str = "
static __thread int count = 41;
static __thread char zeroes[300];
int bump(int by) {
    for (int i = 0; i < 300; i++)
        if (zeroes[i] != zeroes[0]) return -1;
    for (int i = 0; i < 300; i++)
        zeroes[i]++;
    return count += by;
}
";

type Bump = extern "C" fn(c_int) -> c_int;

/// Compiles the library with this model of thread-locals.
fn compile(model: &str) -> CString {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let stem = format!("tls-{}-{number}", std::process::id());
    let (source, library) = (
        directory.join(format!("{stem}.c")),
        directory.join(format!("{stem}.so")),
    );
    std::fs::write(&source, SOURCE).unwrap();
    let compiled = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", &format!("-ftls-model={model}")])
        .arg("-o")
        .args([&library, &source])
        .output()
        .unwrap();
    std::fs::remove_file(&source).unwrap();
    assert!(compiled.status.success(), "{compiled:?}");
    CString::new(library.into_os_string().into_encoded_bytes()).unwrap()
}

/// Loads a library and removes its file.
fn load(library: &CString) -> Bump {
    // SAFETY: valid texts; the symbol has this type.
    unsafe {
        let handle = libc::dlopen(library.as_ptr(), libc::RTLD_NOW);
        let why = || {
            let text: *const c_char = libc::dlerror();
            std::ffi::CStr::from_ptr(text)
                .to_string_lossy()
                .into_owned()
        };
        assert!(!handle.is_null(), "{}", why());
        let symbol = libc::dlsym(handle, c"bump".as_ptr());
        assert!(!symbol.is_null());
        std::fs::remove_file(library.to_str().unwrap()).unwrap();
        std::mem::transmute::<*mut libc::c_void, Bump>(symbol)
    }
}

/// Threads that exist before the library does, threads that come after it, kernel
/// threads, and the one that loads it: all find their own thread-locals as the
/// library made them.
fn loaded_late(model: &str) {
    const THREADS: usize = 4;
    let library = compile(model);
    let trip = Trip::new(2 * THREADS + 1);
    // One for this test, so leaked.
    let place: &'static AtomicUsize = Box::leak(Box::new(AtomicUsize::new(0)));
    let bumps = move |go: &super::travel::Traveller, by: c_int| {
        let mut address = place.load(Ordering::Acquire);
        while address == 0 {
            go.hop();
            address = place.load(Ordering::Acquire);
        }
        // SAFETY: `load` stored a function of this type.
        let bump = unsafe { std::mem::transmute::<usize, Bump>(address) };
        for n in 1..=many(50) as c_int {
            assert_eq!(bump(by), 41 + n * by);
            go.hop();
        }
    };
    let fresh = |n: usize| Builder::new().fresh(n.is_multiple_of(2));
    let early: Vec<_> = (1..=THREADS)
        .map(|n| trip.spawn_as(fresh(n), move |go| bumps(go, n as c_int)))
        .collect();
    let loader = trip.spawn(move |go| {
        go.hops(5);
        let bump = load(&library);
        place.store(bump as usize, Ordering::Release);
        go.hop();
    });
    loader.join().unwrap();
    let late: Vec<_> = (1..=THREADS)
        .map(|n| {
            // New ones: a pooled thread keeps what an earlier one counted.
            let fresh = Builder::new().fresh(true);
            trip.spawn_as(fresh, move |go| bumps(go, n as c_int))
        })
        .collect();
    super::travel::joined(early);
    super::travel::joined(late);
    let address = place.load(Ordering::Acquire);
    // SAFETY: as above.
    let bump = unsafe { std::mem::transmute::<usize, Bump>(address) };
    assert_eq!(std::thread::spawn(move || bump(1)).join().unwrap(), 42);
    trip.end();
}

#[test]
fn a_library_with_dynamic_thread_locals_loaded_late() {
    let _dog = watchdog();
    loaded_late("global-dynamic");
}

#[test]
fn a_library_with_initial_exec_thread_locals_loaded_late() {
    let _dog = watchdog();
    loaded_late("initial-exec");
}
