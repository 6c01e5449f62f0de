//! The picture of a bench: for each size the rate of each device, which can be compared whatever part of the patterns
//! it stored, and the rate that its floor allows.

use plotters::prelude::*;

use super::{Measured, Row};

/// Told apart by people who do not see red or green, too (Okabe and Ito).
const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(70, 70, 70),
];
const INK: RGBColor = RGBColor(40, 40, 40);
const LINE: i32 = 26;
const LEFT: i32 = 200;

/// An SVG.
pub fn draw(measured: &[Measured]) -> Result<String, Box<dyn std::error::Error>> {
    let rows = || measured.iter().flat_map(|of| &of.rows);
    let mut sizes: Vec<&Row> = Vec::new();
    for row in rows() {
        if !sizes.iter().any(|known| known.size.name == row.size.name) {
            sizes.push(row);
        }
    }
    let least = rows().map(|row| row.rate(row.time[1])).fold(f64::INFINITY, f64::min);
    let most = rows().map(|row| row.rate(row.floor.unwrap_or(row.time[1]).min(row.time[1]))).fold(0.0, f64::max);
    if sizes.is_empty() {
        return Err("nothing was measured".into());
    }
    let (least, most) = (10f64.powf(least.log10().floor()), 10f64.powf(most.log10().ceil()));
    let legend = 24 + 20 * measured.len() as i32;
    let height = legend + LINE * sizes.len() as i32 + 60;
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (820, height as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        let font = |size: i32| ("sans-serif", size).into_font().color(&INK);
        for (place, (of, color)) in measured.iter().zip(COLORS.iter().cycle()).enumerate() {
            let y = 20 + 20 * place as i32;
            area.draw(&Circle::new((20, y), 5, color.filled()))?;
            area.draw(&Text::new(of.info.to_string(), (32, y - 7), font(14)))?;
        }
        let (_, below) = area.split_vertically(legend);
        let count = sizes.len() as f64;
        let mut chart = ChartBuilder::on(&below)
            .margin(10)
            .margin_right(24)
            .set_label_area_size(LabelAreaPosition::Left, LEFT)
            .x_label_area_size(40)
            .build_cartesian_2d((least..most).log_scale(), count - 0.5..-0.5)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .y_labels(0)
            .x_desc("GFLOP/s of the products (a stroke: what the floor allows)")
            .x_label_formatter(&|rate| rate.to_string())
            .axis_desc_style(font(14))
            .label_style(font(12))
            .light_line_style(WHITE)
            .bold_line_style(BLACK.mix(0.12))
            .draw()?;
        for (place, shown) in sizes.iter().enumerate() {
            let at = place as f64;
            let name = format!("{}: {}", shown.size.name, shown.size.what);
            chart.plotting_area().draw(
                &(EmptyElement::at((least, at))
                    + Text::new(name, (8 - LEFT, -6), ("sans-serif", 12).into_font().color(&INK))),
            )?;
            for (device, (of, color)) in measured.iter().zip(COLORS.iter().cycle()).enumerate() {
                let Some(row) = of.rows.iter().find(|row| row.size.name == shown.size.name) else { continue };
                let reached = row.rate(row.time[1]);
                // Devices of one size lie a little below each other.
                let y = at + (device as f64 - (measured.len() - 1) as f64 / 2.0) * 0.5 / measured.len() as f64;
                if let Some(allowed) = row.floor.map(|floor| row.rate(floor)) {
                    chart.draw_series(LineSeries::new([(allowed, y), (reached, y)], color.mix(0.45)))?;
                    let stroke = PathElement::new([(0, -4), (0, 4)], color.stroke_width(2));
                    chart.plotting_area().draw(&(EmptyElement::at((allowed, y)) + stroke))?;
                }
                chart
                    .plotting_area()
                    .draw(&(EmptyElement::at((reached, y)) + Circle::new((0, 0), 4, color.filled())))?;
            }
        }
        area.present()?;
    }
    Ok(text)
}
