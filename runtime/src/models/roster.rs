//! Adding and retiring an LWP: whatever comes together, one kernel thread carries
//! it if it is wanted, and none if it is not.

use std::sync::Arc;

use lisle_lwp::explore::{Turns, outcomes};
use lisle_lwp::owner::{Holder, HolderId, OwnerWord};
use lisle_lwp::shim::Cell;
use loom::thread::spawn;

use crate::sched::roster::Roster;

/// The LWP in question has this number.
const LWP: usize = 1;

struct Model {
    roster: Roster,
    word: OwnerWord,
    /// What only the LWP's holder may touch.
    field: Cell<u32>,
    holders: [Holder; 3],
}

impl Model {
    /// The LWP is held by the first kernel thread, in its idle context.
    fn held() -> Arc<Model> {
        let model = Model {
            roster: Roster::new(2),
            word: OwnerWord::new(),
            field: Cell::new(0),
            holders: [Holder::new(), Holder::new(), Holder::new()],
        };
        assert!(model.claim(0));
        Arc::new(model)
    }

    fn use_it(&self) {
        // SAFETY: the caller holds the LWP; loom sees if that is not so.
        self.field.with_mut(|field| unsafe { *field += 1 });
    }

    fn claim(&self, who: usize) -> bool {
        let id = HolderId::new(who as u32 + 1).unwrap();
        let held = self.word.claim(&self.holders[who], id);
        if held {
            self.use_it();
        }
        held
    }

    /// One look of an LWP's idle context. Returns whether it still has it.
    fn look(&self, who: usize) -> bool {
        if self.roster.wants(LWP) {
            return true;
        }
        self.use_it();
        self.roster.leave(LWP, &self.word, &self.holders[who]) && self.claim(who)
    }

    /// Who has it in the end.
    fn holder(&self) -> Option<usize> {
        let held = |who: &usize| self.word.is_held_by(&self.holders[*who]);
        (0..self.holders.len()).find(held)
    }
}

/// It is wanted again while it retires, and a kernel thread that was sent for an
/// old offer comes, too.
#[test]
fn retire_against_add() {
    let seen = outcomes(Some(4), || {
        let lwp = Model::held();
        lwp.roster.want(1);
        let (retiring, stray) = (lwp.clone(), lwp.clone());
        let retiring = spawn(move || retiring.look(0));
        let stray = spawn(move || stray.claim(2));
        lwp.roster.want(2);
        let sent = lwp.roster.revive(LWP, &lwp.word) && lwp.claim(1);
        let got = [retiring.join().unwrap(), sent, stray.join().unwrap()];
        let holder = lwp.holder();
        assert!(holder.is_some(), "wanted, and nobody carries it");
        assert_eq!(got.iter().filter(|got| **got).count(), 1, "{got:?}");
        assert_eq!(lwp.roster.serving(), 2);
        holder
    });
    assert_eq!(seen.len(), 3, "{seen:?}");
}

/// Added and not wanted again before the kernel thread has come.
#[test]
fn add_against_retire() {
    let seen = outcomes(Some(4), || {
        let lwp = Model::held();
        lwp.roster.want(1);
        assert!(!lwp.look(0));
        let other = lwp.clone();
        let added = spawn(move || {
            other.roster.want(2);
            let sent = other.roster.revive(LWP, &other.word);
            sent && other.claim(1) && other.look(1)
        });
        lwp.roster.want(1);
        let mine = lwp.roster.revive(LWP, &lwp.word);
        let still = added.join().unwrap();
        // Whoever said it last is obeyed at the next look.
        let wanted = lwp.roster.wants(LWP);
        assert!(!mine || wanted);
        if mine {
            assert!(lwp.claim(2));
        }
        let holder = lwp.holder();
        assert_eq!(lwp.roster.serving(), 1 + usize::from(holder.is_some()));
        assert!(!wanted || holder.is_some());
        (wanted, still)
    });
    assert!(seen.len() >= 2, "{seen:?}");
}

/// The system refuses the kernel thread.
#[test]
fn give_up_against_stray() {
    let seen = outcomes(Some(4), || {
        let lwp = Model::held();
        lwp.roster.want(1);
        assert!(!lwp.look(0));
        let other = lwp.clone();
        let stray = spawn(move || other.claim(2) && other.look(2));
        lwp.roster.want(2);
        assert!(lwp.roster.revive(LWP, &lwp.word));
        lwp.roster.give_up(&lwp.word);
        lwp.roster.want_instead_of(2, 1);
        let stray = stray.join().unwrap();
        assert_eq!(lwp.holder().is_some(), stray);
        assert_eq!(lwp.roster.serving(), 1 + usize::from(stray));
        stray
    });
    assert_eq!(seen.len(), 2, "{seen:?}");
}

/// The program says twice how many it wants, while the runtime follows the processors: what it
/// said last holds.
#[test]
fn fix_against_follow() {
    let seen = outcomes(Some(4), || {
        let roster = Arc::new(Roster::new(4));
        let (other, turns) = (roster.clone(), Turns::new());
        let its_turns = turns.clone();
        let follower = spawn(move || {
            let mut said = Vec::new();
            other.follow(1, |lwps| {
                its_turns.take();
                other.want(lwps);
                said.push(lwps);
                its_turns.take();
            });
            said
        });
        for lwps in [3, 2] {
            turns.take();
            roster.fix(lwps);
            turns.take();
            roster.want(lwps);
        }
        let said = follower.join().unwrap();
        assert_eq!(roster.wanted(), 2);
        said
    });
    assert!(seen.contains(&vec![1, 3, 2]), "{seen:?}");
    assert!(seen.len() >= 4, "{seen:?}");
}
