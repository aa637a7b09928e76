"""What ci/perfetto.sh checks of each trace."""
import sys
from collections import Counter

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent


def check(path):
    data = open(path, "rb").read()
    trace = Trace.FromString(data)
    # Fields that the schema does not know do not survive this.
    known = Trace.FromString(data)
    known.DiscardUnknownFields()
    assert known.SerializeToString() == trace.SerializeToString(), "a field is unknown to Perfetto"
    names, tracks, open_slices, flows = {}, {}, Counter(), Counter()
    last, counts = 0, Counter()
    for packet in trace.packet:
        assert packet.trusted_packet_sequence_id, "a packet of no sequence"
        for name in packet.interned_data.event_names:
            names[name.iid] = name.name
        if packet.HasField("track_descriptor"):
            track = packet.track_descriptor
            assert track.uuid not in tracks, "a track is declared twice"
            assert not track.parent_uuid or track.parent_uuid in tracks, "a track without its parent"
            tracks[track.uuid] = track.name or track.process.process_name
            assert tracks[track.uuid], "a track without a name"
        if packet.HasField("track_event"):
            event = packet.track_event
            assert packet.timestamp >= last, "time goes back"
            last = packet.timestamp
            assert event.track_uuid in tracks, "an event of no track"
            assert event.type == TrackEvent.TYPE_SLICE_END or event.name_iid in names, "an event without a name"
            if event.type == TrackEvent.TYPE_SLICE_BEGIN:
                open_slices[event.track_uuid] += 1
                counts["slices"] += 1
            elif event.type == TrackEvent.TYPE_SLICE_END:
                open_slices[event.track_uuid] -= 1
                assert open_slices[event.track_uuid] >= 0, "a slice ends that did not begin"
            else:
                assert event.type == TrackEvent.TYPE_INSTANT
                counts["instants"] += 1
            for flow in event.flow_ids:
                assert flow not in flows, "a flow begins twice"
                flows[flow] = 1
            for flow in event.terminating_flow_ids:
                assert flows[flow] == 1, "a flow ends that did not begin"
                flows[flow] = 2
    assert not any(open_slices.values()), "a slice does not end"
    assert flows and all(ends == 2 for ends in flows.values()), "a flow does not end"
    assert counts["slices"] and counts["instants"]
    print(f"{len(data)} bytes: {len(tracks)} tracks, {counts['slices']} slices, {counts['instants']} instants, {len(flows)} flows")


for path in sys.argv[1:]:
    check(path)
print(f"{len(sys.argv) - 1} passed, 0 failed")
