//! Work that is launched again and again, and how long it takes.
//!
//! A step of a small model is a hundred kernels of a few microseconds each: launched one by one,
//! the clock would measure the host. Engines record the step as a graph and replay it; so do we.

use anyhow::{Context, Result, bail};
use cudarc::driver::result as cuda;
use cudarc::driver::sys;

use super::device::{Device, check};

/// How a piece of work reaches the device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Launched {
    /// Recorded once and replayed.
    Graph,
    /// Each kernel launched by the host, because recording failed.
    Stream,
}

impl Launched {
    /// The word a capture uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Graph => "graph",
            Self::Stream => "stream",
        }
    }
}

/// Work that can be repeated and timed.
pub struct Repeatable<'a> {
    device: &'a Device,
    work: Box<dyn Fn() -> Result<()> + 'a>,
    graph: Option<sys::CUgraphExec>,
    start: Event,
    stop: Event,
}

impl<'a> Repeatable<'a> {
    /// Runs `work` once (so that libraries load what they load lazily), then records it.
    ///
    /// # Errors
    /// If the work itself fails. If only the recording fails, it is launched kernel by kernel.
    pub fn new(device: &'a Device, work: impl Fn() -> Result<()> + 'a) -> Result<Self> {
        work()?;
        device.wait()?;
        let graph = record(device, &work).ok();
        let (start, stop) = (Event::new()?, Event::new()?);
        Ok(Self { device, work: Box::new(work), graph, start, stop })
    }

    /// How the work is launched.
    pub fn launched(&self) -> Launched {
        if self.graph.is_some() { Launched::Graph } else { Launched::Stream }
    }

    /// Launches the work once, without waiting.
    pub fn launch(&self) -> Result<()> {
        match self.graph {
            Some(graph) => {
                // SAFETY: the graph is instantiated and the stream lives as long as the device.
                let launched = unsafe { cuda::graph::launch(graph, self.device.stream) };
                check("cuGraphLaunch", launched)
            }
            None => (self.work)(),
        }
    }

    /// Launches the work once, waits, and returns the milliseconds between the events around it.
    pub fn time_ms(&self) -> Result<f64> {
        self.start.record(self.device)?;
        self.launch()?;
        self.stop.record(self.device)?;
        self.device.wait()?;
        self.stop.since_ms(&self.start)
    }
}

impl Drop for Repeatable<'_> {
    fn drop(&mut self) {
        if let Some(graph) = self.graph.take() {
            // A launch may still be running, and a graph in use must not be destroyed.
            let _ = self.device.wait();
            // SAFETY: instantiated in `record`, destroyed once, nothing of it is running.
            let _ = unsafe { cuda::graph::exec_destroy(graph) };
        }
    }
}

fn record(device: &Device, work: &dyn Fn() -> Result<()>) -> Result<sys::CUgraphExec> {
    let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    // SAFETY: the stream is alive; the capture is ended below whatever the work says.
    check("cuStreamBeginCapture", unsafe { cuda::stream::begin_capture(device.stream, mode) })?;
    let recorded = work();
    // SAFETY: the stream is in capture.
    let graph = unsafe { cuda::stream::end_capture(device.stream) };
    recorded?;
    let graph = check("cuStreamEndCapture", graph)?;
    // SAFETY: the graph is whole; the executable copy does not need it afterwards.
    unsafe {
        let executable = cuda::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0));
        check("cuGraphDestroy", cuda::graph::destroy(graph))?;
        check("cuGraphInstantiate", executable)
    }
}

struct Event(sys::CUevent);

impl Event {
    fn new() -> Result<Self> {
        let flags = sys::CUevent_flags::CU_EVENT_DEFAULT;
        Ok(Self(check("cuEventCreate", cuda::event::create(flags))?))
    }

    fn record(&self, device: &Device) -> Result<()> {
        // SAFETY: event and stream are alive.
        check("cuEventRecord", unsafe { cuda::event::record(self.0, device.stream) })
    }

    fn since_ms(&self, start: &Self) -> Result<f64> {
        let mut ms = 0.0f32;
        let elapsed = elapsed_call()?;
        // SAFETY: both events were recorded on one stream, which was waited for.
        let status = unsafe { elapsed(&mut ms, start.0, self.0) };
        if status != 0 {
            bail!("cuEventElapsedTime: status {status}");
        }
        Ok(f64::from(ms))
    }
}

type ElapsedCall = unsafe extern "C" fn(*mut f32, sys::CUevent, sys::CUevent) -> i32;

/// The first version of the call. Every driver has it; the second, which cudarc binds, only those
/// since CUDA 12.8.
fn elapsed_call() -> Result<ElapsedCall> {
    // SAFETY: the driver is open for the life of the process, and the type is the call's.
    let call = unsafe { sys::culib().get::<ElapsedCall>(b"cuEventElapsedTime\0") };
    Ok(*call.context("the driver has no cuEventElapsedTime")?)
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once.
        let _ = unsafe { cuda::event::destroy(self.0) };
    }
}
