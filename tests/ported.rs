//! A program of std's, ported by its `use` lines: the text below is compiled twice, once with std's
//! names and once with lisle's, and must say the same both times.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // one of the two is std's

mod support;

/// A word-count service over TCP with a pool of workers, and what programs of that kind use.
macro_rules! program {
    ($name:ident, $library:ident) => {
        mod $name {
            use $library::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
            use $library::sync::atomic::{AtomicUsize, Ordering};
            use $library::sync::mpsc::{self, Receiver, Sender, SyncSender};
            use $library::sync::{
                Arc, Barrier, Condvar, LazyLock, Mutex, MutexGuard, Once, OnceLock, PoisonError,
                RwLock, Weak,
            };
            use $library::thread::{self, JoinHandle};

            use std::collections::{BTreeMap, VecDeque};
            use std::io::{BufRead, BufReader, Read, Write};
            use std::time::Duration;

            type Job = Box<dyn FnOnce() + Send + 'static>;

            static STARTS: Once = Once::new();
            static GREETING: OnceLock<String> = OnceLock::new();
            static STOP_WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| vec!["a", "the"]);
            static JOBS_DONE: AtomicUsize = AtomicUsize::new(0);
            static LAST: Mutex<Option<String>> = Mutex::new(None);

            /// The Rust book's pool.
            struct Pool {
                workers: Vec<JoinHandle<usize>>,
                jobs: Option<Sender<Job>>,
            }

            impl Pool {
                fn new(size: usize) -> Pool {
                    let (jobs, queue) = mpsc::channel::<Job>();
                    let queue = Arc::new(Mutex::new(queue));
                    let worker = |number: usize| {
                        let queue = Arc::clone(&queue);
                        thread::Builder::new()
                            .name(format!("worker {number}"))
                            .spawn(move || work(&queue))
                            .unwrap()
                    };
                    Pool {
                        workers: (0..size).map(worker).collect(),
                        jobs: Some(jobs),
                    }
                }

                fn execute(&self, job: impl FnOnce() + Send + 'static) {
                    self.jobs.as_ref().unwrap().send(Box::new(job)).unwrap();
                }

                fn finish(mut self) -> usize {
                    drop(self.jobs.take());
                    self.workers
                        .drain(..)
                        .map(|worker| worker.join().unwrap())
                        .sum()
                }
            }

            fn work(queue: &Mutex<Receiver<Job>>) -> usize {
                assert!(thread::current().name().unwrap().starts_with("worker"));
                let mut done = 0;
                loop {
                    let job = queue.lock().unwrap().recv();
                    match job {
                        Ok(job) => job(),
                        Err(_) => return done,
                    }
                    done += 1;
                    JOBS_DONE.fetch_add(1, Ordering::Relaxed);
                }
            }

            /// A bounded queue by hand.
            struct Bounded<T> {
                items: Mutex<VecDeque<T>>,
                not_empty: Condvar,
                not_full: Condvar,
            }

            impl<T> Bounded<T> {
                const ROOM: usize = 2;

                fn new() -> Self {
                    Bounded {
                        items: Mutex::default(),
                        not_empty: Condvar::new(),
                        not_full: Condvar::default(),
                    }
                }

                fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
                    self.items.lock().unwrap_or_else(PoisonError::into_inner)
                }

                fn put(&self, item: T) {
                    let full = |items: &mut VecDeque<T>| items.len() == Self::ROOM;
                    let mut items = self.not_full.wait_while(self.lock(), full).unwrap();
                    items.push_back(item);
                    self.not_empty.notify_one();
                }

                fn take(&self) -> T {
                    let mut items = self.lock();
                    loop {
                        if let Some(item) = items.pop_front() {
                            self.not_full.notify_all();
                            return item;
                        }
                        items = self.not_empty.wait(items).unwrap();
                    }
                }
            }

            fn count_words(line: &str) -> BTreeMap<String, usize> {
                let mut counts = BTreeMap::new();
                for word in line
                    .split_whitespace()
                    .filter(|word| !STOP_WORDS.contains(word))
                {
                    *counts.entry(word.to_lowercase()).or_default() += 1;
                }
                counts
            }

            fn serve(
                stream: TcpStream,
                totals: &RwLock<BTreeMap<String, usize>>,
            ) -> std::io::Result<()> {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(Duration::from_secs(20)))?;
                let mut answers = stream.try_clone()?;
                for line in BufReader::new(stream).lines() {
                    let line = line?;
                    let counts = count_words(&line);
                    for (word, count) in &counts {
                        *totals.write().unwrap().entry(word.clone()).or_default() += count;
                    }
                    *LAST.lock().unwrap() = Some(line);
                    writeln!(answers, "{} {counts:?}", GREETING.get().unwrap())?;
                }
                Ok(())
            }

            fn listen(
                listener: TcpListener,
                connections: usize,
                totals: Arc<RwLock<BTreeMap<String, usize>>>,
            ) -> usize {
                let pool = Pool::new(3);
                for stream in listener.incoming().take(connections) {
                    let (stream, totals) = (stream.unwrap(), Arc::clone(&totals));
                    pool.execute(move || serve(stream, &totals).unwrap());
                }
                pool.finish()
            }

            fn ask(address: SocketAddr, lines: &[&str]) -> String {
                let mut stream = TcpStream::connect(address).unwrap();
                for line in lines {
                    stream.write_all(line.as_bytes()).unwrap();
                    stream.write_all(b"\n").unwrap();
                }
                stream.shutdown(Shutdown::Write).unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                answer
            }

            fn over_tcp(said: &mut Vec<String>) {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap();
                let totals = Arc::new(RwLock::new(BTreeMap::new()));
                let weak: Weak<_> = Arc::downgrade(&totals);
                STARTS.call_once(|| GREETING.set("words:".to_owned()).unwrap());
                let server = thread::spawn({
                    let totals = Arc::clone(&totals);
                    move || listen(listener, 3, totals)
                });
                let clients: Vec<_> = ["the cat", "a Dog and a cat", "and"]
                    .map(|line| thread::spawn(move || ask(address, &[line, line])))
                    .into();
                said.extend(clients.into_iter().map(|client| client.join().unwrap()));
                said.push(format!("{} jobs", server.join().unwrap()));
                said.push(format!("{:?}", totals.read().unwrap()));
                drop(totals);
                said.push(format!(
                    "{} left, last {}",
                    weak.strong_count(),
                    LAST.lock().unwrap().is_some()
                ));
            }

            fn over_udp(said: &mut Vec<String>) {
                let [near, far] = [(); 2].map(|()| UdpSocket::bind(("127.0.0.1", 0)).unwrap());
                let patient = Some(Duration::from_secs(20));
                far.set_read_timeout(patient).unwrap();
                near.send_to(b"datagram", far.local_addr().unwrap())
                    .unwrap();
                let mut buffer = [0; 16];
                let (length, from) = far.recv_from(&mut buffer).unwrap();
                assert_eq!(from, near.local_addr().unwrap());
                said.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }

            fn through_queues(said: &mut Vec<String>) {
                let queue = Bounded::new();
                let sum = thread::scope(|scope| {
                    for producer in 0..3 {
                        let queue = &queue;
                        scope.spawn(move || (0..100).for_each(|n| queue.put(producer * 100 + n)));
                    }
                    let consumer = scope.spawn(|| (0..300).map(|_| queue.take()).sum::<usize>());
                    consumer.join().unwrap()
                });
                said.push(format!("sum {sum}"));

                let (results, received): (SyncSender<usize>, _) = mpsc::sync_channel(1);
                let barrier = Arc::new(Barrier::new(4));
                for number in 0..4 {
                    let (results, barrier) = (results.clone(), barrier.clone());
                    thread::spawn(move || {
                        let leader = barrier.wait().is_leader();
                        results.send(number + usize::from(leader) * 10).unwrap();
                    });
                }
                drop(results);
                said.push(format!("met {}", received.iter().sum::<usize>()));
                said.push(format!(
                    "{:?} {:?}",
                    received.try_recv(),
                    received.recv_timeout(Duration::ZERO)
                ));
            }

            fn alone(said: &mut Vec<String>) {
                let shared = Arc::new(Mutex::new(1));
                let poisoner = thread::spawn({
                    let shared = shared.clone();
                    move || {
                        let _guard = shared.lock().unwrap();
                        std::panic::resume_unwind(Box::new("on purpose"));
                    }
                });
                let ended: thread::Result<()> = poisoner.join();
                let payload = *ended.unwrap_err().downcast::<&str>().unwrap();
                said.push(format!("{payload}, poisoned {}", shared.is_poisoned()));
                said.push(format!(
                    "{:?}",
                    Arc::into_inner(shared).unwrap().into_inner().is_err()
                ));

                let parent = thread::current();
                let child = thread::spawn(move || {
                    parent.unpark();
                    thread::park_timeout(Duration::from_millis(1));
                    thread::sleep(Duration::from_millis(1));
                    thread::yield_now();
                });
                thread::park();
                child.join().unwrap();
                let pair = (Mutex::new(false), Condvar::new());
                let wait = pair
                    .1
                    .wait_timeout(pair.0.lock().unwrap(), Duration::from_millis(1));
                said.push(format!("timed out {}", wait.unwrap().1.timed_out()));
                let sent = mpsc::channel::<u8>().0.send(7);
                said.push(format!(
                    "{sent:?}, {} processors",
                    thread::available_parallelism().is_ok()
                ));
            }

            pub(crate) fn run() -> Vec<String> {
                let mut said = Vec::new();
                over_tcp(&mut said);
                over_udp(&mut said);
                through_queues(&mut said);
                alone(&mut said);
                said.push(format!("{} jobs in all", JOBS_DONE.load(Ordering::Relaxed)));
                said
            }
        }
    };
}

program!(original, std);
program!(ported, lisle);

#[test]
fn it_says_the_same_by_its_use_lines() {
    let _dog = support::watchdog();
    let said = original::run();
    assert!(said.len() > 12);
    assert_eq!(ported::run(), said, "from a plain kernel thread");
}

#[test]
fn it_says_the_same_on_user_threads() {
    let _dog = support::watchdog();
    // Statics are its own: each run of the program is one process's.
    support::alone("it_says_the_same_on_user_threads", || {
        let said = original::run();
        assert_eq!(lisle::run(ported::run), said);
    });
}
