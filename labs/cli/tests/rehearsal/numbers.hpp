// The number formats of the device, on a CPU: bf16, e4m3, and the hash that fills memory.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace fake {

inline float float_of_bits(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

inline uint32_t bits_of_float(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}

inline float from_bf16(uint32_t bits) { return float_of_bits(bits << 16); }

// Round half to even; NaN stays NaN.
inline uint16_t to_bf16(float value) {
    uint32_t bits = bits_of_float(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// e4m3: 4 exponent bits with bias 7, 3 mantissa bits, no infinities, NaN only at 0x7f and 0xff.
inline float from_e4m3(uint8_t code) {
    int exponent = code >> 3 & 15, mantissa = code & 7;
    float magnitude = exponent == 0 ? std::ldexp(float(mantissa), -9)
                                    : std::ldexp(1.0f + mantissa / 8.0f, exponent - 7);
    if (exponent == 15 && mantissa == 7) magnitude = NAN;
    return code & 0x80 ? -magnitude : magnitude;
}

// The nearest code, half to even, saturating at 448. A product of 512 is in units of the smallest
// step; above, rounding the float's own mantissa to 3 bits may carry into the exponent, rightly.
inline uint8_t to_e4m3(float value) {
    uint8_t sign = std::signbit(value) ? 0x80 : 0;
    float magnitude = std::fabs(value);
    if (magnitude >= 448.0f) return sign | 0x7e;
    if (magnitude < 0.015625f) return sign | uint8_t(std::nearbyint(magnitude * 512.0f));
    uint32_t bits = bits_of_float(magnitude);
    return sign | uint8_t(((bits + 0x7ffffu + ((bits >> 20) & 1u)) >> 20) - (120u << 3));
}

// Round half to even, saturating symmetrically.
inline uint8_t to_int8(float value) {
    float code = std::nearbyint(value);
    return uint8_t(int8_t(code > 127.0f ? 127.0f : code < -127.0f ? -127.0f : code));
}

// lowbias32 of Chris Wellons.
inline uint32_t hash32(uint32_t value) {
    value ^= value >> 16;
    value *= 0x7feb352du;
    value ^= value >> 15;
    value *= 0x846ca68bu;
    value ^= value >> 16;
    return value;
}

// The sum of four uniform bytes: close to normal, mean 0, variance 1.
inline float near_normal(uint32_t bits) {
    int sum = int(bits & 255) + int(bits >> 8 & 255) + int(bits >> 16 & 255) + int(bits >> 24);
    return float(sum - 510) * (1.0f / 147.8f);
}

}  // namespace fake
