//! Porting: programs as crossbeam-channel documents them run with
//! `use lisle::channel` in its place, on kernel threads and unchanged otherwise.

use std::time::{Duration, Instant};

use lisle::channel;
use lisle::channel::{
    Receiver, RecvError, RecvTimeoutError, Select, SendError, SendTimeoutError, Sender,
    TryRecvError, TrySendError, after, at, bounded, never, select, select_biased, tick, unbounded,
};

use super::support::watchdog;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn the_front_page() {
    let _dog = watchdog();
    let (s, r) = unbounded();
    s.send("hello").unwrap();
    assert_eq!(r.recv(), Ok("hello"));

    let (s, r) = bounded(5);
    (0..5).for_each(|i| s.send(i).unwrap());
    assert_eq!(s.try_send(5), Err(TrySendError::Full(5)));
    assert_eq!(r.len(), 5);

    let (s, r) = bounded(0);
    let sending = std::thread::spawn(move || s.send("met").unwrap());
    assert_eq!(r.recv(), Ok("met"));
    sending.join().unwrap();
}

/// Ends are shared by reference between scoped threads, and by cloning.
#[test]
fn sharing() {
    let _dog = watchdog();
    let (s1, r1) = bounded(0);
    let (s2, r2) = (s1.clone(), r1.clone());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            r2.recv().unwrap();
            s2.send(2).unwrap();
        });
        s1.send(1).unwrap();
        assert_eq!(r1.recv(), Ok(2));
    });

    let (s, r) = unbounded();
    std::thread::scope(|scope| {
        scope.spawn(|| r.iter().take(2).for_each(drop));
        s.send(1).unwrap();
        s.send(2).unwrap();
    });
}

#[test]
fn disconnection_and_iteration() {
    let _dog = watchdog();
    let (s, r) = unbounded();
    (1..=3).for_each(|i| s.send(i).unwrap());
    drop(s);
    assert_eq!(r.recv(), Ok(1));
    assert_eq!(r.iter().collect::<Vec<_>>(), [2, 3]);
    assert_eq!(r.recv(), Err(RecvError));
    assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));

    let (s, r) = unbounded();
    drop(r);
    assert_eq!(s.send(1), Err(SendError(1)));
    assert_eq!(s.try_send(1), Err(TrySendError::Disconnected(1)));

    let (s, r) = unbounded();
    s.send(1).unwrap();
    s.send(2).unwrap();
    assert_eq!(r.try_iter().collect::<Vec<_>>(), [1, 2]);
    drop(s);
    assert_eq!(r.into_iter().next(), None);
}

#[test]
fn times() {
    let _dog = watchdog();
    let (s, r) = bounded(0);
    assert_eq!(s.send_timeout(1, ms(1)), Err(SendTimeoutError::Timeout(1)));
    assert_eq!(r.recv_timeout(ms(1)), Err(RecvTimeoutError::Timeout));
    assert_eq!(
        r.recv_deadline(Instant::now() + ms(1)),
        Err(RecvTimeoutError::Timeout)
    );
    drop(r);
    assert_eq!(
        s.send_timeout(1, ms(1)),
        Err(SendTimeoutError::Disconnected(1))
    );

    let due = Instant::now() + ms(1);
    assert_eq!(at(due).recv(), Ok(due));
    assert!(after(ms(1)).recv().is_ok());
    let ticks = tick(ms(1));
    assert!(ticks.recv().unwrap() < ticks.recv().unwrap());
    assert_eq!(never::<u8>().try_recv(), Err(TryRecvError::Empty));
}

