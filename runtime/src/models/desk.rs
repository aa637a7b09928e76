//! Asking a kernel thread that may be late: the paper is one's at a time, and an
//! answer that is there is seen.

use std::sync::Arc;
use std::time::Duration;

use lisle_lwp::explore::{ALL, outcomes};
use loom::thread::spawn;

use crate::desk::Desk;

const WHOM: u32 = 7;

/// Asks how much a number and a hundred are, if the desk is free.
fn ask(desk: &Desk<u32>, number: u32) -> Option<bool> {
    let mut asker = desk.take()?;
    asker.with(|paper| *paper = number);
    // Loom has no time: every wait that ends by it ends at once.
    let answered = asker.ask(WHOM, Duration::ZERO, || true);
    let sum = if answered { number + 100 } else { number };
    assert_eq!(asker.with(|paper| *paper), sum);
    Some(answered)
}

/// The signal comes.
fn answer(desk: &Desk<u32>) -> bool {
    desk.answer(WHOM, |paper| *paper += 100)
}

/// Both outcomes, and the two sides agree.
#[test]
fn answer_against_withdrawal() {
    let seen = outcomes(ALL, || {
        let desk = Arc::new(Desk::new(0));
        let asked = desk.clone();
        let handler = spawn(move || answer(&asked));
        let told = ask(&desk, 1).expect("nobody else asks");
        let answered = handler.join().unwrap();
        assert_eq!(told, answered);
        answered
    });
    assert_eq!(seen.len(), 2, "{seen:?}");
}

/// The signal for a question that was withdrawn may answer the next one, once.
#[test]
fn late_answer_against_next_question() {
    let seen = outcomes(Some(3), || {
        let desk = Arc::new(Desk::new(0));
        let asked = desk.clone();
        let handler = spawn(move || [answer(&asked), answer(&asked)]);
        let told = [1, 2].map(|number| ask(&desk, number).expect("nobody else asks"));
        let answered = handler.join().unwrap();
        let count = |of: [bool; 2]| of.iter().filter(|is| **is).count();
        assert_eq!(count(told), count(answered));
        (told, answered)
    });
    let told: std::collections::BTreeSet<_> = seen.iter().map(|(told, _)| *told).collect();
    assert_eq!(told.len(), 4, "{seen:?}");
}

/// Of two who ask, one has the desk at a time.
#[test]
fn ask_against_ask() {
    let seen = outcomes(Some(3), || {
        let desk = Arc::new(Desk::new(0));
        let (one, two) = (desk.clone(), desk.clone());
        let handler = spawn(move || answer(&one));
        let other = spawn(move || ask(&two, 1));
        let own = ask(&desk, 2);
        let told = [own, other.join().unwrap()];
        let answered = handler.join().unwrap();
        let yes = told.iter().filter(|told| **told == Some(true)).count();
        assert_eq!(yes, usize::from(answered));
        assert!(told.iter().any(Option::is_some));
        told
    });
    assert!(seen.iter().any(|told| told.contains(&None)), "{seen:?}");
    assert!(
        seen.iter().any(|told| told.contains(&Some(true))),
        "{seen:?}"
    );
}
