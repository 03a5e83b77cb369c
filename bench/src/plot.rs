//! Plots of tables, as SVG.

use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::Result;
use crate::comparison;
use crate::report::Table;

/// What a table's plot shows.
pub enum Plot {
    /// A panel for each of these, with a bar for each row.
    Bars { axis: String, bars: Vec<Bar> },
    /// Lines, whose names a legend gives.
    Lines { x: Axis, y: Axis, series: Vec<Series> },
}

/// Columns of a table: the length of a bar, and the ends of its whisker.
pub struct Bar {
    pub middle: usize,
    pub low: usize,
    pub high: usize,
}

impl Bar {
    /// Without a whisker.
    pub fn plain(column: usize) -> Self {
        Self { middle: column, low: column, high: column }
    }
}

/// One axis of a plot of lines.
pub struct Axis {
    /// What it shows, with the unit.
    pub title: String,
    pub logarithmic: bool,
}

/// A name and the points of its line, from left to right.
pub type Series = (String, Vec<(f64, f64)>);

const WIDTH: u32 = 900;
const LEGEND: u32 = 170;
const FONT: &str = "sans-serif";

/// Colours that differ, also for those who don't tell red from green (after Okabe and Ito), and shades of
/// them.
const COLOURS: [RGBColor; 12] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(110, 110, 110),
    RGBColor(148, 103, 189),
    RGBColor(170, 150, 20),
    RGBColor(0, 60, 90),
    RGBColor(120, 50, 0),
    RGBColor(160, 200, 160),
];
const CONTROL: RGBColor = RGBColor(150, 190, 215);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws the table's plot into the file.
pub fn draw(table: &Table, plot: &Plot, file: &Path) -> Result<()> {
    let height = match plot {
        Plot::Bars { bars, .. } => 50 + bars.len() as u32 * panel_height(table),
        Plot::Lines { .. } => 500,
    };
    let root = SVGBackend::new(file, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let area = root.titled(&table.title, (FONT, 18))?;
    match plot {
        Plot::Bars { axis, bars } => {
            for (bar, panel) in bars.iter().zip(area.split_evenly((bars.len(), 1))) {
                panel_of_bars(&panel, table, axis, bar)?;
            }
        }
        Plot::Lines { x, y, series } => {
            let (left, right) = area.split_horizontally(WIDTH - LEGEND);
            lines(&left, x, y, series)?;
            legend(&right, series)?;
        }
    }
    root.present()?;
    Ok(())
}

fn panel_height(table: &Table) -> u32 {
    70 + 24 * table.rows.len() as u32
}

/// One bar of a row that has this figure.
struct Row<'a> {
    name: &'a str,
    colour: RGBColor,
    figures: [f64; 3],
}

