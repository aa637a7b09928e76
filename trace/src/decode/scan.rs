//! All lanes, merged by time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use lisle_runtime::trace::{self, Message, Record, What};

use crate::schedule::{Lwp, Mark, Marked, Schedule, Slice};

/// One event of a thread.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// How often the thread had been switched to; then the events of an LWP come
    /// before those of a thread that has lost it.
    pub(super) turn: i64,
    pub(super) outside: bool,
    pub(super) time: u64,
    pub(super) what: What,
}

#[derive(Debug, Default)]
pub(super) struct Thread {
    turn: i64,
    pub(super) items: Vec<Item>,
    /// Where the last item was written.
    last_lane: usize,
    /// What others did in its place, by its wait.
    behalf: HashMap<u64, Vec<Item>>,
}

impl Thread {
    /// The whole number of which the event has the last ten bits.
    fn unwrap(&mut self, turn: u16) -> i64 {
        let ahead = (i64::from(turn) - self.turn).rem_euclid(1024);
        let turn = self.turn + if ahead >= 512 { ahead - 1024 } else { ahead };
        self.turn = self.turn.max(turn);
        turn
    }

    /// Puts the events in order, and those on its behalf behind the wait.
    pub(super) fn sort(&mut self) {
        self.items.sort_by_key(|item| (item.turn, item.outside));
        let first_turn = self.items.first().map(|item| item.turn);
        let mut first_wait = None;
        let mut sorted = Vec::with_capacity(self.items.len());
        for item in self.items.drain(..) {
            let wait = match item.what {
                What::Park { epoch, .. } => {
                    first_wait = first_wait.or(Some(epoch));
                    self.behalf.remove(&epoch)
                }
                // Of a wait that is not told of: it had begun.
                What::Resume { epoch, .. } => {
                    first_wait = first_wait.or(Some(epoch + 1));
                    None
                }
                _ => None,
            };
            sorted.push(item);
            sorted.extend(wait.into_iter().flatten());
        }
        // A wait that is not told of had begun when the recording began; or the recording
        // ended before the thread, which had begun to wait, could tell.
        let had_begun = |epoch: u64, turn: i64| match (first_wait, first_turn) {
            (Some(first), _) => epoch < first,
            // It has gone on since: that was a switch, if not told of as a `Resume`.
            (None, Some(first)) => turn < first,
            (None, None) => true,
        };
        let mut untold: Vec<(u64, Vec<Item>)> = self.behalf.drain().collect();
        untold.sort_unstable_by_key(|(epoch, _)| *epoch);
        let (before, after): (Vec<_>, Vec<_>) = untold
            .into_iter()
            .partition(|(epoch, items)| had_begun(*epoch, items[0].turn));
        let all = |waits: Vec<(u64, Vec<Item>)>| waits.into_iter().flat_map(|(_, items)| items);
        self.items = all(before).chain(sorted).chain(all(after)).collect();
    }
}

/// All lanes, merged by time.
pub(super) struct Scan {
    pub(super) threads: HashMap<u64, Thread>,
    pub(super) schedule: Schedule,
    /// How many events came after the first that is missing, and were left out.
    pub(super) left_out: u64,
    /// How many of the others lack the end of a text or a clock.
    pub(super) clipped: u64,
    whole_until: u64,
    began: u64,
    nanos_per_tick: f64,
}

impl Scan {
    pub(super) fn new(record: &Record) -> Scan {
        let ticks = record.ticks.1.saturating_sub(record.ticks.0).max(1);
        let whole_until = record.whole_until.unwrap_or(u64::MAX);
        let mut scan = Scan {
            threads: HashMap::new(),
            schedule: Schedule::new(Vec::new(), 0),
            left_out: 0,
            clipped: 0,
            whole_until,
            began: record.ticks.0,
            nanos_per_tick: record.took.as_nanos() as f64 / ticks as f64,
        };
        let lwps = record.lanes.iter().filter_map(|lane| lane.lwp);
        let lwps = lwps.map(|(runtime, index)| Lwp { runtime, index });
        let took = record.took.as_nanos() as u64;
        scan.schedule = Schedule::new(lwps.collect(), took.min(scan.time(whole_until)));
        scan
    }

    fn time(&self, ticks: u64) -> u64 {
        (ticks.saturating_sub(self.began) as f64 * self.nanos_per_tick) as u64
    }

    pub(super) fn run(&mut self, record: &Record) {
        let mut lanes: Vec<_> = record.lanes.iter().map(|lane| lane.events()).collect();
        let mut heads = BinaryHeap::new();
        let mut waiting: Vec<Option<trace::Event>> = Vec::new();
        for (lane, events) in lanes.iter_mut().enumerate() {
            let first = events.next();
            if let Some(first) = &first {
                heads.push(Reverse((first.ticks, lane)));
            }
            waiting.push(first);
        }
        while let Some(Reverse((_, lane))) = heads.pop() {
            // Several events of one lane in a row need no heap.
            let until = heads.peek().map(|Reverse(other)| *other);
            while let Some(event) = waiting[lane].take() {
                if until.is_some_and(|until| until < (event.ticks, lane)) {
                    heads.push(Reverse((event.ticks, lane)));
                    waiting[lane] = Some(event);
                    break;
                }
                if event.ticks < self.whole_until {
                    self.see(record, lane, event);
                } else {
                    self.left_out += 1;
                }
                waiting[lane] = lanes[lane].next();
            }
        }
    }

