// Weights in int4, activations in bf16. `pack.rs` describes the layout and runs these loops on a
// CPU; the two change together.
//
// A tile is 16 output channels by one group of 128 inputs: 1,024 bytes. Lane l of a warp owns, in
// each half of 64 inputs, one 16-byte vector at [tile][group][half][l]. Word s of it holds the
// eight weights that lane l feeds to the tensor core in step s of 16 inputs (mma.m16n8k16).

// Four registers of two bf16 each: code - 8, exactly. (128 + code) has the bits 0x4300 | code,
// because the spacing of bf16 at 128 is 1; subtracting 136 leaves code - 8.
__device__ __forceinline__ void unpack(u32 word, u32 a[4]) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        u32 magic;
        asm("lop3.b32 %0, %1, %2, %3, 0xea;"
            : "=r"(magic) : "r"(word >> (4 * i)), "r"(0x000f000fu), "r"(0x43004300u));
        asm("fma.rn.bf16x2 %0, %1, %2, %3;"
            : "=r"(a[i]) : "r"(magic), "r"(0x3f803f80u), "r"(0xc308c308u));
    }
}

__device__ __forceinline__ void mma(float d[4], const u32 a[4], u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Weights are read once: they must not push the activations out of the L1 cache.
__device__ __forceinline__ uint4 load_once(const uint4* at) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(at));
    return v;
}

// y[m][n] = x[m][k] * w[n][k]^T for m <= 8 * MT. A block owns R tiles of channels; its warps split
// the groups and their sums are added in the order of the warps. D groups are loaded ahead.
template <int R, int MT, int D>
__device__ __forceinline__ void product(const uint4* __restrict__ w, const u32* __restrict__ scales,
                                        const u16* __restrict__ x, u16* __restrict__ y, int n,
                                        int k, int m) {
    extern __shared__ float sums[];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    const int row = lane >> 2, quad = lane & 3;
    const int groups = k >> 7, tiles = (n + 15) >> 4;

    u64 first[R];  // the first group of each tile; past the end, the last tile is read again
#pragma unroll
    for (int r = 0; r < R; r++) {
        int tile = blockIdx.x * R + r;
        first[r] = (u64)(tile < tiles ? tile : tiles - 1) * groups;
    }

    uint4 ahead[D][R][2];
    u32 ahead_scale[D][R];
#pragma unroll
    for (int d = 0; d < D; d++) {
        int group = warp + d * warps;
        if (group < groups) {
#pragma unroll
            for (int r = 0; r < R; r++) {
                const uint4* at = w + (first[r] + group) * 64 + lane;
                ahead[d][r][0] = load_once(at);
                ahead[d][r][1] = load_once(at + 32);
                ahead_scale[d][r] = scales[(first[r] + group) * 8 + row];
            }
        }
    }

    // Groups go round the warps, so that warps read neighbouring memory at the same time.
    float total[R][MT][4] = {};
    for (int base = warp; base < groups; base += D * warps) {
#pragma unroll
        for (int d = 0; d < D; d++) {
            int group = base + d * warps;
            if (group >= groups) break;
            uint4 now[R][2];
            u32 scale[R];
#pragma unroll
            for (int r = 0; r < R; r++) {
                now[r][0] = ahead[d][r][0];
                now[r][1] = ahead[d][r][1];
                scale[r] = ahead_scale[d][r];
            }
            int next = group + D * warps;
            if (next < groups) {
#pragma unroll
                for (int r = 0; r < R; r++) {
                    const uint4* at = w + (first[r] + next) * 64 + lane;
                    ahead[d][r][0] = load_once(at);
                    ahead[d][r][1] = load_once(at + 32);
                    ahead_scale[d][r] = scales[(first[r] + next) * 8 + row];
                }
            }

            // Sums of a group are kept apart until its scale is known to all: one multiplication a
            // group instead of one a weight.
            float partial[R][MT][4] = {};
#pragma unroll
            for (int half = 0; half < 2; half++) {
                u32 b[MT][8];
#pragma unroll
                for (int t = 0; t < MT; t++) {
                    int token = t * 8 + row;
                    uint4 p = make_uint4(0, 0, 0, 0), q = p;
                    if (token < m) {
                        const uint4* at = (const uint4*)(x + (u64)token * k + group * 128
                                                         + half * 64 + quad * 16);
                        p = at[0];
                        q = at[1];
                    }
                    b[t][0] = p.x; b[t][1] = p.y; b[t][2] = p.z; b[t][3] = p.w;
                    b[t][4] = q.x; b[t][5] = q.y; b[t][6] = q.z; b[t][7] = q.w;
                }
#pragma unroll
                for (int r = 0; r < R; r++) {
                    // An array, because the unrolled loop below turns its index into a register.
                    u32 words[4] = {now[r][half].x, now[r][half].y, now[r][half].z, now[r][half].w};
#pragma unroll
                    for (int s = 0; s < 4; s++) {
                        u32 a[4];
                        unpack(words[s], a);
#pragma unroll
                        for (int t = 0; t < MT; t++)
                            mma(partial[r][t], a, b[t][2 * s], b[t][2 * s + 1]);
                    }
                }
            }
#pragma unroll
            for (int r = 0; r < R; r++)
#pragma unroll
                for (int t = 0; t < MT; t++) {
                    total[r][t][0] += low_bf16(scale[r]) * partial[r][t][0];
                    total[r][t][1] += low_bf16(scale[r]) * partial[r][t][1];
                    total[r][t][2] += high_bf16(scale[r]) * partial[r][t][2];
                    total[r][t][3] += high_bf16(scale[r]) * partial[r][t][3];
                }
        }
    }

    const int size = R * MT * 128;  // sums of one warp: [r][t][token 8][channel 16]
#pragma unroll
    for (int r = 0; r < R; r++)
#pragma unroll
        for (int t = 0; t < MT; t++) {
            float* at = sums + warp * size + (r * MT + t) * 128 + quad * 32 + row;
            at[0] = total[r][t][0];
            at[16] = total[r][t][1];
            at[8] = total[r][t][2];
            at[24] = total[r][t][3];
        }
    __syncthreads();
    // In the order of the warps and not by atomics, so that two runs give the same bits.
    for (int e = threadIdx.x; e < size; e += blockDim.x) {
        float sum = 0.0f;
        for (int from = 0; from < warps; from++) sum += sums[from * size + e];
        int channel = (blockIdx.x * R + e / (MT * 128)) * 16 + (e & 15);
        int token = (e / 128) % MT * 8 + ((e >> 4) & 7);
        if (channel < n && token < m) y[(u64)token * n + channel] = (u16)f32_to_bf16(sum);
    }
}

