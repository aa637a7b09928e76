//! Random executions: what clocks and histories say, against the transitive closure of
//! the events' order.

use std::collections::VecDeque;

use lisle::clock::{
    Causal, Causality, Clock, Event, EventId, History, Lamport, LamportStamp, Matrix, MatrixStamp,
    Process, Vector, VectorStamp, VectorTime,
};
use proptest::prelude::*;

use super::cases;

const PROCESSES: usize = 5;

/// What a process does next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Local,
    Send {
        to: usize,
    },
    /// Receives one of the messages that are on their way to it, not always the first.
    Receive {
        which: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let step = prop_oneof![
        1 => Just(Step::Local),
        3 => (0..PROCESSES).prop_map(|to| Step::Send { to }),
        4 => (0..3_usize).prop_map(|which| Step::Receive { which }),
    ];
    proptest::collection::vec((0..PROCESSES, step), 1..80)
}

/// An event: its stamps by all clocks, and the events right before it.
struct Happened {
    process: usize,
    lamport: LamportStamp,
    vector: VectorStamp,
    matrix: MatrixStamp,
    causes: Vec<usize>,
}

struct Execution {
    events: Vec<Happened>,
    history: History,
    /// Pairs of receives of one process where the second message was sent before the
    /// first, as the second one's event.
    overtaken: Vec<usize>,
}

fn run(steps: &[(usize, Step)]) -> Execution {
    let all = || (0..PROCESSES as u32).map(Process::new);
    let mut clocks: Vec<_> = all()
        .map(|p| (Lamport::new(p), Vector::new(p), Matrix::new(p, all())))
        .collect();
    let mut events: Vec<Happened> = Vec::new();
    let mut history = History::new();
    let mut last = [None; PROCESSES];
    let mut inboxes = vec![VecDeque::<usize>::new(); PROCESSES];
    let mut receives: Vec<(usize, usize)> = Vec::new();
    for &(process, step) in steps {
        let (lamport, vector, matrix) = &mut clocks[process];
        let mut causes: Vec<usize> = last[process].into_iter().collect();
        match step {
            Step::Local | Step::Send { .. } => {
                lamport.tick();
                vector.tick();
                matrix.tick();
                match step {
                    Step::Local => history.local(vector.now(), "local"),
                    _ => history.send(vector.now(), "send"),
                }
            }
            Step::Receive { which } => {
                let inbox = &mut inboxes[process];
                let Some(message) = inbox.remove(which.min(inbox.len().saturating_sub(1))) else {
                    continue;
                };
                let sent = &events[message];
                lamport.receive(&sent.lamport);
                vector.receive(&sent.vector);
                matrix.receive(&sent.matrix);
                history.receive(vector.now(), &sent.vector, "receive");
                causes.push(message);
                receives.push((events.len(), message));
            }
        }
        if let Step::Send { to } = step {
            inboxes[to].push_back(events.len());
        }
        last[process] = Some(events.len());
        let (lamport, vector, matrix) = (lamport.now(), vector.now(), matrix.now());
        events.push(Happened {
            process,
            lamport,
            vector,
            matrix,
            causes,
        });
    }
    let closure = closure(&events);
    let late = |&(at, sent): &(usize, usize)| {
        receives.iter().any(|&(earlier, other)| {
            events[earlier].process == events[at].process && earlier < at && closure[other][sent]
        })
    };
    let overtaken = receives
        .iter()
        .filter(|receive| late(receive))
        .map(|&(at, _)| at)
        .collect();
    Execution {
        events,
        history,
        overtaken,
    }
}

