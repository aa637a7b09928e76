//! What any part of the runtime asks of the system, at each place that asks it, is refused with errors
//! that the system may give, in turn and at random: the error comes out, or is overcome; nothing
//! hangs, and after the next run without, no descriptor, kernel thread or stack is left over. After
//! many there are not many more mappings than before.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lisle::net::{SendFile, TcpListener, TcpStream, UdpSocket};
use lisle::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use lisle::signal::unix::{SignalKind, signal};
use lisle::thread::{self, Builder};

use lisle::{Runtime, blocking, debug, process};
use lisle_lwp::sys::Call;
use lisle_lwp::sys::fault::{self, Plan, Site};

use super::{HANGS, Held, hits, joined, light, rounds, scenario};
use crate::support::{self, in_child, watchdog};

/// A part of the runtime, and what uses all of it that asks the system for something.
struct Part {
    name: &'static str,
    /// An error is fine; a hang, a panic or a leftover is not.
    run: fn() -> io::Result<()>,
}

const PARTS: &[Part] = &[
    Part {
        name: "threads, stacks, TCP",
        run: scenario,
    },
    Part {
        name: "full threads",
        run: full_threads,
    },
    Part {
        name: "upcalls",
        run: upcalls,
    },
    Part {
        name: "datagrams, Unix sockets",
        run: sockets,
    },
    Part {
        name: "names, files to sockets",
        run: files,
    },
    Part {
        name: "children",
        run: children,
    },
    Part {
        name: "signals",
        run: signals,
    },
    Part {
        name: "dumps, watchdogs",
        run: debugging,
    },
];

/// Runs a light thread on a runtime of its own.
fn alone(body: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let runtime = Runtime::builder().lwps(2).build()?;
    let outcome = light(Builder::new().on(&runtime), body).and_then(joined);
    runtime.shutdown(HANGS).unwrap();
    outcome
}

/// Pooled ones, two at a time, and one that takes its donor with it.
fn full_threads() -> io::Result<()> {
    alone(|| {
        let pooled = || Builder::new().spawn(|| thread::sleep(Duration::from_micros(50)));
        let threads = [pooled(), pooled()];
        let mut outcome = Ok(());
        for thread in threads {
            match thread {
                Ok(thread) => thread.join().unwrap(),
                Err(error) => outcome = Err(error),
            }
        }
        let fresh = Builder::new().fresh(true).spawn(|| 7)?;
        assert_eq!(fresh.join().unwrap(), 7);
        outcome
    })
}

/// Threads that block and compute, on an LWP that goes on without them.
fn upcalls() -> io::Result<()> {
    let slice = Some(Duration::from_millis(1));
    let builder = Runtime::builder().lwps(1).time_slice(slice);
    let runtime = builder.account_cpu(true).build()?;
    let outcome = (|| {
        let blocks = light(Builder::new().on(&runtime), || {
            std::thread::sleep(Duration::from_millis(2));
            blocking(|| std::thread::sleep(Duration::from_millis(1)));
        })?;
        let computes = Builder::new().on(&runtime).spawn(|| {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(4) {
                std::hint::spin_loop();
            }
        });
        let last = light(Builder::new().on(&runtime), || ());
        blocks.join().unwrap();
        computes?.join().unwrap();
        last?.join().unwrap();
        Ok(())
    })();
    runtime.shutdown(HANGS).unwrap();
    outcome
}

fn sockets() -> io::Result<()> {
    alone(|| {
        let mut heard = [0; 2];
        let [near, far] = [
            UdpSocket::bind("127.0.0.1:0")?,
            UdpSocket::bind("127.0.0.1:0")?,
        ];
        far.set_read_timeout(Some(HANGS))?;
        near.connect(far.local_addr()?)?;
        near.send(b"ud")?;
        assert_eq!(far.recv_from(&mut heard)?.0, 2);

        let (near, far) = UnixDatagram::pair()?;
        far.set_read_timeout(Some(HANGS))?;
        near.send(b"un")?;
        assert_eq!(far.recv(&mut heard)?, 2);

        // A name that another run at this time does not have.
        let name = format!("lisle-faults-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name)?;
        let listener = UnixListener::bind_addr(&address)?;
        let mut client = UnixStream::connect_addr(&address)?;
        let (mut server, _) = listener.accept_deadline(Instant::now() + HANGS)?;
        server.set_read_timeout(Some(HANGS))?;
        client.write_all(b"st")?;
        server.read_exact(&mut heard)?;
        assert_eq!(&heard, b"st");
        Ok(())
    })
}

/// Connects by name, and sends what a file holds.
fn files() -> io::Result<()> {
    alone(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let mut client = TcpStream::connect(("localhost", port))?;
        let (server, _) = listener.accept_deadline(Instant::now() + HANGS)?;
        client.set_read_timeout(Some(HANGS))?;
        let mut file = unnamed_file()?;
        file.write_all(b"contents")?;
        file.rewind()?;
        assert_eq!(server.send_file(&file, 2, 4)?, 4);
        let mut heard = [0; 4];
        client.read_exact(&mut heard)?;
        assert_eq!(&heard, b"nten");
        Ok(())
    })
}

