//! Dense products through cuBLASLt.
//!
//! All products are `y = x @ w.T` with row-major `x` `[tokens, in]`, `w` `[out, in]` and `y`
//! `[tokens, out]`. cuBLASLt counts column-major: its A is `w` seen as `[in, out]` and transposed,
//! its B is `x` seen as `[in, tokens]`, its D is `y` seen as `[out, tokens]`. That is the "TN" form,
//! the only one that FP8 and fast int8 have.

use std::ffi::c_void;

use anyhow::{Result, anyhow};
use cudarc::cublaslt::{result, sys};
use sys::{
    cublasLtMatmulDescAttributes_t as Attribute, cublasLtMatmulMatrixScale_t as ScaleMode,
    cudaDataType_t as Type,
};

use super::device::{Buffer, Device};

/// The kinds of product the program asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// bf16 x bf16, f32 sums, bf16 out.
    Bf16,
    /// e4m3 x e4m3, one scale a tensor, fast accumulation, bf16 out.
    Fp8Tensor,
    /// e4m3 x e4m3, one scale a channel and a token, fast accumulation, bf16 out.
    Fp8Rows,
    /// int8 x int8, int32 sums out.
    Int8,
    /// e2m1 x e2m1, an e4m3 scale for each 16 inputs, bf16 out.
    Nvfp4,
}

/// What the library is told of a kind.
struct Told {
    operand: Type,
    output: Type,
    /// Whether scales are given, and their layout where the layout is not one scale a tensor.
    scales: Option<Option<ScaleMode>>,
    /// Whether sums keep fewer bits.
    fast: bool,
}

impl Kind {
    fn told(self) -> Told {
        let fp8 = |mode| Told {
            operand: Type::CUDA_R_8F_E4M3,
            output: Type::CUDA_R_16BF,
            scales: Some(mode),
            fast: true,
        };
        let plain = |operand, output| Told { operand, output, scales: None, fast: false };
        match self {
            Self::Bf16 => plain(Type::CUDA_R_16BF, Type::CUDA_R_16BF),
            Self::Int8 => plain(Type::CUDA_R_8I, Type::CUDA_R_32I),
            // Without a mode, because a library before 12.8 does not know the attribute.
            Self::Fp8Tensor => fp8(None),
            Self::Fp8Rows => fp8(Some(ScaleMode::CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F)),
            Self::Nvfp4 => Told {
                operand: Type::CUDA_R_4F_E2M1,
                fast: false,
                ..fp8(Some(ScaleMode::CUBLASLT_MATMUL_MATRIX_SCALE_VEC16_UE4M3))
            },
        }
    }
}

/// The library's handle and workspace.
pub struct Lt {
    handle: sys::cublasLtHandle_t,
    workspace: Buffer,
}

/// Hopper's kernels want 32 MiB; more does no harm.
const WORKSPACE: usize = 64 << 20;
/// `CUBLAS_OP_N` and `CUBLAS_OP_T`, which cudarc names for cuBLAS only.
const AS_IT_IS: i32 = 0;
const TRANSPOSED: i32 = 1;
/// How many of the library's proposals are tried.
const PROPOSALS: usize = 8;

impl Lt {
    /// Opens the library on the current device.
    pub fn open(device: &Device) -> Result<Self> {
        let handle =
            result::create_handle().map_err(|error| anyhow!("cublasLtCreate: {:?}", error.0))?;
        Ok(Self { handle, workspace: device.allocate("the cuBLASLt workspace", WORKSPACE)? })
    }

    /// The library's version, `13.1.0`.
    pub fn version() -> String {
        // SAFETY: a call without arguments; the library was found before.
        let version = unsafe { sys::cublasLtGetVersion() };
        // 130100 is 13.1.0; before CUDA 12 a version had two digits less a field.
        format!("{}.{}.{}", version / 10_000, version / 100 % 100, version % 100)
    }
}

