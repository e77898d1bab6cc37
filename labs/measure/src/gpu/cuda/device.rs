//! One GPU: its context, its memory, its kernels.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::marker::PhantomData;

use anyhow::{Context, Result, anyhow, bail};
use cudarc::driver::result as cuda;
use cudarc::driver::sys;

use super::{libraries, nvrtc};

/// What the driver says of the device.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The GPU's name.
    pub name: String,
    /// Compute capability.
    pub capability: (u32, u32),
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of L2 cache.
    pub l2_bytes: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The newest CUDA the driver speaks, `13.0`.
    pub cuda: String,
}

/// The first visible GPU, with all kernels loaded.
pub struct Device {
    facts: Facts,
    pub(super) stream: sys::CUstream,
    kernels: HashMap<&'static str, Kernel>,
    _one_thread: PhantomData<*const ()>,
}

/// A kernel of the program, loaded.
#[derive(Clone, Copy)]
pub struct Kernel {
    name: &'static str,
    function: sys::CUfunction,
}

/// An argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub enum Arg {
    /// An address on the device.
    Pointer(u64),
    /// A C `int`, from a size that must fit.
    Int(usize),
    /// 32 unsigned bits.
    Bits(u32),
    /// 64 unsigned bits.
    Long(u64),
    /// A C `float`.
    Float(f32),
}

impl Arg {
    /// The argument's bits, in the low bytes (the hosts of CUDA are little-endian).
    fn bits(self) -> Result<u64> {
        Ok(match self {
            Self::Pointer(value) | Self::Long(value) => value,
            Self::Bits(value) => u64::from(value),
            Self::Float(value) => u64::from(value.to_bits()),
            Self::Int(value) => u64::try_from(i32::try_from(value)?)?,
        })
    }
}

/// Device memory from a plain allocation, freed when dropped.
pub struct Buffer {
    address: u64,
    bytes: usize,
    _one_thread: PhantomData<*const ()>,
}

impl Device {
    /// Opens the first GPU and compiles the kernels for it.
    ///
    /// # Errors
    /// [`libraries::Missing`] where CUDA is not installed; otherwise the call that failed.
    pub fn open() -> Result<Self> {
        libraries::require_all()?;
        check("cuInit", cuda::init())?;
        if check("cuDeviceGetCount", cuda::device::get_count())? == 0 {
            bail!(libraries::Missing(vec!["the driver is there and sees no GPU".into()]));
        }
        let device = check("cuDeviceGet", cuda::device::get(0))?;
        // SAFETY: `device` is valid; the primary context is never released, so it outlives all.
        let stream = unsafe {
            let context = check("cuDevicePrimaryCtxRetain", cuda::primary_ctx::retain(device))?;
            check("cuCtxSetCurrent", cuda::ctx::set_current(context))?;
            check("cuStreamCreate", cuda::stream::create(cuda::stream::StreamKind::NonBlocking))?
        };
        let facts = facts(device)?;
        let kernels = load_kernels(facts.capability.0 * 10 + facts.capability.1)?;
        Ok(Self { facts, stream, kernels, _one_thread: PhantomData })
    }

    /// What the driver says of the device.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Free and total bytes, by the driver.
    pub fn memory(&self) -> Result<(u64, u64)> {
        let (free, total) = check("cuMemGetInfo", cuda::mem_get_info())?;
        Ok((free as u64, total as u64))
    }

    /// Memory for `what`, filled with 0xff: NaN in bf16 and float, so that a value nobody wrote
    /// shows.
    pub fn allocate(&self, what: &str, bytes: usize) -> Result<Buffer> {
        let size = bytes.max(16);
        // SAFETY: a plain allocation, owned by the buffer made from it.
        let address = unsafe { cuda::malloc_sync(size) }.map_err(|error| {
            let free = self.memory().map_or(0, |(free, _)| free);
            anyhow!(
                "cuMemAlloc of {:.2} GiB for {what}: {:?}; {:.2} GiB are free: use a smaller \
                 --model or a GPU with more memory",
                gib(size as u64),
                error.0,
                gib(free),
            )
        })?;
        let buffer = Buffer { address, bytes: size, _one_thread: PhantomData };
        self.poison(&buffer)?;
        Ok(buffer)
    }

    /// Fills the buffer with 0xff.
    pub fn poison(&self, buffer: &Buffer) -> Result<()> {
        // SAFETY: the buffer is alive and `bytes` long.
        let set = unsafe { cuda::memset_d8_async(buffer.address, 0xff, buffer.bytes, self.stream) };
        check("cuMemsetD8Async", set)
    }

    /// Copies `values` to the start of `buffer`.
    pub fn upload(&self, buffer: &Buffer, values: &[u16]) -> Result<()> {
        buffer.check(0, values.len() * 2)?;
        // The copy does not run on our stream, so that a kernel could still be reading the buffer.
        self.wait()?;
        // SAFETY: the buffer is alive and long enough.
        check("cuMemcpyHtoD", unsafe { cuda::memcpy_htod_sync(buffer.address, values) })?;
        // The call returns when the values are staged, not when they have arrived, and our stream
        // does not wait for the one it used.
        check("cuCtxSynchronize", cuda::ctx::synchronize())
    }

