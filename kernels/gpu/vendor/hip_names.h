// The names that vendor/device.cpp uses, for HIP.
#pragma once

#include <hip/hip_runtime_api.h>

#include <cstdint>
#include <string>

#define GPU(name) hip##name
#define HEARTH_GPU_TARGET hip

namespace hearth::kernels::hip {

inline constexpr const char* kApi = "HIP";
inline constexpr const char* kWithoutDriver = "no AMD driver (amdgpu with /dev/kfd)";

inline hipError_t allocate_host(void** memory, std::size_t bytes) {
  return hipHostMalloc(memory, bytes, hipHostMallocMapped | hipHostMallocPortable);
}
inline hipError_t free_host(void* memory) { return hipHostFree(memory); }
inline hipError_t instantiate(hipGraphExec_t* executable, hipGraph_t graph) {
  return hipGraphInstantiate(executable, graph, nullptr, nullptr, 0);
}
inline std::string architecture_of(const hipDeviceProp_t& device) {
  const std::string name = device.gcnArchName;
  return name.substr(0, name.find(':'));
}

struct StreamMemoryOperations {
  bool present(int ordinal) const {
    int wait = 0;
    return hipDeviceGetAttribute(&wait, hipDeviceAttributeCanUseStreamWaitValue, ordinal) ==
               hipSuccess &&
           wait != 0;
  }
  bool write_value(hipStream_t stream, std::uint32_t* at, std::uint32_t value) const {
    return hipStreamWriteValue32(stream, at, value, 0) == hipSuccess;
  }
  bool wait_value(hipStream_t stream, std::uint32_t* at, std::uint32_t value) const {
    return hipStreamWaitValue32(stream, at, value, hipStreamWaitValueGte, 0xffffffffu) ==
           hipSuccess;
  }
};

}  // namespace hearth::kernels::hip
