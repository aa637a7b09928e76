//! Clocks as values: laws of merging and comparing, the lecture's example, deltas,
//! stability.

use std::cmp::Ordering;
use std::num::NonZeroU64;

use lisle::clock::{
    Causal, Causality, Clock, DeltaDecoder, DeltaEncoder, Lamport, Matrix, MatrixTime, Process,
    Vector, VectorStamp, VectorTime,
};
use proptest::prelude::*;

use super::{cases, processes};

/// Few processes, small times: so that keys and times often meet.
fn times() -> impl Strategy<Value = VectorTime> {
    let process = (0..6_u32, 0..2_u32).prop_map(Process::from);
    proptest::collection::vec((process, 0..4_u64), 0..8).prop_map(VectorTime::from_iter)
}

fn merged(a: &VectorTime, b: &VectorTime) -> VectorTime {
    let mut a = a.clone();
    a.merge(b);
    a
}

/// By the definition, entry by entry.
fn compared(a: &VectorTime, b: &VectorTime) -> Causality {
    let keys: Vec<_> = a.iter().chain(b.iter()).map(|(key, _)| key).collect();
    let le = |a: &VectorTime, b: &VectorTime| keys.iter().all(|&key| a.get(key) <= b.get(key));
    match (le(a, b), le(b, a)) {
        (true, true) => Causality::Equal,
        (true, false) => Causality::Before,
        (false, true) => Causality::After,
        (false, false) => Causality::Concurrent,
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn merging_is_commutative_associative_and_idempotent(a in times(), b in times(), c in times()) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a.clone());
        prop_assert_eq!(merged(&merged(&a, &b), &b), merged(&a, &b));
    }

    #[test]
    fn a_merge_is_the_least_that_is_no_less_than_either(a in times(), b in times(), c in times()) {
        let both = merged(&a, &b);
        prop_assert!(a <= both && b <= both);
        if a <= c && b <= c {
            prop_assert!(both <= c);
        }
        for (key, time) in both.iter() {
            prop_assert_eq!(time, a.get(key).max(b.get(key)));
        }
    }

    #[test]
    fn comparing_is_a_partial_order_of_four_values(a in times(), b in times(), c in times()) {
        let causality = a.causality(&b);
        prop_assert_eq!(causality, compared(&a, &b));
        prop_assert_eq!(b.causality(&a), causality.reverse());
        prop_assert_eq!(a.partial_cmp(&b), causality.ordering());
        prop_assert_eq!(a == b, causality == Causality::Equal);
        if a < b && b < c {
            prop_assert!(a < c);
        }
    }

    #[test]
    fn what_exceeds_is_what_makes_it_no_less(a in times(), b in times()) {
        let exceeding: Vec<_> = a.exceeding(&b).collect();
        let by_definition: Vec<_> = a.iter().filter(|&(key, time)| time > b.get(key)).collect();
        prop_assert_eq!(&exceeding, &by_definition);
        prop_assert_eq!(exceeding.is_empty(), a <= b);
    }

    #[test]
    fn ticks_and_receives_strictly_increase(others in proptest::collection::vec(times(), 0..6), step in 1..9_u64) {
        let step = NonZeroU64::new(step).unwrap();
        let (mut vector, mut lamport) = (Vector::new(2), Lamport::new(2));
        vector.set_step(step);
        lamport.set_step(step);
        for time in others {
            let (before, then) = (vector.now(), lamport.now());
            vector.tick();
            lamport.tick();
            prop_assert!(before < vector.now() && then < lamport.now());

            // What another process says cannot be ahead of this one's own entry.
            let mut other = Vector::new(7);
            let known = time.iter().map(|(key, t)| (key, if key == vector.process() { 1 } else { t }));
            other.receive(&VectorStamp::new(7, known.collect()));
            let said = other.now();
            let before = vector.now();
            vector.receive(&said);
            prop_assert!(before < vector.now() && said < vector.now());
            let own = vector.process();
            prop_assert_eq!(vector.time().get(own), before.get(own) + step.get());
        }
    }

    /// Stamps share what they know, and receives skip what was merged before; nobody can
    /// tell, whatever is received, sent again, forgotten or taken back.
    #[test]
    fn vectors_are_as_if_each_stamp_were_a_copy(steps in proptest::collection::vec((0..3_usize, 0..8, 0..64_usize), 1..120)) {
        let mut clocks = [0, 1, 2].map(|process| (Vector::new(process), VectorTime::new()));
        let mut sent: Vec<(VectorStamp, VectorTime)> = Vec::new();
        for (who, what, which) in steps {
            let (clock, time) = &mut clocks[who];
            let me = clock.process();
            let event = |time: &mut VectorTime| time.set(me, time.get(me) + 1);
            match what {
                0 => {
                    event(time);
                    clock.tick();
                }
                1 | 2 => {
                    event(time);
                    sent.push((clock.stamp(), time.clone()));
                }
                3..=5 if !sent.is_empty() => {
                    let (stamp, copy) = &sent[sent.len() - 1 - which % sent.len().min(6)];
                    time.merge(copy);
                    event(time);
                    clock.receive(stamp);
                }
                6 => {
                    let other = Process::new((who as u32 + 1 + which as u32 % 2) % 3);
                    prop_assert_eq!(clock.retire(other), time.get(other));
                    time.set(other, 0);
                }
                7 => {
                    *clock = clock.clone();
                    clock.tick();
                    clock.retract();
                    // As it would come from elsewhere, perhaps before any event.
                    sent.push((VectorStamp::new(me, clock.time()), time.clone()));
                }
                _ => {}
            }
            prop_assert_eq!(&clock.time(), &*time);
            prop_assert_eq!(clock.now(), VectorStamp::new(me, time.clone()));
            // What was sent stays as it was.
            prop_assert!(sent.iter().all(|(stamp, copy)| stamp.time() == *copy));
        }
    }

    #[test]
    fn deltas_are_the_times_they_stand_for(times in proptest::collection::vec(times(), 1..10)) {
        let (mut encoder, mut decoder) = (DeltaEncoder::new(), DeltaDecoder::new());
        let mut growing = VectorTime::new();
        for time in &times {
            let before = growing.clone();
            growing.merge(time);
            let delta = encoder.encode(&growing);
            prop_assert_eq!(delta.len(), growing.exceeding(&before).count());
            prop_assert_eq!(decoder.decode(delta).unwrap(), growing.clone());
        }
        // Also when entries go back.
        for time in &times {
            prop_assert_eq!(&decoder.decode(encoder.encode(time)).unwrap(), time);
        }
    }
}

