// A fake of the CUDA driver, for a rehearsal of `gpu-meters` on a machine without a GPU.
//
// What it is: as many calls of libcuda and, in cublaslt.cpp, of libcublasLt as the program makes.
// Kernels run on the CPU by name (kernels.cpp); the machine code that NVRTC made is not looked at.
// It proves that the program calls in the right order with the right sizes, that no launch or
// buffer is out of bounds, that graphs are recorded and replayed, and that the arithmetic which the
// program asks for gives what its meters expect.
//
// What it is not: a GPU. It says nothing about speed, about what a real driver or library accepts,
// or about the code inside the kernels, which it does not run. The times that a run on it reports
// mean nothing.
//
// The file must be called libcuda.so and never libcuda.so.1: NVRTC opens that name by itself and
// expects all of a driver behind it.

#include "device.hpp"

#include <chrono>
#include <cstring>

using namespace fake;

namespace {

// Handles: any address that is not null.
char context, stream, module;

double now_ms() {
    auto since = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double, std::milli>(since).count();
}

// The device says that it is like a Hopper, which has every format.
int attribute(int which) {
    switch (which) {
        case 75: return 9;         // COMPUTE_CAPABILITY_MAJOR
        case 76: return 0;         // COMPUTE_CAPABILITY_MINOR
        case 16: return 132;       // MULTIPROCESSOR_COUNT
        case 38: return 50 << 20;  // L2_CACHE_SIZE
    }
    expect(false, "cuDeviceGetAttribute of an attribute that the fake has");
    return 0;
}

}  // namespace

extern "C" {

// --- the device ---

int cuInit(unsigned) { return OK; }
int cuDriverGetVersion(int* version) { return *version = 13000, OK; }
int cuDeviceGetCount(int* count) { return *count = 1, OK; }
int cuDeviceGet(int* device, int) { return *device = 0, OK; }
int cuDeviceGetAttribute(int* value, int which, int) { return *value = attribute(which), OK; }
int cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = TOTAL_BYTES, OK; }
int cuDevicePrimaryCtxRetain(void** made, int) { return *made = &context, OK; }
int cuCtxSetCurrent(void* given) { return given == &context ? OK : INVALID_VALUE; }
int cuCtxSynchronize() { return OK; }
int cuModuleLoadData(void** made, const void*) { return *made = &module, OK; }

int cuDeviceGetName(char* name, int length, int) {
    std::snprintf(name, size_t(length), "no GPU: the rehearsal's fake");
    return OK;
}

// --- memory ---

int cuMemAlloc_v2(Address* address, size_t bytes) {
    *address = memory.allocate(bytes);
    return *address ? OK : OUT_OF_MEMORY;
}

int cuMemFree_v2(Address address) { return memory.release(address), OK; }

int cuMemGetInfo_v2(size_t* free, size_t* total) {
    *free = memory.free_bytes();
    *total = TOTAL_BYTES;
    return OK;
}

int cuMemsetD8Async(Address to, uint8_t value, size_t bytes, void*) {
    uint8_t* start = values<uint8_t>(to, bytes, "cuMemsetD8Async");
    submit([=] { std::memset(start, value, bytes); });
    return OK;
}

int cuMemcpyHtoD_v2(Address to, const void* from, size_t bytes) {
    expect(!capturing, "no copy from the host while a graph is recorded");
    std::memcpy(values<uint8_t>(to, bytes, "cuMemcpyHtoD"), from, bytes);
    return OK;
}

int cuMemcpyDtoH_v2(void* to, Address from, size_t bytes) {
    expect(!capturing, "no copy to the host while a graph is recorded");
    std::memcpy(to, values<uint8_t>(from, bytes, "cuMemcpyDtoH"), bytes);
    return OK;
}

int cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, void*) {
    uint8_t* target = values<uint8_t>(to, bytes, "cuMemcpyDtoDAsync, target");
    const uint8_t* source = values<uint8_t>(from, bytes, "cuMemcpyDtoDAsync, source");
    submit([=] { std::memcpy(target, source, bytes); });
    return OK;
}

// --- the stream and its graphs ---

int cuStreamCreate(void** made, unsigned) { return *made = &stream, OK; }

int cuStreamSynchronize(void* given) {
    expect(given == &stream, "cuStreamSynchronize of the stream that was created");
    return capturing ? CAPTURING : OK;
}

int cuStreamBeginCapture_v2(void* given, int mode) {
    expect(given == &stream && !capturing && mode == 1, "one capture at a time, thread-local");
    capturing = new Graph;
    return OK;
}

int cuStreamEndCapture(void*, Graph** graph) {
    expect(capturing, "cuStreamEndCapture of a stream in capture");
    *graph = capturing;
    capturing = nullptr;
    return OK;
}

int cuGraphInstantiateWithFlags(Graph** executable, const Graph* graph, unsigned long long) {
    return *executable = new Graph(*graph), OK;
}

int cuGraphDestroy(Graph* graph) { return delete graph, OK; }
int cuGraphExecDestroy(Graph* executable) { return delete executable, OK; }

int cuGraphLaunch(const Graph* executable, void*) {
    expect(!executable->recorded.empty(), "a graph that is launched has work in it");
    for (const Work& work : executable->recorded) work();
    return OK;
}

// --- events: the CPU's clock, so that times are positive and mean nothing ---

int cuEventCreate(double** made, unsigned flags) {
    expect(flags == 0, "an event that is created for times");
    return *made = new double(0.0), OK;
}

int cuEventRecord(double* event, void*) { return *event = now_ms(), OK; }
int cuEventDestroy_v2(double* event) { return delete event, OK; }

int cuEventElapsedTime(float* ms, const double* start, const double* stop) {
    *ms = std::max(float(*stop - *start), 1e-4f);
    return OK;
}

}
