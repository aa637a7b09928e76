//! Delivery orders as values: whatever the order of arrival, what is delivered is right,
//! complete, and nothing waits that need not.

use std::collections::BTreeSet;

use lisle::clock::{LamportStamp, Process, VectorTime};
use lisle::delivery::{
    Arrival, Broadcast, Causal, CausalHeader, Delivery, Envelope, Fifo, FifoHeader, Loss,
    MessageId, Missing, PointToPoint, Protocol, Refused, Total,
};
use proptest::prelude::*;
use proptest::sample::Index;

use super::{cases, processes};

const MEMBERS: usize = 4;

/// Choices for a run: who acts, and on what.
fn choices() -> impl Strategy<Value = Vec<(bool, Index, Index)>> {
    proptest::collection::vec(any::<(bool, Index, Index)>(), 1..120)
}

/// Messages on their way to each member; any may arrive next, also again.
struct Post<E>(Vec<Vec<E>>);

impl<E: Clone> Post<E> {
    fn new() -> Self {
        Post(vec![Vec::new(); MEMBERS])
    }

    fn post_to_all_but(&mut self, from: usize, envelope: &E) {
        for (to, post) in self.0.iter_mut().enumerate() {
            if to != from {
                post.push(envelope.clone());
            }
        }
    }

    fn next(&mut self, to: usize, which: Index, again: bool) -> Option<E> {
        let post = &mut self.0[to];
        if post.is_empty() {
            return None;
        }
        let at = which.index(post.len());
        Some(if again {
            post[at].clone()
        } else {
            post.swap_remove(at)
        })
    }
}

/// What a member did, in order: it broadcast, or delivered.
type Logs = Vec<Vec<MessageId>>;

/// Runs a broadcast protocol by the choices, then lets everything arrive.
fn run<P: Broadcast<Message = usize>>(
    mut members: Vec<P>,
    choices: &[(bool, Index, Index)],
    own_are_delivered: bool,
) -> (Logs, Vec<P>) {
    let mut post = Post::new();
    let mut logs = vec![Vec::new(); MEMBERS];
    let mut sent = [0; MEMBERS];
    let mut step = |members: &mut Vec<P>,
                    logs: &mut Logs,
                    at: usize,
                    envelope: Option<P::Envelope>,
                    post: &mut Post<P::Envelope>| {
        let member = &mut members[at];
        match envelope {
            Some(envelope) => {
                _ = member
                    .arrive(envelope)
                    .unwrap_or_else(|_| panic!("refused"))
            }
            None => {
                sent[at] += 1;
                let envelope = member.broadcast(at);
                if !own_are_delivered {
                    logs[at].push(MessageId {
                        from: Process::new(at as u32),
                        number: sent[at],
                    });
                }
                post.post_to_all_but(at, &envelope);
            }
        }
        while let Some(Delivery {
            from,
            number,
            message,
        }) = member.deliver()
        {
            assert_eq!(from.number() as usize, message);
            logs[at].push(MessageId { from, number });
        }
        if let Some(reply) = member.reply() {
            post.post_to_all_but(at, &reply);
        }
    };
    for &(again, who, which) in choices {
        let at = who.index(MEMBERS);
        // Every third or so speaks.
        let speaks = which.index(3) == 0;
        let envelope = (!speaks).then(|| post.next(at, which, again)).flatten();
        step(&mut members, &mut logs, at, envelope, &mut post);
    }
    // The rest arrives, the last one first.
    while let Some(at) = (0..MEMBERS).find(|&at| !post.0[at].is_empty()) {
        let envelope = post.0[at].pop();
        step(&mut members, &mut logs, at, envelope, &mut post);
    }
    (logs, members)
}

/// What went before each message, by the logs alone.
fn happened_before(logs: &Logs, a: MessageId, b: MessageId) -> bool {
    let mut known = BTreeSet::new();
    let mut open = vec![b];
    while let Some(id) = open.pop() {
        let log = &logs[id.from.number() as usize];
        let until = log.iter().position(|&entry| entry == id).unwrap();
        for &earlier in &log[..until] {
            if known.insert(earlier) {
                open.push(earlier);
            }
        }
    }
    known.contains(&a)
}

