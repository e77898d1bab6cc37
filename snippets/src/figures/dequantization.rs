//! The figure of the chapter "Where dequantization really happens".

use anyhow::{Context, Result};
use kit::table::{sig3, times};
use measure::cpu::{Capture, Product};

use super::{Axis, Drawing, Figure, HPos, Ink, Key, Layout, Mark, Pen, Shape, draw, plain};
use crate::tables::dequantization::product_of;

/// Time against bytes, and the line that the memory draws.
pub fn matvec_roofline(capture: &Capture) -> Result<Figure> {
    let (int4, slow) =
        (product_of(capture, "int4 g128")?, product_of(capture, "int4 g128, materialized")?);
    let bandwidth = capture.bandwidth(int4.threads);
    let bandwidth = bandwidth.context("the capture has no plain reading")?.best();
    let drawing = roofline(capture, int4.threads, bandwidth)?;
    let speed_up = |product| capture.speed_up(product).context("the capture has no f32 product");
    let predicted = capture.predicted_speed_up(int4).context("the capture has no f32 product")?;
    let [fused, materialized, bytes] = [speed_up(int4)?, speed_up(slow)?, predicted].map(times);
    let [own, f32, written] =
        [int4, product_of(capture, "f32")?, slow].map(|product| sig3(product.time_ms.median));
    Ok(Figure {
        title: "Bytes moved and time taken by one product".into(),
        caption: format!(
            "The line is time = bytes / {} GB/s, the best plain reading of the same run, on as many \
             threads ({}). int4 g128 runs at {fused} the speed of f32 (bytes alone: {bytes}); with \
             the matrix written to memory first, at {materialized}.",
            sig3(bandwidth / 1e9),
            int4.threads,
        ),
        alt: format!(
            "Both axes logarithmic. A rising straight line, and six points, most of them above it: three of \
             int4 at the lower left, int8, f32, and at the upper right int4 materialized. int4 g128 \
             takes {own} ms, f32 {f32} ms, materialized {written} ms."
        ),
        drawing,
    })
}

/// The products on `threads` threads.
fn roofline(capture: &Capture, threads: usize, bandwidth: f64) -> Result<Drawing> {
    let products: Vec<&Product> =
        capture.products.iter().filter(|product| product.threads == threads).collect();
    let megabytes = |product: &Product| product.bytes as f64 / 1e6;
    let bound = |megabytes: f64| (megabytes, megabytes * 1e6 / bandwidth * 1e3);
    let (bytes, mut heights): (Vec<f64>, Vec<f64>) =
        products.iter().map(|product| (megabytes(product), product.time_ms.median)).unzip();
    let ends = [18.0, 520.0].map(bound);
    heights.extend(ends.map(|end| end.1));
    let x = Axis::log("bytes that one product moves, MB (logarithmic)", 18.0..520.0)
        .ticks([20.0, 50.0, 100.0, 200.0, 500.0], plain)
        .holding(&bytes);
    // The ticks that lie within what was measured, with room on both sides.
    let (low, high) = heights
        .iter()
        .fold((f64::MAX, 0.0f64), |(low, high), &height| (low.min(height), high.max(height)));
    let ticks = [0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];
    let inside = ticks.into_iter().filter(|tick| (low * 0.8..=high * 1.4).contains(tick));
    let y = Axis::log("time of one product, ms (logarithmic), median", low * 0.8..high * 1.4)
        .ticks(inside, plain);
    let (line, mark) = (Pen::dashed(Ink::Muted), Mark::new(Shape::Dot, Ink::One).sized(54));
    draw(Layout::with_legend(1), x, y, |plot| {
        plot.line(ends, line)?;
        for product in products {
            let point = (megabytes(product), product.time_ms.median);
            plot.marks([point], mark)?;
            if let Some((text, offset, anchor)) = label(&product.format) {
                plot.label(point, offset, anchor, Ink::Text, text)?;
            }
        }
        plot.legend(1, &[Key::Mark(mark, "measured"), Key::Line(line, "roofline bound")])
    })
}

/// What is written at a point, and where. The three of int4 lie close together: one name for all.
fn label(format: &str) -> Option<(&'static str, (i32, i32), HPos)> {
    match format {
        "f32" => Some(("f32", (-110, -60), HPos::Right)),
        "int8" => Some(("int8", (-110, -60), HPos::Right)),
        "int4 g64" => Some(("int4", (0, -330), HPos::Center)),
        "int4 g128, materialized" => Some(("int4, materialized", (-110, -60), HPos::Right)),
        _ => None,
    }
}
