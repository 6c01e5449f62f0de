//! `attractor bench`: how fast this machine retrieves, and how far that is from what it could.
//!
//! The harness has the sizes and makes, judges and times each of them, as for `benches/peers`; it also measures the
//! floors of a device.

mod chart;

use std::path::{Path, PathBuf};
use std::time::Duration;

use attractor::Device;
use attractor::device::DeviceInfo;
use attractor::files::{check_target, write_whole};
use attractor::wgpu::DeviceType;
use harness::measure::gpu::Gpu;
use harness::measure::measurement::{Measurement, Wrong};
use harness::measure::{self, cpu};
use harness::stats::quartiles;
use harness::workloads::{SIZES, Size};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::args::{DeviceArgs, Place, TuningArgs, at_least_one, finite};
use crate::failure::Failure;
use crate::ui::progress;
use crate::ui::report::{Report, device_json};
use crate::ui::table::{Column, Table, duration};
use crate::ui::terminal::wrap;

/// Shown under the flags.
pub const AFTER_HELP: &str = "\
Each size is retrieved again and again for about --seconds by the device's own clock (where it has one: from the \
first dispatch to the last, without uploads and read-backs) and as long from a call until its answers are in the \
caller's memory. Three answers of each are held against the reference first. The spread is the distance of the \
quartiles.

The floor is the least time that the same device needs to read the patterns once, at the rate of its copies (a CPU: \
of its reads), and to make the products, at the rate of multiply-adds in registers; both rates are measured in the \
same run. Of a sparse rule only the first product is counted. Products of halves have no floor: units of their own \
may make them.

Sizes: one, one-f16, one-i8, eight, batch, large-64, large-128, large-128-f16, wide, softmax, sparsemax, entmax, \
latency, converge. What does not fit a device is left out, and the reason is printed.";

/// The flags of `attractor bench`.
#[derive(clap::Args, Debug)]
pub struct BenchArgs {
    /// Where to compute: all (every GPU and the CPU engine), auto (the best GPU, else the CPU engine), cpu, vulkan,
    /// metal, dx12, gl, or an index that `attractor devices` lists.
    #[arg(long, value_name = "DEVICE", default_value = "all", value_parser = place)]
    device: Place,
    /// Take software adapters (lavapipe, llvmpipe, SwiftShader, WARP): all of them, or the one that --device picks.
    #[arg(long)]
    software: bool,
    #[command(flatten)]
    tuning: TuningArgs,
    /// Which sizes, with commas between them [default: all].
    #[arg(long, value_name = "SIZES", value_delimiter = ',', value_parser = Size::named)]
    sizes: Vec<&'static Size>,
    /// Store one of N of the patterns of each size [default: 1; on the CPU engine and on software adapters 16, but for
    /// batch and latency].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    divide: Option<usize>,
    /// How long to time each size.
    #[arg(long, value_name = "S", default_value = "1", value_parser = positive, allow_hyphen_values = true)]
    seconds: f32,
    /// Write the measurements as JSON to this file; `-` or no file is standard output, which then gets nothing else.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_value = "bench.json", default_missing_value = "-")]
    json: PathBuf,
    /// The picture to write.
    #[arg(long, value_name = "FILE", default_value = "bench.svg")]
    svg: PathBuf,
}

/// A place, or all of them.
fn place(text: &str) -> Result<Place, String> {
    if text == "all" {
        Ok(Place::All)
    } else {
        text.parse().map_err(|why: String| why.replacen("expected", "expected all,", 1))
    }
}

/// A time to measure for.
fn positive(text: &str) -> Result<f32, String> {
    match finite(text)? {
        seconds if seconds > 0.0 => Ok(seconds),
        _ => Err("must be above 0".into()),
    }
}

/// What a device could do, in bytes and operations a second; absent where it has no clock to tell.
#[derive(Clone, Copy)]
struct Floors {
    bandwidth: f64,
    flops: f64,
}

/// One size on one device.
struct Row {
    size: &'static Size,
    patterns: usize,
    /// Median seconds by the device's own clock, or else of the whole call; quartiles of the same.
    time: [f64; 3],
    by_device: bool,
    /// Median seconds of the whole call, and of recording it.
    whole: f64,
    recording: Option<f64>,
    /// The least that it could take.
    floor: Option<f64>,
    flops: f64,
    bytes: f64,
    steps: f64,
    error: f64,
    /// How it was done.
    plan: String,
}

impl Row {
    /// Giga-operations a second of the products, if they take so many seconds.
    fn rate(&self, seconds: f64) -> f64 {
        1e-9 * self.flops / seconds
    }
}

/// A device and its rows.
struct Measured {
    info: DeviceInfo,
    rows: Vec<Row>,
}

