//! Cuts: how far each process has come at some moment.

use super::{Event, Graph};

/// Of each process, how many of its events belong to the cut.
///
/// A cut is *consistent* (Chandy and Lamport, 1985) if with each event it has all
/// that happened before: a state in which the whole could have been.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cut(pub Vec<u32>);

impl Cut {
    /// Whether the event belongs to it.
    pub fn contains(&self, event: Event) -> bool {
        let count = self.0.get(event.process as usize);
        count.is_some_and(|count| event.index < *count)
    }
}

impl Graph {
    /// The cut of all events.
    pub fn everything(&self) -> Cut {
        Cut((0..self.processes()).map(|p| self.len_of(p)).collect())
    }

    /// The cut, with a count for each process that is not more than it has.
    fn clamped(&self, cut: &Cut) -> Cut {
        let count = |p: u32| {
            cut.0
                .get(p as usize)
                .copied()
                .unwrap_or(0)
                .min(self.len_of(p))
        };
        Cut((0..self.processes()).map(count).collect())
    }

    /// Whether a cut is consistent. One that names more events than there are is
    /// not.
    pub fn is_consistent(&self, cut: &Cut) -> bool {
        let fits = self.clamped(cut) == *cut;
        fits && (0..self.processes()).all(|process| {
            let count = cut.0[process as usize];
            count == 0 || self.fits(Event::new(process, count - 1), cut)
        })
    }

    /// The latest consistent cut within a cut: all of it that it has the past of.
    /// It is unique, because consistent cuts are closed under union.
    pub fn latest_consistent(&self, within: &Cut) -> Cut {
        let mut cut = self.clamped(within);
        loop {
            let mut changed = false;
            for process in 0..self.processes() {
                let count = cut.0[process as usize];
                if count == 0 || self.fits(Event::new(process, count - 1), &cut) {
                    continue;
                }
                changed = true;
                // What fits is a beginning of the chain.
                let (mut low, mut high) = (0, count - 1);
                while low < high {
                    let middle = low + (high - low).div_ceil(2);
                    match self.fits(Event::new(process, middle - 1), &cut) {
                        true => low = middle,
                        false => high = middle - 1,
                    }
                }
                cut.0[process as usize] = low;
            }
            if !changed {
                return cut;
            }
        }
    }

    /// Whether all that happened before an event of the cut is in it.
    fn fits(&self, event: Event, cut: &Cut) -> bool {
        let mut clock = Vec::new();
        self.clock_into(event, &mut clock, &mut Vec::new());
        clock
            .iter()
            .zip(&cut.0)
            .all(|(needed, there)| needed <= there)
    }
}