fn unnamed_file() -> io::Result<File> {
    use std::os::fd::FromRawFd;
    // SAFETY: the name is a string; the descriptor is new, and nobody else's.
    unsafe {
        match libc::memfd_create(c"lisle-faults".as_ptr(), libc::MFD_CLOEXEC) {
            -1 => Err(io::Error::last_os_error()),
            file => Ok(File::from_raw_fd(file)),
        }
    }
}

fn children() -> io::Result<()> {
    alone(|| {
        let mut child = Command::new("true").spawn()?;
        let outcome = process::wait_deadline(&mut child, Instant::now() + HANGS);
        // Nobody waits for a child whose wait failed, so that it is left to std.
        match outcome {
            Ok(status) => assert!(status.success()),
            Err(error) => {
                child.wait()?;
                return Err(error);
            }
        }
        let mut echo = Command::new("echo");
        let echo = echo.arg("said").stdout(Stdio::piped());
        assert_eq!(process::output(echo)?.stdout, b"said\n");
        Ok(())
    })
}

fn signals() -> io::Result<()> {
    alone(|| {
        let mut heard = signal(SignalKind::user_defined2())?;
        // SAFETY: a plain system call; the signal is handled.
        unsafe { libc::kill(libc::getpid(), libc::SIGUSR2) };
        heard.recv_deadline(Instant::now() + HANGS)
    })
}

fn debugging() -> io::Result<()> {
    alone(|| {
        let waits = light(Builder::new().name("waits".into()), thread::park)?;
        // Without it the watchdog is the one that failed, not the thread.
        let watching = debug::Watchdog::new()
            .every(Duration::from_millis(1))
            .on_deadlock(|_| ())
            .on_hog(Duration::from_secs(1), |_| ())
            .start();
        let dump = lisle::dump().to_string();
        assert!(dump.contains("waits"), "{dump}");
        waits.thread().unpark();
        waits.join().unwrap();
        watching.map(drop)
    })
}

/// As often as lets everything be made that is made once in a process, or kept for the next.
fn settled(part: &Part) -> Held {
    for _ in 0..5 {
        (part.run)().unwrap();
    }
    Held::settled()
}

#[test]
fn each_place_gets_each_error() {
    let _faults = fault::exclusive();
    let (mut all, mut came_out) = (0, 0);
    for part in PARTS {
        let _dog = watchdog();
        let before = settled(part);
        let mappings = super::mappings();
        let recording = fault::record();
        (part.run)().unwrap();
        let sites = recording.sites();
        drop(recording);
        assert!(!sites.is_empty());
        let (mut fired, mut errors, mut missed) = (0, 0, 0);
        for site in &sites {
            for &errno in site.call.errnos() {
                for skip in 0..site.hits.min(hits()) {
                    let plan = Plan::once(site.call).at(*site).after(skip).errno(errno);
                    let plan = fault::arm(plan);
                    let outcome = (part.run)();
                    let failed = plan.fired();
                    drop(plan);
                    let what = (part.name, site, errno, skip);
                    assert!(failed > 0 || outcome.is_ok(), "{what:?}: {outcome:?}");
                    assert!(errno != libc::EINTR || outcome.is_ok(), "{what:?}");
                    fired += failed;
                    missed += u32::from(failed == 0);
                    errors += u32::from(outcome.is_err());
                    // What could not be ended, a donor for instance, is kept for the next who ends.
                    (part.run)().unwrap();
                    before.assert_again(&what);
                }
            }
        }
        println!(
            "{}: {} places, {fired} failures, of which {errors} came out as errors; {missed} times the \
             place was not passed; mappings {mappings} -> {}",
            part.name,
            sites.len(),
            super::mappings()
        );
        // What the monitor and sentinels meet is a matter of time.
        assert!(fired > missed, "{fired} failures, {missed} missed");
        before.assert_again(&part.name);
        let left = super::mappings();
        // What could not be unmapped is still there, a stack and its guard for instance. And libc keeps
        // arenas and stacks of kernel threads, two mappings each, of as many as ever met: 28 were seen.
        let more = 32 + 8 * hits() as usize;
        assert!(left <= mappings + more, "{mappings} -> {left}");
        (all, came_out) = (all + fired, came_out + errors);
    }
    assert!(all > came_out && came_out > 0, "{came_out} of {all}");
}

