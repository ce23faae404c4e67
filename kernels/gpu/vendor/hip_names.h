// The names that the sources here use, for HIP.
#pragma once

#include <hip/hip_runtime_api.h>
#include <hip/hip_version.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/units.h"

#define GPU(name) hip##name
#define HEARTH_GPU_TARGET hip

namespace hearth::kernels::hip {

inline constexpr const char* kApi = "HIP";
inline constexpr const char* kWithoutDriver = "no AMD device, or no driver (amdgpu with /dev/kfd)";

// Coherent, or what a device writes in the course of a kernel would reach the host after it.
inline hipError_t allocate_host(void** memory, std::size_t bytes) {
  return hipHostMalloc(memory, bytes,
                       hipHostMallocMapped | hipHostMallocPortable | hipHostMallocCoherent);
}
inline hipError_t free_host(void* memory) { return hipHostFree(memory); }
inline constexpr bool kMarksGraphs = false;  // hipEventRecordWithFlags came after 5.2
inline constexpr bool kPrefetches = false;
inline hipError_t record_in_graph(hipEvent_t, hipStream_t) { return hipErrorNotSupported; }
inline hipError_t instantiate(hipGraphExec_t* executable, hipGraph_t graph) {
  return hipGraphInstantiate(executable, graph, nullptr, nullptr, 0);
}
// Graphs of HIP take what they need when they are built.
inline hipError_t upload(hipGraphExec_t, hipStream_t) { return hipSuccess; }

// Memory of a device that is in use before this process opens it, as the kernel's driver says.
std::optional<Bytes> used_memory_without_context(int ordinal);

inline std::string architecture_of(const hipDeviceProp_t& device) {
  const std::string name = device.gcnArchName;
  return name.substr(0, name.find(':'));
}
// What the kernels were compiled for, by cmake/gpu.cmake.
inline bool has_kernels_for(const hipDeviceProp_t& device) {
  const auto compiled = {HEARTH_GPU_CODE};
  return std::ranges::any_of(compiled,
                             [&](std::string_view one) { return one == architecture_of(device); });
}

inline bool begins_early(const hipDeviceProp_t&, int) { return false; }

inline hipError_t call_host(hipStream_t stream, void (*function)(void*), void* context) {
#if HIP_VERSION >= 50300000
  return hipLaunchHostFunc(stream, function, context);
#else  // declared in 5.2, but not in its library; this one cannot be captured
  struct Call {
    void (*function)(void*);
    void* context;
  };
  const auto run = [](hipStream_t, hipError_t, void* data) {
    const Call call = *static_cast<Call*>(data);
    delete static_cast<Call*>(data);
    call.function(call.context);
  };
  auto* const call = new Call{function, context};
  const hipError_t error = hipStreamAddCallback(stream, run, call, 0);
  if (error != hipSuccess) delete call;
  return error;
#endif
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