fn new<P>(make: impl Fn(u32) -> P) -> Vec<P> {
    (0..MEMBERS as u32).map(make).collect()
}

fn all_delivered_once(logs: &Logs) {
    let sets: Vec<BTreeSet<_>> = logs
        .iter()
        .map(|log| log.iter().copied().collect())
        .collect();
    for (log, set) in logs.iter().zip(&sets) {
        assert_eq!(log.len(), set.len(), "nothing twice");
        assert_eq!(set, &sets[0], "everything everywhere");
    }
}

fn in_senders_order(log: &[MessageId]) {
    let mut last = VectorTime::new();
    for id in log {
        assert_eq!(id.number, last.get(id.from) + 1);
        last.set(id.from, id.number);
    }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn fifo_keeps_each_senders_order(choices in choices()) {
        let (logs, members) = run(new(Fifo::new), &choices, false);
        all_delivered_once(&logs);
        logs.iter().for_each(|log| in_senders_order(log));
        prop_assert!(members.iter().all(|member| member.held().is_empty()));
    }

    #[test]
    fn causal_delivers_no_message_before_its_causes(choices in choices()) {
        let (logs, members) = run(new(Causal::new), &choices, false);
        all_delivered_once(&logs);
        for log in &logs {
            in_senders_order(log);
            for (at, &early) in log.iter().enumerate() {
                for &late in &log[at + 1..] {
                    prop_assert!(!happened_before(&logs, late, early));
                }
            }
        }
        prop_assert!(members.iter().all(|member| member.held().is_empty()));
    }

    #[test]
    fn total_delivers_the_same_everywhere(choices in choices()) {
        let all: [Process; MEMBERS] = processes();
        let (logs, _) = run(new(|n| Total::new(n, all)), &choices, true);
        for log in &logs[1..] {
            prop_assert_eq!(log, &logs[0]);
        }
        // What was sent was delivered, everywhere, once.
        all_delivered_once(&logs);
    }

    #[test]
    fn point_to_point_is_causal_at_each_receiver(choices in choices()) {
        let mut members = new(PointToPoint::new);
        let mut post = Post::new();
        // Ids of sends, and who knew what by then: ground truth as sets.
        let mut knows = vec![BTreeSet::new(); MEMBERS];
        let mut causes: Vec<(usize, BTreeSet<usize>)> = Vec::new();
        let mut delivered = vec![Vec::new(); MEMBERS];
        let rest = (0..MEMBERS).flat_map(|to| std::iter::repeat_n((to, None), 120));
        let script = choices.iter().map(|&(again, who, which)| (who.index(MEMBERS), Some((again, which))));
        for (at, choice) in script.chain(rest) {
            let arrives = match choice {
                Some((again, which)) if which.index(2) > 0 => post.next(at, which, again),
                Some((_, which)) => {
                    let to = (at + 1 + which.index(MEMBERS - 1)) % MEMBERS;
                    let id = causes.len();
                    causes.push((to, knows[at].clone()));
                    knows[at].insert(id);
                    let envelope = members[at].send(to as u32, id);
                    post.0[to].push(envelope);
                    continue;
                }
                None => post.0[at].pop(),
            };
            let Some(envelope) = arrives else { continue };
            members[at].arrive(envelope).unwrap();
            while let Some(Delivery { message: id, .. }) = members[at].deliver() {
                let before = causes[id].1.iter().filter(|&&other| causes[other].0 == at);
                for other in before {
                    prop_assert!(delivered[at].contains(other), "a cause that is missing");
                }
                prop_assert!(!delivered[at].contains(&id), "twice");
                delivered[at].push(id);
                let more = causes[id].1.clone();
                knows[at].extend(more);
                knows[at].insert(id);
            }
        }
        let count: usize = delivered.iter().map(Vec::len).sum();
        prop_assert_eq!(count, causes.len(), "everything arrives");
    }
}