fn panel_of_bars(area: &Area, table: &Table, axis: &str, bar: &Bar) -> Result<()> {
    let mut colours = COLOURS.iter().cycle();
    let rows = table.rows.iter().filter_map(|(name, figures)| {
        let control = comparison::is_control(name);
        let colour = if control { CONTROL } else { *colours.next()? };
        let figures = [figures[bar.middle]?, figures[bar.low]?, figures[bar.high]?];
        Some(Row { name, colour, figures })
    });
    // The first at the top, where the axis ends.
    let rows: Vec<_> = rows.collect::<Vec<_>>().into_iter().rev().collect();
    if rows.is_empty() {
        return Ok(());
    }
    let end = rows.iter().map(|row| row.figures[2]).fold(0.0, f64::max) * 1.1;
    // A single panel's column is what the axis says; of several each says which it is.
    let heading = &table.columns[bar.middle].0;
    let title = if axis.contains(heading.as_str()) || heading.contains(axis) {
        axis.to_owned()
    } else {
        format!("{heading}: {axis}")
    };
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .margin_right(30)
        .x_label_area_size(42)
        .y_label_area_size(190)
        .build_cartesian_2d(0.0..end, (0..rows.len() as i32 - 1).into_segmented())?;
    let name_at = |value: &SegmentValue<i32>| match value {
        SegmentValue::CenterOf(row) => {
            rows.get(*row as usize).map_or(String::new(), |row| row.name.to_owned())
        }
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .max_light_lines(1)
        .x_label_formatter(&|value| label(*value))
        .y_labels(rows.len())
        .y_label_formatter(&name_at)
        .x_desc(title)
        .label_style((FONT, 14))
        .draw()?;
    // The control's spread behind the bars: what the others differ by within it is noise.
    if let Some(control) = rows.iter().find(|row| comparison::is_control(row.name)) {
        let [_, low, high] = control.figures;
        let (bottom, top) = (SegmentValue::Exact(0), SegmentValue::Exact(rows.len() as i32));
        let band = Rectangle::new([(low, bottom), (high, top)], CONTROL.mix(0.35).filled());
        chart.draw_series([band])?;
    }
    let bars = rows.iter().zip(0..).map(|(row, place)| {
        let corners =
            [(0.0, SegmentValue::Exact(place)), (row.figures[0], SegmentValue::Exact(place + 1))];
        let mut bar = Rectangle::new(corners, row.colour.filled());
        bar.set_margin(4, 4, 0, 0);
        bar
    });
    chart.draw_series(bars)?;
    let whiskers = rows.iter().zip(0..).filter(|(row, _)| row.figures[1] < row.figures[2]).map(
        |(row, place)| {
            let [middle, low, high] = row.figures;
            let at = SegmentValue::CenterOf(place);
            ErrorBar::new_horizontal(at, low, middle, high, BLACK.filled(), 8)
        },
    );
    chart.draw_series(whiskers)?;
    Ok(())
}

fn lines(area: &Area, x: &Axis, y: &Axis, series: &[Series]) -> Result<()> {
    let points = || series.iter().flat_map(|(_, points)| points);
    let xs = bounds(points().map(|point| point.0), x.logarithmic);
    let ys = bounds(points().map(|point| point.1), y.logarithmic);
    let mut builder = ChartBuilder::on(area);
    builder.margin(8).x_label_area_size(45).y_label_area_size(70);
    // Each kind of axis is a type of its own.
    macro_rules! chart {
        ($xs:expr, $ys:expr) => {{
            let mut chart = builder.build_cartesian_2d($xs, $ys)?;
            chart
                .configure_mesh()
                .x_desc(&x.title)
                .y_desc(&y.title)
                .x_label_formatter(&|value| label(*value))
                .y_label_formatter(&|value| label(*value))
                .max_light_lines(1)
                .label_style((FONT, 14))
                .draw()?;
            for ((_, points), colour) in series.iter().zip(COLOURS.iter().cycle()) {
                chart
                    .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
            }
        }};
    }
    match (x.logarithmic, y.logarithmic) {
        (false, false) => chart!(xs, ys),
        (true, false) => chart!(xs.log_scale(), ys),
        (false, true) => chart!(xs, ys.log_scale()),
        (true, true) => chart!(xs.log_scale(), ys.log_scale()),
    }
    Ok(())
}

/// From 0 to a bit above all values; on a logarithmic axis the powers of ten around them.
fn bounds(values: impl Iterator<Item = f64> + Clone, logarithmic: bool) -> Range<f64> {
    let most = values.clone().fold(f64::MIN_POSITIVE, f64::max);
    if logarithmic {
        let least = values.filter(|value| *value > 0.0).fold(most, f64::min);
        let power = |exponent: f64| 10_f64.powf(exponent);
        power(least.log10().floor())..power(most.log10().ceil().max(least.log10().floor() + 1.0))
    } else {
        0.0..most * 1.05
    }
}

/// A figure of an axis, without more digits than it needs.
fn label(value: f64) -> String {
    if value < 1000.0 {
        format!("{}", (value * 1000.0).round() / 1000.0)
    } else if value < 1e6 {
        format!("{} k", value / 1e3)
    } else {
        format!("{} M", value / 1e6)
    }
}

fn legend(area: &Area, series: &[Series]) -> Result<()> {
    for (((name, _), colour), place) in series.iter().zip(COLOURS.iter().cycle()).zip(0..) {
        let y = 30 + 22 * place;
        area.draw(&PathElement::new([(0, y), (24, y)], colour.stroke_width(4)))?;
        area.draw(&Text::new(name.clone(), (32, y - 8), (FONT, 15)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithmic_axis_has_room_for_all_values_and_begins_above_zero() {
        assert_eq!(bounds([3.0, 0.0, 70.0].into_iter(), true), 1.0..100.0);
        assert_eq!(bounds([10.0].into_iter(), true), 10.0..100.0);
    }

    #[test]
    fn every_row_with_a_figure_has_its_name_in_the_plot() {
        let rows = [("here", Some(1.0)), ("there", Some(2.0)), ("nowhere", None)];
        let table = Table {
            title: "places".to_owned(),
            columns: vec![("figure".to_owned(), 0)],
            rows: rows.map(|(name, figure)| (name.to_owned(), vec![figure])).into(),
            plot: None,
        };
        let plot = Plot::Bars { axis: "figure".to_owned(), bars: vec![Bar::plain(0)] };
        let mut text = String::new();
        let file = std::env::temp_dir().join(format!("plot-{}.svg", std::process::id()));
        draw(&table, &plot, &file).unwrap();
        text.push_str(&std::fs::read_to_string(&file).unwrap());
        std::fs::remove_file(&file).unwrap();
        let shown = |name: &str| text.lines().any(|line| line.trim() == name);
        assert!(shown("here") && shown("there") && !shown("nowhere"), "{text}");
    }
}