    /// `count` bytes of `buffer` from `offset`, after all work so far.
    pub fn download(&self, buffer: &Buffer, offset: usize, count: usize) -> Result<Vec<u8>> {
        buffer.check(offset, count)?;
        self.wait()?;
        let mut bytes = vec![0u8; count];
        let from = buffer.address + offset as u64;
        // SAFETY: the buffer is alive and reaches to `offset + count`.
        check("cuMemcpyDtoH", unsafe { cuda::memcpy_dtoh_sync(&mut bytes, from) })?;
        Ok(bytes)
    }

    /// Copies `bytes` between buffers, in order with all other work.
    pub fn copy(&self, to: &Buffer, from: &Buffer, bytes: usize) -> Result<()> {
        to.check(0, bytes)?;
        from.check(0, bytes)?;
        // SAFETY: both buffers are alive and long enough.
        let copied =
            unsafe { cuda::memcpy_dtod_async(to.address, from.address, bytes, self.stream) };
        check("cuMemcpyDtoDAsync", copied)
    }

    /// The kernel `name`.
    pub fn kernel(&self, name: &str) -> Result<Kernel> {
        self.kernels.get(name).copied().ok_or_else(|| anyhow!("there is no kernel {name}"))
    }

    /// Starts `kernel` on `grid` blocks of `threads` threads with `shared` bytes of shared memory.
    ///
    /// The arguments must be those of the kernel's definition; the callers are all in this crate
    /// and each is run by the GPU tests.
    pub fn launch(
        &self,
        kernel: Kernel,
        grid: [usize; 2],
        threads: usize,
        shared: usize,
        arguments: &[Arg],
    ) -> Result<()> {
        let mut bits: Vec<u64> =
            arguments.iter().map(|argument| argument.bits()).collect::<Result<_>>()?;
        let mut pointers: Vec<*mut c_void> =
            bits.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
        let size = |value: usize| u32::try_from(value).context("a launch size beyond 32 bits");
        let (blocks, threads) = ((size(grid[0])?, size(grid[1])?, 1), (size(threads)?, 1, 1));
        // SAFETY: the function stays loaded; the driver copies each argument before it returns.
        let started = unsafe {
            let shared = size(shared)?;
            cuda::launch_kernel(
                kernel.function,
                blocks,
                threads,
                shared,
                self.stream,
                &mut pointers,
            )
        };
        started.map_err(|error| {
            anyhow!("cuLaunchKernel of {} on {blocks:?} x {threads:?}: {:?}", kernel.name, error.0)
        })
    }

    /// Waits for all work so far; an error of a kernel shows here.
    pub fn wait(&self) -> Result<()> {
        // SAFETY: the stream lives as long as the device.
        check("cuStreamSynchronize", unsafe { cuda::stream::synchronize(self.stream) })
    }
}

impl Buffer {
    /// Where it starts on the device.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Its size.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its start, as an argument.
    pub fn arg(&self) -> Arg {
        Arg::Pointer(self.address)
    }

    fn check(&self, offset: usize, count: usize) -> Result<()> {
        if offset + count > self.bytes {
            bail!("{count} bytes at {offset} of a buffer of {} bytes", self.bytes);
        }
        Ok(())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Work that uses the buffer may still run. A failure here follows one that was reported.
        let _ = cuda::ctx::synchronize();
        // SAFETY: allocated by `Device::allocate` and freed once; nothing uses it any more.
        let _ = unsafe { cuda::free_sync(self.address) };
    }
}

/// The result of a driver call, with the call's name.
pub(super) fn check<T>(call: &str, result: Result<T, cudarc::driver::DriverError>) -> Result<T> {
    result.map_err(|error| anyhow!("{call}: {:?}", error.0))
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / (1u64 << 30) as f64
}

fn facts(device: sys::CUdevice) -> Result<Facts> {
    use sys::CUdevice_attribute as Attribute;
    let attribute = |attribute: Attribute| -> Result<u32> {
        // SAFETY: `device` came from the driver.
        let value = unsafe { cuda::device::get_attribute(device, attribute) };
        Ok(u32::try_from(check("cuDeviceGetAttribute", value)?)?)
    };
    let mut version = 0;
    // SAFETY: the pointer is valid for the call.
    check("cuDriverGetVersion", unsafe { sys::cuDriverGetVersion(&mut version) }.result())?;
    Ok(Facts {
        name: check("cuDeviceGetName", cuda::device::get_name(device))?,
        capability: (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        l2_bytes: u64::from(attribute(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?),
        // SAFETY: `device` came from the driver.
        memory_bytes: check("cuDeviceTotalMem", unsafe { cuda::device::total_mem(device) })? as u64,
        cuda: format!("{}.{}", version / 1000, version % 1000 / 10),
    })
}

/// Compiles and loads all kernels; the modules stay loaded until the process ends.
fn load_kernels(sm: u32) -> Result<HashMap<&'static str, Kernel>> {
    if sm < 80 {
        bail!("compute capability {}.{} is too old: bf16 needs 8.0 or newer", sm / 10, sm % 10);
    }
    let mut kernels = HashMap::new();
    for source in nvrtc::SOURCES {
        let code = nvrtc::cubin(source, sm)?;
        // SAFETY: `code` is a whole CUBIN, which the driver copies.
        let module = unsafe { cuda::module::load_data(code.as_ptr().cast()) };
        let module = check(&format!("cuModuleLoadData of {}", source.name), module)?;
        for &name in source.kernels {
            // SAFETY: the module is loaded and stays so.
            let function = unsafe { cuda::module::get_function(module, CString::new(name)?) };
            let function = check(&format!("cuModuleGetFunction {name}"), function)?;
            kernels.insert(name, Kernel { name, function });
        }
    }
    Ok(kernels)
}