#[test]
fn the_hold_back_is_bounded_and_says_who_waits_for_what() {
    let [a, ..] = processes::<2>();
    let mut alice = Causal::new(a);
    let sent: Vec<_> = (1..=5).map(|n| alice.broadcast(n)).collect();
    let mut bob = Causal::new(1).limit(2);
    assert_eq!(bob.arrive(sent[2].clone()), Ok(Arrival::Held));
    assert_eq!(bob.arrive(sent[2].clone()), Ok(Arrival::Duplicate));
    assert_eq!(bob.arrive(sent[4].clone()), Ok(Arrival::Held));
    let Err(Refused::Full(back)) = bob.arrive(sent[3].clone()) else {
        panic!("a third one waits");
    };
    assert_eq!(back.message, 4);
    let held = bob.held();
    assert_eq!(held.len(), 2);
    assert_eq!(held[0].id, MessageId { from: a, number: 3 });
    assert_eq!(
        held[0].waits_for,
        [Missing {
            from: a,
            first: 1,
            last: 2
        }]
    );
    let missing = |first, last| Missing {
        from: a,
        first,
        last,
    };
    assert_eq!(bob.missing(), [missing(1, 2), missing(4, 4)]);
    // What is awaited is accepted however full it is.
    for n in [0, 1, 3] {
        assert_eq!(bob.arrive(sent[n].clone()), Ok(Arrival::Ready));
        while bob.deliver().is_some() {}
    }
    assert_eq!(bob.delivered().get(a), 5);
    assert_eq!((bob.waiting(), bob.duplicates(), bob.lost()), (0, 1, 0));
}

/// A message that is ready does not count as delivered before it is taken.
#[test]
fn what_nobody_has_looked_at_caused_nothing() {
    let [mut alice, mut bob] = [0, 1].map(Causal::new);
    let first = alice.broadcast("first");
    bob.arrive(first).unwrap();
    let concurrent = bob.broadcast("concurrent");
    assert_eq!(concurrent.header.seen.len(), 1);
    bob.deliver().unwrap();
    assert_eq!(bob.broadcast("after").header.seen.len(), 2);
}

#[test]
fn what_is_lost_can_be_given_up() {
    let [a, b, _] = processes::<3>();
    let [mut alice, mut bob, mut carol] = [0, 1, 2].map(Causal::new);
    let lost = alice.broadcast("lost");
    let question = alice.broadcast("question");
    for envelope in [&lost, &question] {
        bob.arrive(envelope.clone()).unwrap();
        bob.deliver().unwrap();
    }
    let answer = bob.broadcast("answer");
    assert_eq!(carol.arrive(answer), Ok(Arrival::Held));
    assert_eq!(carol.arrive(question), Ok(Arrival::Held));
    assert!(carol.deliver().is_none());
    assert_eq!(
        carol.missing(),
        [Missing {
            from: a,
            first: 1,
            last: 1
        }]
    );
    assert_eq!(carol.give_up(), 1);
    // The order among the rest stands.
    assert_eq!(carol.deliver().unwrap().message, "question");
    assert_eq!(carol.deliver().unwrap().from, b);
    // What comes after all is dropped.
    assert_eq!(carol.arrive(lost), Ok(Arrival::Duplicate));
    assert_eq!((carol.lost(), carol.duplicates()), (1, 1));
    assert_eq!(carol.give_up(), 0);
}

#[test]
fn skipping_does_not_skip_what_is_here() {
    let [a, ..] = processes::<1>();
    let (mut alice, mut bob) = (Fifo::new(a), Fifo::new(1));
    let sent: Vec<_> = (1..=6).map(|n| alice.broadcast(n)).collect();
    for n in [3, 5] {
        bob.arrive(sent[n - 1]).unwrap();
    }
    assert_eq!(
        bob.skip(Missing {
            from: a,
            first: 1,
            last: 4
        }),
        2
    );
    assert_eq!(bob.deliver().unwrap().message, 3);
    assert!(bob.deliver().is_none());
    assert_eq!(
        bob.skip(Missing {
            from: a,
            first: 4,
            last: 4
        }),
        1
    );
    assert_eq!(bob.deliver().unwrap().message, 5);
    assert_eq!(
        bob.skip(Missing {
            from: a,
            first: 1,
            last: 5
        }),
        0,
        "that is over"
    );
    assert_eq!(bob.lost(), 3);
}

