//! Questions about the order of events.

use super::{Event, Graph, Link, NoSuchEvent, Order, ProcessId};

impl Graph {
    /// Whether `a` happened before `b`; an event does not happen before itself.
    ///
    /// # Errors
    /// If there is no such event.
    pub fn before(&self, a: Event, b: Event) -> Result<bool, NoSuchEvent> {
        self.check(a)?;
        self.check(b)?;
        Ok(a != b && self.reaches(a, b))
    }

    /// Whether neither happened before the other, and they are two.
    ///
    /// # Errors
    /// If there is no such event.
    pub fn concurrent(&self, a: Event, b: Event) -> Result<bool, NoSuchEvent> {
        Ok(self.compare(a, b)? == Order::Concurrent)
    }

    /// How two events are ordered.
    ///
    /// # Errors
    /// If there is no such event.
    pub fn compare(&self, a: Event, b: Event) -> Result<Order, NoSuchEvent> {
        self.check(a)?;
        self.check(b)?;
        Ok(match (a == b, self.rank(a) < self.rank(b)) {
            (true, _) => Order::Same,
            (_, true) if self.reaches(a, b) => Order::Before,
            (_, false) if self.reaches(b, a) => Order::After,
            _ => Order::Concurrent,
        })
    }

    /// The vector clock of an event: how many events of each process happened
    /// before it or are it.
    ///
    /// # Errors
    /// If there is no such event.
    pub fn clock(&self, event: Event) -> Result<Vec<u32>, NoSuchEvent> {
        self.check(event)?;
        let mut clock = Vec::new();
        self.clock_into(event, &mut clock, &mut Vec::new());
        Ok(clock)
    }

    /// All that happened before an event, process by process.
    ///
    /// # Errors
    /// If there is no such event.
    pub fn past(&self, event: Event) -> Result<impl Iterator<Item = Event> + use<>, NoSuchEvent> {
        let clock = self.clock(event)?;
        let of = |(process, count): (usize, u32)| {
            (0..count).map(move |index| Event::new(process as u32, index))
        };
        let all = clock.into_iter().enumerate().flat_map(of);
        Ok(all.filter(move |other| *other != event))
    }

    /// Of each process the first event that happened after this one, or is it: the
    /// beginning of its causal future.
    ///
    /// # Errors
    /// If there is no such event.
    pub fn first_after(&self, event: Event) -> Result<Vec<Option<Event>>, NoSuchEvent> {
        self.check(event)?;
        let first = |process| self.first_reached(event, process);
        Ok((0..self.processes()).map(first).collect())
    }

    /// All that happened after an event, process by process.
    ///
    /// # Errors
    /// If there is no such event.
    pub fn future(&self, event: Event) -> Result<impl Iterator<Item = Event> + '_, NoSuchEvent> {
        let first = self.first_after(event)?;
        let of = |first: Event| {
            let len = self.len_of(first.process);
            (first.index..len).map(move |index| Event::new(first.process, index))
        };
        let all = first.into_iter().flatten().flat_map(of);
        Ok(all.filter(move |other| *other != event))
    }

    /// A way from `a` to `b` along processes and arrows: `a`, the ends of each
    /// arrow, `b`. `None` if `a` did not happen before `b`.
    ///
    /// # Errors
    /// If there is no such event.
    pub fn path(&self, a: Event, b: Event) -> Result<Option<Vec<Event>>, NoSuchEvent> {
        if !self.before(a, b)? {
            return Ok(None);
        }
        let mut path = vec![b];
        let mut at = b;
        while at.process != a.process {
            // The first event here that `a` could have caused was reached by an
            // arrow from one that `a` could have caused.
            let first = self.first_reached(a, at.process).unwrap_or(at);
            if first != at {
                path.push(first);
            }
            let mut arrows = self.arrows_to(first);
            let Some(arrow) = arrows.find(|arrow| self.reaches(a, arrow.from)) else {
                unreachable!("{first:?} is the first after {a:?} in its process");
            };
            path.push(arrow.from);
            at = arrow.from;
        }
        if at != a {
            path.push(a);
        }
        path.reverse();
        Ok(Some(path))
    }

    /// The arrow from `a` to `b`, if there is one.
    pub fn arrow_between(&self, a: Event, b: Event) -> Option<Link> {
        let mut arrows = self.arrows_to(b);
        arrows.find(|arrow| arrow.from == a).map(|arrow| arrow.link)
    }

    /// The first event of a process that is `a` or happened after it.
    fn first_reached(&self, a: Event, process: ProcessId) -> Option<Event> {
        if process == a.process {
            return Some(a);
        }
        let (mut low, mut high) = (0, self.len_of(process));
        while low < high {
            let middle = low + (high - low) / 2;
            match self.reaches(a, Event::new(process, middle)) {
                true => high = middle,
                false => low = middle + 1,
            }
        }
        (low < self.len_of(process)).then(|| Event::new(process, low))
    }

    /// Whether `a` is `b` or happened before it. Both are there.
    pub(super) fn reaches(&self, a: Event, b: Event) -> bool {
        if a.process == b.process {
            return a.index <= b.index;
        }
        let earliest = self.rank(a);
        if earliest >= self.rank(b) {
            return false;
        }
        let target = a.process as usize;
        let mut reached = vec![0_u32; self.chains.len()];
        let mut walk = vec![b];
        while let Some(at) = walk.pop() {
            let Some(first) = self.visit(at, &mut reached) else {
                continue;
            };
            if reached[target] > a.index {
                return true;
            }
            for arrow in self.chains[at.process as usize].arrows(first, at.index) {
                let from = arrow.from();
                if from.process == a.process {
                    if from.index >= a.index {
                        return true;
                    }
                } else if from.index >= reached[from.process as usize] && self.rank(from) > earliest
                {
                    walk.push(from);
                }
            }
        }
        false
    }

    /// Fills in the clock of an event; `walk` is empty.
    pub(super) fn clock_into(&self, event: Event, clock: &mut Vec<u32>, walk: &mut Vec<Event>) {
        clock.clear();
        clock.resize(self.chains.len(), 0);
        walk.push(event);
        while let Some(at) = walk.pop() {
            let Some(first) = self.visit(at, clock) else {
                continue;
            };
            for arrow in self.chains[at.process as usize].arrows(first, at.index) {
                let from = arrow.from();
                if from.index >= clock[from.process as usize] {
                    walk.push(from);
                }
            }
        }
    }

    /// Comes to an event: all of its process up to it is reached, and what the last
    /// clock of that process there is knows of. Returns the first event whose
    /// arrows are still to be followed; `None`: it was reached before.
    fn visit(&self, at: Event, reached: &mut [u32]) -> Option<u32> {
        let process = at.process as usize;
        let before = reached[process];
        if at.index < before {
            return None;
        }
        let chain = &self.chains[process];
        let width = self.chains.len();
        // While the graph is being built, later clocks are not there.
        let number = ((at.index / self.spacing) as usize).min(chain.clocks.len() / width);
        let stored = number as u32 * self.spacing;
        let mut first = before;
        if number > 0 && stored >= before {
            let clock = &chain.clocks[(number - 1) * width..number * width];
            for (reached, known) in reached.iter_mut().zip(clock) {
                *reached = (*reached).max(*known);
            }
            first = stored + 1;
        }
        reached[process] = reached[process].max(at.index + 1);
        Some(first)
    }
}
