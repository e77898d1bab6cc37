// The program's kernels by name, written again for a CPU from their comments. Each checks the
// launch and the bounds of every buffer first, then submits the arithmetic.

#include "device.hpp"
#include "numbers.hpp"

using namespace fake;

namespace {

struct Launch {
    std::string kernel;
    size_t blocks_x, blocks_y, threads, shared;
    void** arguments;

    template <class Value>
    Value argument(int index) const {
        Value value;
        std::memcpy(&value, arguments[index], sizeof value);
        return value;
    }

    // An argument that counts something.
    size_t count(int index) const {
        int value = argument<int>(index);
        expect(value > 0, kernel + ": argument " + std::to_string(index) + " is positive");
        return size_t(value);
    }

    template <class Value>
    Value* buffer(int index, size_t length) const {
        std::string what = kernel + ", argument " + std::to_string(index);
        return values<Value>(argument<Address>(index), length, what);
    }

    void expect_shape(size_t x, size_t y, size_t block) const {
        expect(blocks_x == x && blocks_y == y && threads == block,
               kernel + ": a grid of " + std::to_string(x) + " x " + std::to_string(y) +
                   " blocks of " + std::to_string(block) + " threads");
    }
};

// --- fill.cu ---

void fill_random(const Launch& launch) {
    uint64_t count = launch.argument<uint64_t>(1);
    uint32_t seed = launch.argument<uint32_t>(2);
    float sigma = launch.argument<float>(3);
    uint16_t* out = launch.buffer<uint16_t>(0, count);
    submit([=] {
        in_parallel(count, [=](size_t first, size_t last) {
            for (size_t i = first; i < last; i++) {
                uint32_t bits = hash32(hash32(uint32_t(i) ^ seed) + uint32_t(i >> 32));
                out[i] = to_bf16(sigma * near_normal(bits));
            }
        });
    });
}

void fill_tiled(const Launch& launch) {
    size_t rows = launch.count(2), columns = launch.count(3);
    size_t slice_rows = launch.count(4), slice_columns = launch.count(5);
    uint16_t* out = launch.buffer<uint16_t>(0, rows * columns);
    const uint16_t* slice = launch.buffer<uint16_t>(1, slice_rows * slice_columns);
    submit([=] {
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < columns; c++)
                out[r * columns + c] = slice[r % slice_rows * slice_columns + c % slice_columns];
    });
}

void copy_16_bytes(const Launch& launch) {
    size_t bytes = launch.argument<uint64_t>(2) * 16;
    uint8_t* out = launch.buffer<uint8_t>(0, bytes);
    const uint8_t* in = launch.buffer<uint8_t>(1, bytes);
    submit([=] { std::memcpy(out, in, bytes); });
}

// --- rows.cu ---

float absmax(const uint16_t* row, size_t k) {
    float largest = 0.0f;
    for (size_t i = 0; i < k; i++) largest = std::max(largest, std::fabs(from_bf16(row[i])));
    return largest;
}

// A row of zeros gets scale 1.
float scale_for(float largest, float code_max) {
    float scale = largest / code_max;
    return scale > 0.0f ? scale : 1.0f;
}

using Encode = uint8_t (*)(float);

void write_codes(const uint16_t* row, uint8_t* codes, float scale, size_t k, Encode encode) {
    float inverse = 1.0f / scale;
    for (size_t i = 0; i < k; i++) codes[i] = encode(from_bf16(row[i]) * inverse);
}

void quantize_rows(const Launch& launch, float code_max, Encode encode) {
    size_t rows = launch.blocks_x, k = launch.count(3);
    launch.expect_shape(rows, 1, 256);
    expect(k % 8 == 0, launch.kernel + ": k is a multiple of 8");
    const uint16_t* x = launch.buffer<uint16_t>(0, rows * k);
    uint8_t* codes = launch.buffer<uint8_t>(1, rows * k);
    float* scales = launch.buffer<float>(2, rows);
    submit([=] {
        in_parallel(rows, [=](size_t first, size_t last) {
            for (size_t r = first; r < last; r++) {
                scales[r] = scale_for(absmax(x + r * k, k), code_max);
                write_codes(x + r * k, codes + r * k, scales[r], k, encode);
            }
        });
    });
}

