//! Events as words.
//!
//! ```text
//!  63     61 .. 52   51 .. 12   11 .. 5      4 .. 0
//!  idle   turn       thread     more words   what       the head of an event
//!         ticks ………………………………………………………   0          when: of all events up to the next one
//! ```
//!
//! The *turn* says how often the thread had been switched to, so that the events
//! of a thread can be put in order across LWPs without trust in any clock. A head
//! is followed by as many words as it says.

use crate::wait::{Outcome, Reason};

/// The number of a thread in an event: 40 bits.
const THREAD: u64 = (1 << 40) - 1;
const THREAD_SHIFT: u32 = 12;
const IDLE: u64 = 1 << 63;
/// Of a switch: how often the thread was switched to, modulo 2¹⁰.
const TURN_SHIFT: u32 = 52;
const TURN: u64 = (1 << 10) - 1;

/// The most words that may follow a head.
pub(super) const MOST: usize = 127;

/// What an event is, as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Code {
    Time = 0,
    Switch = 1,
    Park = 2,
    Resume = 3,
    Wake = 4,
    Token = 5,
    Took = 6,
    Spawn = 7,
    Exit = 8,
    Join = 9,
    Steal = 10,
    Upcall = 11,
    Send = 12,
    Receive = 13,
    Local = 14,
    LeaveScope = 15,
    EndScope = 16,
}

impl Code {
    /// Whether an event may have the time of the one before: its partner is known by
    /// numbers, and it says how long nothing took.
    #[inline(always)]
    pub(super) fn may_share(self) -> bool {
        matches!(self, Code::Send | Code::Receive | Code::Wake)
    }
}

/// Who an event is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Who {
    pub(super) thread: u64,
    pub(super) idle: bool,
    pub(super) switches: u64,
}

/// The head of an event with so many words behind it.
#[inline(always)]
pub(super) fn head(code: Code, who: Who, more: usize) -> u64 {
    code as u64
        | (more as u64) << 5
        | (who.thread & THREAD) << THREAD_SHIFT
        | (who.switches & TURN) << TURN_SHIFT
        | if who.idle { IDLE } else { 0 }
}

/// A moment.
#[inline(always)]
pub(super) fn time(ticks: u64) -> u64 {
    ticks << 5
}

/// What happened. Threads are named by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// The LWP switched to the thread.
    Switch,
    /// The thread begins to wait.
    Park {
        /// What for: the name of a primitive.
        reason: &'static str,
        /// Which one: an address, a descriptor, a thread.
        detail: u64,
        /// Counts the thread's waits.
        epoch: u64,
    },
    /// The thread goes on: one that has a kernel thread of its own, or one whose wait a cancel
    /// ended, which nobody else tells of if it came before the thread was parked.
    Resume {
        /// Which wait has ended.
        epoch: u64,
        /// How.
        outcome: Outcome,
    },
    /// The thread ends another one's wait.
    Wake {
        /// Whose.
        target: u64,
        /// Which of its waits.
        epoch: u64,
        /// How it ends.
        outcome: Outcome,
    },
    /// The thread leaves another one, which does not wait for it or is yet to be parked, a
    /// token.
    Token {
        /// Whom.
        target: u64,
    },
    /// The thread finds a token, and does not wait or was not parked.
    Took,
    /// The thread makes another one.
    Spawn {
        /// Which.
        child: u64,
        /// Its name.
        name: String,
        /// Whether that is only the beginning of it.
        clipped: bool,
    },
    /// The thread has ended.
    Exit,
    /// The thread has learnt that another one has ended.
    Join {
        /// Which.
        ended: u64,
    },
    /// The LWP took ready threads from another one.
    Steal {
        /// From which LWP.
        victim: usize,
        /// The one that it will run first.
        thread: u64,
    },
    /// An upcall.
    Upcall {
        /// Which one.
        kind: crate::watch::Kind,
        /// What happened to which LWP.
        lwp: Option<usize>,
        /// Which thread it was about.
        thread: u64,
    },
    /// A message enters a channel.
    Send(Message),
    /// A message leaves a channel.
    Receive(Message),
    /// Something that the program says.
    Local {
        /// In its words.
        label: String,
        /// The clock that it gives with it.
        clock: Vec<(u64, u64)>,
        /// Whether of one of them only the beginning is there.
        clipped: bool,
    },
    /// The thread's closure has ended, and with it what it borrows from a scope.
    LeaveScope {
        /// Which one.
        scope: u64,
    },
    /// A scope has ended: all its threads have left it.
    EndScope {
        /// Which one.
        scope: u64,
    },
}

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Which channel.
    pub channel: u64,
    /// Which of its messages.
    pub token: u64,
    /// If the thread waits meanwhile and another one serves it: which wait.
    pub epoch: Option<u64>,
}

