//! Traces for <https://ui.perfetto.dev>, in its own format: protobuf track events.
//!
//! * a track for each LWP: which thread ran there
//! * a track for each thread: when it ran, was ready, or waited and for what; its
//!   events; flow arrows for messages, wakes, spawns and joins
//!
//! Chrome's JSON is what Perfetto calls legacy: several times as large, and flows
//! have to be matched by names.

mod check;
mod proto;

use std::collections::HashMap;

use prost::Message;

pub use self::check::{Summary, check};
use self::proto::{
    CLEARED, DebugAnnotation, EventName, InternedData, NEEDS, ProcessDescriptor, TracePacket,
    TrackDescriptor, TrackEvent, Type,
};
use crate::decode::Trace;
use crate::graph::Event;
use crate::history::History;
use crate::schedule::{Marked, Schedule, Slice, Wait};

const LWPS: u64 = 1;
const THREADS: u64 = 2;
const FIRST_LWP: u64 = 1 << 8;
const FIRST_THREAD: u64 = 1 << 20;
const EXPLICIT: i32 = 3;

/// A trace file of a recording.
///
/// ```
/// # use lisle_trace::__facade as lisle;
/// let recording = lisle::trace::record()?;
/// lisle::thread::spawn(|| ()).join().unwrap();
/// let file = lisle::trace::perfetto::trace(&recording.stop()?);
/// let summary = lisle::trace::perfetto::check(&file).unwrap();
/// assert!(summary.flows >= 2, "spawn and join");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn trace(trace: &Trace) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.declare(trace);
    writer.lwps(trace.schedule());
    writer.threads(trace);
    writer.finish()
}

#[derive(Default)]
struct Writer {
    tracks: Vec<TrackDescriptor>,
    /// Of each track in order; put in order of time at the end.
    events: Vec<(u64, TrackEvent)>,
    names: HashMap<String, u64>,
    new_names: Vec<String>,
}

impl Writer {
    fn declare(&mut self, trace: &Trace) {
        for (uuid, pid, name) in [(LWPS, 1, "LWPs"), (THREADS, 2, "Threads")] {
            self.tracks.push(TrackDescriptor {
                uuid: Some(uuid),
                process: Some(ProcessDescriptor {
                    pid: Some(pid),
                    process_name: Some(name.to_owned()),
                }),
                child_ordering: Some(EXPLICIT),
                ..TrackDescriptor::default()
            });
        }
        let many = trace.schedule().lwps().iter().any(|lwp| lwp.runtime > 0);
        for (at, lwp) in trace.schedule().lwps().iter().enumerate() {
            let name = match many {
                true => format!("LWP {} of runtime {}", lwp.index, lwp.runtime),
                false => format!("LWP {}", lwp.index),
            };
            let rank = (lwp.runtime * 1000 + lwp.index) as i32;
            self.track(FIRST_LWP + at as u64, LWPS, name, rank);
        }
        let mut names: HashMap<u64, String> = HashMap::new();
        for slice in trace.schedule().slices() {
            let name = || trace.schedule().name(slice.thread);
            names.entry(slice.thread).or_insert_with(name);
        }
        for process in trace.history().processes() {
            names.insert(process.thread, process.name.clone());
        }
        let mut threads: Vec<_> = names.into_iter().collect();
        threads.sort();
        for (rank, (thread, name)) in threads.into_iter().enumerate() {
            self.track(FIRST_THREAD + thread, THREADS, name, rank as i32);
        }
    }

    fn track(&mut self, uuid: u64, parent: u64, name: String, rank: i32) {
        self.tracks.push(TrackDescriptor {
            uuid: Some(uuid),
            name: Some(name),
            parent_uuid: Some(parent),
            sibling_order_rank: Some(rank),
            ..TrackDescriptor::default()
        });
    }

    fn name(&mut self, name: &str) -> u64 {
        if let Some(iid) = self.names.get(name) {
            return *iid;
        }
        self.new_names.push(name.to_owned());
        let iid = self.new_names.len() as u64;
        self.names.insert(name.to_owned(), iid);
        iid
    }

    fn event(&mut self, time: u64, track: u64, kind: Type, name: &str) -> &mut TrackEvent {
        let name_iid = match kind {
            Type::SliceEnd => None,
            _ => Some(self.name(name)),
        };
        let event = TrackEvent {
            r#type: Some(kind as i32),
            name_iid,
            track_uuid: Some(track),
            ..TrackEvent::default()
        };
        self.events.push((time, event));
        let Some((_, event)) = self.events.last_mut() else {
            unreachable!("just pushed")
        };
        event
    }

    fn slice(&mut self, track: u64, name: &str, category: &str, began: u64, ended: u64) {
        let event = self.event(began, track, Type::SliceBegin, name);
        event.categories.push(category.to_owned());
        self.event(ended.max(began), track, Type::SliceEnd, "");
    }

