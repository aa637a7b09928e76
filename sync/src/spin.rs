//! Spinning, a little, before a wait.

use lisle_lwp::shim::spin_loop;
use lisle_runtime::wait;

/// How often a waiter looks again before it waits; the pauses between double
/// from look to look.
const LOOKS: u32 = 2;

/// A waiter's patience. Threads that share their only LWP with whom they wait
/// for do not spin.
#[derive(Debug)]
pub(crate) struct Spin {
    looks: Option<u32>,
}

impl Spin {
    /// Fresh patience.
    pub(crate) const fn new() -> Spin {
        Spin { looks: None }
    }

    /// Pauses; `false` if the patience is over.
    pub(crate) fn again(&mut self) -> bool {
        let looks = match self.looks {
            Some(looks) => looks,
            None if wait::may_spin() => 0,
            None => LOOKS,
        };
        self.looks = Some(looks + 1);
        if looks >= LOOKS {
            return false;
        }
        for _ in 0..1 << looks {
            spin_loop();
        }
        true
    }
}