void quantize_fp8_rows(const Launch& launch) { quantize_rows(launch, 448.0f, to_e4m3); }
void quantize_int8_rows(const Launch& launch) { quantize_rows(launch, 127.0f, to_int8); }

void absmax_rows(const Launch& launch) {
    size_t rows = launch.blocks_x, k = launch.count(2);
    launch.expect_shape(rows, 1, 256);
    const uint16_t* x = launch.buffer<uint16_t>(0, rows * k);
    float* largest = launch.buffer<float>(1, rows);
    submit([=] {
        for (size_t r = 0; r < rows; r++) largest[r] = absmax(x + r * k, k);
    });
}

void quantize_fp8_tensor(const Launch& launch) {
    size_t rows = launch.count(4), k = launch.count(5);
    launch.expect_shape(rows, 1, 256);
    const uint16_t* x = launch.buffer<uint16_t>(0, rows * k);
    uint8_t* codes = launch.buffer<uint8_t>(1, rows * k);
    const float* largest = launch.buffer<float>(2, rows);
    float* scale = launch.buffer<float>(3, 1);
    submit([=] {
        *scale = scale_for(*std::max_element(largest, largest + rows), 448.0f);
        in_parallel(rows, [=](size_t first, size_t last) {
            write_codes(x + first * k, codes + first * k, *scale, (last - first) * k, to_e4m3);
        });
    });
}

void rescale_int32(const Launch& launch) {
    size_t tokens = launch.blocks_y, n = launch.count(4);
    launch.expect_shape((n + 1023) / 1024, tokens, 256);
    const int32_t* sums = launch.buffer<int32_t>(0, tokens * n);
    const float* x_scales = launch.buffer<float>(1, tokens);
    const float* w_scales = launch.buffer<float>(2, n);
    uint16_t* out = launch.buffer<uint16_t>(3, tokens * n);
    submit([=] {
        for (size_t t = 0; t < tokens; t++)
            for (size_t c = 0; c < n; c++)
                out[t * n + c] = to_bf16(float(sums[t * n + c]) * (x_scales[t] * w_scales[c]));
    });
}

// --- w4a16.cu ---

constexpr size_t GROUP = 128, TILE = 16, TILE_WORDS = 256, TILE_SCALES = 8;

// The layout of a packed weight `[n, k]`: tile after tile of 16 channels by 128 inputs.
struct Packing {
    size_t n, k;

    size_t groups() const { return k / GROUP; }
    size_t tiles() const { return (n + TILE - 1) / TILE; }
    size_t blocks() const { return tiles() * groups(); }

    // The block of a weight, the word in it, and the lowest bit of its code.
    struct Place {
        size_t block, word, shift;
    };

    Place place(size_t channel, size_t input) const {
        size_t row = channel % TILE, column = input % GROUP;
        size_t half = column / 64, quad = column % 64 / 16, step = column % 16 / 4;
        size_t pair = column % 4 / 2, upper = column % 2;
        size_t lane = row % 8 * 4 + quad, nibble = row / 8 + 2 * pair + 4 * upper;
        return {channel / TILE * groups() + input / GROUP, half * 128 + lane * 4 + step,
                nibble * 4};
    }

    // The scale of channel `channel` in `block`: channels r and r + 8 share a word.
    static float scale(const uint32_t* scales, size_t block, size_t channel) {
        uint32_t pair = scales[block * TILE_SCALES + channel % 8];
        return from_bf16(channel % TILE < 8 ? pair & 0xffff : pair >> 16);
    }

    void decode(const uint32_t* words, const uint32_t* scales, size_t channel, float* to) const {
        for (size_t input = 0; input < k; input++) {
            Place at = place(channel, input);
            int code = int(words[at.block * TILE_WORDS + at.word] >> at.shift & 15) - 8;
            to[input] = float(code) * scale(scales, at.block, channel);
        }
    }
};