/// Measures, prints a table for each device, writes both files.
pub fn run(args: &BenchArgs) -> Result<(), Failure> {
    let mut others: Vec<&Path> = args.tuning.file().into_iter().collect();
    check_target(&args.svg, &others)?;
    others.push(&args.svg);
    let report = Report::begin(Some(args.json.clone()), "bench", &others)?;
    let sizes = if args.sizes.is_empty() { SIZES.iter().collect() } else { args.sizes.clone() };
    let (devices, refused) = open(args)?;
    report.set("not_measured", refused.clone().into());
    report.set("devices", json!([]));
    let bar = progress::bar(devices.len() * sizes.len(), "measuring");
    let (mut measured, mut wrong) = (Vec::new(), Vec::new());
    for (place, device) in devices.iter().enumerate() {
        let bench = Bench { args, sizes: &sizes, report: &report, bar: &bar, place };
        let (told, found) = bench.measure(device)?;
        wrong.extend(found);
        measured.push(told);
    }
    bar.finish_and_clear();
    let picture = chart::draw(&measured).map_err(|why| Failure::Work(format!("no picture: {why}")))?;
    write_whole(&args.svg, picture.as_bytes())?;
    let mut said: Vec<String> = refused.iter().map(|why| format!("not measured: {why}\n")).collect();
    said.push(format!("wrote {} and {}\n", args.json.display(), args.svg.display()));
    report.say(&wrap(&said.concat()))?;
    report.finish()?;
    match wrong.first() {
        None => Ok(()),
        Some(first) => Err(Failure::Work(format!("{} of the sizes were answered wrongly: {first}", wrong.len()))),
    }
}

/// The devices to measure, and why others are not.
fn open(args: &BenchArgs) -> Result<(Vec<Device>, Vec<String>), Failure> {
    let one = |device, software| {
        let device = DeviceArgs { device, software }.open()?;
        args.tuning.apply(&device)?;
        Ok::<Device, Failure>(device)
    };
    if args.device != Place::All {
        return Ok((vec![one(args.device, args.software)?], Vec::new()));
    }
    let (mut devices, mut refused) = (Vec::new(), Vec::new());
    for (index, adapter) in pollster::block_on(Device::adapters()).iter().enumerate() {
        let info = adapter.get_info();
        if (info.device_type == DeviceType::Cpu) == args.software {
            match one(Place::Index(index), args.software) {
                Ok(device) => devices.push(device),
                Err(why) => refused.push(format!("{}: {why}", DeviceInfo::from(&info))),
            }
        }
    }
    match args.software {
        false => devices.push(Device::cpu()),
        true if devices.is_empty() => return Err(Failure::Work("no software adapter is here".into())),
        true => {}
    }
    Ok((devices, refused))
}

/// What one device is measured with.
struct Bench<'a> {
    args: &'a BenchArgs,
    sizes: &'a [&'static Size],
    report: &'a Report,
    bar: &'a ProgressBar,
    /// The device's place in the report.
    place: usize,
}

impl Bench<'_> {
    /// Prints each row as it is measured. Returns what was measured, and which answers were wrong.
    fn measure(&self, device: &Device) -> Result<(Measured, Vec<String>), Failure> {
        let info = device.info();
        let slow = info.kind.is_cpu();
        let floors = match Gpu::open(device) {
            _ if device.is_cpu() => Some(Floors { bandwidth: cpu::bandwidth(), flops: cpu::multiply_adds() }),
            Ok(gpu) => {
                let floors = gpu.copies().and_then(|bandwidth| Ok(Floors { bandwidth, flops: gpu.multiply_adds()? }));
                Some(floors.map_err(|why| Failure::Work(format!("{info}: its floors: {why}")))?)
            }
            Err(_) => None,
        };
        let table = Table::new(&COLUMNS);
        self.report.push("/devices", measured_json(&info, floors));
        self.say(&(wrap(&heading(&info, floors)) + &table.header()))?;
        let mut told = Measured { info, rows: Vec::new() };
        let mut wrong = Vec::new();
        for size in self.sizes {
            let divide = self.args.divide.unwrap_or(if slow && size.divided { 16 } else { 1 });
            match row(device, size, divide, floors, f64::from(self.args.seconds)) {
                Ok(row) => {
                    self.report.push(&format!("/devices/{}/rows", self.place), row_json(&row));
                    self.say(&table.row(&cells(&row)))?;
                    told.rows.push(row);
                }
                Err(why) => {
                    let line = format!("{}: {why}", size.name);
                    self.report.push(&format!("/devices/{}/left_out", self.place), line.clone().into());
                    self.say(&wrap(&format!("left out: {line}\n")))?;
                    if why.is::<Wrong>() {
                        wrong.push(format!("{}, {line}", told.info));
                    }
                }
            }
            self.bar.inc(1);
        }
        self.say("\n")?;
        Ok((told, wrong))
    }

    /// Prints above the progress bar.
    fn say(&self, text: &str) -> Result<(), Failure> {
        self.bar.suspend(|| self.report.say(text))
    }
}

