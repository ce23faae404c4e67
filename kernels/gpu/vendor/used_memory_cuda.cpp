// What NVML says of a device that this process has not opened. Only differences of its figure are
// used, for it may count some megabytes that the runtime does not. It knows processes, too, but not
// in a container, whose numbers of processes are not the driver's.
#include <dlfcn.h>

#include <array>
#include <memory>

#include "kernels/gpu/vendor/cuda_names.h"

namespace hearth::kernels::cuda {
namespace {

// As nvml.h has them, which comes with the toolkit, but is no part of the runtime.
using Handle = struct nvmlDevice_st*;
struct Memory {
  unsigned long long total = 0, free = 0, used = 0;
};

class Nvml {
 public:
  std::optional<Bytes> used(const char* bus) const {
    const auto begin = function<int()>("nvmlInit_v2");
    const auto find = function<int(const char*, Handle*)>("nvmlDeviceGetHandleByPciBusId_v2");
    const auto ask = function<int(Handle, Memory*)>("nvmlDeviceGetMemoryInfo");
    const auto end = function<int()>("nvmlShutdown");
    if (!begin || !find || !ask || !end || begin() != 0) return std::nullopt;
    Handle device = nullptr;
    Memory memory;
    const bool known = find(bus, &device) == 0 && ask(device, &memory) == 0;
    static_cast<void>(end());
    if (!known || memory.free > memory.total) return std::nullopt;
    return Bytes(memory.total - memory.free);
  }

 private:
  template <typename Function>
  Function* function(const char* name) const {
    return library_ == nullptr ? nullptr : reinterpret_cast<Function*>(dlsym(library_.get(), name));
  }
  struct Close {
    void operator()(void* library) const { dlclose(library); }
  };
  std::unique_ptr<void, Close> library_{dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL)};
};

}  // namespace

std::optional<Bytes> used_memory_without_context(int ordinal) {
  std::array<char, 32> bus{};
  if (cudaDeviceGetPCIBusId(bus.data(), bus.size(), ordinal) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return std::nullopt;
  }
  return Nvml().used(bus.data());
}

}  // namespace hearth::kernels::cuda
