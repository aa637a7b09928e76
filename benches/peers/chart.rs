//! The chart: for each workload, how many times as long as lisle's light threads each peer takes, on a logarithmic scale.

use plotters::prelude::*;

use crate::report::Row;

/// Pixels.
const WIDTH: u32 = 980;
const LINE: u32 = 17;
const TITLE: u32 = 30;
const LABELS: u32 = 330;

/// A bar: what is compared, and how many times as long it takes.
struct Bar<'r> {
    row: &'r Row,
    ratio: f64,
}

fn bars(rows: &[Row]) -> Vec<Bar<'_>> {
    let ours = |row: &Row| {
        let same = |other: &&Row| other.peer == "lisle light" && other.contest() == row.contest();
        rows.iter().find(same).map(|ours| ours.median)
    };
    let bar = |row| {
        Some(Bar {
            row,
            ratio: row.median / ours(row)?,
        })
    };
    rows.iter().filter_map(bar).collect()
}

fn colour(peer: &str) -> RGBColor {
    match peer {
        "lisle light" => RGBColor(20, 110, 180),
        "lisle full" | "lisle scope" => RGBColor(90, 165, 215),
        "std" => RGBColor(150, 150, 150),
        _ => RGBColor(225, 145, 60),
    }
}

/// The chart as SVG.
pub(crate) fn draw(rows: &[Row], provenance: &str) -> String {
    let bars = bars(rows);
    let mut svg = String::new();
    // A drawing in memory cannot fail.
    let _ = paint(&mut svg, &bars, provenance);
    svg
}

fn paint(
    svg: &mut String,
    bars: &[Bar<'_>],
    provenance: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let height = 2 * TITLE + LINE * bars.len() as u32 + TITLE;
    let root = SVGBackend::with_string(svg, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let title = ("sans-serif", 16).into_font().color(&BLACK);
    let small = ("sans-serif", 12).into_font().color(&RGBColor(60, 60, 60));
    root.draw_text(
        "Time (or memory) over that of lisle's light threads; logarithmic",
        &title,
        (10, 8),
    )?;
    root.draw_text(provenance, &small, (10, TITLE as i32))?;
    let most = bars
        .iter()
        .map(|bar| bar.ratio)
        .fold(10.0, f64::max)
        .log10();
    let least = bars.iter().map(|bar| bar.ratio).fold(0.5, f64::min).log10();
    let scale = f64::from(WIDTH - LABELS - 70) / (most - least);
    let x = |ratio: f64| LABELS as i32 + ((ratio.log10() - least) * scale) as i32;
    let top = 2 * TITLE as i32;
    let bottom = top + (LINE as usize * bars.len()) as i32;
    for power in least.ceil() as i32..=most.floor() as i32 {
        let at = x(10f64.powi(power));
        let shade = if power == 0 {
            RGBColor(90, 90, 90)
        } else {
            RGBColor(220, 220, 220)
        };
        root.draw(&PathElement::new([(at, top), (at, bottom)], shade))?;
        root.draw_text(
            &format!("{}", 10f64.powi(power)),
            &small,
            (at - 6, bottom + 4),
        )?;
    }
    for (n, bar) in bars.iter().enumerate() {
        let y = top + (n as u32 * LINE) as i32;
        let Row {
            workload,
            workers,
            unit,
            peer,
            median,
            ..
        } = bar.row;
        let first = n == 0 || bars[n - 1].row.contest() != bar.row.contest();
        if first {
            root.draw_text(
                &format!("{workload}, {workers} w, {unit}"),
                &small,
                (10, y + 2),
            )?;
            root.draw(&PathElement::new(
                [(10, y), (WIDTH as i32 - 10, y)],
                RGBColor(230, 230, 230),
            ))?;
        }
        root.draw_text(peer, &small, (220, y + 2))?;
        let (one, end) = (x(1.0), x(bar.ratio));
        let (from, to) = if end < one {
            (end, one)
        } else {
            (one, end.max(one + 2))
        };
        let fill = colour(peer).filled();
        root.draw(&Rectangle::new(
            [(from, y + 3), (to, y + LINE as i32 - 3)],
            fill,
        ))?;
        root.draw_text(
            &format!("{median:.*}", usize::from(*median < 100.0)),
            &small,
            (to + 4, y + 2),
        )?;
    }
    root.present()?;
    Ok(())
}