fn row(
    device: &Device,
    size: &'static Size,
    divide: usize,
    floors: Option<Floors>,
    seconds: f64,
) -> measure::Result<Row> {
    let load = size.workload(divide);
    let (measurement, told) = Measurement::prepare(&load, device)?;
    let times = measurement.time(seconds)?;
    let by_device = !times.device.is_empty();
    let time = quartiles(if by_device { times.device } else { times.whole.clone() });
    let (flops, bytes) = (load.flops() * told.mean_steps(), load.bytes());
    let floor = floors.map(|floors| {
        let products = if size.is_half() && load.batch > 16 { 0.0 } else { flops / floors.flops };
        products.max(bytes / floors.bandwidth)
    });
    Ok(Row {
        size,
        patterns: load.patterns,
        time,
        by_device,
        whole: quartiles(times.whole)[1],
        recording: by_device.then(|| quartiles(times.recording)[1]),
        floor: floor.filter(|_| !(size.is_half() && load.batch > 16)),
        flops,
        bytes,
        steps: told.mean_steps(),
        error: told.error,
        plan: measurement.explain()?.to_string(),
    })
}

fn seconds(time: f64) -> String {
    duration(Duration::from_secs_f64(time))
}

/// A rate in giga units, three figures.
fn giga(rate: f64) -> String {
    let giga = rate * 1e-9;
    let decimals = match giga {
        rate if rate < 10.0 => 2,
        rate if rate < 100.0 => 1,
        _ => 0,
    };
    format!("{giga:.decimals$}")
}

const COLUMNS: [Column; 11] = [
    Column::fixed("size", 13),
    Column::fixed("B", 4),
    Column::fixed("N", 7),
    Column::fixed("d", 3),
    Column::fixed("time", 7),
    Column::fixed("spread", 6),
    Column::flexible("of floor", 5, 8),
    Column::flexible("GB/s", 4, 5),
    Column::fixed("GFLOP/s", 7),
    Column::flexible("whole call", 7, 10),
    Column::flexible("record", 7, 9),
];

/// What stands above the rows of a device.
fn heading(info: &DeviceInfo, floors: Option<Floors>) -> String {
    let rates = match floors {
        Some(Floors { bandwidth, flops }) => {
            let moves = if info.backend == "native" { "reads" } else { "copies" };
            format!("{moves} {} GB/s, multiply-adds {} GFLOP/s", giga(bandwidth), giga(flops))
        }
        None => "which has no clock: whole calls are timed, and no floor is known".into(),
    };
    format!("{info}, {rates}\n")
}

fn cells(row: &Row) -> Vec<String> {
    let [lower, median, upper] = row.time;
    vec![
        row.size.name.to_owned(),
        row.size.batch.to_string(),
        row.patterns.to_string(),
        row.size.dim.to_string(),
        seconds(median),
        format!("{:.0} %", 100.0 * (upper - lower) / median),
        row.floor.map_or("-".into(), |floor| format!("{:.0} %", 100.0 * floor / median)),
        giga(row.bytes / median),
        giga(row.flops / median),
        seconds(row.whole),
        row.recording.map_or("-".into(), seconds),
    ]
}

/// A row for machines.
fn row_json(row: &Row) -> Value {
    json!({
        "size": row.size.name, "what": row.size.what, "batch": row.size.batch, "patterns": row.patterns,
        "dim": row.size.dim, "separation": row.size.separation(), "beta": row.size.rule().beta,
        "precision": row.size.precision.name(),
        "seconds": row.time[1], "quartiles": [row.time[0], row.time[2]],
        "clock": if row.by_device { "device" } else { "host" }, "whole_call_seconds": row.whole,
        "recording_seconds": row.recording, "floor_seconds": row.floor,
        "share_of_floor": row.floor.map(|floor| floor / row.time[1]), "mean_steps": row.steps,
        "pattern_bytes": row.bytes, "flops": row.flops, "error": row.error, "plan": row.plan,
    })
}

/// A device for machines, without its rows.
fn measured_json(info: &DeviceInfo, floors: Option<Floors>) -> Value {
    let mut device = device_json(info);
    device["bandwidth_bytes_per_second"] = floors.map(|floors| floors.bandwidth).into();
    device["multiply_adds_flops"] = floors.map(|floors| floors.flops).into();
    device["rows"] = json!([]);
    device["left_out"] = json!([]);
    device
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_three_figures() {
        assert_eq!([2.5e9, 31.2e9, 987.6e9].map(giga), ["2.50", "31.2", "988"]);
    }
}