/// The lecture: events a and b at process 1, e and f at process 2, h at process 3;
/// messages from a to e and from e to h; clocks that go on by any positive number.
#[test]
fn the_lectures_example() {
    let [p1, p2, p3] = processes();
    let step = |n| NonZeroU64::new(n).unwrap();
    let [mut c1, mut c2, mut c3] = [p1, p2, p3].map(Vector::new);

    c1.set_step(step(100));
    let a = c1.stamp();
    c2.set_step(step(230));
    c2.receive(&a);
    let e = c2.now();
    c3.set_step(step(243));
    c3.receive(&e);
    let h = c3.now();
    c1.set_step(step(200));
    let b = c1.stamp();
    c2.set_step(step(30));
    let f = c2.stamp();

    assert_eq!((a.get(p1), b.get(p1)), (100, 300));
    assert_eq!((e.get(p2), f.get(p2)), (230, 260));
    assert_eq!(
        h.time(),
        VectorTime::from_iter([(p1, 100), (p2, 230), (p3, 243)])
    );
    assert!(a < e && e < h, "a, e and h are causally related");
    assert!(a.happened_before(&h));
    assert_eq!(
        b.causality(&f),
        Causality::Concurrent,
        "b and f are disjoint"
    );
    assert_eq!(b.partial_cmp(&f), None);
}

/// The formula max(C_i(a) + d, C_j(b)) and the pseudocode agree if the right-hand C_j has
/// been ticked; if not, the formula would give two events of one process the same time.
#[test]
fn the_formula_agrees_with_the_pseudocode_once_ticked() {
    for (sent, local) in [(0, 0), (5, 1), (1, 5), (3, 3), (4, 3)] {
        let (mut i, mut j) = (Lamport::new(0), Lamport::new(1));
        (0..sent).for_each(|_| i.tick());
        (0..local).for_each(|_| j.tick());
        j.receive(&i.now());
        assert_eq!(j.time(), (sent + 1).max(local + 1));
        let unticked = (sent + 1).max(local);
        assert_eq!(unticked > local, sent + 1 > local);
        assert!(j.time() > local, "a receive is an event of its own");
    }
}

#[test]
fn ties_are_broken_by_process() {
    let mut stamps = [3, 1, 2].map(|n| Lamport::new(n).stamp());
    assert!(stamps.iter().all(|stamp| stamp.time == 1));
    stamps.sort();
    assert_eq!(stamps.map(|stamp| stamp.process.number()), [1, 2, 3]);
    assert_eq!(stamps[0].cmp(&stamps[1]), Ordering::Less);
}

#[test]
fn a_retracted_tick_never_was() {
    let [p, q] = processes();
    let mut clocks = (Lamport::new(p), Vector::new(p), Matrix::new(p, [q]));
    let never = (clocks.0.now(), clocks.1.now(), clocks.2.now());
    let retract = |clocks: &mut (Lamport, Vector, Matrix)| {
        clocks.0.stamp();
        clocks.1.stamp();
        clocks.2.stamp();
        clocks.0.retract();
        clocks.1.retract();
        clocks.2.retract();
    };
    retract(&mut clocks);
    assert_eq!((clocks.0.now(), clocks.1.now(), clocks.2.now()), never);
    clocks.1.tick();
    let once = clocks.1.now();
    retract(&mut clocks);
    assert_eq!(clocks.1.now(), once);
}

