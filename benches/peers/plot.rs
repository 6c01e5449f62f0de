//! Draws time against the number of patterns, ours and a peer's, from a file that `run.py --growth` has written:
//! `cargo run --example plot -- benches/results/cpu-growth.json assets/growth.svg`.

use std::path::Path;

use plotters::prelude::*;
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const OURS: RGBColor = RGBColor(0, 90, 181);
const THEIRS: RGBColor = RGBColor(220, 50, 32);
/// Text that is read on a light page and on a dark one.
const INK: RGBColor = RGBColor(40, 40, 40);

/// One line of the picture.
struct Line {
    label: String,
    color: RGBColor,
    filled: bool,
    points: Vec<(f64, f64)>,
}

/// The lines of all growth against the number of patterns.
fn lines(growth: &[Value]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in growth.iter().filter(|row| row["against"].as_str().is_some_and(|against| against.starts_with('N'))) {
        let batch = row["request"]["batch"].as_u64().unwrap_or(0);
        let many = if batch == 1 { "one query".to_owned() } else { format!("{batch} queries") };
        let peer = match row["peer"].as_str() {
            Some("torch") | None => "PyTorch",
            Some(other) => other,
        };
        for (who, color, time) in [("attractor", OURS, &row["least"]), (peer, THEIRS, &row["theirs_least"])] {
            let (Some(patterns), Some(time)) = (row["request"]["patterns"].as_f64(), time.as_f64()) else { continue };
            let label = format!("{who}, {many}");
            let point = (patterns, time * 1e3);
            match lines.iter_mut().find(|line| line.label == label) {
                Some(line) => line.points.push(point),
                None => lines.push(Line { label, color, filled: batch == 1, points: vec![point] }),
            }
        }
    }
    lines
}

fn draw(told: &Value, to: &Path) -> Result<()> {
    let lines = lines(told["growth"].as_array().ok_or("no growth was measured")?);
    let points = || lines.iter().flat_map(|line| &line.points);
    let least = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::INFINITY, f64::min);
    let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(0.0, f64::max);
    if points().count() == 0 {
        return Err("no growth against the number of patterns was measured".into());
    }
    let area = SVGBackend::new(to, (760, 440)).into_drawing_area();
    area.fill(&WHITE)?;
    let about = &told["about"];
    let threads = match about["threads"].as_u64() {
        Some(1) => "one thread".to_owned(),
        count => format!("{} threads", count.unwrap_or(0)),
    };
    let title = format!(
        "Softmax retrieval, d = {}, f32, {threads} of an {}",
        told["growth"][0]["request"]["dim"],
        about["cpu"].as_str().unwrap_or("unknown processor")
    );
    let text = |size: u32| ("sans-serif", size).into_font().color(&INK);
    let x = (least(|p| p.0) / 1.15..most(|p| p.0) * 1.15).log_scale().base(2.0);
    let y = (least(|p| p.1) / 1.4..most(|p| p.1) * 1.4).log_scale();
    let mut chart = ChartBuilder::on(&area)
        .caption(title, text(17))
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(62)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .x_desc("stored patterns")
        .y_desc("milliseconds, the least of many")
        .x_label_formatter(&|n| format!("2^{:.0}", n.log2()))
        .y_labels(6)
        .y_label_formatter(&|ms| format!("{ms}"))
        .axis_desc_style(text(15))
        .label_style(text(13))
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .draw()?;
    for line in lines {
        let Line { label, color, filled, points } = line;
        let inside = if filled { color } else { WHITE };
        chart.draw_series(LineSeries::new(points.clone(), color.stroke_width(2)))?;
        let point = move |at: (f64, f64)| {
            EmptyElement::at(at) + Circle::new((0, 0), 5, color.filled()) + Circle::new((0, 0), 3, inside.filled())
        };
        chart.draw_series(points.into_iter().map(point))?.label(label).legend(move |(x, y)| {
            EmptyElement::at((x + 10, y))
                + PathElement::new([(-10, 0), (10, 0)], color.stroke_width(2))
                + Circle::new((0, 0), 5, color.filled())
                + Circle::new((0, 0), 3, inside.filled())
        });
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(text(14))
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.2))
        .draw()?;
    area.present()?;
    Ok(())
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(from), Some(to), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: plot RESULTS.json PICTURE.svg".into());
    };
    draw(&serde_json::from_str(&std::fs::read_to_string(from)?)?, Path::new(&to))
}
