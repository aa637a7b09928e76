//! Where the events of a history stand in a picture.
//!
//! The *step* of an event is one more than that of whatever must come before it:
//! the last event of its process, and the origins of its arrows, so that every
//! arrow leads to the right and what could be at the same time stands together.

use crate::graph::{Event, ProcessId};
use crate::history::{History, ProcessKind};

/// Places in a picture.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Processes from top to bottom.
    pub(crate) rows: Vec<ProcessId>,
    /// Of each process: its row.
    pub(crate) row_of: Vec<usize>,
    steps: Vec<Vec<u32>>,
    /// How many steps there are.
    pub(crate) width: u32,
}

impl Layout {
    pub(crate) fn new(history: &History) -> Layout {
        let graph = history.graph();
        let mut steps: Vec<Vec<u32>> = (0..graph.processes())
            .map(|process| vec![0; graph.len_of(process) as usize])
            .collect();
        let mut width = 0;
        for event in graph.sorted() {
            let before = (event.index > 0).then(|| Event::new(event.process, event.index - 1));
            let origins = graph.arrows_to(event).map(|arrow| arrow.from);
            let step = before
                .into_iter()
                .chain(origins)
                .map(|other| steps[other.process as usize][other.index as usize] + 1)
                .max()
                .unwrap_or(0);
            steps[event.process as usize][event.index as usize] = step;
            width = width.max(step + 1);
        }
        let mut rows: Vec<ProcessId> = (0..graph.processes())
            .filter(|process| graph.len_of(*process) > 0)
            .collect();
        // Kernel threads first: the main one starts everything. Otherwise in order
        // of appearance, or as the log has them.
        rows.sort_by_key(|process| {
            let kernel = history.processes()[*process as usize].kind == ProcessKind::KernelThread;
            (!kernel, *process)
        });
        let mut row_of = vec![0; graph.processes() as usize];
        for (row, process) in rows.iter().enumerate() {
            row_of[*process as usize] = row;
        }
        Layout {
            rows,
            row_of,
            steps,
            width,
        }
    }

    pub(crate) fn step(&self, event: Event) -> u32 {
        self.steps[event.process as usize][event.index as usize]
    }
}