#[test]
fn a_process_reborn_is_another() {
    let [p, q] = processes();
    let (mut first, mut other) = (Vector::new(p), Vector::new(q));
    (0..5).for_each(|_| first.tick());
    let last_words = first.stamp();
    other.receive(&last_words);
    // It restarts without its memory.
    let mut second = Vector::new(p.reborn());
    let hello = second.stamp();
    assert!(hello.concurrent_with(&last_words));
    other.receive(&hello);
    assert!(last_words.happened_before(&other.now()) && hello.happened_before(&other.now()));
    assert_eq!(other.time().get(p), 6);
    assert_eq!(other.time().get(p.reborn()), 1);
    // It is forgotten only when somebody says so.
    assert_eq!(other.retire(p), 6);
    assert_eq!(other.time().get(p), 0);
    assert_eq!(other.time().len(), 2);
}

#[test]
fn what_everybody_knows_is_stable() {
    let all @ [p, q, r] = processes();
    let [mut a, mut b, mut c] = all.map(|process| Matrix::new(process, all));
    let news = a.stamped("news");
    b.receive(&news.stamp);
    c.receive(&news.stamp);
    // Both know, but a does not know that, and b not that c does.
    assert!(!a.is_stable(&news.stamp) && !b.is_stable(&news.stamp));
    a.receive(&b.stamp());
    assert!(!a.is_stable(&news.stamp), "c has not been heard of");
    b.receive(&c.stamp());
    assert!(b.is_stable(&news.stamp));
    assert_eq!(b.stable().get(p), 1);
    // Second-hand: from b, a learns what c knows.
    a.receive(&b.stamp());
    assert!(a.is_stable(&news.stamp));
    assert_eq!(a.time().get((r, p)), 1);

    // Who leaves is not waited for; who joins is.
    let more = a.stamped("more");
    b.receive(&more.stamp);
    a.receive(&b.stamp());
    assert!(!a.is_stable(&more.stamp));
    a.leave(r);
    assert!(a.is_stable(&more.stamp));
    a.receive(&b.stamp()); // b still speaks of c
    assert_eq!(a.members(), [p, q]);
    assert!(a.is_stable(&more.stamp));
    let mut late = Matrix::new(3, []);
    a.receive(&late.stamp());
    assert!(!a.is_stable(&more.stamp));
    late.receive(&a.stamp());
    a.receive(&late.stamp());
    assert!(a.is_stable(&more.stamp));
    assert_eq!(a.members().len(), 3);
}

#[test]
fn the_senders_row_is_merged_into_ones_own() {
    let [p, q, r] = processes();
    let [mut a, mut b, mut c] = [p, q, r].map(|process| Matrix::new(process, []));
    b.receive(&a.stamp());
    c.receive(&b.stamp());
    let own = c.time().row(r);
    assert_eq!(own, VectorTime::from_iter([(p, 1), (q, 2), (r, 1)]));
    assert_eq!(c.time().row(q), VectorTime::from_iter([(p, 1), (q, 2)]));
    assert_eq!(c.time().row(p), VectorTime::from_iter([(p, 1)]));
    assert_eq!(c.time().iter().len(), 6);
    assert_eq!(c.time().get((r, r)), 1);
    assert!(MatrixTime::new().is_empty());
}

#[test]
fn a_delta_that_is_missing_is_noticed() {
    let mut clock = Vector::new(0);
    let (mut encoder, mut decoder) = (DeltaEncoder::new(), DeltaDecoder::new());
    let mut next = || {
        clock.tick();
        (clock.time(), encoder.encode(&clock.time()))
    };
    let deltas: Vec<_> = (0..4).map(|_| next()).collect();
    assert_eq!(decoder.decode(deltas[0].1.clone()).unwrap(), deltas[0].0);
    let lost = decoder.decode(deltas[2].1.clone()).unwrap_err();
    assert_eq!((lost.expected, lost.found), (1, 2));
    assert_eq!(decoder.decode(deltas[1].1.clone()).unwrap(), deltas[1].0);
    // Again is no better than never.
    decoder.decode(deltas[1].1.clone()).unwrap_err();
    encoder.reset();
    clock.tick();
    let whole = encoder.encode(&clock.time());
    assert_eq!(decoder.decode(whole.clone()).unwrap(), clock.time());
    // Nor does a whole one that comes again set the link back.
    clock.tick();
    let next = encoder.encode(&clock.time());
    let again = decoder.decode(whole.clone()).unwrap_err();
    assert_eq!((again.expected, again.found), (5, 4));
    assert_eq!(decoder.decode(next).unwrap(), clock.time());
    decoder.decode(whole).unwrap_err();
    clock.tick();
    assert_eq!(
        decoder.decode(encoder.encode(&clock.time())).unwrap(),
        clock.time()
    );
}

#[test]
#[should_panic(expected = "a clock ends")]
fn a_clock_does_not_wrap() {
    let mut clock = Lamport::new(0);
    clock.set_step(NonZeroU64::MAX);
    clock.tick();
    clock.tick();
}
