//! SVG, HTML, Perfetto, and the two small graphs.

use lisle_trace::graph::Link;
use lisle_trace::{HistoryBuilder, Kind, ProcessKind, Trace, html, perfetto, shiviz, svg};

use crate::recording::recorded;

fn busy() -> Trace {
    recorded(2, |runtime| {
        let (sender, receiver) = lisle::channel::bounded(2);
        let builder = |name: &str| {
            lisle::thread::Builder::new()
                .name(name.to_owned())
                .on(runtime)
        };
        let senders: Vec<_> = ["<b>", "R&D"]
            .map(|name| {
                let sender = sender.clone();
                builder(name).spawn(move || {
                    for n in 0..50 {
                        lisle_trace::event_stamped("\"says\" <hello>", &[(1, n)]);
                        sender.send(n).unwrap();
                        lisle::thread::yield_now();
                    }
                })
            })
            .into_iter()
            .map(Result::unwrap)
            .collect();
        drop(sender);
        let receiver = builder("receiver")
            .spawn(move || receiver.iter().sum::<u64>())
            .unwrap();
        for sender in senders {
            sender.join().unwrap();
        }
        assert_eq!(receiver.join().unwrap(), 2 * 49 * 25);
    })
}

#[test]
fn perfetto_reads_what_is_written() {
    let trace = busy();
    let file = perfetto::trace(&trace);
    let summary = perfetto::check(&file).unwrap();
    let history = trace.history();
    // The processors' counters may differ a little, and Perfetto takes the earlier
    // end of a flow for its origin.
    let rise = history
        .graph()
        .arrows()
        .filter(|arrow| history.time(arrow.from) <= history.time(arrow.to));
    assert_eq!(summary.flows, rise.count());
    assert!(summary.flows >= 100);
    // A track for each LWP that did something, each thread, and the two groups.
    let threads = history.graph().processes() as usize;
    assert!(summary.tracks >= threads + 3, "{summary:?}");
    assert!(summary.slices >= trace.schedule().slices().len());
    assert!(summary.instants >= history.graph().len());
}

#[test]
fn a_damaged_perfetto_trace_is_refused() {
    let trace = busy();
    let file = perfetto::trace(&trace);
    assert!(perfetto::check(&file[..file.len() / 2]).is_err());
    assert!(perfetto::check(b"\xff\xff\xff").is_err());
    // Without its beginning names and tracks are not there.
    let first = 1 + 2 + usize::from(file[1] & 0x7f) + (usize::from(file[2]) << 7);
    assert!(file[1] >= 0x80, "the names take more than 127 bytes");
    assert!(perfetto::check(&file[first..]).is_err());
}

/// Tags are closed in the order in which they were opened.
fn well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = svg;
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, after) = after.split_once('>').expect("tags end");
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split([' ', '\n']).next().unwrap());
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
    }
    assert!(open.is_empty());
}

#[test]
fn svg_has_each_process_event_and_arrow() {
    let trace = busy();
    let history = trace.history();
    let picture = svg::picture(history, &svg::Style::default());
    well_formed(&picture);
    assert_eq!(picture.matches("<title>").count(), history.graph().len());
    assert!(picture.contains("&lt;b&gt;</text>") && picture.contains("R&amp;D</text>"));
    assert!(!picture.contains("<b>"));
    let heads = picture.matches("Z\" fill=").count();
    assert_eq!(heads, history.graph().arrows().count());
    let quiet = svg::Style {
        waits: false,
        ..svg::Style::default()
    };
    assert!(svg::picture(history, &quiet).len() < picture.len());
    let nothing = HistoryBuilder::new().build().unwrap();
    well_formed(&svg::picture(&nothing, &svg::Style::default()));
}