/// The macro's documented forms.
#[test]
fn selection() {
    let _dog = watchdog();
    let (s1, r1) = unbounded::<i32>();
    let (s2, r2) = unbounded::<&str>();
    std::thread::scope(|scope| {
        scope.spawn(|| s1.send(10).unwrap());
        scope.spawn(|| {
            std::thread::sleep(ms(1));
            s2.send("foo").unwrap();
        });
        for _ in 0..2 {
            select! {
                recv(r1) -> msg => assert_eq!(msg, Ok(10)),
                recv(r2) -> msg => assert_eq!(msg, Ok("foo")),
            }
        }
    });
    select! {
        recv(r1) -> _ => unreachable!(),
        default => {}
    }
    select! {
        recv(r1) -> _ => unreachable!(),
        default(ms(1)) => {}
    }
    // A receiver that is there or not.
    let wanted = std::hint::black_box(Some(ms(1)));
    let timeout = wanted.map(after).unwrap_or_else(never);
    select! {
        recv(r1) -> _ => unreachable!(),
        recv(timeout) -> msg => assert!(msg.is_ok()),
    }
    let (sender, receiver) = (Some(&s1), r1.clone());
    let sent = select_biased! {
        recv(receiver) -> _ => unreachable!(),
        send(sender.unwrap_or(&s1), 1 + 1) -> sent => sent.is_ok(),
    };
    assert!(sent);
    let value = select! { recv(receiver) -> msg => msg.unwrap_or(0) };
    assert_eq!(value, 2);
    drop(s1);
    select! {
        recv(r1) -> msg => assert_eq!(msg, Err(RecvError)),
        recv(r2) -> _ => unreachable!(),
    }
}

/// Whichever of them is faster, for a list of any length.
fn recv_multiple<T>(receivers: &[Receiver<T>]) -> Result<T, RecvError> {
    let mut sel = Select::new();
    for r in receivers {
        sel.recv(r);
    }
    loop {
        let index = sel.ready();
        match receivers[index].try_recv() {
            Err(e) if e.is_empty() => {}
            res => return res.map_err(|_| RecvError),
        }
    }
}

#[test]
fn dynamic_selection() {
    let _dog = watchdog();
    let ends: Vec<(Sender<usize>, Receiver<usize>)> = (0..10).map(|_| bounded(1)).collect();
    let receivers: Vec<_> = ends.iter().map(|(_, r)| r.clone()).collect();
    for (i, (s, _)) in ends.iter().enumerate() {
        s.send(i).unwrap();
        assert_eq!(recv_multiple(&receivers), Ok(i));
    }
    let mut sel = Select::new();
    let (to, from) = (sel.send(&ends[0].0), sel.recv(&receivers[1]));
    let oper = sel.try_select().unwrap();
    assert_eq!(oper.index(), to);
    assert_eq!(oper.send(&ends[0].0, 7), Ok(()));
    assert!(sel.try_select().is_err(), "one is full and one is empty");
    assert!(sel.select_timeout(ms(1)).is_err());
    ends[1].0.send(8).unwrap();
    assert_eq!(sel.ready_timeout(ms(100)), Ok(from));
    let oper = sel.select();
    assert_eq!(oper.index(), from);
    assert_eq!(oper.recv(&receivers[1]), Ok(8));
    sel.remove(to);
    assert!(sel.try_ready().is_err());
}

/// Errors say what theirs say, and convert as theirs do.
#[test]
fn errors() {
    assert_eq!(
        SendError(1).to_string(),
        "sending on a disconnected channel"
    );
    assert_eq!(
        RecvError.to_string(),
        "receiving on an empty and disconnected channel"
    );
    assert_eq!(TryRecvError::from(RecvError), TryRecvError::Disconnected);
    assert_eq!(
        RecvTimeoutError::from(RecvError),
        RecvTimeoutError::Disconnected
    );
    assert!(TrySendError::Full(1).is_full());
    assert_eq!(TrySendError::from(SendError(1)).into_inner(), 1);
    assert!(SendTimeoutError::Timeout(1).is_timeout());
    // The types are theirs, so that they mix with a library that still uses it.
    let theirs: crossbeam_channel::RecvError = channel::RecvError;
    assert_eq!(theirs, RecvError);
}
