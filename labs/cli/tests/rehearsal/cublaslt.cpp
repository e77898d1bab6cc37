// A fake of cuBLASLt: the dense products of `gpu-meters` on the CPU. See driver.cpp for what the
// rehearsal proves and what not. It knows the "TN" form alone, proposes two algorithms, and refuses
// some of them only when they are started, as the real library does for small batches.

#include "device.hpp"
#include "numbers.hpp"

using namespace fake;

namespace {

enum Status { SUCCESS = 0, WRONG_VALUE = 7, NOT_SUPPORTED = 15 };
enum Type { FLOAT = 0, INT8 = 3, INT32 = 10, BF16 = 14, E4M3 = 28 };
enum Compute { COMPUTE_FLOAT = 68, COMPUTE_INT32 = 72 };
constexpr int OUTER_VECTOR = 3;
constexpr size_t WORKSPACE = size_t(64) << 20;
constexpr uint64_t FIRST_ALGORITHM = 42, ALGORITHMS = 2;

char handle, preference;

struct Descriptor {
    int compute, scale;
    int transposed_a = 0, transposed_b = 0;
    Address a_scale = 0, b_scale = 0;
    int a_mode = 0, b_mode = 0;
    int8_t fast = 0;
};

struct Layout {
    int type;
    uint64_t rows, columns;
    int64_t leading;
};

// As the library's header has it.
struct Proposal {
    uint64_t algorithm[8];
    size_t workspace;
    int status;
    float waves;
    int reserved[4];
};

template <class Value>
Status set(Value& field, const void* from, size_t bytes) {
    if (bytes != sizeof field) return WRONG_VALUE;
    std::memcpy(&field, from, bytes);
    return SUCCESS;
}

// Column-major: A is [k, n] and transposed, B [k, m], D [n, m].
bool is_tn(const Descriptor& how, const Layout& a, const Layout& b, const Layout& d) {
    auto dense = [](const Layout& l) { return l.leading == int64_t(l.rows); };
    return how.transposed_a == 1 && how.transposed_b == 0 && a.rows == b.rows &&
           d.rows == a.columns && d.columns == b.columns && dense(a) && dense(b) && dense(d);
}

bool types_match(const Descriptor& how, const Layout& a, const Layout& b, const Layout& d) {
    if (a.type != b.type) return false;
    if (a.type == INT8)
        return how.compute == COMPUTE_INT32 && how.scale == INT32 && d.type == INT32;
    bool scaled = how.a_scale && how.b_scale && how.fast == 1;
    return how.compute == COMPUTE_FLOAT && how.scale == FLOAT && d.type == BF16 &&
           (a.type == BF16 || (a.type == E4M3 && scaled));
}

// Refusals that show only at the start: few tokens.
bool refused(int type, uint64_t algorithm, size_t tokens) {
    if (type == INT8) return tokens <= 16;
    return type == E4M3 && algorithm == FIRST_ALGORITHM && tokens < 16;
}

bool is_one_and_zero(int type, const void* alpha, const void* beta) {
    auto is = [](auto one, const void* a, const void* b) {
        using Scalar = decltype(one);
        return *static_cast<const Scalar*>(a) == one && *static_cast<const Scalar*>(b) == Scalar(0);
    };
    return type == INT8 ? is(1, alpha, beta) : is(1.0f, alpha, beta);
}

// Where the operands lie, bounds checked; `n` outputs, `k` inputs, `m` tokens.
struct Product {
    size_t n, k, m;
    Descriptor how;
    Address w, x, y;
};

void multiply_int8(const Product& p) {
    auto w = values<int8_t>(p.w, p.n * p.k, "A"), x = values<int8_t>(p.x, p.m * p.k, "B");
    auto y = values<int32_t>(p.y, p.m * p.n, "D");
    submit([=] {
        std::vector<int16_t> wide(x, x + p.m * p.k);
        auto row = [=](size_t channel, int16_t* to) {
            std::copy_n(w + channel * p.k, p.k, to);
        };
        auto store = [=](size_t token, size_t channel, int32_t sum) {
            y[token * p.n + channel] = sum;
        };
        multiply<int16_t, int32_t>(p.n, p.k, p.m, wide.data(), row, store);
    });
}

void multiply_bf16(const Product& p) {
    auto w = values<uint16_t>(p.w, p.n * p.k, "A"), x = values<uint16_t>(p.x, p.m * p.k, "B");
    auto y = values<uint16_t>(p.y, p.m * p.n, "D");
    submit([=] {
        std::vector<float> wide(p.m * p.k);
        std::transform(x, x + wide.size(), wide.begin(), from_bf16);
        auto row = [=](size_t channel, float* to) {
            std::transform(w + channel * p.k, w + (channel + 1) * p.k, to, from_bf16);
        };
        auto store = [=](size_t token, size_t channel, float sum) {
            y[token * p.n + channel] = to_bf16(sum);
        };
        multiply<float, float>(p.n, p.k, p.m, wide.data(), row, store);
    });
}

// The 256 values of e4m3.
const float* e4m3_table() {
    static const std::vector<float> table = [] {
        std::vector<float> values(256);
        for (int code = 0; code < 256; code++) values[code] = from_e4m3(uint8_t(code));
        return values;
    }();
    return table.data();
}

void multiply_e4m3(const Product& p) {
    auto w = values<uint8_t>(p.w, p.n * p.k, "A"), x = values<uint8_t>(p.x, p.m * p.k, "B");
    auto y = values<uint16_t>(p.y, p.m * p.n, "D");
    bool by_channel = p.how.a_mode == OUTER_VECTOR, by_token = p.how.b_mode == OUTER_VECTOR;
    auto w_scales = values<float>(p.how.a_scale, by_channel ? p.n : 1, "the scales of A");
    auto x_scales = values<float>(p.how.b_scale, by_token ? p.m : 1, "the scales of B");
    submit([=] {
        const float* table = e4m3_table();
        auto value = [=](uint8_t code) { return table[code]; };
        std::vector<float> wide(p.m * p.k);
        std::transform(x, x + wide.size(), wide.begin(), value);
        auto row = [=](size_t channel, float* to) {
            std::transform(w + channel * p.k, w + (channel + 1) * p.k, to, value);
        };
        auto store = [=](size_t token, size_t channel, float sum) {
            float scale = w_scales[by_channel ? channel : 0] * x_scales[by_token ? token : 0];
            y[token * p.n + channel] = to_bf16(sum * scale);
        };
        multiply<float, float>(p.n, p.k, p.m, wide.data(), row, store);
    });
}

}  // namespace

