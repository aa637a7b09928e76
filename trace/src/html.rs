//! A space-time diagram as one HTML file that needs nothing else: hover for stamps,
//! click for causal past and future, search, zoom, print.

use serde_json::{Value, json};

use crate::graph::Link;
use crate::history::{History, Kind, ProcessKind};
use crate::layout::Layout;
use crate::svg::{colour, escaped, link_colour};

/// The page of a history.
///
/// Events are placed by step or by time; the reader can change that. Usable with
/// ten thousand events and more.
///
/// ```
/// # use lisle_trace::__facade as lisle;
/// use lisle::trace::{HistoryBuilder, Kind, html};
///
/// let mut builder = HistoryBuilder::new();
/// let ada = builder.host("Ada");
/// builder.event(ada, Kind::Local, "alone </script>", None);
/// let page = html::page(&builder.build()?, "Ada's day");
/// assert_eq!(page.matches("</script>").count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn page(history: &History, title: &str) -> String {
    // What closes a script must not stand in one.
    let data = data(history, title).to_string().replace('<', "\\u003c");
    include_str!("../assets/page.html")
        .replace("{{TITLE}}", &escaped(title))
        .replace("{{STYLE}}", include_str!("../assets/page.css"))
        .replace("{{SCRIPT}}", include_str!("../assets/page.js"))
        // Last, because it may hold anything.
        .replace("{{DATA}}", &data)
}

fn data(history: &History, title: &str) -> Value {
    let layout = Layout::new(history);
    let graph = history.graph();
    // Events in an order that agrees with all arrows, by which the script computes
    // clocks.
    let sorted = graph.sorted();
    let mut number: Vec<Vec<u32>> = (0..graph.processes())
        .map(|process| vec![0; graph.len_of(process) as usize])
        .collect();
    for (at, event) in sorted.iter().enumerate() {
        number[event.process as usize][event.index as usize] = at as u32;
    }
    let mut labels: Vec<&str> = Vec::new();
    let mut known = std::collections::HashMap::new();
    let mut events = Vec::new();
    for event in &sorted {
        let label = history.label(*event);
        let label = *known.entry(label).or_insert_with(|| {
            labels.push(label);
            labels.len() - 1
        });
        let row = layout.row_of[event.process as usize];
        let kind = history.kind(*event) as u8;
        events.push(json!([
            row,
            layout.step(*event),
            history.time(*event),
            kind,
            label
        ]));
    }
    let mut stamps = serde_json::Map::new();
    for event in &sorted {
        if let Some(stamp) = history.stamp(*event) {
            let at = number[event.process as usize][event.index as usize];
            stamps.insert(at.to_string(), json!(stamp));
        }
    }
    let arrows: Vec<Value> = graph
        .arrows()
        .map(|arrow| {
            let at =
                |event: crate::graph::Event| number[event.process as usize][event.index as usize];
            json!([at(arrow.from), at(arrow.to), arrow.link as u8])
        })
        .collect();
    let rows: Vec<Value> = layout
        .rows
        .iter()
        .map(|process| {
            let process = &history.processes()[*process as usize];
            let kind = match process.kind {
                ProcessKind::UserThread => "user thread",
                ProcessKind::KernelThread => "kernel thread",
                ProcessKind::Host => "host",
            };
            json!([process.name, kind])
        })
        .collect();
    let kinds: Vec<Value> = Kind::ALL
        .iter()
        .map(|kind| json!([kind.name(), colour(*kind)]))
        .collect();
    let links: Vec<Value> = [
        Link::Message,
        Link::Wake,
        Link::Spawn,
        Link::Join,
        Link::Clock,
    ]
    .iter()
    .map(|link| json!([link.name(), link_colour(*link)]))
    .collect();
    json!({
        "title": title,
        "timed": history.is_timed(),
        "rows": rows,
        "labels": labels,
        "events": events,
        "arrows": arrows,
        "stamps": stamps,
        "kinds": kinds,
        "links": links,
    })
}
