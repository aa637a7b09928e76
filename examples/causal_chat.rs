//! Causal chat: a reply never shows before its question.
//!
//! Ann asks, Bob replies, Carol reads. Messages to Carol take their time, so that Bob's
//! reply may overtake Ann's question. With causal delivery it is held back until the
//! question has shown; with mere first-in-first-out delivery, under the very same delays,
//! it shows too early. Everybody keeps a history of stamped events; from their union,
//! the example tells who overtook whom, with the chain of events that proves it.
//!
//! ```text
//! cargo run --release --example causal_chat [SEED]
//! ```

use std::time::Duration;

use lisle::clock::{Clock, History, Stamped, Vector, VectorStamp};
use lisle::delivery::{Broadcast, Causal, Faults, Fifo, Member, Network, Protocol};
use lisle::{seeded, thread};

const QUESTIONS: usize = 5;

type Line = Stamped<String, VectorStamp>;

fn main() {
    let seed = std::env::args()
        .nth(1)
        .map_or(3, |text| text.parse().expect("a number"));

    let (shown, history) = chat(seed, Fifo::new);
    println!(
        "First in, first out; Carol reads:\n  {}",
        shown.join("\n  ")
    );
    let violations = history.violations();
    assert!(
        !violations.is_empty(),
        "under seed {seed} nothing is overtaken: try another"
    );
    println!("{} replies came too early. The first:", violations.len());
    println!("{}\n", history.describe(&violations[0]));

    let (shown, history) = chat(seed, Causal::new);
    println!("Causal; Carol reads:\n  {}", shown.join("\n  "));
    assert_eq!(history.violations(), []);
    assert_eq!(shown.len(), 2 * QUESTIONS);

    println!(
        "ok: {} replies too early without causal delivery, none with it",
        violations.len()
    );
}

/// A chat under a delivery order: what Carol reads, and all that happened.
fn chat<P>(seed: u64, order: fn(u32) -> P) -> (Vec<String>, History)
where
    P: Broadcast + Protocol<Message = Line, Envelope: Send + Sync> + Send + 'static,
{
    let run = move || {
        let slow = Faults::new(seed).delay(Duration::ZERO..Duration::from_millis(30));
        let network = Network::with(slow);
        let [ann, bob, carol] =
            [0, 1, 2].map(|who| Chatter::new(Member::attach(&network, order(who))));
        let ann = thread::spawn(move || ann.ask());
        let bob = thread::spawn(move || bob.reply());
        let (shown, mut history) = carol.read(2 * QUESTIONS);
        history.merge(ann.join().expect("Ann asks"));
        history.merge(bob.join().expect("Bob replies"));
        (shown, history)
    };
    // SAFETY: the closure, which is a light thread, touches no thread-local.
    let (shown, history) = unsafe { seeded::run(seed, run) };
    history
        .check()
        .expect("every stamp follows from those before it");
    (shown, history)
}

struct Chatter<P: Protocol> {
    member: Member<P>,
    clock: Vector,
    history: History,
}

impl<P: Broadcast + Protocol<Message = Line>> Chatter<P> {
    fn new(member: Member<P>) -> Self {
        let clock = Vector::new(member.process());
        let history = History::new();
        Chatter {
            member,
            clock,
            history,
        }
    }

    fn say(&mut self, text: String) {
        let line = self.clock.stamped(text);
        self.history.send(line.stamp.clone(), &line.message);
        self.member.broadcast(line);
    }

    fn hear(&mut self) -> String {
        let line = self
            .member
            .recv()
            .expect("nobody leaves before all is said")
            .message;
        self.clock.receive(&line.stamp);
        self.history
            .receive(self.clock.now(), &line.stamp, &line.message);
        line.message
    }

    fn ask(mut self) -> History {
        for n in 1..=QUESTIONS {
            self.say(format!("Ann: question {n}?"));
            thread::sleep(Duration::from_millis(20));
        }
        (0..QUESTIONS).for_each(|_| _ = self.hear());
        self.history
    }

    fn reply(mut self) -> History {
        for _ in 0..QUESTIONS {
            let question = self.hear();
            let number = question
                .trim_start_matches("Ann: question ")
                .trim_end_matches('?');
            self.say(format!("Bob: reply {number}!"));
        }
        self.history
    }

    fn read(mut self, lines: usize) -> (Vec<String>, History) {
        let shown = (0..lines).map(|_| self.hear()).collect();
        (shown, self.history)
    }
}
