//! What it costs to pass a word between threads: there and back, and in a stream from one or from four senders.
//!
//! tokio and may have no rendezvous channel; beside the rendezvous stands tokio's smallest, which holds one word.
//!
//! `cargo bench --bench channel -- targets` prints the table of targets alone.

mod common;

use std::time::{Duration, Instant};

use common::{Kernel, Lisle, May, Measure, TOKIO_CURRENT, TOKIO_MULTI, Threads, Tokio};
use tokio::sync::mpsc as tokio_mpsc;

/// Words that a sender of a stream sends between two yields: on one worker, a sender that never waits would fill the
/// memory before the receiver runs.
const BURST: u64 = 256;

/// The sending half of a channel of words.
trait Sender: Send + 'static {
    fn send(&self, word: u64);
}

/// The receiving half.
trait Receiver: Send + 'static {
    fn receive(&self) -> u64;
}

macro_rules! halves {
    ($($sender:ty, $receiver:ty;)*) => { $(
        impl Sender for $sender {
            fn send(&self, word: u64) {
                self.send(word).expect("the receiver lives");
            }
        }

        impl Receiver for $receiver {
            fn receive(&self) -> u64 {
                self.recv().expect("the sender lives")
            }
        }
    )* };
}

halves! {
    lisle::channel::Sender<u64>, lisle::channel::Receiver<u64>;
    may::sync::mpsc::Sender<u64>, may::sync::mpsc::Receiver<u64>;
    crossbeam_channel::Sender<u64>, crossbeam_channel::Receiver<u64>;
    std::sync::mpsc::Sender<u64>, std::sync::mpsc::Receiver<u64>;
    kanal::Sender<u64>, kanal::Receiver<u64>;
    flume::Sender<u64>, flume::Receiver<u64>;
}

impl Sender for std::sync::mpsc::SyncSender<u64> {
    fn send(&self, word: u64) {
        self.send(word).expect("the receiver lives");
    }
}

/// Makes a channel.
type Channel<S, R> = fn() -> (S, R);

/// A word there and back, through two channels.
fn round_trips<T: Threads, S: Sender, R: Receiver>(channel: Channel<S, R>, n: u64) -> Duration {
    T::run(move || {
        let (ping, pinged) = channel();
        let (pong, ponged) = channel();
        let partner = T::spawn(move || {
            // One more than is measured: by then the partner has started.
            for _ in 0..=n {
                pong.send(pinged.receive());
            }
        });
        ping.send(n);
        ponged.receive();
        let start = Instant::now();
        for word in 0..n {
            ping.send(word);
            ponged.receive();
        }
        let took = start.elapsed();
        T::join(partner);
        took
    })
}

/// A stream of words from `senders` threads to the one that measures.
fn stream<T: Threads, S: Sender + Clone, R: Receiver>(
    channel: Channel<S, R>,
    senders: u64,
    n: u64,
) -> Duration {
    let each = n.div_ceil(senders);
    T::run(move || {
        let (sender, receiver) = channel();
        let start = Instant::now();
        let threads: Vec<_> = (0..senders)
            .map(|_| {
                let sender = sender.clone();
                T::spawn(move || {
                    for word in 1..=each {
                        sender.send(word);
                        if word % BURST == 0 {
                            T::yield_now();
                        }
                    }
                })
            })
            .collect();
        for _ in 0..each * senders {
            receiver.receive();
        }
        let took = start.elapsed();
        threads.into_iter().for_each(T::join);
        common::scale(took, each * senders, n)
    })
}

/// A stream of words through a channel for 1,024, from `senders` threads to `receivers` others.
fn bounded_stream<T: Threads, S: Sender + Clone, R: Receiver + Clone>(
    channel: fn(usize) -> (S, R),
    senders: u64,
    receivers: u64,
    n: u64,
) -> Duration {
    let each = n.div_ceil(senders * receivers);
    T::run(move || {
        let (sender, receiver) = channel(1024);
        let start = Instant::now();
        let mut threads = Vec::new();
        for _ in 0..receivers {
            let receiver = receiver.clone();
            threads.push(T::spawn(move || {
                for _ in 0..each * senders {
                    receiver.receive();
                }
            }));
        }
        for _ in 0..senders {
            let sender = sender.clone();
            threads.push(T::spawn(move || {
                (1..=each * receivers).for_each(|word| sender.send(word));
            }));
        }
        threads.into_iter().for_each(T::join);
        common::scale(start.elapsed(), each * senders * receivers, n)
    })
}

