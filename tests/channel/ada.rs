//! Ada's rendezvous.

use std::collections::VecDeque;

use lisle::channel::rendezvous::{Accept, AcceptError, CallError, Chosen, entry};
use lisle::thread;

use super::support::{Log, child, end, message, on, runtime, until_waiting, watchdog};
use super::{LONG, RECEIVING, SENDING, TICK, is_cancelled, under_seeds};

#[test]
fn the_caller_is_suspended_until_the_body_has_ended() {
    let _dog = watchdog();
    under_seeds(|| {
        let (call, accept) = entry();
        let log = Log::new();
        let caller_log = log.clone();
        let caller = child(move || {
            let result = call.call(1);
            caller_log.note("returned");
            result
        });
        let body_log = log.clone();
        accept
            .accept(|n| {
                (0..5).for_each(|_| thread::yield_now());
                body_log.note("body");
                n + 1
            })
            .unwrap();
        assert_eq!(caller.join().unwrap(), Ok(2));
        assert_eq!(log.take(), ["body", "returned"]);
    });
}

#[test]
fn a_panic_of_the_body_reaches_both() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (call, accept) = entry::<u8, u8>();
    let server = on(&rt, move || accept.accept(|_| panic!("no such number")));
    let other = call.clone();
    let panicked = CallError::Panicked("no such number".into());
    assert_eq!(call.call(1), Err(panicked));
    assert_eq!(message(&*server.join().unwrap_err()), "no such number");
    assert_eq!(other.call(2), Err(CallError::Closed(2)));
    end(rt);
}

#[test]
fn a_cancelled_server_releases_the_caller() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (call, accept) = entry::<(), ()>();
    let server = on(&rt, move || accept.accept(|()| thread::sleep(LONG)));
    let caller = on(&rt, move || call.call(()));
    until_waiting(server.thread(), "sleep");
    // The caller's own cancel is put off: it is in the rendezvous.
    caller.thread().cancel();
    server.thread().cancel();
    assert!(is_cancelled(server.join()));
    assert_eq!(caller.join().unwrap(), Err(CallError::Cancelled));
    end(rt);
}

#[test]
fn a_call_that_ends_early_leaves_no_trace() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (call, accept) = entry::<u8, u8>();
    assert_eq!(call.try_call(1), Err(CallError::Timeout(1)));
    assert_eq!(call.call_timeout(2, TICK), Err(CallError::Timeout(2)));
    let same = call.clone();
    let cancelled = on(&rt, move || same.call(3));
    until_waiting(cancelled.thread(), SENDING);
    cancelled.thread().cancel();
    assert!(is_cancelled(cancelled.join()));
    assert_eq!(accept.try_accept(|n| n), Err(AcceptError::Empty));
    let late = accept.accept_timeout(TICK, |n| n);
    assert_eq!(late, Err(AcceptError::Timeout));
    let server = on(&rt, move || accept.accept(|n| n * 2).map(|()| accept));
    until_waiting(server.thread(), RECEIVING);
    assert_eq!(call.try_call(4), Ok(8));
    let accept = server.join().unwrap().unwrap();
    drop(call);
    assert_eq!(accept.accept(|n| n), Err(AcceptError::Closed));
    end(rt);
}

#[test]
fn calls_are_accepted_first_come_first_served() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (call, accept) = entry();
    let callers: Vec<_> = (0..5)
        .map(|n| {
            let call = call.clone();
            let caller = on(&rt, move || call.call(n));
            until_waiting(caller.thread(), SENDING);
            caller
        })
        .collect();
    drop(call);
    let mut order = Vec::new();
    while accept.accept(|n| order.push(n)).is_ok() {}
    assert_eq!(order, [0, 1, 2, 3, 4]);
    callers
        .into_iter()
        .for_each(|caller| caller.join().unwrap().unwrap());
    end(rt);
}

#[test]
fn guards_close_alternatives() {
    let _dog = watchdog();
    under_seeds(|| {
        const PLACES: usize = 2;
        let (put, puts) = entry();
        let (get, gets) = entry();
        let server = child(move || {
            let mut buffer = VecDeque::new();
            let mut most = 0;
            loop {
                let mut accept = Accept::new();
                let put = accept.when(buffer.len() < PLACES, &puts);
                let get = accept.when(!buffer.is_empty(), &gets);
                assert_eq!((put, get), (0, 1));
                match accept.or_terminate().select().unwrap() {
                    Chosen::Call(call) if call.index() == put => {
                        call.accept(&puts, |item: u32| buffer.push_back(item));
                    }
                    Chosen::Call(call) => call.accept(&gets, |()| buffer.pop_front().unwrap()),
                    Chosen::Terminate => break most,
                    other => panic!("{other:?}"),
                }
                most = most.max(buffer.len());
            }
        });
        let producers = [0, 1].map(|n| {
            let put = put.clone();
            child(move || (0..5).for_each(|i| put.call(n * 5 + i).unwrap()))
        });
        let consumers = [0, 1].map(|_| {
            let get = get.clone();
            child(move || (0..5).map(|_| get.call(()).unwrap()).collect::<Vec<_>>())
        });
        drop((put, get));
        producers
            .into_iter()
            .for_each(|producer| producer.join().unwrap());
        let mut got = consumers.map(|consumer| consumer.join().unwrap()).concat();
        got.sort_unstable();
        assert!(got.into_iter().eq(0..10));
        assert!((1..=PLACES).contains(&server.join().unwrap()));
    });
}

#[test]
fn else_delay_and_terminate() {
    let _dog = watchdog();
    under_seeds(|| {
        let (call, accept) = entry::<u8, u8>();
        let nobody = |otherwise: fn(Accept<'_>) -> Accept<'_>| {
            let mut select = Accept::new();
            select.or(&accept);
            match otherwise(select).select() {
                Ok(Chosen::Call(_)) => panic!("nobody calls"),
                Ok(Chosen::Else) => "else",
                Ok(Chosen::Delay) => "delay",
                Ok(Chosen::Terminate) => "terminate",
                Err(AcceptError::Conflict) => "conflict",
                Err(AcceptError::Closed) => "closed",
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(nobody(|select| select.or_else()), "else");
        assert_eq!(
            nobody(|select| select.or_delay(LONG).or_delay(TICK)),
            "delay"
        );
        assert_eq!(nobody(|select| select.or_else().or_terminate()), "conflict");
        drop(call);
        assert_eq!(nobody(|select| select.or_terminate()), "terminate");
        assert_eq!(nobody(|select| select.or_delay(TICK)), "delay");
        assert_eq!(nobody(|select| select), "closed");
    });
}

#[test]
fn all_closed_without_an_alternative_is_an_error() {
    let (_call, accept) = entry::<u8, u8>();
    let closed = || {
        let mut select = Accept::new();
        select.when(false, &accept);
        select
    };
    assert!(matches!(closed().select(), Err(AcceptError::AllClosed)));
    assert!(matches!(closed().or_else().select(), Ok(Chosen::Else)));
    assert!(matches!(
        closed().or_delay(TICK).select(),
        Ok(Chosen::Delay)
    ));
}

#[test]
fn a_call_comes_in_time_for_a_delay() {
    let _dog = watchdog();
    under_seeds(|| {
        let (call, accept) = entry();
        let caller = child(move || {
            thread::sleep(TICK);
            call.call(3)
        });
        let mut select = Accept::new();
        select.or(&accept);
        match select.or_delay(4 * TICK).select().unwrap() {
            Chosen::Call(call) => call.accept(&accept, |n| n + 1),
            other => panic!("{other:?}"),
        }
        assert_eq!(caller.join().unwrap(), Ok(4));
    });
}
