// The code books of the i-quants: an index stands for eight (IQ3: four) values at once, byte i of
// an entry for value i.
//
// Where these tables come from: they are part of the formats, as ggml defined them (I. Kawrakow,
// 2024). IQ2 and IQ3 hold magnitudes, the signs are stored beside; IQ1 holds eight times a signed
// value, so that its shift of an eighth stays an integer.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hearth::kernels {

// No function comes with it: see kernels/quant/codec.h.
template <typename T, std::size_t kCount>
struct Table {
  T at[kCount];
};

extern const Table<std::uint64_t, 256> kIq2XxsGrid;  // 8, 25 or 43
extern const Table<std::uint64_t, 512> kIq2XsGrid;   // likewise
extern const Table<std::uint64_t, 1024> kIq2SGrid;   // likewise
extern const Table<std::uint32_t, 256> kIq3XxsGrid;  // 4, 12, ... 52 or 62
extern const Table<std::uint32_t, 512> kIq3SGrid;    // 1, 3, ... 15
extern const Table<std::uint64_t, 2048> kIq1Grid;    // -8, 0 or 8

// Eight factors 1 or -1, from the bits of eight signs (1 is negative), or of seven of them and an
// eighth that makes their number even.
extern const Table<std::uint64_t, 256> kSigns;
extern const Table<std::uint64_t, 128> kEvenSigns;

// Value i of an entry. For the decoders; kernels take whole entries.
constexpr int grid_value(std::uint64_t entry, int i) {
  return static_cast<std::int8_t>(entry >> (8 * i));
}

}  // namespace hearth::kernels