/// What a process does once, in a process that has not done it: each call of its first use of each part.
#[test]
fn first_calls_get_errors_too() {
    const TEST: &str = "everywhere::first_calls_get_errors_too";
    // The others count descriptors.
    let _faults = fault::exclusive();
    let (mut calls, mut places) = (BTreeSet::new(), BTreeSet::new());
    for (number, part) in PARTS.iter().enumerate() {
        let number = number.to_string();
        let run = |site: &str| {
            let output = in_child(
                TEST,
                &[("LISLE_PART", &number), ("LISLE_SITE", site)],
                first,
            );
            let (out, errors) = (support::stdout(&output), support::stderr(&output));
            let what = (part.name, site);
            assert!(
                output.status.success(),
                "{what:?}: {}\n{errors}",
                output.status
            );
            out
        };
        let sites = run("");
        let sites = sites.lines().filter_map(|line| line.strip_prefix("site "));
        for site in sites {
            // A place that other parts pass, too, has had its turn.
            if places.insert(site.to_owned()) {
                calls.insert(site.split(' ').next().unwrap().to_owned());
                run(site);
            }
        }
    }
    println!("{} places, of each kind of call: {calls:?}", places.len());
    // None is forgotten, but for those that are a matter of time, or of the kernel: whether guards hold is
    // asked of those that have guard regions.
    let others = [Call::Kill, Call::Clock, Call::Probe];
    for call in Call::ALL {
        assert!(
            others.contains(&call) || calls.contains(&format!("{call:?}")),
            "{call:?}"
        );
    }
}

/// In the child: tells which places the part passes, or makes one fail.
fn first() {
    let variable = |name| std::env::var(name).unwrap();
    let part = &PARTS[variable("LISLE_PART").parse::<usize>().unwrap()];
    let _dog = watchdog();
    let wanted = variable("LISLE_SITE");
    if wanted.is_empty() {
        let recording = fault::record();
        (part.run)().unwrap();
        for site in recording.sites() {
            println!("site {:?} {} {}", site.call, site.file, site.line);
        }
        return;
    }
    let [name, file, line] = wanted.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{wanted}")
    };
    let call = Call::ALL
        .into_iter()
        .find(|call| format!("{call:?}") == name);
    let site = Site {
        call: call.unwrap(),
        file: file.to_owned().leak(),
        line: line.parse().unwrap(),
        hits: 1,
    };
    let plan = fault::arm(Plan::once(site.call).at(site));
    let outcome = (part.run)();
    assert!(plan.fired() > 0 || outcome.is_ok(), "{outcome:?}");
    drop(plan);
    (part.run)().unwrap();
}

/// All calls of all parts, but those that give memory back, may fail at any time, with any error; none
/// leaves anything behind, memory mappings included.
#[test]
fn a_storm_over_all_parts() {
    let _faults = fault::exclusive();
    let before = {
        let _dog = watchdog();
        PARTS.iter().map(settled).reduce(Held::most).unwrap()
    };
    // As many again leave no more mappings than the first.
    let mut mappings = Vec::new();
    let mut fired = 0;
    for turn in 0..2 {
        for seed in 0..rounds(20) {
            for part in PARTS {
                let _dog = watchdog();
                let storm = fault::storm(2 * seed + turn, 0.05, &[Call::Munmap]);
                let _ = (part.run)();
                fired += storm.fired();
                drop(storm);
                (part.run)().unwrap();
                before.assert_again(&(part.name, seed));
            }
        }
        mappings.push(super::mappings());
    }
    println!("{fired} failures at random; mappings {mappings:?}");
    assert!(fired > 0);
    // libc keeps an arena or two more for kernel threads that met.
    assert!(mappings[1] <= mappings[0] + 16, "{mappings:?}");
}

/// A listener to which the system says that there is no connection after all goes on with the next
/// one that comes.
#[test]
fn a_connection_that_vanished_is_not_accepted() {
    let _faults = fault::exclusive();
    let _dog = watchdog();
    let before = settled(&PARTS[0]);
    alone(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let plan = Plan::once(Call::Accept).errno(libc::EAGAIN);
        let plan = fault::arm(plan);
        let first = TcpStream::connect(address)?;
        let acceptor = light(Builder::new(), move || -> io::Result<_> {
            let by = Instant::now() + HANGS;
            Ok([
                listener.accept_deadline(by)?.1,
                listener.accept_deadline(by)?.1,
            ])
        })?;
        while plan.fired() == 0 {
            thread::yield_now();
        }
        let second = TcpStream::connect(address)?;
        let met = joined(acceptor)?;
        assert_eq!(met, [first.local_addr()?, second.local_addr()?]);
        Ok(())
    })
    .unwrap();
    before.assert_again(&"a connection that vanished");
}
