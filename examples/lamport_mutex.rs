//! Mutual exclusion without shared memory: Lamport's algorithm of 1978, on stamped
//! channels.
//!
//! Each process has a channel to each other one, and a queue of requests in the order of
//! their stamps. It enters when its own request is the first and it has heard something
//! later from everybody else. So requests are granted in the order in which they were
//! made, as far as anybody can tell, and nobody is in charge.
//!
//! ```text
//! cargo run --release --example lamport_mutex [PROCESSES] [ROUNDS]
//! ```
#![allow(clippy::disallowed_types)] // an example uses std's atomics like any program

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lisle::channel::stamped::{self, Receiver, Sender};
use lisle::clock::{Clock, Lamport, LamportStamp, Process, Stamped};
use lisle::sync::Mutex;
use lisle::thread;

#[derive(Debug, Clone, Copy)]
enum Word {
    Request,
    Acknowledge,
    Release,
    /// It will request nothing more.
    Done,
}

struct Peer {
    clock: Lamport,
    inbox: Receiver<Word, Lamport>,
    others: BTreeMap<Process, Sender<Word, Lamport>>,
    requests: BTreeSet<LamportStamp>,
    heard: BTreeMap<Process, LamportStamp>,
    done: usize,
}

impl Peer {
    fn tell_all(&mut self, word: Word) -> LamportStamp {
        // One event, one stamp, for all.
        let told = self.clock.stamped(word);
        for sender in self.others.values() {
            (**sender).send(told).expect("all stay until all are done");
        }
        told.stamp
    }

    fn hear(&mut self) {
        let Stamped { message, stamp } = self.inbox.recv(&mut self.clock).expect("as above");
        self.heard.insert(stamp.process, stamp);
        match message {
            Word::Request => {
                self.requests.insert(stamp);
                let sender = &self.others[&stamp.process];
                sender
                    .send(&mut self.clock, Word::Acknowledge)
                    .expect("as above");
            }
            Word::Release => self
                .requests
                .retain(|request| request.process != stamp.process),
            Word::Acknowledge => {}
            Word::Done => self.done += 1,
        }
    }

    /// Waits for the critical section; returns the request that it was granted for.
    fn enter(&mut self) -> LamportStamp {
        let request = self.tell_all(Word::Request);
        self.requests.insert(request);
        let later = |heard: &LamportStamp| *heard > request;
        while self.requests.first() != Some(&request)
            || self.heard.len() < self.others.len()
            || !self.heard.values().all(later)
        {
            self.hear();
        }
        request
    }

    fn leave(&mut self, request: LamportStamp) {
        self.requests.remove(&request);
        self.tell_all(Word::Release);
    }

    fn finish(mut self) {
        self.tell_all(Word::Done);
        while self.done < self.others.len() {
            self.hear();
        }
    }
}

/// Connects so many peers.
fn peers(count: u32) -> Vec<Peer> {
    let (senders, inboxes): (Vec<_>, Vec<_>) = (0..count).map(|_| stamped::unbounded()).unzip();
    let peer = |(me, inbox): (u32, Receiver<Word, Lamport>)| {
        let others = (0..).zip(&senders).filter(|&(other, _)| other != me);
        Peer {
            clock: Lamport::new(me),
            inbox,
            others: others
                .map(|(other, sender)| (other.into(), sender.clone()))
                .collect(),
            requests: BTreeSet::new(),
            heard: BTreeMap::new(),
            done: 0,
        }
    };
    (0..).zip(inboxes).map(peer).collect()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| {
        arguments
            .next()
            .map_or(default, |text| text.parse().expect("a number"))
    };
    let (count, rounds) = (number(6) as u32, number(200));

    // Loses steps unless its users exclude each other.
    let counter = Arc::new(AtomicU64::new(0));
    let granted = Arc::new(Mutex::new(Vec::new()));
    let threads: Vec<_> = peers(count)
        .into_iter()
        .map(|mut peer| {
            let (counter, granted) = (counter.clone(), granted.clone());
            thread::spawn(move || {
                for _ in 0..rounds {
                    let request = peer.enter();
                    let before = counter.load(Ordering::Relaxed);
                    thread::yield_now();
                    counter.store(before + 1, Ordering::Relaxed);
                    granted.lock().expect("nobody panics").push(request);
                    peer.leave(request);
                }
                peer.finish();
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no peer panics"));

    let granted = granted.lock().expect("nobody panics");
    let all = u64::from(count) * rounds;
    assert_eq!(
        counter.load(Ordering::Relaxed),
        all,
        "they excluded each other"
    );
    assert_eq!(granted.len() as u64, all);
    assert!(
        granted.is_sorted(),
        "requests were granted in the order of their stamps"
    );
    println!(
        "ok: {count} processes entered {all} times, one at a time, in the order of their requests"
    );
}