impl Drop for Lt {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

/// Where a product's operands and scales lie.
#[derive(Clone, Copy, Debug)]
pub struct Operands {
    /// `w`, `[out, in]`.
    pub w: u64,
    /// Scales of `w`: one, or one a channel; 0 for none.
    pub w_scales: u64,
    /// `x`, `[tokens, in]`.
    pub x: u64,
    /// Scales of `x`: one, or one a token; 0 for none.
    pub x_scales: u64,
    /// `y`, `[tokens, out]`.
    pub y: u64,
}

/// A product of one kind and shape, with the algorithms that the library proposes.
pub struct Plan {
    kind: Kind,
    /// `[out, in, tokens]`.
    shape: [usize; 3],
    descriptor: sys::cublasLtMatmulDesc_t,
    /// A, B and D.
    layouts: Vec<sys::cublasLtMatrixLayout_t>,
    proposals: Vec<sys::cublasLtMatmulAlgo_t>,
    /// Which proposal runs.
    pub chosen: usize,
}

impl Plan {
    /// Asks the library how it would compute `shape` = `[out, in, tokens]`.
    ///
    /// # Errors
    /// With the kind, the shape and the status, if the library has no way.
    pub fn new(lt: &Lt, kind: Kind, shape: [usize; 3], operands: Operands) -> Result<Self> {
        let mut plan = Self::described(kind, shape, operands)?;
        plan.proposals = plan.ask(lt)?;
        Ok(plan)
    }

    /// How many proposals there are.
    pub fn proposals(&self) -> usize {
        self.proposals.len()
    }

    fn named(&self, call: &str, status: sys::cublasStatus_t) -> anyhow::Error {
        let [out, inputs, tokens] = self.shape;
        anyhow!("{call} of {:?}, {tokens} x {inputs} x {out}: {status:?}", self.kind)
    }

