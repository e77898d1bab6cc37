//! The tests that need a GPU. Without a GPU each test says so and counts as left out.

use std::time::Duration;

use anyhow::Result;
use measure::gpu::bench::{Bench, Source};
use measure::gpu::cuda::Device;
use measure::gpu::cuda::libraries::Missing;
use measure::gpu::cuda::lt::Lt;
use measure::gpu::gpu_format::Format;
use measure::gpu::hash::Hash;
use measure::gpu::metering::{Plan, meter};
use measure::gpu::pack::pack;
use measure::gpu::work::{QWEN, Shape};

/// The GPU, or `None` with a line that says why the test is left out.
fn device(test: &str) -> Result<Option<Device>> {
    match Device::open() {
        Ok(device) => Ok(Some(device)),
        Err(error) if error.is::<Missing>() => {
            kit::skip::left_out(test, &error.to_string());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[test]
fn gpu_weights_are_packed_bit_for_bit_as_the_cpu_packs_them() -> Result<()> {
    let Some(device) = device("packing on the device")? else { return Ok(()) };
    let lt = Lt::open(&device)?;
    let shape = Shape { name: "ragged", out_features: 50, in_features: 384 };
    let bench = Bench::new(&device, &lt, &[shape], 1, 1)?;
    let source = Source::Random(Hash::stream(1, 9, 0.02));
    let linear = bench.load(Format::W4A16, shape, source)?;
    let weights: Vec<f32> = (0..50).flat_map(|row| source.row(row, 384)).collect();
    let packed = pack(&weights, 50, 384)?;
    let bytes = |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|w| w.to_le_bytes()).collect() };
    let scales = linear.scales.as_ref().expect("int4 has scales");
    assert_eq!(device.download(scales, 0, packed.scales.len() * 4)?, bytes(&packed.scales));
    assert_eq!(device.download(&linear.codes, 0, packed.words.len() * 4)?, bytes(&packed.words));
    Ok(())
}

#[test]
fn gpu_every_format_that_the_device_has_gives_right_outputs() -> Result<()> {
    let Some(device) = device("outputs of every format")? else { return Ok(()) };
    drop(device);
    // Whether the library has scales per row depends on its version as well.
    let formats = Format::ALL.into_iter().filter(|&format| format != Format::Fp8Channel);
    let plan = Plan {
        formats: formats.collect(),
        models: vec![QWEN],
        quick: true,
        check: true,
        seed: 2,
        out: None,
        budget: Duration::from_secs(60),
    };
    assert_eq!(meter(&plan)?.failures(), Vec::<String>::new());
    Ok(())
}