Packing packing_of(const Launch& launch, int n, int k) {
    Packing packing{launch.count(n), launch.count(k)};
    expect(packing.k % GROUP == 0, launch.kernel + ": k is a multiple of the group size");
    return packing;
}

// Quantizes one group of one channel; `words` and `scales` were zeroed.
void pack_group(Packing p, const uint16_t* w, uint32_t* words, uint32_t* scales, size_t channel,
                size_t group) {
    const uint16_t* from = w + channel * p.k + group * GROUP;
    uint32_t bits = to_bf16(absmax(from, GROUP) / 7.0f);
    if (bits == 0) bits = 0x3f80;
    size_t block = p.place(channel, group * GROUP).block;
    scales[block * TILE_SCALES + channel % 8] |= bits << (channel % TILE < 8 ? 0 : 16);
    for (size_t i = 0; i < GROUP; i++) {
        auto at = p.place(channel, group * GROUP + i);
        float code = std::nearbyint(from_bf16(from[i]) / from_bf16(bits));
        code = std::min(7.0f, std::max(-8.0f, code));
        words[at.block * TILE_WORDS + at.word] |= uint32_t(int(code) + 8) << at.shift;
    }
}

// Channels past the end of a ragged last tile: zeros with scale 1.
void pack_padding(Packing p, uint32_t* words, uint32_t* scales, size_t channel) {
    for (size_t input = 0; input < p.k; input++) {
        auto at = p.place(channel, input);
        words[at.block * TILE_WORDS + at.word] |= 8u << at.shift;
    }
    for (size_t group = 0; group < p.groups(); group++) {
        size_t block = p.place(channel, group * GROUP).block;
        scales[block * TILE_SCALES + channel % 8] |= 0x3f80u << (channel % TILE < 8 ? 0 : 16);
    }
}

void pack_w4(const Launch& launch) {
    Packing p = packing_of(launch, 3, 4);
    launch.expect_shape(p.groups(), p.tiles(), 128);
    const uint16_t* w = launch.buffer<uint16_t>(0, p.n * p.k);
    uint32_t* words = launch.buffer<uint32_t>(1, p.blocks() * TILE_WORDS);
    uint32_t* scales = launch.buffer<uint32_t>(2, p.blocks() * TILE_SCALES);
    submit([=] {
        std::fill_n(words, p.blocks() * TILE_WORDS, 0);
        std::fill_n(scales, p.blocks() * TILE_SCALES, 0);
        in_parallel(p.tiles(), [=](size_t first, size_t last) {
            for (size_t channel = first * TILE; channel < std::min(p.n, last * TILE); channel++)
                for (size_t group = 0; group < p.groups(); group++)
                    pack_group(p, w, words, scales, channel, group);
        });
        for (size_t channel = p.n; channel < p.tiles() * TILE; channel++)
            pack_padding(p, words, scales, channel);
    });
}

void unpack_w4(const Launch& launch) {
    Packing p = packing_of(launch, 3, 4);
    launch.expect_shape(p.groups(), p.tiles(), 64);
    const uint32_t* words = launch.buffer<uint32_t>(0, p.blocks() * TILE_WORDS);
    const uint32_t* scales = launch.buffer<uint32_t>(1, p.blocks() * TILE_SCALES);
    uint16_t* w = launch.buffer<uint16_t>(2, p.n * p.k);
    submit([=] {
        in_parallel(p.n, [=](size_t first, size_t last) {
            std::vector<float> row(p.k);
            for (size_t channel = first; channel < last; channel++) {
                p.decode(words, scales, channel, row.data());
                std::transform(row.begin(), row.end(), w + channel * p.k, to_bf16);
            }
        });
    });
}