/// One event of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// When, in ticks; of switches, wakes and messages in quick succession only
    /// some have a time of their own, and the others have that of the last one.
    pub ticks: u64,
    /// Whose event it is.
    pub thread: u64,
    /// Whether that is the idle context of an LWP.
    pub idle: bool,
    /// How often the thread had been switched to, modulo 1024.
    pub turn: u16,
    /// What happened.
    pub what: What,
}

/// The words of a lane, read.
#[derive(Debug, Clone)]
pub struct Events<'a> {
    pub(super) words: &'a [u64],
    pub(super) ticks: u64,
}

impl Iterator for Events<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            let (&word, rest) = self.words.split_first()?;
            if word & 31 == Code::Time as u64 {
                self.ticks = word >> 5;
                self.words = rest;
                continue;
            }
            let (words, rest) = rest.split_at((word >> 5) as usize & MOST);
            self.words = rest;
            return Some(Event {
                ticks: self.ticks,
                thread: word >> THREAD_SHIFT & THREAD,
                idle: word & IDLE != 0,
                turn: (word >> TURN_SHIFT & TURN) as u16,
                what: read(word & 31, words),
            });
        }
    }
}

fn read(code: u64, words: &[u64]) -> What {
    match code {
        c if c == Code::Switch as u64 => What::Switch,
        c if c == Code::Park as u64 => What::Park {
            reason: reason(words[0]),
            detail: words[1],
            epoch: words[2],
        },
        c if c == Code::Resume as u64 => What::Resume {
            epoch: words[0] >> OUTCOME_BITS,
            outcome: outcome(words[0]),
        },
        c if c == Code::Wake as u64 => What::Wake {
            target: words[0] >> OUTCOME_BITS,
            epoch: words[1],
            outcome: outcome(words[0]),
        },
        c if c == Code::Token as u64 => What::Token { target: words[0] },
        c if c == Code::Took as u64 => What::Took,
        c if c == Code::Spawn as u64 => {
            let (name, clipped, _) = text(&words[1..]);
            What::Spawn {
                child: words[0],
                name,
                clipped,
            }
        }
        c if c == Code::Exit as u64 => What::Exit,
        c if c == Code::Join as u64 => What::Join { ended: words[0] },
        c if c == Code::Steal as u64 => What::Steal {
            victim: words[0] as usize,
            thread: words[1],
        },
        c if c == Code::Upcall as u64 => What::Upcall {
            kind: crate::watch::Kind::of(words[0] as u8),
            lwp: (words[1] as usize).checked_sub(1),
            thread: words[2],
        },
        c if c == Code::Send as u64 => What::Send(message(words)),
        c if c == Code::Receive as u64 => What::Receive(message(words)),
        c if c == Code::Local as u64 => {
            let (label, clipped, clock) = text(words);
            let pairs = clock.chunks_exact(2).map(|pair| (pair[0], pair[1]));
            What::Local {
                label,
                clock: pairs.collect(),
                clipped,
            }
        }
        c if c == Code::LeaveScope as u64 => What::LeaveScope { scope: words[0] },
        c if c == Code::EndScope as u64 => What::EndScope { scope: words[0] },
        other => unreachable!("the lane has no event {other}"),
    }
}

/// Besides an outcome, a word has room for the number of a thread or a wait.
const OUTCOME_BITS: u32 = 8;

/// Such a number and an outcome in a word.
pub(super) fn with_outcome(number: u64, outcome: Outcome) -> u64 {
    number << OUTCOME_BITS | outcome as u64
}

/// The words of a message: one for the channel and the number together if they fit,
/// and one for the wait if there is one; else three.
#[inline(always)]
pub(super) fn message_words(channel: u64, token: u64, epoch: Option<u64>) -> ([u64; 3], usize) {
    if channel < 1 << (64 - TOKEN_BITS) && token < 1 << TOKEN_BITS {
        let both = channel << TOKEN_BITS | token;
        let count = 1 + usize::from(epoch.is_some());
        ([both, epoch.unwrap_or(0), 0], count)
    } else {
        ([channel, token, epoch.unwrap_or(NO_EPOCH)], 3)
    }
}

const TOKEN_BITS: u32 = 40;
const NO_EPOCH: u64 = u64::MAX;

fn message(words: &[u64]) -> Message {
    if let [channel, token, epoch] = *words {
        let epoch = (epoch != NO_EPOCH).then_some(epoch);
        return Message {
            channel,
            token,
            epoch,
        };
    }
    Message {
        channel: words[0] >> TOKEN_BITS,
        token: words[0] & ((1 << TOKEN_BITS) - 1),
        epoch: words.get(1).copied(),
    }
}

/// The outcome in such a word.
fn outcome(word: u64) -> Outcome {
    let number = word & ((1 << OUTCOME_BITS) - 1);
    [Outcome::Woken, Outcome::TimedOut, Outcome::Cancelled]
        .into_iter()
        .find(|outcome| *outcome as u64 == number)
        .unwrap_or(Outcome::Abandoned)
}

fn reason(word: u64) -> &'static str {
    // SAFETY: `parked` wrote the address of a `&'static Reason`, or null.
    let reason = unsafe { (word as *const Reason).as_ref() };
    reason.map_or("", Reason::name)
}