    fn lwps(&mut self, schedule: &Schedule) {
        for slice in schedule.slices() {
            let track = FIRST_LWP + slice.lwp as u64;
            let name = schedule.name(slice.thread);
            self.slice(track, &name, "run", slice.began, slice.ended);
        }
        for mark in schedule.marks() {
            let Some(lwp) = mark.lwp else { continue };
            let (name, thread) = match mark.what {
                Marked::Steal { victim, thread } => (format!("steal from LWP {victim}"), thread),
                Marked::Upcall { kind, thread } => (format!("upcall: {kind:?}"), thread),
            };
            let event = self.event(mark.time, FIRST_LWP + lwp as u64, Type::Instant, &name);
            event.categories.push("lwp".to_owned());
            if thread != 0 {
                event.debug_annotations.push(DebugAnnotation {
                    name: Some("thread".to_owned()),
                    string_value: Some(schedule.name(thread)),
                });
            }
        }
    }

    fn threads(&mut self, trace: &Trace) {
        let mut runs: HashMap<u64, Vec<Slice>> = HashMap::new();
        for slice in trace.schedule().slices() {
            runs.entry(slice.thread).or_default().push(*slice);
        }
        let mut waits: HashMap<u64, Vec<&Wait>> = HashMap::new();
        for wait in trace.schedule().waits() {
            waits.entry(wait.thread).or_default().push(wait);
        }
        for (thread, runs) in &mut runs {
            runs.sort_by_key(|slice| (slice.began, slice.ended));
            let waits = waits.remove(thread).unwrap_or_default();
            self.life(trace.schedule(), *thread, runs, &waits);
        }
        // Kernel threads are not seen running.
        for (thread, waits) in waits {
            for wait in waits {
                let ended = wait.ended.unwrap_or(trace.schedule().took());
                self.slice(
                    FIRST_THREAD + thread,
                    &wait.reason,
                    "wait",
                    wait.began,
                    ended,
                );
            }
        }
        self.flows(trace.history());
    }

    /// Running, and what lies between: ready, or waiting if it began to wait.
    fn life(&mut self, schedule: &Schedule, thread: u64, runs: &[Slice], waits: &[&Wait]) {
        let track = FIRST_THREAD + thread;
        let mut waits = waits.iter().peekable();
        for (at, run) in runs.iter().enumerate() {
            let ended = run.ended;
            let name = format!("running on LWP {}", schedule.lwps()[run.lwp].index);
            self.slice(track, &name, "run", run.began, ended);
            let mut reason = None;
            while let Some(wait) = waits.next_if(|wait| wait.began <= ended) {
                reason = Some(&wait.reason);
            }
            let next = runs.get(at + 1).map(|next| next.began);
            match (reason, next) {
                (Some(reason), next) => {
                    let until = next.unwrap_or(schedule.took());
                    self.slice(track, reason, "wait", ended, until);
                }
                (None, Some(next)) if next > ended => {
                    self.slice(track, "ready", "ready", ended, next);
                }
                _ => {}
            }
        }
    }

    fn flows(&mut self, history: &History) {
        let graph = history.graph();
        let mut out: HashMap<Event, Vec<u64>> = HashMap::new();
        let mut into: HashMap<Event, Vec<u64>> = HashMap::new();
        for (number, arrow) in graph.arrows().enumerate() {
            // Perfetto takes the earlier end for the origin.
            if history.time(arrow.from) <= history.time(arrow.to) {
                let flow = number as u64 + 1;
                out.entry(arrow.from).or_default().push(flow);
                into.entry(arrow.to).or_default().push(flow);
            }
        }
        for event in graph.sorted() {
            let thread = history.processes()[event.process as usize].thread;
            let track = FIRST_THREAD + thread;
            let name = history.describe(event);
            let kind = history.kind(event).name();
            let flows = (out.remove(&event), into.remove(&event));
            let written = self.event(history.time(event), track, Type::Instant, &name);
            written.categories.push(kind.to_owned());
            written.flow_ids = flows.0.unwrap_or_default();
            written.terminating_flow_ids = flows.1.unwrap_or_default();
            if let Some(stamp) = history.stamp(event) {
                let text = stamp.iter().map(|(who, count)| format!("{who}: {count}"));
                written.debug_annotations.push(DebugAnnotation {
                    name: Some("clock".to_owned()),
                    string_value: Some(text.collect::<Vec<_>>().join(", ")),
                });
            }
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.events.sort_by_key(|(time, _)| *time);
        let mut file = Vec::new();
        let mut put = |packet: TracePacket| {
            // A trace is a sequence of such fields, so packets can follow each other.
            let trace = proto::Trace {
                packet: vec![packet],
            };
            file.extend(trace.encode_to_vec());
        };
        let names = self.new_names.into_iter().enumerate();
        put(TracePacket {
            trusted_packet_sequence_id: Some(1),
            sequence_flags: Some(CLEARED),
            interned_data: Some(InternedData {
                event_names: names
                    .map(|(at, name)| EventName {
                        iid: Some(at as u64 + 1),
                        name: Some(name),
                    })
                    .collect(),
            }),
            ..TracePacket::default()
        });
        for track in self.tracks {
            put(TracePacket {
                trusted_packet_sequence_id: Some(1),
                track_descriptor: Some(track),
                ..TracePacket::default()
            });
        }
        for (time, event) in self.events {
            put(TracePacket {
                timestamp: Some(time),
                trusted_packet_sequence_id: Some(1),
                sequence_flags: Some(NEEDS),
                track_event: Some(event),
                ..TracePacket::default()
            });
        }
        file
    }
}
