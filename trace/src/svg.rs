//! A space-time diagram as plain SVG: no script, for papers and READMEs.

use std::collections::HashSet;
use std::fmt::Write as _;

use crate::graph::{Event, Link};
use crate::history::{History, Kind};
use crate::layout::Layout;

/// How a picture is drawn.
#[derive(Debug, Clone)]
pub struct Style {
    /// Above it; empty: nothing.
    pub title: String,
    /// Pixels from one step to the next.
    pub step: f64,
    /// Pixels from one process to the next.
    pub row: f64,
    /// Whether local events and messages have their labels in the picture.
    pub labels: bool,
    /// Whether waits and what ends them are drawn, beside what the program does.
    pub waits: bool,
}

impl Default for Style {
    fn default() -> Self {
        Style {
            title: String::new(),
            step: 30.0,
            row: 56.0,
            labels: true,
            waits: true,
        }
    }
}

/// The colour of an event, and of its legend.
pub(crate) fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Start | Kind::Spawn => "#2f9e62",
        Kind::End | Kind::Join => "#7a6ff0",
        Kind::Wait => "#aeb7c5",
        Kind::Resume => "#8a94a6",
        Kind::Wake => "#e08a1e",
        Kind::Send => "#1c7ed6",
        Kind::Receive => "#0b5394",
        Kind::Local => "#d6336c",
    }
}

/// The colour of an arrow.
pub(crate) fn link_colour(link: Link) -> &'static str {
    match link {
        Link::Message | Link::Clock => "#1c7ed6",
        Link::Wake => "#e08a1e",
        Link::Spawn => "#2f9e62",
        Link::Join => "#7a6ff0",
    }
}

/// The beginning of a text that has no room.
fn shortened(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// For markup.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // Not allowed in XML at all.
            c if c.is_control() && c != '\n' && c != '\t' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

const LEFT: f64 = 16.0;
const TOP: f64 = 26.0;

/// What a picture needs to know while it is drawn.
struct Drawing<'a> {
    history: &'a History,
    style: &'a Style,
    layout: Layout,
    /// Where the lines begin.
    begin: f64,
    top: f64,
    width: f64,
    out: String,
}

/// The diagram of a history.
///
/// ```
/// # use lisle_trace::__facade as lisle;
/// use lisle::trace::{HistoryBuilder, Kind, graph::Link, svg};
///
/// let mut builder = HistoryBuilder::new();
/// let (ada, bob) = (builder.host("Ada"), builder.host("Bob"));
/// let send = builder.event(ada, Kind::Send, "hello", None);
/// let receive = builder.event(bob, Kind::Receive, "hello", None);
/// builder.arrow(send, receive, Link::Message)?;
/// let picture = svg::picture(&builder.build()?, &svg::Style::default());
/// assert!(picture.contains(">Ada</text>"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn picture(history: &History, style: &Style) -> String {
    let layout = Layout::new(history);
    let longest = layout
        .rows
        .iter()
        .map(|process| history.processes()[*process as usize].name.chars().count())
        .max()
        .unwrap_or(0);
    let begin = LEFT + 12.0 + longest.min(28) as f64 * 7.2;
    let top = TOP + if style.title.is_empty() { 0.0 } else { 30.0 };
    let mut drawing = Drawing {
        history,
        style,
        layout,
        begin,
        top,
        width: 520.0,
        out: String::new(),
    };
    drawing.draw();
    drawing.out
}