// w4a16_rR_tT: R tiles a block, up to 8 * T tokens; a float for each warp, tile, token and channel
// in shared memory.
void w4a16(const Launch& launch, size_t tiles_a_block, size_t token_blocks) {
    Packing p = packing_of(launch, 4, 5);
    size_t tokens = launch.count(6), most_threads = tiles_a_block == 1 ? 512 : 256;
    launch.expect_shape((p.tiles() + tiles_a_block - 1) / tiles_a_block, 1, launch.threads);
    expect(launch.threads % 32 == 0 && launch.threads <= most_threads,
           launch.kernel + ": whole warps, no more than its launch bounds");
    expect(launch.shared == launch.threads / 32 * tiles_a_block * token_blocks * 8 * TILE * 4,
           launch.kernel + ": shared memory for the sums of every warp");
    expect(tokens <= 8 * token_blocks, launch.kernel + ": tokens fit into its blocks");
    const uint32_t* words = launch.buffer<uint32_t>(0, p.blocks() * TILE_WORDS);
    const uint32_t* scales = launch.buffer<uint32_t>(1, p.blocks() * TILE_SCALES);
    const uint16_t* x = launch.buffer<uint16_t>(2, tokens * p.k);
    uint16_t* y = launch.buffer<uint16_t>(3, tokens * p.n);
    submit([=] {
        std::vector<float> wide(tokens * p.k);
        std::transform(x, x + wide.size(), wide.begin(), from_bf16);
        auto row = [=](size_t channel, float* to) { p.decode(words, scales, channel, to); };
        auto store = [=](size_t token, size_t channel, float sum) {
            y[token * p.n + channel] = to_bf16(sum);
        };
        multiply<float, float>(p.n, p.k, tokens, wide.data(), row, store);
    });
}

struct Kernel {
    std::string name;
    std::function<void(const Launch&)> run;
};

std::function<void(const Launch&)> skinny(size_t tiles, size_t token_blocks) {
    return [=](const Launch& launch) { w4a16(launch, tiles, token_blocks); };
}

const std::vector<Kernel>& kernels() {
    static const std::vector<Kernel> all = {
        {"fill_random", fill_random},
        {"fill_tiled", fill_tiled},
        {"copy_16_bytes", copy_16_bytes},
        {"quantize_fp8_rows", quantize_fp8_rows},
        {"quantize_int8_rows", quantize_int8_rows},
        {"absmax_rows", absmax_rows},
        {"quantize_fp8_tensor", quantize_fp8_tensor},
        {"rescale_int32", rescale_int32},
        {"pack_w4", pack_w4},
        {"unpack_w4", unpack_w4},
        {"w4a16_r1_t1", skinny(1, 1)},
        {"w4a16_r2_t1", skinny(2, 1)},
        {"w4a16_r4_t1", skinny(4, 1)},
        {"w4a16_r1_t2", skinny(1, 2)},
        {"w4a16_r2_t2", skinny(2, 2)},
        {"w4a16_r4_t2", skinny(4, 2)},
    };
    return all;
}

// What every launch must keep to, whatever the kernel.
bool within_limits(size_t x, size_t y, size_t threads, size_t shared) {
    return x > 0 && y > 0 && y <= 65535 && threads > 0 && threads <= 1024 && shared <= 48 * 1024;
}

}  // namespace

extern "C" {

int cuModuleGetFunction(const void** function, void*, const char* name) {
    for (const Kernel& kernel : kernels())
        if (kernel.name == name) {
            *function = &kernel;
            return OK;
        }
    return NOT_FOUND;
}

int cuLaunchKernel(const void* function, unsigned x, unsigned y, unsigned z, unsigned threads,
                   unsigned threads_y, unsigned threads_z, unsigned shared, void*,
                   void** arguments, void**) {
    if (z != 1 || threads_y != 1 || threads_z != 1) return INVALID_VALUE;
    if (!within_limits(x, y, threads, shared)) return INVALID_VALUE;
    const Kernel& kernel = *static_cast<const Kernel*>(function);
    kernel.run(Launch{kernel.name, x, y, threads, shared, arguments});
    return OK;
}

}