#[test]
fn under_the_skipping_policy_a_full_hold_back_moves_on() {
    let [a, ..] = processes::<1>();
    let mut alice = Causal::new(a);
    let sent: Vec<_> = (1..=10).map(|n| alice.broadcast(n)).collect();
    let mut bob = Causal::new(1).limit(2).loss(Loss::Skip);
    let mut delivered = Vec::new();
    // The first is lost, and every third.
    for envelope in sent.into_iter().filter(|e| e.message % 3 != 1) {
        bob.arrive(envelope).unwrap();
        delivered.extend(std::iter::from_fn(|| bob.deliver()).map(|d| d.message));
        assert!(bob.waiting() <= 2);
    }
    bob.give_up();
    delivered.extend(std::iter::from_fn(|| bob.deliver()).map(|d| d.message));
    assert_eq!(delivered, [2, 3, 5, 6, 8, 9]);
    assert_eq!(bob.lost(), 3);
}

#[test]
fn a_late_joiner_has_a_past() {
    let [a, b, _] = processes::<3>();
    let [mut alice, mut bob] = [a, b].map(Causal::new);
    let before = alice.broadcast("before");
    bob.arrive(before.clone()).unwrap();
    bob.deliver().unwrap();
    let mut carol = Causal::joining(2, bob.delivered().clone());
    let after = bob.broadcast("after");
    assert_eq!(carol.arrive(before), Ok(Arrival::Duplicate));
    assert_eq!(carol.arrive(after), Ok(Arrival::Ready));
    assert_eq!(carol.deliver().unwrap().message, "after");
    // And the others hear of it by its first message.
    let hello = carol.broadcast("hello");
    assert_eq!(
        alice.arrive(hello),
        Ok(Arrival::Held),
        "it depends on bob's"
    );
    assert_eq!(
        alice.missing(),
        [Missing {
            from: b,
            first: 1,
            last: 1
        }]
    );
}

#[test]
fn a_message_for_another_is_refused() {
    let mut alice = PointToPoint::new(0);
    let for_bob = alice.send(1, "for bob");
    let mut carol = PointToPoint::new(2);
    assert!(matches!(
        carol.arrive(for_bob),
        Err(Refused::Misaddressed(_))
    ));
}

fn forged(from: Process, seen: &[(Process, u64)]) -> Envelope<CausalHeader, &'static str> {
    Envelope {
        header: CausalHeader {
            from,
            seen: seen.iter().copied().collect(),
        },
        message: "forged",
    }
}

/// Headers that no protocol made: refused, held, counted, given up; never a panic.
#[test]
fn forged_headers_do_no_harm() {
    let [a, b, other, me] = processes();
    let mut carol = Causal::new(me).limit(3).loss(Loss::Skip);
    assert_eq!(carol.arrive(forged(a, &[])), Ok(Arrival::Duplicate));
    assert_eq!(
        carol.arrive(forged(other, &[(other, 7)])),
        Ok(Arrival::Held)
    );
    for number in [1, 7, u64::MAX] {
        let mine = carol.arrive(forged(me, &[(me, number)]));
        assert!(matches!(mine, Err(Refused::Misaddressed(_))));
    }
    // Two that wait for each other.
    let (one, other) = (forged(a, &[(a, 1), (b, 1)]), forged(b, &[(a, 1), (b, 1)]));
    assert_eq!(carol.arrive(one), Ok(Arrival::Held));
    assert_eq!(carol.arrive(other), Ok(Arrival::Held));
    let far = carol.arrive(forged(a, &[(a, u64::MAX)]));
    assert!(far.is_ok());
    while carol.deliver().is_some() {}
    carol.give_up();
    while carol.deliver().is_some() {}
    assert!(carol.held().len() <= 3);
    assert_eq!(carol.broadcast("mine").header.seen.get(me), 1);
}