impl Drawing<'_> {
    fn x(&self, event: Event) -> f64 {
        self.begin + (f64::from(self.layout.step(event)) + 0.7) * self.style.step
    }

    fn y(&self, process: u32) -> f64 {
        self.top + (self.layout.row_of[process as usize] as f64 + 0.5) * self.style.row
    }

    fn is_drawn(&self, event: Event) -> bool {
        self.style.waits
            || !matches!(
                self.history.kind(event),
                Kind::Wait | Kind::Resume | Kind::Wake
            )
    }

    fn draw(&mut self) {
        let rows = self.layout.rows.len() as f64;
        let height = self.top + rows * self.style.row + 44.0;
        let (legend, legend_ends) = self.legend(height);
        let steps = self.begin + (f64::from(self.layout.width) + 0.6) * self.style.step;
        let width = (steps.max(legend_ends) + LEFT).max(self.width);
        self.width = width;
        let _ = writeln!(
            self.out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" \
             font-family=\"system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>"
        );
        if !self.style.title.is_empty() {
            let _ = writeln!(
                self.out,
                "<text x=\"{LEFT}\" y=\"30\" font-size=\"16\" font-weight=\"600\" fill=\"#1f2733\">{}</text>",
                escaped(&self.style.title)
            );
        }
        self.lines(width);
        self.arrows();
        self.dots();
        self.out.push_str(&legend);
        self.out.push_str("</svg>\n");
    }

    fn lines(&mut self, width: f64) {
        let history = self.history;
        for row in 0..self.layout.rows.len() {
            let process = self.layout.rows[row];
            let y = self.y(process);
            if row % 2 == 1 {
                let _ = writeln!(
                    self.out,
                    "<rect x=\"0\" y=\"{:.1}\" width=\"{width:.0}\" height=\"{:.1}\" fill=\"#f6f8fb\"/>",
                    y - self.style.row / 2.0,
                    self.style.row
                );
            }
            let name = &history.processes()[process as usize].name;
            let shown: String = match name.chars().count() > 28 {
                true => name.chars().take(27).chain(['…']).collect(),
                false => name.clone(),
            };
            let _ = writeln!(
                self.out,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" font-weight=\"600\" fill=\"#1f2733\">{}</text>",
                self.begin - 10.0,
                y + 4.0,
                escaped(&shown)
            );
            // The life of the process is darker than what is around it.
            let len = history.graph().len_of(process);
            let first = self.x(Event::new(process, 0));
            let last = self.x(Event::new(process, len - 1));
            let _ = writeln!(
                self.out,
                "<line x1=\"{:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"#e1e6ee\"/>\n\
                 <line x1=\"{first:.1}\" y1=\"{y:.1}\" x2=\"{last:.1}\" y2=\"{y:.1}\" stroke=\"#9aa5b5\" stroke-width=\"1.6\"/>",
                self.begin,
                width - LEFT
            );
        }
        self.dash_waits();
    }

    /// While a thread waits its line is interrupted.
    fn dash_waits(&mut self) {
        let history = self.history;
        for row in 0..self.layout.rows.len() {
            let process = self.layout.rows[row];
            let y = self.y(process);
            let mut began = None;
            for event in history.graph().events_of(process) {
                match history.kind(event) {
                    Kind::Wait => began = Some(event),
                    Kind::Resume => {
                        if let Some(began) = began.take() {
                            let (from, to) = (self.x(began), self.x(event));
                            let _ = writeln!(
                                self.out,
                                "<line x1=\"{from:.1}\" y1=\"{y:.1}\" x2=\"{to:.1}\" y2=\"{y:.1}\" stroke=\"#ffffff\" stroke-width=\"2.4\" stroke-dasharray=\"3 4\"/>"
                            );
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn arrows(&mut self) {
        let history = self.history;
        for arrow in history.graph().arrows() {
            if !self.is_drawn(arrow.from) || !self.is_drawn(arrow.to) {
                continue;
            }
            let (x1, y1) = (self.x(arrow.from), self.y(arrow.from.process));
            let (x2, y2) = (self.x(arrow.to), self.y(arrow.to.process));
            let length = ((x2 - x1).powi(2) + (y2 - y1).powi(2)).sqrt().max(1.0);
            let (ux, uy) = ((x2 - x1) / length, (y2 - y1) / length);
            // Up to the edge of the dots.
            let (x1, y1) = (x1 + ux * 5.0, y1 + uy * 5.0);
            let (tip_x, tip_y) = (x2 - ux * 5.5, y2 - uy * 5.5);
            let (back_x, back_y) = (tip_x - ux * 7.0, tip_y - uy * 7.0);
            let colour = link_colour(arrow.link);
            let dash = match arrow.link {
                Link::Wake => " stroke-dasharray=\"5 3\"",
                _ => "",
            };
            let _ = writeln!(
                self.out,
                "<path d=\"M{x1:.1} {y1:.1}L{back_x:.1} {back_y:.1}\" stroke=\"{colour}\" stroke-width=\"1.3\" fill=\"none\"{dash}/>\
                 <path d=\"M{tip_x:.1} {tip_y:.1}L{:.1} {:.1}L{:.1} {:.1}Z\" fill=\"{colour}\"/>",
                back_x - uy * 3.2,
                back_y + ux * 3.2,
                back_x + uy * 3.2,
                back_y - ux * 3.2,
            );
        }
    }

    /// The events that an arrow connects with a row above.
    fn with_arrows_above(&self) -> Vec<HashSet<u32>> {
        let row = |event: Event| self.layout.row_of[event.process as usize];
        let mut above = vec![HashSet::new(); self.layout.row_of.len()];
        for arrow in self.history.graph().arrows() {
            let lower = match row(arrow.from) < row(arrow.to) {
                true => arrow.to,
                false => arrow.from,
            };
            above[lower.process as usize].insert(lower.index);
        }
        above
    }

    fn dots(&mut self) {
        let history = self.history;
        let above = self.with_arrows_above();
        for row in 0..self.layout.rows.len() {
            let process = self.layout.rows[row];
            let y = self.y(process);
            // A label must not run into the next one.
            let (mut free_above, mut free_below) = (0.0_f64, 0.0_f64);
            for event in history.graph().events_of(process) {
                if !self.is_drawn(event) {
                    continue;
                }
                let x = self.x(event);
                let kind = history.kind(event);
                let _ = writeln!(
                    self.out,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\" fill=\"{}\" stroke=\"#ffffff\" stroke-width=\"1\"><title>{}</title></circle>",
                    colour(kind),
                    escaped(&history.describe(event))
                );
                if !self.style.labels || kind != Kind::Local {
                    continue;
                }
                let label = shortened(history.label(event));
                let half = label.chars().count() as f64 * 3.0 + 2.0;
                // On the side from which no arrow comes, if there is room.
                let x = x.min(self.width - half).max(self.begin + half);
                let mut sides = [(&mut free_above, -10.0), (&mut free_below, 18.0)];
                if above[event.process as usize].contains(&event.index) {
                    sides.reverse();
                }
                let Some((free, dy)) = sides.into_iter().find(|(free, _)| x - half >= **free)
                else {
                    continue;
                };
                *free = x + half;
                let _ = writeln!(
                    self.out,
                    "<text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"10.5\" text-anchor=\"middle\" fill=\"#3b4657\" stroke=\"#ffffff\" stroke-width=\"3\" paint-order=\"stroke\">{}</text>",
                    y + dy,
                    escaped(&label)
                );
            }
        }
    }

    /// The legend, and where it ends.
    fn legend(&self, height: f64) -> (String, f64) {
        let (history, mut out) = (self.history, String::new());
        let mut seen = [false; Kind::ALL.len()];
        for event in history.graph().events() {
            if self.is_drawn(event) {
                seen[history.kind(event) as usize] = true;
            }
        }
        let mut x = LEFT + 6.0;
        let y = height - 20.0;
        for kind in Kind::ALL {
            if seen[kind as usize] {
                let _ = writeln!(
                    out,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\" fill=\"{}\"/><text x=\"{:.1}\" y=\"{:.1}\" font-size=\"11\" fill=\"#56627a\">{}</text>",
                    colour(kind),
                    x + 9.0,
                    y + 4.0,
                    kind.name()
                );
                x += 26.0 + kind.name().len() as f64 * 6.6;
            }
        }
        let mut links: Vec<Link> = Vec::new();
        for arrow in history.graph().arrows() {
            if !links.contains(&arrow.link) && self.is_drawn(arrow.from) && self.is_drawn(arrow.to)
            {
                links.push(arrow.link);
            }
        }
        links.sort_by_key(|link| *link as u8);
        for link in links {
            let dash = match link {
                Link::Wake => " stroke-dasharray=\"5 3\"",
                _ => "",
            };
            let _ = writeln!(
                out,
                "<path d=\"M{x:.1} {y:.1}h18\" stroke=\"{}\" stroke-width=\"1.6\"{dash}/><text x=\"{:.1}\" y=\"{:.1}\" font-size=\"11\" fill=\"#56627a\">{}</text>",
                link_colour(link),
                x + 24.0,
                y + 4.0,
                link.name()
            );
            x += 40.0 + link.name().len() as f64 * 6.6;
        }
        (out, x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HistoryBuilder;

    fn attribute(line: &str, name: &str) -> f64 {
        let value = line.split(&format!(" {name}=\"")).nth(1).unwrap();
        value.split('"').next().unwrap().parse().unwrap()
    }

    /// However few events there are.
    #[test]
    fn legend_and_labels_are_within_the_picture() {
        let mut builder = HistoryBuilder::new();
        let (ada, bob) = (builder.host("Ada"), builder.host("Bob"));
        for kind in Kind::ALL {
            let label = "a long story ".repeat(40);
            builder.event(ada, kind, &label, None);
        }
        let (from, to) = (
            builder.event(ada, Kind::Send, "", None),
            builder.event(bob, Kind::Receive, "", None),
        );
        builder.arrow(from, to, Link::Message).unwrap();
        let style = Style {
            step: 5.0,
            ..Style::default()
        };
        let picture = picture(&builder.build().unwrap(), &style);
        let width = attribute(&picture, "width");
        let texts = picture.lines().flat_map(|line| line.split("<text").skip(1));
        let mut seen = 0;
        for text in texts {
            let words = text.split('>').nth(1).unwrap().split('<').next().unwrap();
            let long = words.chars().count() as f64 * 5.2;
            let (x, middle) = (attribute(text, "x"), text.contains("middle"));
            let (left, right) = match middle {
                true => (x - long / 2.0, x + long / 2.0),
                false => (x, x + long),
            };
            assert!(
                left >= 0.0 && right <= width,
                "{words}: {left}, {right}, {width}"
            );
            seen += usize::from(words == "message" || words.starts_with("a long story"));
        }
        assert!(seen >= 2, "{picture}");
    }
}
