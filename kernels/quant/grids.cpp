#include "kernels/quant/grids.h"

#include "kernels/quant/grid_codes.h"

namespace hearth::kernels {

constinit const Table<std::uint64_t, 256> kIq2XxsGrid = grids::iq2_xxs();
constinit const Table<std::uint64_t, 512> kIq2XsGrid = grids::iq2_xs();
constinit const Table<std::uint64_t, 1024> kIq2SGrid = grids::iq2_s();
constinit const Table<std::uint32_t, 256> kIq3XxsGrid = grids::iq3_xxs();
constinit const Table<std::uint32_t, 512> kIq3SGrid = grids::iq3_s();
constinit const Table<std::uint64_t, 2048> kIq1Grid = grids::iq1();
constinit const Table<std::uint64_t, 256> kSigns = grids::make_signs();
constinit const Table<std::uint64_t, 128> kEvenSigns = grids::make_even_signs();

}  // namespace hearth::kernels