/// Nobody else numbers one's own messages, or the others would wait for what was never
/// said.
#[test]
fn what_claims_to_be_ones_own_is_refused() {
    let [a, b] = processes();
    let (mut alice, mut bob) = (Fifo::new(a), Fifo::new(b).limit(1).loss(Loss::Skip));
    for number in [1, 2, u64::MAX] {
        let header = FifoHeader { from: b, number };
        let message = "forged";
        let refused = bob.arrive(Envelope { header, message });
        assert!(matches!(refused, Err(Refused::Misaddressed(_))));
    }
    assert_eq!((bob.give_up(), bob.deliver()), (0, None));
    assert_eq!(alice.arrive(bob.broadcast("mine")), Ok(Arrival::Ready));
}

/// What others claim to have heard of oneself is no reason to skip it: it waits until one
/// says it.
#[test]
fn what_waits_for_ones_own_is_let_through_by_it_alone() {
    let [a, other, me] = processes();
    let mut carol = Causal::new(me);
    let answer = forged(a, &[(a, 1), (me, 2)]);
    assert_eq!(carol.arrive(answer), Ok(Arrival::Held));
    let far = forged(other, &[(other, 1), (me, u64::MAX)]);
    assert_eq!(carol.arrive(far), Ok(Arrival::Held));
    assert_eq!(carol.give_up(), 0);
    let of_mine = Missing {
        from: me,
        first: 1,
        last: u64::MAX,
    };
    assert_eq!((carol.skip(of_mine), carol.lost()), (0, 0));
    for number in [1, 2] {
        assert!(carol.deliver().is_none());
        assert_eq!(carol.broadcast("mine").header.seen.get(me), number);
    }
    assert_eq!(carol.deliver().unwrap().from, a);
    assert_eq!(carol.waiting(), 1);
}

/// What is refused leaves nothing behind.
#[test]
fn a_hold_back_that_refuses_does_not_grow() {
    let [a, b, c, d, me] = processes();
    let mut carol = Causal::new(me).limit(3).loss(Loss::Skip);
    let waits = |(from, on)| forged(from, &[(from, 1), (on, 1)]);
    // Two wait for each other, whatever is given up, and a third one for one of them.
    for envelope in [(a, b), (b, a), (c, a)].map(waits) {
        assert_eq!(carol.arrive(envelope), Ok(Arrival::Held));
    }
    let before = format!("{carol:?}");
    // The only one that waits for the third.
    let refused = carol.arrive(waits((d, c)));
    assert!(matches!(refused, Err(Refused::Full(_))));
    assert_eq!(format!("{carol:?}"), before);
}

#[test]
fn a_member_that_left_a_total_order_is_not_waited_for() {
    let all: [Process; 3] = processes();
    let [mut alice, mut bob, carol] = all.map(|p| Total::new(p, all));
    let message = alice.broadcast("message");
    bob.arrive(message).unwrap();
    alice.arrive(bob.reply().unwrap()).unwrap();
    assert!(alice.deliver().is_none());
    assert_eq!(alice.awaited(), [carol.process()]);
    drop(carol);
    for member in [&mut alice, &mut bob] {
        member.leave(all[2]);
    }
    assert_eq!(alice.deliver().unwrap().message, "message");
    assert_eq!(bob.deliver().unwrap().message, "message");
    assert!(bob.reply().is_none(), "it has replied");
}