/// The same from one task of tokio's to another.
fn tokio_bounded_stream(runtime: &'static Tokio, n: u64) -> Duration {
    common::tokio_run(runtime, async move {
        let (sender, mut receiver) = tokio_mpsc::channel(1024);
        let start = Instant::now();
        let task = tokio::spawn(async move {
            for word in 0..n {
                sender.send(word).await.expect("the receiver lives");
            }
        });
        while receiver.recv().await.is_some() {}
        task.await.expect("the task returns");
        start.elapsed()
    })
}

/// Selects among `arms` channels of which the last has a word.
fn selects(arms: usize, n: u64) -> Duration {
    Lisle::run(move || {
        let channels: Vec<_> = (0..arms).map(|_| lisle::channel::unbounded()).collect();
        let mut select = lisle::channel::Select::new();
        for (_, receiver) in &channels {
            select.recv(receiver);
        }
        let (sender, receiver) = &channels[arms - 1];
        let start = Instant::now();
        for word in 0..n {
            Sender::send(sender, word);
            let operation = select.select();
            operation.recv(receiver).expect("the sender lives");
        }
        start.elapsed()
    })
}

/// The same with crossbeam-channel, on a kernel thread.
fn crossbeam_selects(arms: usize, n: u64) -> Duration {
    Kernel::run(move || {
        let channels: Vec<_> = (0..arms).map(|_| crossbeam_channel::unbounded()).collect();
        let mut select = crossbeam_channel::Select::new();
        for (_, receiver) in &channels {
            select.recv(receiver);
        }
        let (sender, receiver) = &channels[arms - 1];
        let start = Instant::now();
        for word in 0..n {
            Sender::send(sender, word);
            let operation = select.select();
            operation.recv(receiver).expect("the sender lives");
        }
        start.elapsed()
    })
}

/// Round trips between tokio's tasks over unbounded channels.
fn tokio_round_trips(runtime: &'static Tokio, n: u64) -> Duration {
    common::tokio_run(runtime, async move {
        let (ping, mut pinged) = tokio_mpsc::unbounded_channel();
        let (pong, mut ponged) = tokio_mpsc::unbounded_channel();
        let partner = tokio::spawn(async move {
            for _ in 0..=n {
                let word: u64 = pinged.recv().await.expect("the sender lives");
                pong.send(word).expect("the receiver lives");
            }
        });
        ping.send(n).expect("the receiver lives");
        ponged.recv().await.expect("the sender lives");
        let start = Instant::now();
        for word in 0..n {
            ping.send(word).expect("the receiver lives");
            ponged.recv().await.expect("the sender lives");
        }
        let took = start.elapsed();
        partner.await.expect("the task returns");
        took
    })
}

/// Round trips between tokio's tasks over channels that hold one word.
fn tokio_bounded_round_trips(runtime: &'static Tokio, n: u64) -> Duration {
    common::tokio_run(runtime, async move {
        let (ping, mut pinged) = tokio_mpsc::channel(1);
        let (pong, mut ponged) = tokio_mpsc::channel(1);
        let partner = tokio::spawn(async move {
            for _ in 0..=n {
                let word: u64 = pinged.recv().await.expect("the sender lives");
                pong.send(word).await.expect("the receiver lives");
            }
        });
        ping.send(n).await.expect("the receiver lives");
        ponged.recv().await.expect("the sender lives");
        let start = Instant::now();
        for word in 0..n {
            ping.send(word).await.expect("the receiver lives");
            ponged.recv().await.expect("the sender lives");
        }
        let took = start.elapsed();
        partner.await.expect("the task returns");
        took
    })
}

/// A stream of words between tokio's tasks over an unbounded channel.
fn tokio_stream(runtime: &'static Tokio, senders: u64, n: u64) -> Duration {
    let each = n.div_ceil(senders);
    common::tokio_run(runtime, async move {
        let (sender, mut receiver) = tokio_mpsc::unbounded_channel();
        let start = Instant::now();
        let tasks: Vec<_> = (0..senders)
            .map(|_| {
                let sender = sender.clone();
                tokio::spawn(async move {
                    for word in 1..=each {
                        sender.send(word).expect("the receiver lives");
                        if word % BURST == 0 {
                            tokio::task::yield_now().await;
                        }
                    }
                })
            })
            .collect();
        for _ in 0..each * senders {
            receiver.recv().await.expect("the senders live");
        }
        let took = start.elapsed();
        for task in tasks {
            task.await.expect("the task returns");
        }
        common::scale(took, each * senders, n)
    })
}

