//! A snapshot of a running system: Chandy and Lamport's algorithm of 1985.
//!
//! Processes have accounts and send each other money, all the time. One of them starts a
//! snapshot: it notes its balance and sends a marker over each channel. Whoever gets its
//! first marker notes its balance, then and there, and sends markers, too; and it counts
//! what still arrives on each channel until that channel's marker comes. The noted balances
//! and the noted money on its way add up to all the money there is, although no two of
//! them were noted at one time. Every event is stamped by a vector clock, and the history
//! proves that the cut is one that could have been seen.
//!
//! ```text
//! cargo run --release --example snapshot
//! ```

use std::collections::{BTreeMap, BTreeSet};

use lisle::channel::stamped::{self, Receiver, Sender};
use lisle::clock::{Clock, EventId, History, Process, Stamped, Vector, VectorTime};
use lisle::thread;

const PROCESSES: u32 = 5;
const TRANSFERS: u64 = 100;
const BALANCE: u64 = 1_000;

#[derive(Debug, Clone, Copy)]
enum Parcel {
    Money(u64),
    Marker,
    /// Nothing more will come.
    End,
}

struct Account {
    clock: Vector,
    history: History,
    balance: u64,
    inbox: Receiver<Parcel, Vector>,
    others: BTreeMap<Process, Sender<Parcel, Vector>>,
    noted: Option<Noted>,
}

/// One process's part of a snapshot.
struct Noted {
    /// The process's time then.
    time: u64,
    balance: u64,
    /// The channels whose marker has not come.
    open: BTreeSet<Process>,
    on_the_way: Vec<(EventId, u64)>,
}

impl Account {
    fn run(mut self) -> Account {
        let me = self.clock.process();
        let mut random = u64::from(me.number()) + 1;
        let mut ended = 0;
        for n in 0..TRANSFERS {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let amount = (random >> 33) % (self.balance / 4 + 1);
            let to = (random >> 48) as usize % self.others.len();
            let to = *self.others.keys().nth(to).expect("within the length");
            self.balance -= amount;
            self.send(to, Parcel::Money(amount));
            if n == TRANSFERS / 3 && me == Process::new(0) {
                self.note();
            }
            thread::yield_now();
            while let Ok(parcel) = (*self.inbox).try_recv() {
                ended += self.receive(parcel);
            }
        }
        let others: Vec<_> = self.others.keys().copied().collect();
        others.iter().for_each(|&to| self.send(to, Parcel::End));
        while ended < others.len()
            || self
                .noted
                .as_ref()
                .is_none_or(|noted| !noted.open.is_empty())
        {
            let parcel = (*self.inbox).recv().expect("this one holds a sender");
            ended += self.receive(parcel);
        }
        self
    }

    fn send(&mut self, to: Process, parcel: Parcel) {
        let sent = self.clock.stamped(parcel);
        self.history
            .send(sent.stamp.clone(), &format!("{parcel:?}"));
        (*self.others[&to]).send(sent).expect("all stay to the end");
    }

    /// Returns 1 if it was the sender's last.
    fn receive(&mut self, parcel: Stamped<Parcel, lisle::clock::VectorStamp>) -> usize {
        let from = parcel.process();
        if let Parcel::Marker = parcel.message {
            // First the note, then the receipt: a marker is after the cut.
            self.note();
        }
        self.clock.receive(&parcel.stamp);
        let label = format!("{:?}", parcel.message);
        self.history
            .receive(self.clock.now(), &parcel.stamp, &label);
        match (parcel.message, &mut self.noted) {
            (Parcel::Money(amount), noted) => {
                self.balance += amount;
                if let Some(noted) = noted
                    && noted.open.contains(&from)
                {
                    noted
                        .on_the_way
                        .push((EventId::from(&parcel.stamp), amount));
                }
            }
            (Parcel::Marker, noted) => _ = noted.as_mut().expect("just noted").open.remove(&from),
            (Parcel::End, _) => return 1,
        }
        0
    }

    /// Notes its part of the snapshot, if it has not yet.
    fn note(&mut self) {
        if self.noted.is_some() {
            return;
        }
        self.clock.tick();
        self.history.local(self.clock.now(), "noted");
        self.noted = Some(Noted {
            time: self.clock.time().get(self.clock.process()),
            balance: self.balance,
            open: self.others.keys().copied().collect(),
            on_the_way: Vec::new(),
        });
        let others: Vec<_> = self.others.keys().copied().collect();
        others
            .into_iter()
            .for_each(|to| self.send(to, Parcel::Marker));
    }
}

fn accounts() -> Vec<Account> {
    let (senders, inboxes): (Vec<_>, Vec<_>) = (0..PROCESSES).map(|_| stamped::unbounded()).unzip();
    let account = |(me, inbox): (u32, Receiver<Parcel, Vector>)| {
        let others = (0..).zip(&senders).filter(|&(other, _)| other != me);
        Account {
            clock: Vector::new(me),
            history: History::new(),
            balance: BALANCE,
            inbox,
            others: others
                .map(|(other, sender)| (other.into(), sender.clone()))
                .collect(),
            noted: None,
        }
    };
    (0..).zip(inboxes).map(account).collect()
}

fn main() {
    let threads: Vec<_> = accounts()
        .into_iter()
        .map(|account| thread::spawn(move || account.run()))
        .collect();
    let accounts: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().expect("no account panics"))
        .collect();

    let (mut history, mut cut) = (History::new(), VectorTime::new());
    let (mut balances, mut on_the_way) = (0, Vec::new());
    for account in accounts {
        let noted = account.noted.expect("the markers reached everybody");
        println!(
            "process {}: {} noted at its time {}",
            account.clock.process(),
            noted.balance,
            noted.time
        );
        cut.set(account.clock.process(), noted.time);
        balances += noted.balance;
        on_the_way.extend(noted.on_the_way);
        history.merge(account.history);
    }
    let moving: u64 = on_the_way.iter().map(|&(_, amount)| amount).sum();
    assert_eq!(
        balances + moving,
        u64::from(PROCESSES) * BALANCE,
        "no money is lost, none is made"
    );

    history
        .check()
        .expect("every stamp follows from those before it");
    history
        .check_cut(&cut)
        .expect("the snapshot is a cut that could have been seen");
    let mut by_history = history.in_transit(&cut);
    by_history.retain(|&sent| history.get(sent).is_some_and(|event| event.label != "End"));
    let mut by_markers: Vec<_> = on_the_way.into_iter().map(|(sent, _)| sent).collect();
    by_history.sort();
    by_markers.sort();
    assert_eq!(
        by_markers, by_history,
        "the markers caught what crossed the cut, and nothing else"
    );

    // To note everybody at the same count of events, say, is no snapshot.
    let naive = cut.iter().map(|(process, _)| {
        (
            process,
            if process == Process::new(0) {
                1
            } else {
                u64::MAX
            },
        )
    });
    let naive = history
        .check_cut(&naive.collect())
        .expect_err("some receive is without its send");
    println!("a cut that nobody could have seen: {naive}");
    println!(
        "ok: {balances} noted + {moving} on its way in {} parcels; the cut is consistent in {} events",
        by_markers.len(),
        history.len()
    );
}