/// As much of a text as there is room for. Its first word says how long it is, and what
/// of the event is not there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    kept: &'a str,
    clipped: u64,
}

/// Of the text only the beginning is there.
const CLIPPED: u64 = 1 << 63;
/// Of the clock behind it only the beginning is there.
const CLOCK_CLIPPED: u64 = 1 << 62;

impl<'a> Text<'a> {
    /// A text, or its beginning that fits into so many words.
    pub(super) fn new(text: &'a str, words: usize) -> Text<'a> {
        let mut end = text.len().min(words.saturating_sub(1) * 8);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Text {
            kept: &text[..end],
            clipped: if end < text.len() { CLIPPED } else { 0 },
        }
    }

    /// There is no room for the whole clock behind it, either.
    pub(super) fn clip_clock(&mut self) {
        self.clipped |= CLOCK_CLIPPED;
    }

    /// How many words it takes.
    pub(super) fn words(&self) -> usize {
        1 + self.kept.len().div_ceil(8)
    }

    pub(super) fn write(self) -> impl Iterator<Item = u64> {
        let bytes = self.kept.as_bytes().chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        core::iter::once(self.kept.len() as u64 | self.clipped).chain(bytes)
    }
}

/// A text, with an ellipsis if it went on; whether that or the clock was clipped; and the
/// words behind it.
fn text(words: &[u64]) -> (String, bool, &[u64]) {
    let (head, rest) = (words[0], &words[1..]);
    let len = (head & !(CLIPPED | CLOCK_CLIPPED)) as usize;
    let (text, rest) = rest.split_at(len.div_ceil(8));
    let mut bytes: Vec<u8> = text.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.truncate(len);
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if head & CLIPPED != 0 {
        text.push('…');
    }
    (text, head & (CLIPPED | CLOCK_CLIPPED) != 0, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive() {
        for text in ["", "a", "exactly8", "nine char", "grüße an alle Fäden"] {
            let written = Text::new(text, MOST);
            let words: Vec<u64> = written.write().chain([7, 8]).collect();
            assert_eq!(words.len(), written.words() + 2);
            assert_eq!(super::text(&words), (text.to_owned(), false, &[7, 8][..]));
        }
    }

    #[test]
    fn texts_say_that_they_are_clipped() {
        for (text, room, kept) in [
            ("äöü", 2, "äöü"),
            ("1234567ä9", 2, "1234567…"),
            ("1234567ä9", 1, "…"),
        ] {
            let mut written = Text::new(text, room);
            let words: Vec<u64> = written.write().collect();
            assert!(words.len() <= room);
            let clipped = kept != text;
            assert_eq!(super::text(&words), (kept.to_owned(), clipped, &[][..]));
            written.clip_clock();
            let words: Vec<u64> = written.write().collect();
            assert_eq!(super::text(&words), (kept.to_owned(), true, &[][..]));
        }
    }

    #[test]
    fn messages_and_wakes_survive() {
        for channel in [1, (1 << 24) - 1, 1 << 24, u64::MAX] {
            for token in [0, (1 << 40) - 1, 1 << 40, 1 << 63 | 5] {
                for epoch in [None, Some(0), Some(1 << 60)] {
                    let (words, count) = message_words(channel, token, epoch);
                    let wanted = Message {
                        channel,
                        token,
                        epoch,
                    };
                    assert_eq!(message(&words[..count]), wanted);
                }
            }
        }
        for outcome in [Outcome::Woken, Outcome::TimedOut, Outcome::Cancelled] {
            let words = [with_outcome(THREAD, outcome), 7];
            let wanted = What::Wake {
                target: THREAD,
                epoch: 7,
                outcome,
            };
            assert_eq!(read(Code::Wake as u64, &words), wanted);
            // The number of a wait has 54 bits.
            let epoch = (1 << 54) - 1;
            let words = [with_outcome(epoch, outcome)];
            let wanted = What::Resume { epoch, outcome };
            assert_eq!(read(Code::Resume as u64, &words), wanted);
        }
    }

    #[test]
    fn heads_keep_apart_what_they_hold() {
        let who = Who {
            thread: THREAD,
            idle: false,
            switches: 0,
        };
        let words = [time(5), head(Code::Exit, who, 0)];
        let mut events = Events {
            words: &words,
            ticks: 0,
        };
        let event = events.next().unwrap();
        assert_eq!((event.ticks, event.thread), (5, THREAD));
        assert_eq!((event.idle, event.turn), (false, 0));
        let who = Who {
            thread: 0,
            idle: true,
            switches: 1024 + 1023,
        };
        let words = [head(Code::Switch, who, 0)];
        let mut events = Events {
            words: &words,
            ticks: 9,
        };
        let event = events.next().unwrap();
        assert_eq!((event.ticks, event.thread), (9, 0));
        assert_eq!((event.idle, event.turn), (true, 1023));
    }
}