extern "C" {

size_t cublasLtGetVersion() { return 130100; }
int cublasLtCreate(void** made) { return *made = &handle, SUCCESS; }
int cublasLtDestroy(void*) { return SUCCESS; }

int cublasLtMatmulDescCreate(Descriptor** made, int compute, int scale) {
    return *made = new Descriptor{compute, scale}, SUCCESS;
}

int cublasLtMatmulDescDestroy(Descriptor* how) { return delete how, SUCCESS; }

int cublasLtMatmulDescSetAttribute(Descriptor* how, int which, const void* from, size_t bytes) {
    switch (which) {
        case 3: return set(how->transposed_a, from, bytes);
        case 4: return set(how->transposed_b, from, bytes);
        case 17: return set(how->a_scale, from, bytes);
        case 18: return set(how->b_scale, from, bytes);
        case 25: return set(how->fast, from, bytes);
        case 31: return set(how->a_mode, from, bytes);
        case 32: return set(how->b_mode, from, bytes);
    }
    return WRONG_VALUE;
}

int cublasLtMatrixLayoutCreate(Layout** made, int type, uint64_t rows, uint64_t columns,
                               int64_t leading) {
    return *made = new Layout{type, rows, columns, leading}, SUCCESS;
}

int cublasLtMatrixLayoutDestroy(Layout* layout) { return delete layout, SUCCESS; }

int cublasLtMatmulPreferenceCreate(void** made) { return *made = &preference, SUCCESS; }
int cublasLtMatmulPreferenceDestroy(void*) { return SUCCESS; }

int cublasLtMatmulPreferenceSetAttribute(void*, int which, const void* from, size_t bytes) {
    size_t most = 0;
    bool set_most = which == 1 && set(most, from, bytes) == SUCCESS;
    return set_most && most == WORKSPACE ? SUCCESS : WRONG_VALUE;
}

int cublasLtMatmulAlgoGetHeuristic(void*, const Descriptor* how, const Layout* a, const Layout* b,
                                   const Layout*, const Layout* d, void*, int places,
                                   Proposal* proposals, int* found) {
    *found = 0;
    if (!is_tn(*how, *a, *b, *d) || !types_match(*how, *a, *b, *d)) return WRONG_VALUE;
    if (a->type == INT8 && b->columns <= 4) return NOT_SUPPORTED;
    for (uint64_t i = 0; i < ALGORITHMS && *found < places; i++) {
        proposals[i] = Proposal{};
        proposals[i].algorithm[0] = FIRST_ALGORITHM + i;
        *found += 1;
    }
    return SUCCESS;
}

int cublasLtMatmul(void* given, const Descriptor* how, const void* alpha, Address w,
                   const Layout* a, Address x, const Layout* b, const void* beta, Address c,
                   const Layout*, Address y, const Layout* d, const uint64_t* algorithm,
                   Address workspace, size_t workspace_bytes, void*) {
    bool proposed = algorithm[0] - FIRST_ALGORITHM < ALGORITHMS;
    if (given != &handle || !proposed || c != y || !is_tn(*how, *a, *b, *d)) return WRONG_VALUE;
    if (!types_match(*how, *a, *b, *d) || !is_one_and_zero(a->type, alpha, beta))
        return WRONG_VALUE;
    if (refused(a->type, algorithm[0], b->columns)) return NOT_SUPPORTED;
    memory.check(workspace, workspace_bytes, "the workspace");
    Product product{a->columns, a->rows, b->columns, *how, w, x, y};
    // Converting operands for nothing would take most of a run's time.
    if (fault() == Fault::NO_PRODUCTS) product.m = 0;
    if (a->type == INT8) multiply_int8(product);
    if (a->type == BF16) multiply_bf16(product);
    if (a->type == E4M3) multiply_e4m3(product);
    return SUCCESS;
}

}
