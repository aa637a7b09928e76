//! Draws space-time diagrams, of logs and of lisle itself.
//!
//!   cargo run --release --example spacetime -- LOG --html OUT
//!
//! LOG is a log of ShiViz's or GoVector's; without one, a small run of lisle's own is
//! recorded. What is made of it:
//!
//!   --html FILE           a page: click an event to see its causal past and future
//!   --svg FILE            a picture
//!   --perfetto FILE       a trace for ui.perfetto.dev (of a recording only)
//!   --shiviz FILE         a log for ShiViz
//!   --govector FILE       a log as GoVector writes it
//!   --processes FILE      which process precedes which, for Graphviz
//!   --communication FILE  who talks to whom, for Graphviz
//!   --run NAME            which run of the log; default: the first
//!   --events N            record a run of about so many events instead

mod kitchen;

use std::error::Error;
use std::process::ExitCode;

use lisle_trace::{History, Trace, html, perfetto, shiviz, svg};

#[derive(Default)]
struct Options {
    log: Option<String>,
    run: Option<String>,
    events: Option<u64>,
    outputs: Vec<(String, String)>,
}

const OUTPUTS: [&str; 7] = [
    "html",
    "svg",
    "perfetto",
    "shiviz",
    "govector",
    "processes",
    "communication",
];

fn options() -> Result<Options, Box<dyn Error>> {
    use lexopt::prelude::*;
    let mut options = Options::default();
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Value(path) if options.log.is_none() => options.log = Some(path.string()?),
            Long("run") => options.run = Some(args.value()?.string()?),
            Long("events") => options.events = Some(args.value()?.parse()?),
            Long(output) if OUTPUTS.contains(&output) => {
                let output = output.to_owned();
                options.outputs.push((output, args.value()?.string()?));
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    match options().and_then(|options| draw(&options)) {
        Ok(what) => {
            println!("ok: {what}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("spacetime: {error}");
            ExitCode::FAILURE
        }
    }
}

fn draw(options: &Options) -> Result<String, Box<dyn Error>> {
    let Some(path) = &options.log else {
        let trace = match options.events {
            None => kitchen::one_evening()?,
            Some(events) => kitchen::many_evenings(events)?,
        };
        let loss = trace.loss();
        if !loss.is_none() {
            println!("missing: {loss}");
        }
        make(
            options,
            "An evening in the kitchen",
            trace.history(),
            Some(&trace),
        )?;
        return Ok(told(trace.history()));
    };
    let log = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let runs = shiviz::read(&log).map_err(|error| format!("{path}: {error}"))?;
    let names = || {
        let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
        names.join(", ")
    };
    let run = match &options.run {
        None => runs.first(),
        Some(name) => runs.iter().find(|run| run.name == *name),
    };
    let run = run.ok_or_else(|| format!("{path}: the runs are {}", names()))?;
    if runs.len() > 1 {
        println!("{} runs: {}", runs.len(), names());
    }
    let title = std::path::Path::new(path).file_name();
    let title = title.map_or(path.clone(), |name| name.to_string_lossy().into_owned());
    make(options, &title, &run.history, None)?;
    Ok(told(&run.history))
}

fn told(history: &History) -> String {
    let graph = history.graph();
    format!(
        "{} events of {} processes, {} arrows",
        graph.len(),
        graph.processes(),
        graph.arrows().count()
    )
}

fn make(
    options: &Options,
    title: &str,
    history: &History,
    trace: Option<&Trace>,
) -> Result<(), Box<dyn Error>> {
    for (output, path) in &options.outputs {
        let bytes = match output.as_str() {
            "html" => html::page(history, title).into_bytes(),
            "svg" => {
                let style = svg::Style {
                    title: title.to_owned(),
                    ..svg::Style::default()
                };
                svg::picture(history, &style).into_bytes()
            }
            "perfetto" => {
                let trace =
                    trace.ok_or("a log says nothing of LWPs: there is no Perfetto trace of it")?;
                perfetto::trace(trace)
            }
            "shiviz" => shiviz::write(history).into_bytes(),
            "govector" => shiviz::govector(history).into_bytes(),
            "processes" => history.process_graph().to_dot().into_bytes(),
            _ => history.communication_graph().to_dot().into_bytes(),
        };
        std::fs::write(path, &bytes).map_err(|error| format!("{path}: {error}"))?;
        println!("{path}: {} bytes", bytes.len());
    }
    Ok(())
}