/// `closure[b][a]`: a happened before b. Warshall's algorithm, on the causes alone.
fn closure(events: &[Happened]) -> Vec<Vec<bool>> {
    let n = events.len();
    let mut before = vec![vec![false; n]; n];
    for (at, event) in events.iter().enumerate() {
        event
            .causes
            .iter()
            .for_each(|&cause| before[at][cause] = true);
    }
    for k in 0..n {
        let through = before[k].clone();
        for row in &mut before {
            if row[k] {
                row.iter_mut()
                    .zip(&through)
                    .for_each(|(known, &more)| *known |= more);
            }
        }
    }
    before
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn vectors_are_less_iff_events_happened_before(steps in steps()) {
        let Execution { events, .. } = run(&steps);
        let before = closure(&events);
        for (i, a) in events.iter().enumerate() {
            for (j, b) in events.iter().enumerate() {
                let expected = match (before[j][i], before[i][j]) {
                    (true, _) => Causality::Before,
                    (_, true) => Causality::After,
                    _ if i == j => Causality::Equal,
                    _ => Causality::Concurrent,
                };
                prop_assert_eq!(a.vector.causality(&b.vector), expected);
                prop_assert_eq!(a.vector < b.vector, before[j][i]);
                prop_assert_eq!(a.vector.happened_before(&b.vector), before[j][i]);
                prop_assert_eq!(Causal::causality(&a.matrix, &b.matrix), expected);
                // One direction only, and a total order.
                if before[j][i] {
                    prop_assert!(a.lamport < b.lamport && a.lamport.time < b.lamport.time);
                }
                prop_assert_eq!(i == j, a.lamport == b.lamport);
            }
        }
    }

    /// Also of clocks that have not begun: those lie before the events of all others, but
    /// not before each other.
    #[test]
    fn both_ways_of_comparing_agree(steps in steps()) {
        let Execution { events, .. } = run(&steps);
        let never = (0..PROCESSES as u32 + 1).map(|process| Vector::new(process).now());
        let stamps: Vec<_> = never.chain(events.into_iter().map(|event| event.vector)).collect();
        for a in &stamps {
            for b in &stamps {
                let causality = a.causality(b);
                prop_assert_eq!(a.happened_before(b), causality == Causality::Before);
                prop_assert_eq!(b.causality(a), causality.reverse());
            }
        }
    }

    /// The rows of a matrix are what others have said: never more than they know, and
    /// the own row is the vector clock.
    #[test]
    fn matrices_know_what_vectors_knew(steps in steps()) {
        let Execution { events, .. } = run(&steps);
        for (i, event) in events.iter().enumerate() {
            prop_assert_eq!(event.matrix.vector(), event.vector.time());
            for other in 0..PROCESSES {
                let row = event.matrix.time.row(Process::new(other as u32));
                let known = events[..i].iter().rev().find(|e| e.process == other && e.vector.time() >= row);
                let justified = row.is_empty() || other == event.process || known.is_some();
                prop_assert!(justified);
            }
        }
    }

    #[test]
    fn histories_find_who_was_overtaken(steps in steps()) {
        let Execution { events, history, mut overtaken, .. } = run(&steps);
        prop_assert_eq!(history.check(), Ok(()));
        let violations = history.violations();
        let mut found: Vec<_> = violations.iter().map(|violation| violation.late).collect();
        let mut expected: Vec<_> =
            overtaken.drain(..).map(|at| EventId::from(&events[at].vector)).collect();
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
        for violation in violations {
            let chain = violation.chain(&history);
            prop_assert_eq!(chain[0], violation.sent);
            prop_assert_eq!(chain[chain.len() - 1], violation.early);
            prop_assert!(chain.contains(&violation.overtaker));
            for pair in chain.windows(2) {
                prop_assert!(history.causes(pair[1]).any(|cause| cause.id() == pair[0]));
            }
            prop_assert!(violation.early < violation.late);
        }
    }

    #[test]
    fn a_cut_is_consistent_iff_it_is_closed(steps in steps(), cut in proptest::collection::vec(0..20_u64, PROCESSES)) {
        let Execution { events, history, .. } = run(&steps);
        let cut: VectorTime = (0..).map(Process::new).zip(cut).collect();
        let within = |event: &Happened| {
            let process = event.vector.process();
            event.vector.get(process) <= cut.get(process)
        };
        let closed = events
            .iter()
            .all(|event| !within(event) || event.causes.iter().all(|&cause| within(&events[cause])));
        prop_assert_eq!(history.check_cut(&cut).is_ok(), closed);
        // The time of an event is a cut: what it knows.
        for event in &events {
            prop_assert_eq!(history.check_cut(&event.vector.time()), Ok(()));
        }
    }

    #[test]
    fn a_wrong_stamp_is_noticed(steps in steps(), which in 0..80_usize, key in 0..PROCESSES as u32) {
        let Execution { events, history, .. } = run(&steps);
        let mut wrong: Vec<Event> = history.into();
        if wrong.is_empty() || events.is_empty() {
            return Ok(());
        }
        let at = which % wrong.len();
        let stamp = &mut wrong[at].stamp;
        if stamp.process().number() != key {
            let key = Process::new(key);
            let mut time = stamp.time();
            time.set(key, time.get(key) + 1);
            *stamp = VectorStamp::new(stamp.process(), time);
            prop_assert!(History::from_iter(wrong).check().is_err());
        }
    }
}

/// A violation is four names, however long the chain that shows it.
#[test]
fn messages_received_backwards_are_found_in_little_room() {
    const MESSAGES: usize = 10_000;
    let (mut a, mut b) = (Vector::new(0), Vector::new(1));
    let mut history = History::new();
    let sent: Vec<_> = (0..MESSAGES).map(|_| a.stamp()).collect();
    for stamp in &sent {
        history.send(stamp.clone(), "");
    }
    for stamp in sent.iter().rev() {
        b.receive(stamp);
        history.receive(b.now(), stamp, "");
    }
    let violations = history.violations();
    assert_eq!(violations.len(), MESSAGES - 1);
    let first_sent = violations.last().unwrap();
    assert_eq!(first_sent.sent, EventId::from(&sent[0]));
    assert_eq!(first_sent.chain(&history).len(), MESSAGES + 1);
    assert_eq!(violations[0].chain(&history).len(), 3);
}
