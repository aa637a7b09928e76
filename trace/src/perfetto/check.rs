//! Reading a trace back, as Perfetto's importer does.

use std::collections::{HashMap, HashSet};

use prost::Message;

use super::proto::{CLEARED, NEEDS, Trace, TrackEvent, Type};

/// What a trace holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Tracks, with those that group others.
    pub tracks: usize,
    /// Slices: something lasted.
    pub slices: usize,
    /// Instants: something happened.
    pub instants: usize,
    /// Flows: something led to something.
    pub flows: usize,
}

/// Reads a trace and checks it: all names and tracks are declared before they are
/// used, times rise, each slice that begins ends on the same track, each flow has one
/// origin and one end that is not earlier.
///
/// # Errors
/// What is wrong first.
pub fn check(file: &[u8]) -> Result<Summary, String> {
    let trace = Trace::decode(file).map_err(|error| error.to_string())?;
    let mut reader = Reader::default();
    for (number, packet) in trace.packet.iter().enumerate() {
        if packet.trusted_packet_sequence_id.is_none() {
            return Err(format!("packet {number} belongs to no sequence"));
        }
        let flags = packet.sequence_flags.unwrap_or(0);
        if flags & CLEARED != 0 {
            reader.names.clear();
            reader.cleared = true;
        }
        for name in packet
            .interned_data
            .iter()
            .flat_map(|data| &data.event_names)
        {
            let iid = name.iid.filter(|iid| *iid != 0);
            let iid = iid.ok_or(format!("packet {number} interns a name without a number"))?;
            reader.names.insert(iid);
        }
        if let Some(track) = &packet.track_descriptor {
            let uuid = track
                .uuid
                .ok_or(format!("packet {number}: a track without an id"))?;
            if track
                .parent_uuid
                .is_some_and(|parent| !reader.tracks.contains_key(&parent))
            {
                return Err(format!(
                    "packet {number}: a track whose parent is not there"
                ));
            }
            if reader.tracks.insert(uuid, 0).is_some() {
                return Err(format!("packet {number}: track {uuid} is declared twice"));
            }
        }
        if let Some(event) = &packet.track_event {
            let time = packet
                .timestamp
                .ok_or(format!("packet {number} has no time"))?;
            if flags & NEEDS != 0 && !reader.cleared {
                return Err(format!("packet {number} needs a state that nothing begins"));
            }
            reader
                .event(time, event)
                .map_err(|why| format!("packet {number}: {why}"))?;
        }
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    names: HashSet<u64>,
    cleared: bool,
    /// How many slices are open on each.
    tracks: HashMap<u64, usize>,
    time: u64,
    /// Flows that have begun, and whether they have ended.
    flows: HashMap<u64, bool>,
    summary: Summary,
}

impl Reader {
    fn event(&mut self, time: u64, event: &TrackEvent) -> Result<(), String> {
        if time < self.time {
            return Err(format!("time goes back from {} to {time}", self.time));
        }
        self.time = time;
        let track = event.track_uuid.unwrap_or(0);
        let open = self
            .tracks
            .get_mut(&track)
            .ok_or(format!("there is no track {track}"))?;
        let kind = Type::try_from(event.r#type.unwrap_or(0)).map_err(|e| e.to_string())?;
        match kind {
            Type::SliceBegin => {
                *open += 1;
                self.summary.slices += 1;
            }
            Type::SliceEnd if *open == 0 => {
                return Err(format!("on track {track} nothing is there to end"));
            }
            Type::SliceEnd => *open -= 1,
            Type::Instant => self.summary.instants += 1,
            Type::Unspecified => return Err("an event of no type".to_owned()),
        }
        match event.name_iid {
            None if kind != Type::SliceEnd => return Err("an event without a name".to_owned()),
            Some(iid) if !self.names.contains(&iid) => {
                return Err(format!("name {iid} is not there"));
            }
            _ => {}
        }
        for flow in &event.flow_ids {
            if self.flows.insert(*flow, false).is_some() {
                return Err(format!("flow {flow} begins twice"));
            }
        }
        for flow in &event.terminating_flow_ids {
            match self.flows.insert(*flow, true) {
                Some(false) => self.summary.flows += 1,
                Some(true) => return Err(format!("flow {flow} ends twice")),
                None => return Err(format!("flow {flow} ends before it begins")),
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Summary, String> {
        if let Some((track, _)) = self.tracks.iter().find(|(_, open)| **open > 0) {
            return Err(format!("on track {track} a slice does not end"));
        }
        if let Some((flow, _)) = self.flows.iter().find(|(_, ended)| !**ended) {
            return Err(format!("flow {flow} does not end"));
        }
        self.summary.tracks = self.tracks.len();
        Ok(self.summary)
    }
}
