//! That the file runs with what its caller says: scripts start it with other
//! libcs and other allocators, and must not be told of a success with the
//! system's own.

use crate::support::watchdog;

/// Nothing here tests anything if `spawn` falls back to kernel threads.
#[test]
fn full_threads_are_available() {
    let _dog = watchdog();
    assert_eq!(lisle::thread::full_threads(), Ok(()));
    let thread = lisle::thread::spawn(|| lisle::thread::current().info().bound);
    assert!(!thread.join().unwrap());
}

/// LISLE_TEST_LIBC: glibc's version, or "musl".
#[test]
fn the_libc_is_the_one_asked_for() {
    let Ok(wanted) = std::env::var("LISLE_TEST_LIBC") else {
        return;
    };
    assert_eq!(libc_version(), wanted);
}

#[cfg(target_env = "gnu")]
fn libc_version() -> String {
    // SAFETY: a constant text.
    let version = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
    version.to_str().unwrap().to_owned()
}

#[cfg(not(target_env = "gnu"))]
fn libc_version() -> String {
    "musl".to_owned()
}

/// LISLE_TEST_ALLOCATOR: a library that is loaded before libc.
#[test]
fn the_allocator_is_the_one_asked_for() {
    let Ok(wanted) = std::env::var("LISLE_TEST_ALLOCATOR") else {
        return;
    };
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    assert!(maps.contains(&wanted), "{maps}");
    // SAFETY: a null handle means: what the program finds first.
    let malloc = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"malloc".as_ptr()) } as usize;
    let holds = |line: &&str| {
        let (range, _) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let number = |text| usize::from_str_radix(text, 16).unwrap();
        (number(start)..number(end)).contains(&malloc)
    };
    let line = maps.lines().find(holds).unwrap();
    assert!(line.contains(&wanted), "malloc is in {line}");
}