#define SKINNY(NAME, R, MT, D, THREADS)                                                          \
    extern "C" __global__ void __launch_bounds__(THREADS)                                        \
    NAME(const uint4* w, const u32* scales, const u16* x, u16* y, int n, int k, int m) {         \
        product<R, MT, D>(w, scales, x, y, n, k, m);                                             \
    }

SKINNY(w4a16_r1_t1, 1, 1, 4, 512)
SKINNY(w4a16_r2_t1, 2, 1, 2, 256)
SKINNY(w4a16_r4_t1, 4, 1, 1, 256)
SKINNY(w4a16_r1_t2, 1, 2, 4, 512)
SKINNY(w4a16_r2_t2, 2, 2, 2, 256)
SKINNY(w4a16_r4_t2, 4, 2, 1, 256)

// One block of 128 threads per (group, tile): grid (groups, tiles). Codes are round half to even of
// w / scale plus 8; the scale is bf16(absmax / 7).
extern "C" __global__ void __launch_bounds__(128)
pack_w4(const u16* __restrict__ w, u32* __restrict__ packed, u32* __restrict__ scales, int n, int k) {
    __shared__ u32 scale_bits[16];
    const int group = blockIdx.x, tile = blockIdx.y, thread = threadIdx.x;
    const u64 block = (u64)tile * gridDim.x + group;

    const int channel = tile * 16 + thread / 8;
    float largest = 0.0f;
    if (channel < n) {
        const u16* from = w + (u64)channel * k + group * 128 + (thread % 8) * 16;
        for (int i = 0; i < 16; i++) largest = fmaxf(largest, fabsf(bf16_to_f32(from[i])));
    }
#pragma unroll
    for (int lanes = 4; lanes > 0; lanes >>= 1)
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, lanes));
    if (thread % 8 == 0) {
        u32 bits = f32_to_bf16(__fdiv_rn(largest, 7.0f));
        scale_bits[thread / 8] = bits == 0 ? 0x3f80u : bits;
    }
    __syncthreads();
    if (thread < 8) scales[block * 8 + thread] = scale_bits[thread] | (scale_bits[thread + 8] << 16);

    for (int at = thread; at < 256; at += 128) {
        const int half = at >> 7, lane = (at >> 2) & 31, step = at & 3;
        u32 word = 0;
        for (int i = 0; i < 4; i++) {
            const int row = (lane >> 2) + 8 * (i & 1);
            const int column = half * 64 + (lane & 3) * 16 + step * 4 + 2 * (i >> 1);
            for (int e = 0; e < 2; e++) {
                int code = 8;
                if (tile * 16 + row < n) {
                    float value = bf16_to_f32(w[(u64)(tile * 16 + row) * k + group * 128 + column + e]);
                    code = __float2int_rn(__fdiv_rn(value, bf16_to_f32(scale_bits[row]))) + 8;
                    code = code < 0 ? 0 : (code > 15 ? 15 : code);
                }
                word |= (u32)code << (4 * i + 16 * e);
            }
        }
        packed[block * 256 + at] = word;
    }
}

// The second path, for more tokens than the tensor core's skinny shape: w back in bf16, [n][k].
// One block of 64 threads per (group, tile): grid (groups, tiles).
extern "C" __global__ void __launch_bounds__(64)
unpack_w4(const uint4* __restrict__ packed, const u32* __restrict__ scales, u16* __restrict__ w,
          int n, int k) {
    const int group = blockIdx.x, tile = blockIdx.y;
    const int half = threadIdx.x >> 5, lane = threadIdx.x & 31, row = lane >> 2, quad = lane & 3;
    const u64 block = (u64)tile * gridDim.x + group;
    const uint4 v = packed[block * 64 + threadIdx.x];
    const u32 words[4] = {v.x, v.y, v.z, v.w};
    const u32 pair = scales[block * 8 + row];
#pragma unroll
    for (int upper = 0; upper < 2; upper++) {
        const float scale = upper ? high_bf16(pair) : low_bf16(pair);
        u32 out[8];
#pragma unroll
        for (int s = 0; s < 4; s++)
#pragma unroll
            for (int j = 0; j < 2; j++) {
                const int shift = 4 * (2 * j + upper);
                float low = (float)((int)((words[s] >> shift) & 15u) - 8) * scale;
                float high = (float)((int)((words[s] >> (shift + 16)) & 15u) - 8) * scale;
                out[2 * s + j] = f32_to_bf16(low) | (f32_to_bf16(high) << 16);
            }
        const int channel = tile * 16 + row + 8 * upper;
        if (channel < n) {
            uint4* to = (uint4*)(w + (u64)channel * k + group * 128 + half * 64 + quad * 16);
            to[0] = make_uint4(out[0], out[1], out[2], out[3]);
            to[1] = make_uint4(out[4], out[5], out[6], out[7]);
        }
    }
}