/// One who is silent holds the others' messages up, but not without bound; its own word is
/// let in and ends that.
#[test]
fn the_queue_of_a_total_order_is_bounded_and_says_who_waits_for_whom() {
    const LIMIT: usize = 3;
    let all @ [a, b, c] = processes();
    let mut bob = Total::new(b, all).limit(LIMIT);
    let [mut alice, mut carol] = [a, c].map(|p| Total::new(p, all));
    let mine = bob.broadcast(0);
    let sent: Vec<_> = (1..=5).map(|n| alice.broadcast(n)).collect();
    let mut refused = Vec::new();
    for envelope in &sent {
        carol.arrive(*envelope).unwrap();
        match bob.arrive(*envelope) {
            Ok(arrival) => assert_eq!(arrival, Arrival::Held),
            Err(Refused::Full(envelope)) => refused.push(envelope),
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, sent[LIMIT..]);
    assert_eq!(bob.arrive(sent[0]), Ok(Arrival::Duplicate), "that is here");
    assert_eq!(bob.awaited(), [c]);

    let held = bob.held();
    let ids: Vec<_> = held
        .iter()
        .map(|held| (held.id.from, held.id.number))
        .collect();
    // The first of the two that were said at the same time is alice's.
    assert_eq!(ids, [(a, 1), (b, 1), (a, 2), (a, 3)]);
    let first_of_carols = Missing {
        from: c,
        first: 1,
        last: 1,
    };
    assert!(
        held.iter()
            .all(|held| held.waits_for.contains(&first_of_carols))
    );

    // Whoever is awaited is let in.
    carol.arrive(mine).unwrap();
    bob.arrive(carol.broadcast(6)).unwrap();
    let mut delivered: Vec<_> = std::iter::from_fn(|| bob.deliver()).collect();
    for envelope in refused {
        bob.arrive(envelope).unwrap();
    }
    delivered.extend(std::iter::from_fn(|| bob.deliver()));
    let delivered: Vec<_> = delivered.iter().map(|delivery| delivery.message).collect();
    assert_eq!(delivered, [1, 0, 2, 3, 4, 5]);
    assert_eq!(bob.awaited(), [a], "carol's word is the latest");
}

/// Nobody waits for who is no member, so its messages would come in different places.
#[test]
fn who_is_no_member_of_a_total_order_is_refused() {
    let all @ [a, b] = processes();
    let [mut alice, mut bob] = all.map(|p| Total::new(p, all));
    let stranger = Total::new(7, all).broadcast("stranger");
    let refused = |member: &mut Total<&str>, envelope| {
        matches!(member.arrive(envelope), Err(Refused::Misaddressed(_)))
    };
    assert!(refused(&mut alice, stranger));
    let mine = alice.broadcast("mine");
    assert!(refused(&mut alice, mine));
    bob.arrive(mine).unwrap();
    bob.leave(a);
    assert!(refused(&mut bob, alice.broadcast("late")));
    assert_eq!(bob.deliver().unwrap().message, "mine");
    assert_eq!((bob.deliver(), bob.process()), (None, b));
}

/// All see the same of a liar, so nothing is lost, and the order is the same everywhere.
#[test]
fn times_that_do_not_rise_harm_no_total_order() {
    let all @ [liar, _, _] = processes();
    let [mut mallory, mut bob, mut carol] = all.map(|p| Total::new(p, all));
    let lies = [9, 9, 3, 12, 0].map(|time| {
        let mut envelope = mallory.broadcast(time);
        envelope.message.stamp = LamportStamp {
            time,
            process: liar,
        };
        envelope
    });
    // One member speaks in between.
    let said = bob.broadcast(100);
    for lie in lies {
        bob.arrive(lie).unwrap();
    }
    carol.arrive(said).unwrap();
    for lie in lies.iter().rev() {
        carol.arrive(*lie).unwrap();
    }
    bob.arrive(carol.reply().unwrap()).unwrap();
    carol.arrive(bob.reply().unwrap()).unwrap();
    let mut last = mallory.broadcast(13);
    last.message.stamp.time = 13;
    let orders = [&mut bob, &mut carol].map(|member| {
        member.arrive(last).unwrap();
        let all = std::iter::from_fn(|| member.deliver());
        all.map(|delivery| delivery.message).collect::<Vec<_>>()
    });
    assert_eq!(
        orders,
        [[100, 9, 9, 3, 12, 0, 13], [100, 9, 9, 3, 12, 0, 13]]
    );
}
