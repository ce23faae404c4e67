// What the kernel's driver says of a device that this process has not opened.
#include <fmt/format.h>

#include <array>
#include <cctype>
#include <fstream>

#include "kernels/gpu/vendor/hip_names.h"

namespace hearth::kernels::hip {

std::optional<Bytes> used_memory_without_context(int ordinal) {
  std::array<char, 32> bus{};
  if (hipDeviceGetPCIBusId(bus.data(), static_cast<int>(bus.size()), ordinal) != hipSuccess) {
    static_cast<void>(hipGetLastError());
    return std::nullopt;
  }
  for (char& c : bus) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  std::ifstream file(fmt::format("/sys/bus/pci/devices/{}/mem_info_vram_used", bus.data()));
  std::uint64_t bytes = 0;
  if (!(file >> bytes)) return std::nullopt;
  return Bytes(bytes);
}

}  // namespace hearth::kernels::hip
