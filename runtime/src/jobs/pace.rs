//! How often a thread offers jobs while LWPs are idle: the heartbeat.
//!
//! Offering a job, making a thread for it and joining that cost a microsecond,
//! waking a sleeping LWP many. Where jobs are shorter than that, as at the leaves
//! of a recursion, each offer loses. So offers are paid for with time: a thread
//! may be ahead of the clock by [`CREDIT`] and each offer puts it ahead by its
//! cost. What is offered is the oldest job, mostly the largest, so a few offers
//! are enough. A thread that runs an offered job begins with its owner's account:
//! else a chain of small jobs, each offered by the last, would cost nobody
//! anything.
//!
//! Looking at the clock costs more than a join, so after a refusal the thread
//! does not look for [`PATIENCE`] occasions.
//!
//! *Rejected*: a heartbeat from a kernel thread of its own (a period for all
//! programs, and wake-ups while nobody forks); no limit (a join of two empty
//! closures beside an idle LWP then costs 55 ns in place of 6; without one, 2.4).

use core::cell::Cell;

/// How far ahead of the clock a thread may be, in nanoseconds.
const CREDIT: u64 = 160_000;
/// What an offer costs while an LWP searches, and while all that are idle sleep.
const TO_SEARCHER: u64 = 20_000;
const TO_SLEEPER: u64 = 100_000;
/// After a refusal, the clock is looked at on the next occasion but so many.
const PATIENCE: u32 = 16;

/// A thread's account; see the module documentation. Only the thread itself
/// touches it.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The time, in nanoseconds, up to which offers have been paid for.
    paid: Cell<u64>,
    patience: Cell<u32>,
}

impl Pace {
    pub(crate) const fn new() -> Pace {
        Pace {
            paid: Cell::new(0),
            patience: Cell::new(0),
        }
    }

    /// Begins with this account.
    pub(crate) fn begin(&self, paid: u64) {
        self.paid.set(paid);
        self.patience.set(0);
    }

    /// The account.
    pub(crate) fn paid(&self) -> u64 {
        self.paid.get()
    }

    /// Whether this is an occasion to be used: not soon after a refusal.
    pub(crate) fn is_patient(&self) -> bool {
        let patience = self.patience.get();
        self.patience.set(patience.saturating_sub(1));
        patience == 0
    }

    /// Pays for an offer at this time, if the account allows it.
    pub(crate) fn pay(&self, now: u64, somebody_searches: bool) -> bool {
        let paid = self.paid.get();
        if paid > now.saturating_add(CREDIT) {
            self.patience.set(PATIENCE);
            return false;
        }
        let cost = match somebody_searches {
            true => TO_SEARCHER,
            false => TO_SLEEPER,
        };
        self.paid.set(paid.max(now) + cost);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_the_clock_pays() {
        let pace = Pace::new();
        let burst = (0..100).take_while(|_| pace.pay(1_000, true)).count() as u64;
        assert_eq!(burst, CREDIT / TO_SEARCHER + 1);
        assert!(!pace.pay(1_000, true));
        assert!(pace.pay(1_000 + TO_SEARCHER, true));
        assert!(!pace.pay(1_000 + TO_SEARCHER, true));
    }

    #[test]
    fn an_old_account_gives_no_more_than_the_credit() {
        let pace = Pace::new();
        let now = 1 << 40;
        let burst = (0..100).take_while(|_| pace.pay(now, false)).count() as u64;
        assert_eq!(burst, CREDIT / TO_SLEEPER + 1);
    }

    #[test]
    fn a_refusal_makes_patient() {
        let pace = Pace::new();
        while pace.pay(0, true) {}
        let looks = (0..=PATIENCE).filter(|_| pace.is_patient()).count();
        assert_eq!(looks, 1);
        pace.begin(0);
        assert!(pace.is_patient());
    }
}
