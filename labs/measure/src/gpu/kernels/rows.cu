// Quantization of the rows of a bf16 matrix [rows, k]: activations while the clock runs (a row is
// a token), weights before it starts (a row is an output channel). One block of 256 threads a row;
// k is a multiple of 8, rows start at multiples of 16 bytes.

__device__ __forceinline__ float largest_of_eight(uint4 v) {
    u32 words[4] = {v.x, v.y, v.z, v.w};
    float largest = 0.0f;
#pragma unroll
    for (int i = 0; i < 4; i++)
        largest = fmaxf(largest, fmaxf(fabsf(low_bf16(words[i])), fabsf(high_bf16(words[i]))));
    return largest;
}

// The largest value over the block, known to all its threads.
__device__ __forceinline__ float block_max(float value) {
    __shared__ float of_warp[8];
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes >>= 1)
        value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, lanes));
    if ((threadIdx.x & 31) == 0) of_warp[threadIdx.x >> 5] = value;
    __syncthreads();
    value = of_warp[0];
#pragma unroll
    for (int warp = 1; warp < 8; warp++) value = fmaxf(value, of_warp[warp]);
    // The next call writes `of_warp` again, so nobody may still read it.
    __syncthreads();
    return value;
}

__device__ __forceinline__ float row_absmax(const uint4* row, int vectors) {
    float largest = 0.0f;
    for (int i = threadIdx.x; i < vectors; i += 256)
        largest = fmaxf(largest, largest_of_eight(row[i]));
    return block_max(largest);
}

// A row of zeros gets scale 1: 0 / 0 would be NaN.
__device__ __forceinline__ float scale_for(float absmax, float code_max) {
    float scale = __fdiv_rn(absmax, code_max);
    return scale > 0.0f ? scale : 1.0f;
}

// -128 is left out, because the grid is symmetric: a code and its negative stand for the same magnitude.
__device__ __forceinline__ u32 code_int8(float value) {
    int code = __float2int_rn(value);
    code = code > 127 ? 127 : (code < -127 ? -127 : code);
    return (u32)code & 255u;
}

// e4m3: 4 exponent bits with bias 7, 3 mantissa bits, largest value 448; saturates. For devices without
// the instruction; `formats::float8::encode` is its twin on a CPU.
__device__ __forceinline__ u32 code_e4m3(float value) {
    u32 sign = (__float_as_uint(value) >> 24) & 0x80u;
    float magnitude = fabsf(value);
    if (magnitude >= 448.0f) return sign | 0x7eu;
    if (magnitude < 0.015625f) return sign | (u32)__float2int_rn(magnitude * 512.0f);
    u32 bits = __float_as_uint(magnitude);
    return sign | (((bits + 0x7ffffu + ((bits >> 20) & 1u)) >> 20) - (120u << 3));
}

template <bool FP8>
__device__ __forceinline__ u32 four_codes(u32 first, u32 second, float inverse) {
    float a = low_bf16(first) * inverse, b = high_bf16(first) * inverse;
    float c = low_bf16(second) * inverse, d = high_bf16(second) * inverse;
    if (!FP8)
        return code_int8(a) | (code_int8(b) << 8) | (code_int8(c) << 16) | (code_int8(d) << 24);
#if __CUDA_ARCH__ >= 890
    u16 low, high;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(low) : "f"(b), "f"(a));
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(high) : "f"(d), "f"(c));
    return (u32)low | ((u32)high << 16);
#else
    return code_e4m3(a) | (code_e4m3(b) << 8) | (code_e4m3(c) << 16) | (code_e4m3(d) << 24);
#endif
}

// One division a row and a multiplication a value, because a division a value would outlast the loads.
template <bool FP8>
__device__ __forceinline__ void write_codes(const uint4* row, uint2* out, int vectors, float scale) {
    float inverse = __fdiv_rn(1.0f, scale);
    for (int i = threadIdx.x; i < vectors; i += 256) {
        uint4 v = row[i];
        out[i] = make_uint2(four_codes<FP8>(v.x, v.y, inverse), four_codes<FP8>(v.z, v.w, inverse));
    }
}

template <bool FP8>
__device__ __forceinline__ void quantize_row(const u16* x, u8* codes, float* scales, int k) {
    u64 start = (u64)blockIdx.x * k;
    const uint4* row = (const uint4*)(x + start);
    float scale = scale_for(row_absmax(row, k / 8), FP8 ? 448.0f : 127.0f);
    if (threadIdx.x == 0) scales[blockIdx.x] = scale;
    write_codes<FP8>(row, (uint2*)(codes + start), k / 8, scale);
}

extern "C" __global__ void __launch_bounds__(256)
quantize_fp8_rows(const u16* x, u8* codes, float* scales, int k) {
    quantize_row<true>(x, codes, scales, k);
}

extern "C" __global__ void __launch_bounds__(256)
quantize_int8_rows(const u16* x, u8* codes, float* scales, int k) {
    quantize_row<false>(x, codes, scales, k);
}

// Per tensor, first half: the largest |x| of each row.
extern "C" __global__ void __launch_bounds__(256)
absmax_rows(const u16* x, float* absmax, int k) {
    float largest = row_absmax((const uint4*)(x + (u64)blockIdx.x * k), k / 8);
    if (threadIdx.x == 0) absmax[blockIdx.x] = largest;
}

// Per tensor, second half: every block finds the same largest value, so no atomics and no order.
extern "C" __global__ void __launch_bounds__(256)
quantize_fp8_tensor(const u16* x, u8* codes, const float* absmax, float* scale_out, int rows, int k) {
    float largest = 0.0f;
    for (int i = threadIdx.x; i < rows; i += 256) largest = fmaxf(largest, absmax[i]);
    float scale = scale_for(block_max(largest), 448.0f);
    if (blockIdx.x == 0 && threadIdx.x == 0) scale_out[0] = scale;
    u64 start = (u64)blockIdx.x * k;
    write_codes<true>((const uint4*)(x + start), (uint2*)(codes + start), k / 8, scale);
}

// out[token][channel] = bf16(sums * x_scale[token] * w_scale[channel]); n is a multiple of 4.
// Grid: (ceil(n / 1024), tokens), 256 threads.
extern "C" __global__ void __launch_bounds__(256)
rescale_int32(const int4* sums, const float* x_scales, const float4* w_scales, uint2* out, int n) {
    int quad = blockIdx.x * 256 + threadIdx.x;
    if (quad >= n / 4) return;
    u64 at = (u64)blockIdx.y * (n / 4) + quad;
    float of_token = x_scales[blockIdx.y];
    int4 sum = sums[at];
    float4 scale = w_scales[quad];
    u32 a = f32_to_bf16((float)sum.x * (of_token * scale.x));
    u32 b = f32_to_bf16((float)sum.y * (of_token * scale.y));
    u32 c = f32_to_bf16((float)sum.z * (of_token * scale.z));
    u32 d = f32_to_bf16((float)sum.w * (of_token * scale.w));
    out[at] = make_uint2(a | (b << 16), c | (d << 16));
}