const UNBOUNDED_ROUND_TRIP: [(&str, Measure); 6] = [
    ("lisle light", |n| {
        round_trips::<Lisle, _, _>(lisle::channel::unbounded, n)
    }),
    ("may", |n| {
        round_trips::<May, _, _>(may::sync::mpsc::channel, n)
    }),
    ("tokio current_thread", |n| {
        tokio_round_trips(&TOKIO_CURRENT, n)
    }),
    ("tokio multi_thread", |n| tokio_round_trips(&TOKIO_MULTI, n)),
    ("std threads, crossbeam", |n| {
        round_trips::<Kernel, _, _>(crossbeam_channel::unbounded, n)
    }),
    ("std threads, std", |n| {
        round_trips::<Kernel, _, _>(std::sync::mpsc::channel, n)
    }),
];

const RENDEZVOUS_ROUND_TRIP: [(&str, Measure); 5] = [
    ("lisle light", |n| {
        round_trips::<Lisle, _, _>(|| lisle::channel::bounded(0), n)
    }),
    ("tokio current_thread, one word", |n| {
        tokio_bounded_round_trips(&TOKIO_CURRENT, n)
    }),
    ("tokio multi_thread, one word", |n| {
        tokio_bounded_round_trips(&TOKIO_MULTI, n)
    }),
    ("std threads, crossbeam", |n| {
        round_trips::<Kernel, _, _>(|| crossbeam_channel::bounded(0), n)
    }),
    ("std threads, std", |n| {
        round_trips::<Kernel, _, _>(|| std::sync::mpsc::sync_channel(0), n)
    }),
];

const ONE_TO_ONE: [(&str, Measure); 6] = [
    ("lisle light", |n| {
        stream::<Lisle, _, _>(lisle::channel::unbounded, 1, n)
    }),
    ("may", |n| {
        stream::<May, _, _>(may::sync::mpsc::channel, 1, n)
    }),
    ("tokio current_thread", |n| {
        tokio_stream(&TOKIO_CURRENT, 1, n)
    }),
    ("tokio multi_thread", |n| tokio_stream(&TOKIO_MULTI, 1, n)),
    ("std threads, crossbeam", |n| {
        stream::<Kernel, _, _>(crossbeam_channel::unbounded, 1, n)
    }),
    ("std threads, std", |n| {
        stream::<Kernel, _, _>(std::sync::mpsc::channel, 1, n)
    }),
];

const FOUR_TO_ONE: [(&str, Measure); 6] = [
    ("lisle light", |n| {
        stream::<Lisle, _, _>(lisle::channel::unbounded, 4, n)
    }),
    ("may", |n| {
        stream::<May, _, _>(may::sync::mpsc::channel, 4, n)
    }),
    ("tokio current_thread", |n| {
        tokio_stream(&TOKIO_CURRENT, 4, n)
    }),
    ("tokio multi_thread", |n| tokio_stream(&TOKIO_MULTI, 4, n)),
    ("std threads, crossbeam", |n| {
        stream::<Kernel, _, _>(crossbeam_channel::unbounded, 4, n)
    }),
    ("std threads, std", |n| {
        stream::<Kernel, _, _>(std::sync::mpsc::channel, 4, n)
    }),
];

fn main() {
    let mut c = common::criterion();
    common::group(
        &mut c,
        "channel_unbounded_round_trip",
        &UNBOUNDED_ROUND_TRIP,
    );
    common::group(
        &mut c,
        "channel_rendezvous_round_trip",
        &RENDEZVOUS_ROUND_TRIP,
    );
    common::group(&mut c, "channel_one_to_one", &ONE_TO_ONE);
    common::group(&mut c, "channel_four_to_one", &FOUR_TO_ONE);
    c.final_summary();
    if common::wants_targets() {
        targets();
    }
}

/// The least of several figures.
fn best<const N: usize>(figures: [f64; N]) -> f64 {
    figures.into_iter().fold(f64::INFINITY, f64::min)
}