#[test]
fn html_holds_all_and_needs_nothing() {
    let trace = busy();
    let page = html::page(trace.history(), "A <title> & more");
    let begin = page.find("application/json\">").unwrap() + "application/json\">".len();
    let end = begin + page[begin..].find("</script>").unwrap();
    let data: serde_json::Value = serde_json::from_str(&page[begin..end]).unwrap();
    let graph = trace.history().graph();
    assert_eq!(data["events"].as_array().unwrap().len(), graph.len());
    assert_eq!(
        data["arrows"].as_array().unwrap().len(),
        graph.arrows().count()
    );
    for arrow in data["arrows"].as_array().unwrap() {
        assert!(arrow[0].as_u64() < arrow[1].as_u64(), "arrows lead on");
        let step = |end: usize| data["events"][arrow[end].as_u64().unwrap() as usize][1].as_u64();
        assert!(step(0) < step(1), "and to the right");
    }
    assert_eq!(data["stamps"].as_object().unwrap().len(), 100);
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        let without_namespace = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!without_namespace.contains(outside), "{outside}");
    }
    assert!(page.contains("<title>A &lt;title&gt; &amp; more</title>"));
}

#[test]
fn who_precedes_whom_and_who_talks_to_whom() {
    let mut builder = HistoryBuilder::new();
    let [main, first, second, aside] =
        ["main", "first", "second", "aside"].map(|name| builder.host(name));
    let spawn_first = builder.event(main, Kind::Spawn, "", None);
    let spawn_aside = builder.event(main, Kind::Spawn, "", None);
    let (f0, f1) = (
        builder.event(first, Kind::Start, "", None),
        builder.event(first, Kind::End, "", None),
    );
    let join = builder.event(main, Kind::Join, "", None);
    let spawn_second = builder.event(main, Kind::Spawn, "", None);
    let (s0, s1) = (
        builder.event(second, Kind::Start, "", None),
        builder.event(second, Kind::Send, "", None),
    );
    let a0 = builder.event(aside, Kind::Start, "", None);
    let (a1, a2) = (
        builder.event(aside, Kind::Receive, "", None),
        builder.event(aside, Kind::Receive, "", None),
    );
    for (from, to, link) in [
        (spawn_first, f0, Link::Spawn),
        (f1, join, Link::Join),
        (spawn_second, s0, Link::Spawn),
        (spawn_aside, a0, Link::Spawn),
        (s0, a1, Link::Message),
        (s1, a2, Link::Message),
    ] {
        builder.arrow(from, to, link).unwrap();
    }
    builder.event(main, Kind::End, "", None);
    let history = builder.build().unwrap();
    assert_eq!(history.process_graph().precedes(), [(first, second)]);
    let talk = history.communication_graph();
    assert_eq!(talk.count(second, aside, Link::Message), 2);
    assert_eq!(talk.count(aside, second, Link::Message), 0);
    assert_eq!(talk.count(main, first, Link::Spawn), 1);
    assert!(
        talk.to_dot()
            .contains("\"second\" -> \"aside\" [label=\"2 message\"")
    );
    assert!(
        history
            .process_graph()
            .to_dot()
            .contains("\"first\" -> \"second\";")
    );
}

#[test]
fn what_follows_from_others_is_left_out_of_the_process_graph() {
    let log = "a\np {\"p\":1}\nb\nq {\"q\":1, \"p\":1}\nc\nr {\"r\":1, \"q\":1, \"p\":1}\n";
    let history = shiviz::read(log).unwrap().remove(0).history;
    assert_eq!(history.process_graph().precedes(), [(0, 1), (1, 2)]);
}

/// As many as a program has: names are not tried one after the other each time.
#[test]
fn processes_of_one_name_are_numbered() {
    const THREADS: u64 = 100_000;
    let mut builder = HistoryBuilder::new();
    builder.host("t (3)");
    for thread in 1..=THREADS {
        builder.process("t", ProcessKind::UserThread, thread);
    }
    builder.host("u");
    let again = builder.process("t (3)", ProcessKind::UserThread, 0);
    let history = builder.build().unwrap();
    let name = |process: u32| history.processes()[process as usize].name.as_str();
    assert_eq!([1, 2, 3].map(name), ["t", "t (2)", "t (4)"]);
    assert_eq!(name(THREADS as u32), format!("t ({})", THREADS + 1));
    assert_eq!(name(again), "t (3) (2)");
}
