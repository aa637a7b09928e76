//! The rendezvous: a call is accepted, and then seen to its end, or leaves no trace.

use lisle_lwp::explore::{Data, model, outcomes, outcomes_within};
use lisle_runtime::thread::{self, spawn};
use lisle_runtime::time;

use super::channel::{Message, message, number};
use super::unless_cancelled;
use crate::channel::rendezvous::{AcceptError, Acceptor, CallError, entry};

/// Accepts one call: what was brought, if one came.
fn accept(server: &Acceptor<Message, Message>) -> Option<u32> {
    let mut brought = None;
    let accepted = server.accept(|argument| {
        brought = Some(number(argument));
        message(2)
    });
    assert_eq!(
        accepted.err(),
        brought.is_none().then_some(AcceptError::Closed)
    );
    brought
}

/// The body finds the argument, and the caller what the body did.
#[test]
fn call_against_accept() {
    model(Some(2), || {
        let (calls, server) = entry();
        let data = Data::new();
        let its_data = data.clone();
        let server = spawn(move || {
            let body = |argument| {
                its_data.add_one();
                number(argument) + 1
            };
            server.accept(body)
        });
        assert!(matches!(calls.call(message(1)), Ok(2)));
        assert_eq!(data.get(), 1);
        assert_eq!(server.join().unwrap(), Ok(()));
    });
}

#[test]
fn call_timeout_against_accept() {
    let seen = outcomes(Some(3), || {
        let (calls, server) = entry();
        let server = spawn(move || accept(&server));
        let called = match calls.call_deadline(message(1), time::now()) {
            Ok(result) => number(result) == 2,
            Err(CallError::Timeout(argument)) => number(argument) != 1,
            Err(_) => panic!("the server is there"),
        };
        drop(calls);
        assert_eq!(server.join().unwrap(), called.then_some(1));
        called
    });
    assert_eq!(Vec::from_iter(seen), [false, true]);
}

/// A call is cancelled before it is accepted, or not at all.
#[test]
fn call_cancel_against_accept() {
    let seen = outcomes_within(2, || {
        let (calls, server) = entry();
        let me = thread::current();
        let server = spawn(move || accept(&server));
        let canceller = spawn(move || me.cancel());
        let called = unless_cancelled(|| {
            let result = calls.call(message(1));
            assert!(result.is_ok_and(|result| number(result) == 2));
        });
        drop(calls);
        canceller.join().unwrap();
        assert_eq!(server.join().unwrap(), called.map(|()| 1));
        called.is_some()
    });
    assert_eq!(Vec::from_iter(seen), [false, true]);
}

#[test]
fn call_against_no_server() {
    model(Some(3), || {
        let (calls, server) = entry::<Message, ()>();
        let thread = spawn(move || drop(server));
        match calls.call(message(1)) {
            Err(CallError::Closed(argument)) => assert_eq!(number(argument), 1),
            _ => panic!("nobody accepts"),
        }
        thread.join().unwrap();
    });
}