/// Checks, in one run, what channels are meant to cost. Kernel threads share one CPU here, as lisle's threads do.
fn targets() {
    let round_trip = |n| round_trips::<Lisle, _, _>(lisle::channel::unbounded, n);
    let [ours, met, may, current, multi] = common::least([
        (round_trip, 20_000),
        (
            |n| round_trips::<Lisle, _, _>(|| lisle::channel::bounded(0), n),
            20_000,
        ),
        (
            |n| round_trips::<May, _, _>(may::sync::mpsc::channel, n),
            5_000,
        ),
        (|n| tokio_round_trips(&TOKIO_CURRENT, n), 5_000),
        (|n| tokio_round_trips(&TOKIO_MULTI, n), 5_000),
    ]);
    let peers = best([may, current, multi]);
    common::target("round trip <= 1/4 of may and tokio", ours, peers, |r| {
        r <= 0.25
    });
    common::target("rendezvous <= 1/4 of may and tokio", met, peers, |r| {
        r <= 0.25
    });

    let [ours, may, current, multi] = common::least([
        (
            |n| stream::<Lisle, _, _>(lisle::channel::unbounded, 4, n),
            50_000,
        ),
        (
            |n| stream::<May, _, _>(may::sync::mpsc::channel, 4, n),
            20_000,
        ),
        (|n| tokio_stream(&TOKIO_CURRENT, 4, n), 20_000),
        (|n| tokio_stream(&TOKIO_MULTI, 4, n), 20_000),
    ]);
    let peers = best([may, current, multi]);
    common::target("unbounded 4 to 1 < may and tokio", ours, peers, |r| r < 1.0);

    let [ours, four, tokio] = common::least([
        (
            |n| bounded_stream::<Lisle, _, _>(lisle::channel::bounded, 1, 1, n),
            50_000,
        ),
        (
            |n| bounded_stream::<Lisle, _, _>(lisle::channel::bounded, 4, 4, n),
            50_000,
        ),
        (|n| tokio_bounded_stream(&TOKIO_CURRENT, n), 20_000),
    ]);
    common::target("bounded 1,024, 1 to 1 <= 1/2 of tokio", ours, tokio, |r| {
        r <= 0.5
    });
    common::target(
        "bounded 1,024, 4 to 4 <= 1/2 of tokio 1 to 1",
        four,
        tokio,
        |r| r <= 0.5,
    );

    let [ours, crossbeam, kanal, flume] = common::least([
        (
            |n| bounded_stream::<Kernel, _, _>(lisle::channel::bounded, 1, 1, n),
            50_000,
        ),
        (
            |n| bounded_stream::<Kernel, _, _>(crossbeam_channel::bounded, 1, 1, n),
            50_000,
        ),
        (
            |n| bounded_stream::<Kernel, _, _>(kanal::bounded, 1, 1, n),
            50_000,
        ),
        (
            |n| bounded_stream::<Kernel, _, _>(flume::bounded, 1, 1, n),
            50_000,
        ),
    ]);
    common::target(
        "kernel threads: bounded <= crossbeam",
        ours,
        crossbeam,
        |r| r <= 1.0,
    );
    common::target("kernel threads: bounded, beside kanal", ours, kanal, |_| {
        true
    });
    common::target("kernel threads: bounded, beside flume", ours, flume, |_| {
        true
    });
    let [ours, crossbeam, std] = common::least([
        (
            |n| stream::<Kernel, _, _>(lisle::channel::unbounded, 4, n),
            50_000,
        ),
        (
            |n| stream::<Kernel, _, _>(crossbeam_channel::unbounded, 4, n),
            50_000,
        ),
        (
            |n| stream::<Kernel, _, _>(std::sync::mpsc::channel, 4, n),
            50_000,
        ),
    ]);
    common::target(
        "kernel threads: unbounded 4 to 1 <= crossbeam",
        ours,
        crossbeam,
        |r| r <= 1.0,
    );
    common::target(
        "kernel threads: unbounded 4 to 1, beside std",
        ours,
        std,
        |_| true,
    );

    let [two, eight, many, two_theirs, eight_theirs, many_theirs] = common::least([
        (|n| selects(2, n), 10_000),
        (|n| selects(8, n), 10_000),
        (|n| selects(64, n), 2_000),
        (|n| crossbeam_selects(2, n), 10_000),
        (|n| crossbeam_selects(8, n), 10_000),
        (|n| crossbeam_selects(64, n), 2_000),
    ]);
    common::target("select of 2 beside crossbeam", two, two_theirs, |_| true);
    common::target("select of 8 beside crossbeam", eight, eight_theirs, |_| {
        true
    });
    common::target("select of 64 beside crossbeam", many, many_theirs, |_| true);
    common::target("select grows no faster than its arms", many, two, |r| {
        r <= 32.0
    });
}
