//! The charts: each figure against the number of threads, and of LWPs; both axes logarithmic.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::{CROWD, Curves, FIGURES, Kind, Point};

/// Pixels of one chart.
const WIDTH: u32 = 480;
const HEIGHT: u32 = 260;
const TITLE: u32 = 30;

type Area<'s> = DrawingArea<SVGBackend<'s>, Shift>;
type Painted = Result<(), Box<dyn std::error::Error>>;

/// What a chart's horizontal axis counts.
#[derive(Clone, Copy)]
enum Against {
    Threads,
    Lwps,
}

impl Against {
    fn title(self) -> String {
        match self {
            Against::Threads => "threads, on one LWP".into(),
            Against::Lwps => format!("LWPs, with {CROWD} threads"),
        }
    }

    /// From one point to the next.
    fn base(self) -> f64 {
        match self {
            Against::Threads => 10.0,
            Against::Lwps => 2.0,
        }
    }

    /// Where a point stands, if it belongs to this chart.
    fn place(self, point: &Point) -> Option<f64> {
        match self {
            Against::Threads => (point.lwps == 1).then_some(point.threads as f64),
            Against::Lwps => (point.threads == CROWD).then_some(point.lwps as f64),
        }
    }
}

/// All charts as SVG: a row for each figure.
pub(crate) fn draw(curves: &Curves, provenance: &str) -> String {
    let mut svg = String::new();
    // A drawing in memory cannot fail.
    let _ = paint(&mut svg, curves, provenance);
    svg
}

fn colour(kind: Kind) -> RGBColor {
    match kind {
        Kind::Light => RGBColor(20, 110, 180),
        Kind::Full => RGBColor(225, 145, 60),
    }
}

fn paint(svg: &mut String, curves: &Curves, provenance: &str) -> Painted {
    let rows = FIGURES.len();
    let size = (2 * WIDTH, TITLE + HEIGHT * rows as u32);
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    root.fill(&WHITE)?;
    let small = ("sans-serif", 12).into_font().color(&RGBColor(60, 60, 60));
    root.draw_text(provenance, &small, (10, 8))?;
    for (kind, at) in Kind::ALL.into_iter().zip([800, 880]) {
        root.draw(&PathElement::new(
            [(at, 14), (at + 16, 14)],
            colour(kind).stroke_width(2),
        ))?;
        root.draw_text(kind.name(), &small, (at + 22, 8))?;
    }
    let (_, below) = root.split_vertically(TITLE);
    for (number, area) in below.split_evenly((rows, 2)).iter().enumerate() {
        let against = [Against::Threads, Against::Lwps][number % 2];
        panel(area, curves, number / 2, against)?;
    }
    root.present()?;
    Ok(())
}

fn panel(area: &Area<'_>, curves: &Curves, figure: usize, against: Against) -> Painted {
    let curve = |wanted: Kind| -> Vec<(f64, f64)> {
        let mine = curves.iter().filter(|(point, _)| point.kind == wanted);
        // What is too little to be measured has no place on a logarithmic scale.
        mine.filter_map(|(point, figures)| Some((against.place(point)?, figures[figure].max(1.0))))
            .collect()
    };
    let all = Kind::ALL.map(curve);
    let places = all.iter().flatten().map(|&(x, _)| x);
    let values = || all.iter().flatten().map(|&(_, y)| y);
    let (first, last) = (
        places.clone().fold(f64::MAX, f64::min),
        places.fold(1.0, f64::max),
    );
    let least = 10f64.powf(values().fold(f64::MAX, f64::min).log10().floor());
    let most = 10f64.powf(values().fold(1.0, f64::max).log10().ceil());
    let (name, unit) = FIGURES[figure];
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{name}, {unit}"), ("sans-serif", 14))
        .margin(8)
        .margin_right(24)
        .x_label_area_size(34)
        .y_label_area_size(60)
        .build_cartesian_2d(
            (first..last).log_scale().base(against.base()),
            (least..most).log_scale(),
        )?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc(against.title())
        .x_label_formatter(&|x| x.to_string())
        .y_label_formatter(&|y| y.to_string())
        .draw()?;
    for (kind, curve) in Kind::ALL.into_iter().zip(all) {
        let colour = colour(kind);
        let dot = |&place: &(f64, f64)| Circle::new(place, 3, colour.filled());
        chart.draw_series(curve.iter().map(dot))?;
        chart.draw_series(LineSeries::new(curve, colour.stroke_width(2)))?;
    }
    Ok(())
}