    fn see(&mut self, record: &Record, lane: usize, event: trace::Event) {
        let clipped = matches!(
            event.what,
            What::Local { clipped: true, .. } | What::Spawn { clipped: true, .. }
        );
        self.clipped += u64::from(clipped);
        let time = self.time(event.ticks);
        let on = record.lanes[lane].lwp.is_some().then_some(lane);
        match &event.what {
            What::Switch => {
                if let Some(lwp) = on {
                    let thread = (!event.idle).then_some(event.thread);
                    self.schedule.switch(lwp, thread, time);
                }
            }
            What::Steal { victim, thread } => self.schedule.mark(Mark {
                lwp: on,
                time,
                what: Marked::Steal {
                    victim: *victim,
                    thread: *thread,
                },
            }),
            What::Upcall { kind, thread, .. } => {
                if let Some(lwp) = on {
                    // The LWP went on without the thread.
                    self.schedule.switch(lwp, None, time);
                }
                self.schedule.mark(Mark {
                    lwp: on,
                    time,
                    what: Marked::Upcall {
                        kind: *kind,
                        thread: *thread,
                    },
                });
            }
            _ => {}
        }
        let is_mark = matches!(event.what, What::Steal { .. } | What::Upcall { .. });
        // Idle contexts, and kernel threads that nothing is known of, are nobody;
        // but their wakes say how waits end.
        let is_nobody = event.idle || event.thread == 0;
        if is_mark || is_nobody && !matches!(event.what, What::Wake { .. }) {
            return;
        }
        let whose = if is_nobody { 0 } else { event.thread };
        let thread = self.threads.entry(whose).or_default();
        let turn = thread.unwrap(event.turn);
        let again = matches!(event.what, What::Switch)
            && thread.last_lane == lane
            && thread
                .items
                .last()
                .is_some_and(|last| last.what == What::Switch);
        if again {
            // It yielded.
            return;
        }
        let item = Item {
            turn,
            outside: on.is_none(),
            time,
            what: event.what,
        };
        let (What::Send(Message { epoch, .. }) | What::Receive(Message { epoch, .. })) = item.what
        else {
            thread.last_lane = lane;
            thread.items.push(item);
            return;
        };
        match epoch {
            Some(epoch) => thread.behalf.entry(epoch).or_default().push(item),
            None => {
                thread.last_lane = lane;
                thread.items.push(item);
            }
        }
    }
}

impl Schedule {
    fn switch(&mut self, lwp: usize, thread: Option<u64>, time: u64) {
        self.close(lwp, time);
        self.open[lwp] = thread.map(|thread| (thread, time));
    }

    fn close(&mut self, lwp: usize, time: u64) {
        if let Some((thread, began)) = self.open[lwp].take() {
            self.slices.push(Slice {
                lwp,
                thread,
                began,
                ended: time,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use lisle_runtime::wait::Outcome;

    use super::*;

    fn item(turn: i64, what: What) -> Item {
        Item {
            turn,
            outside: false,
            time: 0,
            what,
        }
    }

    fn park(turn: i64, epoch: u64) -> Item {
        let (reason, detail) = ("", 0);
        item(
            turn,
            What::Park {
                reason,
                detail,
                epoch,
            },
        )
    }

    fn received(turn: i64, epoch: u64) -> (u64, Vec<Item>) {
        let message = Message {
            channel: 1,
            token: epoch,
            epoch: Some(epoch),
        };
        (epoch, vec![item(turn, What::Receive(message))])
    }

    /// What became of it: waits as they are, and what was received in them as negative
    /// numbers.
    fn sorted(items: Vec<Item>, behalf: Vec<(u64, Vec<Item>)>) -> Vec<i64> {
        let mut thread = Thread {
            items,
            behalf: behalf.into_iter().collect(),
            ..Thread::default()
        };
        thread.sort();
        let seen = thread.items.iter().map(|item| match &item.what {
            What::Park { epoch, .. } => *epoch as i64,
            What::Receive(message) => -(message.token as i64),
            _ => 0,
        });
        seen.collect()
    }

    #[test]
    fn what_others_did_stands_behind_the_wait() {
        let items = vec![park(7, 3), item(8, What::Switch), park(8, 4)];
        let behalf = vec![received(7, 3), received(8, 4)];
        assert_eq!(sorted(items, behalf), [3, -3, 0, 4, -4]);
    }

    #[test]
    fn waits_from_before_the_recording_come_first() {
        let items = vec![item(8, What::Switch), park(8, 4)];
        assert_eq!(sorted(items, vec![received(7, 3)]), [-3, 0, 4]);
        let items = vec![item(8, What::Switch)];
        assert_eq!(sorted(items, vec![received(7, 3)]), [-3, 0]);
        assert_eq!(sorted(Vec::new(), vec![received(7, 3)]), [-3]);
    }

    #[test]
    fn waits_of_kernel_threads_from_before_the_recording_come_first() {
        let (epoch, outcome) = (3, Outcome::Woken);
        let items = vec![item(0, What::Resume { epoch, outcome })];
        assert_eq!(sorted(items, vec![received(0, 3)]), [-3, 0]);
        let items = vec![item(0, What::Resume { epoch, outcome })];
        assert_eq!(sorted(items, vec![received(0, 4)]), [0, -4]);
    }

    #[test]
    fn waits_into_which_the_recording_ended_come_last() {
        let items = vec![park(7, 3), item(8, What::Switch)];
        assert_eq!(sorted(items, vec![received(8, 4)]), [3, 0, -4]);
        let items = vec![item(8, What::Switch)];
        assert_eq!(sorted(items, vec![received(8, 4)]), [0, -4]);
    }
}