    fn described(kind: Kind, shape: [usize; 3], operands: Operands) -> Result<Self> {
        use sys::cublasComputeType_t as Compute;
        let (compute, scale) = match kind {
            Kind::Int8 => (Compute::CUBLAS_COMPUTE_32I, Type::CUDA_R_32I),
            _ => (Compute::CUBLAS_COMPUTE_32F, Type::CUDA_R_32F),
        };
        let descriptor = result::create_matmul_desc(compute, scale)
            .map_err(|error| anyhow!("cublasLtMatmulDescCreate for {kind:?}: {:?}", error.0))?;
        let (layouts, proposals) = (Vec::new(), Vec::new());
        let mut plan = Self { kind, shape, descriptor, layouts, proposals, chosen: 0 };
        plan.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSA, TRANSPOSED)?;
        plan.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSB, AS_IT_IS)?;
        let Told { operand, output, scales, fast } = kind.told();
        if fast {
            plan.set(Attribute::CUBLASLT_MATMUL_DESC_FAST_ACCUM, 1i8)?;
        }
        if let Some(mode) = scales.flatten() {
            plan.set(Attribute::CUBLASLT_MATMUL_DESC_A_SCALE_MODE, mode as i32)?;
            plan.set(Attribute::CUBLASLT_MATMUL_DESC_B_SCALE_MODE, mode as i32)?;
        }
        plan.point_at_scales(operands)?;
        let [out, inputs, tokens] = shape;
        for (values, rows, columns) in
            [(operand, inputs, out), (operand, inputs, tokens), (output, out, tokens)]
        {
            let layout =
                result::create_matrix_layout(values, rows as u64, columns as u64, rows as i64);
            plan.layouts.push(layout.map_err(|e| plan.named("cublasLtMatrixLayoutCreate", e.0))?);
        }
        Ok(plan)
    }

    fn set<T>(&self, attribute: Attribute, value: T) -> Result<()> {
        let pointer = std::ptr::from_ref(&value).cast::<c_void>();
        // SAFETY: the descriptor is alive; the library copies the value, whose size it checks.
        let set = unsafe {
            result::set_matmul_desc_attribute(self.descriptor, attribute, pointer, size_of::<T>())
        };
        set.map_err(|e| self.named(&format!("cublasLtMatmulDescSetAttribute {attribute:?}"), e.0))
    }

    fn point_at_scales(&self, operands: Operands) -> Result<()> {
        if self.kind.told().scales.is_some() {
            self.set(Attribute::CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, operands.w_scales)?;
            self.set(Attribute::CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, operands.x_scales)?;
        }
        Ok(())
    }

    fn ask(&self, lt: &Lt) -> Result<Vec<sys::cublasLtMatmulAlgo_t>> {
        let preference = result::create_matmul_pref()
            .map_err(|e| self.named("cublasLtMatmulPreferenceCreate", e.0))?;
        let found = self.ask_with(lt, preference);
        // SAFETY: created above, destroyed once.
        let destroyed = unsafe { result::destroy_matmul_pref(preference) };
        destroyed.map_err(|e| self.named("cublasLtMatmulPreferenceDestroy", e.0))?;
        found
    }

    fn ask_with(
        &self,
        lt: &Lt,
        preference: sys::cublasLtMatmulPreference_t,
    ) -> Result<Vec<sys::cublasLtMatmulAlgo_t>> {
        use sys::cublasLtMatmulPreferenceAttributes_t as Preference;
        let [a, b, d] = self.layouts[..] else {
            return Err(anyhow!("a plan has three layouts"));
        };
        // SAFETY: all plain C data, for which zeros are a valid value (status 0 is success).
        let empty: sys::cublasLtMatmulHeuristicResult_t = unsafe { std::mem::zeroed() };
        let (mut results, mut count) = ([empty; PROPOSALS], 0);
        // SAFETY: handle, descriptor, layouts and preference are alive; `results` has as many
        // places as are asked for; C has D's layout because beta is 0.
        let status = unsafe {
            let bytes = std::ptr::from_ref(&WORKSPACE).cast();
            let limit = Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
            result::set_matmul_pref_attribute(preference, limit, bytes, size_of::<usize>())
                .map_err(|e| self.named("cublasLtMatmulPreferenceSetAttribute", e.0))?;
            sys::cublasLtMatmulAlgoGetHeuristic(
                lt.handle,
                self.descriptor,
                a,
                b,
                d,
                d,
                preference,
                PROPOSALS as i32,
                results.as_mut_ptr(),
                &mut count,
            )
        };
        status.result().map_err(|e| self.named("cublasLtMatmulAlgoGetHeuristic", e.0))?;
        let good = |r: &&sys::cublasLtMatmulHeuristicResult_t| {
            r.state == sys::cublasStatus_t::CUBLAS_STATUS_SUCCESS
        };
        let found = results.iter().take(count.max(0) as usize).filter(good);
        let algorithms: Vec<_> = found.map(|result| result.algo).collect();
        if algorithms.is_empty() {
            let none = sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED;
            return Err(self.named("cublasLtMatmulAlgoGetHeuristic (no algorithm)", none));
        }
        Ok(algorithms)
    }

    /// Starts the product with the chosen algorithm.
    ///
    /// The buffers behind `operands` must have the plan's shape; the callers are in this crate.
    pub fn run(&self, device: &Device, lt: &Lt, operands: Operands) -> Result<()> {
        self.run_choice(self.chosen, device, lt, operands)
    }

    /// As [`Plan::run`], with another of the proposals.
    pub fn run_choice(
        &self,
        choice: usize,
        device: &Device,
        lt: &Lt,
        operands: Operands,
    ) -> Result<()> {
        // Each layer has its own scales, so that the descriptor is pointed at them before every run.
        self.point_at_scales(operands)?;
        let [a, b, d] = self.layouts[..] else {
            return Err(anyhow!("a plan has three layouts"));
        };
        let (one_f32, zero_f32, one_i32, zero_i32) = (1.0f32, 0.0f32, 1i32, 0i32);
        let (alpha, beta): (*const c_void, *const c_void) = if self.kind == Kind::Int8 {
            (std::ptr::from_ref(&one_i32).cast(), std::ptr::from_ref(&zero_i32).cast())
        } else {
            (std::ptr::from_ref(&one_f32).cast(), std::ptr::from_ref(&zero_f32).cast())
        };
        // SAFETY: all handles are alive; the addresses are device memory of the plan's shape; alpha
        // and beta live until the call returns, which is when the library has read them.
        let started = unsafe {
            result::matmul(
                lt.handle,
                self.descriptor,
                alpha,
                beta,
                operands.w as *const c_void,
                a,
                operands.x as *const c_void,
                b,
                operands.y as *const c_void,
                d,
                operands.y as *mut c_void,
                d,
                &self.proposals[choice],
                lt.workspace.address() as *mut c_void,
                WORKSPACE,
                device.stream.cast(),
            )
        };
        started.map_err(|e| self.named("cublasLtMatmul", e.0))
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: each was created once and is destroyed once.
        unsafe {
            for &layout in &self.layouts {
                let _ = result::destroy_matrix_layout(layout);
            }
            let _ = result::destroy_matmul_desc(self.descriptor);
        }
    }
}
