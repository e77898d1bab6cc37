// Data that is never zero, because zeros need less power and would flatter every format; and the copy
// whose speed is the peak bandwidth.

// lowbias32 of Chris Wellons; `Hash::bits` in hash.rs is its twin.
__device__ __forceinline__ u32 hash32(u32 value) {
    value ^= value >> 16;
    value *= 0x7feb352du;
    value ^= value >> 15;
    value *= 0x846ca68bu;
    value ^= value >> 16;
    return value;
}

// The sum of four uniform bytes: close to normal, mean 0, variance 1, largest value 3.45.
__device__ __forceinline__ float near_normal(u32 bits) {
    int sum = (int)(bits & 255u) + (int)((bits >> 8) & 255u) + (int)((bits >> 16) & 255u)
        + (int)(bits >> 24);
    return __fmul_rn((float)(sum - 510), 1.0f / 147.8f);
}

// out[i] = bf16(sigma * near_normal(hash(i, seed))) for i < count.
extern "C" __global__ void fill_random(u16* __restrict__ out, u64 count, u32 seed, float sigma) {
    u64 stride = (u64)gridDim.x * blockDim.x;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        u32 bits = hash32(hash32((u32)i ^ seed) + (u32)(i >> 32));
        out[i] = (u16)f32_to_bf16(__fmul_rn(sigma, near_normal(bits)));
    }
}

// out[r][c] = slice[r % slice_rows][c % slice_columns].
extern "C" __global__ void fill_tiled(u16* __restrict__ out, const u16* __restrict__ slice,
                                      int rows, int columns, int slice_rows, int slice_columns) {
    u64 count = (u64)rows * columns;
    u64 stride = (u64)gridDim.x * blockDim.x;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        u64 row = i / columns, column = i % columns;
        out[i] = slice[(row % slice_rows) * slice_columns + column % slice_columns];
    }
}

// A plain copy of `count` times 16 bytes. Four loads are in flight before the first store, because one
// load a thread does not fill the memory's queues.
extern "C" __global__ void __launch_bounds__(512)
copy_16_bytes(uint4* __restrict__ out, const uint4* __restrict__ in, u64 count) {
    u64 stride = (u64)gridDim.x * blockDim.x;
    u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    for (; i + 3 * stride < count; i += 4 * stride) {
        uint4 a = in[i], b = in[i + stride], c = in[i + 2 * stride], d = in[i + 3 * stride];
        out[i] = a;
        out[i + stride] = b;
        out[i + 2 * stride] = c;
        out[i + 3 * stride] = d;
    }
    for (; i < count; i += stride) out[i] = in[i];
}
