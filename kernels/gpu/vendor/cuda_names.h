// The names that the sources here use, for CUDA.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <optional>
#include <string>

#include "base/units.h"
#include "kernels/gpu/vendor/capability.h"

#define GPU(name) cuda##name
#define HEARTH_GPU_TARGET cuda

namespace hearth::kernels::cuda {

inline constexpr const char* kApi = "CUDA";
inline constexpr const char* kWithoutDriver =
    "no NVIDIA device, or no driver (libcuda.so.1) as new as this program";
inline constexpr unsigned kHostMapped = cudaHostAllocMapped | cudaHostAllocPortable;

inline cudaError_t allocate_host(void** memory, std::size_t bytes) {
  return cudaHostAlloc(memory, bytes, kHostMapped);
}
inline cudaError_t free_host(void* memory) { return cudaFreeHost(memory); }
inline constexpr bool kMarksGraphs = true;
inline constexpr bool kPrefetches = true;
// Within a capture only.
inline cudaError_t record_in_graph(cudaEvent_t event, cudaStream_t stream) {
  return cudaEventRecordWithFlags(event, stream, cudaEventRecordExternal);
}
inline cudaError_t call_host(cudaStream_t stream, void (*function)(void*), void* context) {
  return cudaLaunchHostFunc(stream, function, context);
}
inline cudaError_t instantiate(cudaGraphExec_t* executable, cudaGraph_t graph) {
  // Kernels of a graph have the priority of the stream that they were captured on: without the flag
  // all would have that of the stream it is launched on.
  return cudaGraphInstantiate(executable, graph, cudaGraphInstantiateFlagUseNodePriority);
}
inline cudaError_t upload(cudaGraphExec_t executable, cudaStream_t stream) {
  return cudaGraphUpload(executable, stream);
}

// Memory of a device that is in use before this process opens it, which the runtime cannot say: it
// opens the device to ask. The driver's own library for such questions (NVML) is not linked but
// found by name; none where there is none.
std::optional<Bytes> used_memory_without_context(int ordinal);

inline std::string architecture_of(const cudaDeviceProp& device) {
  return "sm_" + std::to_string(device.major) + std::to_string(device.minor);
}
// What the kernels were compiled for, by cmake/gpu.cmake.
inline bool has_kernels_for(const cudaDeviceProp& device) {
  const auto capability = static_cast<unsigned>(10 * device.major + device.minor);
  return runs_on(capability, {HEARTH_GPU_CODE}, {HEARTH_GPU_PTX});
}

// Programmatic dependent launch, in graphs since 12.3.
inline bool begins_early(const cudaDeviceProp& device, int driver) {
  const auto capability = static_cast<unsigned>(10 * device.major + device.minor);
  return driver >= 12030 && waits_on(capability, {HEARTH_GPU_CODE}, {HEARTH_GPU_PTX});
}

// These are functions of the driver, which is not linked: found by name, null where it has none.
struct StreamMemoryOperations {
  CUresult (*write)(CUstream, CUdeviceptr, cuuint32_t, unsigned) = nullptr;
  CUresult (*wait)(CUstream, CUdeviceptr, cuuint32_t, unsigned) = nullptr;

  StreamMemoryOperations() {
    find("cuStreamWriteValue32", write);
    find("cuStreamWaitValue32", wait);
  }
  bool present(int) const { return write != nullptr && wait != nullptr; }
  bool write_value(cudaStream_t stream, std::uint32_t* at, std::uint32_t value) const {
    return write(stream, reinterpret_cast<CUdeviceptr>(at), value, CU_STREAM_WRITE_VALUE_DEFAULT) ==
           CUDA_SUCCESS;
  }
  bool wait_value(cudaStream_t stream, std::uint32_t* at, std::uint32_t value) const {
    return wait(stream, reinterpret_cast<CUdeviceptr>(at), value, CU_STREAM_WAIT_VALUE_GEQ) ==
           CUDA_SUCCESS;
  }

 private:
  template <typename Function>
  static void find(const char* name, Function& function) {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result{};
    // The second form of these functions, which every driver has since 11.7.
#if CUDART_VERSION >= 12050
    const cudaError_t error =
        cudaGetDriverEntryPointByVersion(name, &found, 11070, cudaEnableDefault, &result);
#else
    const cudaError_t error = cudaGetDriverEntryPoint(name, &found, cudaEnableDefault, &result);
#endif
    if (error != cudaSuccess)
      static_cast<void>(cudaGetLastError());
    else if (result == cudaDriverEntryPointSuccess)
      function = reinterpret_cast<Function>(found);
  }
};

}  // namespace hearth::kernels::cuda
