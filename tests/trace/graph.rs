//! The graph against the plainest algorithm there is.

use lisle_trace::graph::{Builder, Cut, Event, Graph, Link, Order};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A random history, and which event reaches which, by Warshall.
fn random(seed: u64, processes: u32, events: usize) -> (Graph, Vec<Event>, Vec<Vec<bool>>) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut builder = Builder::new();
    for _ in 0..processes {
        builder.process();
    }
    let mut all: Vec<Event> = Vec::new();
    let mut edges = Vec::new();
    for _ in 0..events {
        let process = random.random_range(0..processes);
        let event = builder.event(process);
        if let Some(last) = all.iter().rposition(|other| other.process == process) {
            edges.push((last, all.len()));
        }
        for _ in 0..random.random_range(0..3) {
            if !all.is_empty() && random.random_bool(0.5) {
                let from = random.random_range(0..all.len());
                builder.arrow(all[from], event, Link::Message).unwrap();
                edges.push((from, all.len()));
            }
        }
        all.push(event);
    }
    let mut reaches = vec![vec![false; events]; events];
    for (from, to) in edges {
        // Edges come by their ends, so what reaches `from` is complete.
        reaches[from][to] = true;
        for row in &mut reaches {
            if row[from] {
                row[to] = true;
            }
        }
    }
    (builder.build().unwrap(), all, reaches)
}

fn cases() -> impl Iterator<Item = (Graph, Vec<Event>, Vec<Vec<bool>>)> {
    // Long chains have clocks; many processes have none.
    let shapes = [(1, 5), (2, 300), (3, 280), (5, 300), (40, 200), (3, 40)];
    (0..24).map(move |seed| {
        let (processes, events) = shapes[seed as usize % shapes.len()];
        random(seed, processes, events)
    })
}

#[test]
fn order_is_that_of_the_closure() {
    for (graph, all, reaches) in cases() {
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                let order = match (i == j, reaches[i][j], reaches[j][i]) {
                    (true, ..) => Order::Same,
                    (_, true, _) => Order::Before,
                    (_, _, true) => Order::After,
                    _ => Order::Concurrent,
                };
                assert_eq!(graph.compare(*a, *b), Ok(order), "{a:?} {b:?}");
                assert_eq!(graph.before(*a, *b), Ok(order == Order::Before));
            }
        }
    }
}

#[test]
fn past_and_future_are_those_of_the_closure() {
    for (graph, all, reaches) in cases() {
        for (i, event) in all.iter().enumerate().step_by(3) {
            let mut past: Vec<Event> = graph.past(*event).unwrap().collect();
            let mut future: Vec<Event> = graph.future(*event).unwrap().collect();
            let mut wanted_past: Vec<Event> = (0..all.len())
                .filter(|j| reaches[*j][i])
                .map(|j| all[j])
                .collect();
            let mut wanted_future: Vec<Event> = (0..all.len())
                .filter(|j| reaches[i][*j])
                .map(|j| all[j])
                .collect();
            for set in [&mut past, &mut future, &mut wanted_past, &mut wanted_future] {
                set.sort();
            }
            assert_eq!(past, wanted_past);
            assert_eq!(future, wanted_future);
        }
    }
}

#[test]
fn paths_lead_along_processes_and_arrows() {
    for (graph, all, reaches) in cases() {
        for (i, a) in all.iter().enumerate().step_by(5) {
            for (j, b) in all.iter().enumerate().step_by(3) {
                let path = graph.path(*a, *b).unwrap();
                assert_eq!(path.is_some(), reaches[i][j]);
                let Some(path) = path else { continue };
                assert_eq!((path[0], *path.last().unwrap()), (*a, *b));
                for step in path.windows(2) {
                    let along = step[0].process == step[1].process && step[0].index < step[1].index;
                    let arrow = graph.arrow_between(step[0], step[1]).is_some();
                    assert!(along || arrow, "{step:?} of {path:?}");
                }
            }
        }
    }
}

#[test]
fn consistent_cuts_are_closed_under_the_past() {
    for (number, (graph, all, reaches)) in cases().enumerate() {
        let mut random = StdRng::seed_from_u64(number as u64);
        for _ in 0..40 {
            let lens = (0..graph.processes()).map(|p| graph.len_of(p));
            let cut = Cut(lens.map(|len| random.random_range(0..=len)).collect());
            let closed = |cut: &Cut| {
                (0..all.len()).all(|j| {
                    !cut.contains(all[j])
                        || (0..all.len()).all(|i| !reaches[i][j] || cut.contains(all[i]))
                })
            };
            assert_eq!(graph.is_consistent(&cut), closed(&cut));
            let latest = graph.latest_consistent(&cut);
            assert!(closed(&latest));
            // The latest: all whose past is in the cut.
            for (j, event) in all.iter().enumerate() {
                let whole = cut.contains(*event)
                    && (0..all.len()).all(|i| !reaches[i][j] || cut.contains(all[i]));
                assert_eq!(latest.contains(*event), whole, "{event:?}");
            }
        }
        assert!(graph.is_consistent(&graph.everything()));
    }
}

#[test]
fn sorting_agrees_with_the_order() {
    for (graph, all, reaches) in cases() {
        let sorted = graph.sorted();
        let place = |event: &Event| sorted.iter().position(|other| other == event).unwrap();
        let places: Vec<usize> = all.iter().map(place).collect();
        for (i, row) in reaches.iter().enumerate() {
            for (j, reached) in row.iter().enumerate() {
                assert!(!reached || places[i] < places[j]);
            }
        }
    }
}

#[test]
fn circles_are_refused() {
    let mut builder = Builder::new();
    let (p, q) = (builder.process(), builder.process());
    let (p0, q0) = (builder.event(p), builder.event(q));
    let (p1, q1) = (builder.event(p), builder.event(q));
    builder.arrow(p1, q0, Link::Message).unwrap();
    builder.arrow(q1, p0, Link::Message).unwrap();
    let cycle = builder.build().map(drop).unwrap_err();
    assert!([p0, q0].contains(&cycle.event));
    let mut builder = Builder::new();
    let p = builder.process();
    let (first, second) = (builder.event(p), builder.event(p));
    builder.arrow(second, first, Link::Message).unwrap();
    assert!(builder.build().is_err());
}

#[test]
fn what_is_not_there_is_said_so() {
    let mut builder = Builder::new();
    let p = builder.process();
    let there = builder.event(p);
    let no = Event::new(p, 1);
    assert!(builder.arrow(there, no, Link::Message).is_err());
    assert!(
        builder
            .arrow(Event::new(7, 0), there, Link::Message)
            .is_err()
    );
    let graph = builder.build().unwrap();
    assert!(graph.before(there, no).is_err());
    assert!(graph.path(no, there).is_err());
    assert!(graph.clock(Event::new(9, 0)).is_err());
    assert!(!graph.is_consistent(&Cut(vec![2])));
    assert!(!graph.is_consistent(&Cut(vec![])));
    assert_eq!(graph.latest_consistent(&Cut(vec![5, 5])), Cut(vec![1]));
    let empty = Builder::new().build().unwrap();
    assert!(empty.is_empty() && empty.is_consistent(&Cut(vec![])));
}
