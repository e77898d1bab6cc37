// The fake device: its memory with known bounds, its one stream, its faults on demand.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace fake {

using Address = uint64_t;
using Work = std::function<void()>;

// What the driver returns.
enum DriverStatus {
    OK = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_FOUND = 500,
    CAPTURING = 900,
};

// A program that breaks a rule of the device is stopped at once, with the rule on stderr: a real
// device would go on with wrong numbers, or lose its context.
inline void expect(bool kept, const std::string& rule) {
    if (kept) return;
    std::fprintf(stderr, "fake device: broken rule: %s\n", rule.c_str());
    std::abort();
}

// Enough for a small model; a copy ceiling takes half of what is free.
constexpr size_t TOTAL_BYTES = size_t(2) << 30;

// Device memory: plain host memory whose allocations are remembered.
class Memory {
  public:
    // 0 where the device is full.
    Address allocate(size_t bytes) {
        if (bytes > free_bytes()) return 0;
        Address address = Address(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
        if (address == 0) return 0;
        sizes_[address] = bytes;
        used_ += bytes;
        return address;
    }

    void release(Address address) {
        expect(sizes_.count(address) == 1, "cuMemFree of an address that was allocated");
        used_ -= sizes_[address];
        sizes_.erase(address);
        std::free(reinterpret_cast<void*>(address));
    }

    // `bytes` from `address` must lie within one allocation.
    void check(Address address, size_t bytes, const std::string& what) const {
        auto next = sizes_.upper_bound(address);
        expect(next != sizes_.begin(), what + " begins in device memory");
        auto [start, size] = *std::prev(next);
        expect(address + bytes <= start + size,
               what + ": " + std::to_string(bytes) + " bytes at " +
                   std::to_string(address - start) + " of " + std::to_string(size));
    }

    size_t free_bytes() const { return TOTAL_BYTES - used_; }

  private:
    std::map<Address, size_t> sizes_;
    size_t used_ = 0;
};

inline Memory memory;

// `count` values at `address`, bounds checked now: the device checks when work is submitted.
template <class Value>
Value* values(Address address, size_t count, const std::string& what) {
    memory.check(address, count * sizeof(Value), what);
    expect(address % alignof(Value) == 0, what + " is aligned");
    return reinterpret_cast<Value*>(address);
}

// Work that was recorded instead of run.
struct Graph {
    std::vector<Work> recorded;
};

// Not null while the stream is in capture.
inline Graph* capturing = nullptr;

// Runs `work` now or, in capture, when the graph is launched.
inline void submit(Work work) {
    if (capturing)
        capturing->recorded.push_back(std::move(work));
    else
        work();
}

// What goes wrong on purpose, by the variable FAKE_CUDA_FAULT.
enum class Fault {
    NONE,
    NO_PRODUCTS,       // a product leaves its output as it was
    SWAPPED_CHANNELS,  // a product writes each pair of output channels the wrong way round
};

inline Fault fault() {
    static const Fault chosen = [] {
        const char* text = std::getenv("FAKE_CUDA_FAULT");
        std::string name = text ? text : "none";
        if (name == "none") return Fault::NONE;
        if (name == "no-products") return Fault::NO_PRODUCTS;
        expect(name == "swapped-channels", "FAKE_CUDA_FAULT names a fault");
        return Fault::SWAPPED_CHANNELS;
    }();
    return chosen;
}

// Calls `part(first, last)` on pieces of 0..count, each on its own thread.
template <class Part>
void in_parallel(size_t count, Part part) {
    size_t threads = std::min<size_t>(count, std::max(1u, std::thread::hardware_concurrency()));
    std::vector<std::thread> started;
    for (size_t i = 1; i < threads; i++)
        started.emplace_back([=] { part(count * i / threads, count * (i + 1) / threads); });
    if (threads > 0) part(0, count / threads);
    for (std::thread& thread : started) thread.join();
}

// y = x @ w.T: `row(channel, to)` decodes the weights of a channel, `store(token, channel, sum)`
// takes a result. `x` is `[tokens, inputs]`.
template <class Value, class Sum, class Row, class Store>
void multiply(size_t outputs, size_t inputs, size_t tokens, const Value* x, Row row, Store store) {
    if (fault() == Fault::NO_PRODUCTS) return;
    const size_t flip = fault() == Fault::SWAPPED_CHANNELS ? 1 : 0;
    in_parallel(outputs, [=](size_t first, size_t last) {
        std::vector<Value> w(inputs);
        for (size_t channel = first; channel < last; channel++) {
            row(channel, w.data());
            for (size_t token = 0; token < tokens; token++) {
                const Value* of_token = x + token * inputs;
                Sum sum = 0;
                for (size_t i = 0; i < inputs; i++) sum += Sum(w[i]) * Sum(of_token[i]);
                store(token, channel ^ flip, sum);
            }
        }
    });
}

}  // namespace fake
