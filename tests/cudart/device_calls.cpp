// The one device: as an H100, but for its memory.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <cstring>

#include "tests/cudart/calls.h"
#include "tests/cudart/memory.h"
#include "tests/cudart/settings.h"
#include "tests/cudart/state.h"

using namespace hearth::cudart;

namespace {

constexpr char kBus[] = "0000:1B:00.0";

cudaError_t check_ordinal(int ordinal) {
  return ordinal == 0 ? cudaSuccess : refuse(cudaErrorInvalidDevice, "there is one device, 0");
}

}  // namespace

cudaError_t cudaGetDeviceCount(int* count) {
  return called("cudaGetDeviceCount", [&] {
    *count = 1;
    return cudaSuccess;
  });
}

// "This function will also immediately initialize the runtime state on the primary context".
cudaError_t cudaSetDevice(int ordinal) {
  return called("cudaSetDevice", [&] {
    if (const cudaError_t error = check_ordinal(ordinal); error != cudaSuccess) return error;
    const std::unique_lock lock(state().mutex);
    return need_context();
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int ordinal) {
  return called("cudaGetDeviceProperties", [&] {
    if (const cudaError_t error = check_ordinal(ordinal); error != cudaSuccess) return error;
    *properties = {};
    std::strcpy(properties->name, fmt::format("interpreted sm_{}", settings().capability).c_str());
    properties->major = settings().capability / 10;
    properties->minor = settings().capability % 10;
    properties->totalGlobalMem = settings().memory.count;
    properties->sharedMemPerBlock = 48 << 10;
    properties->sharedMemPerBlockOptin = 227 << 10;
    properties->regsPerBlock = 65536;
    properties->warpSize = 32;
    properties->maxThreadsPerBlock = 1024;
    properties->multiProcessorCount = 132;
    properties->l2CacheSize = 50 << 20;
    properties->canMapHostMemory = 1;
    properties->unifiedAddressing = 1;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetPCIBusId(char* bus, int bytes, int ordinal) {
  return called("cudaDeviceGetPCIBusId", [&] {
    if (const cudaError_t error = check_ordinal(ordinal); error != cudaSuccess) return error;
    if (bytes < static_cast<int>(sizeof kBus))
      return refuse(cudaErrorInvalidValue, "the name of a bus has 13 characters");
    std::strcpy(bus, kBus);
    return cudaSuccess;
  });
}

cudaError_t cudaDriverGetVersion(int* version) {
  return called("cudaDriverGetVersion", [&] {
    *version = CUDART_VERSION;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return called("cudaDeviceGetStreamPriorityRange", [&] {
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
  });
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  return called("cudaMemGetInfo", [&] {
    const std::unique_lock lock(state().mutex);
    if (const cudaError_t error = need_context(); error != cudaSuccess) return error;
    if (const cudaError_t error = refuse_if_captures("cudaMemGetInfo in a capture");
        error != cudaSuccess)
      return error;
    *total = settings().memory.count;
    *free = *total - memory().in_use().count;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return called("cudaDeviceSynchronize", [&] {
    {
      const std::unique_lock lock(state().mutex);
      if (const cudaError_t error = need_context(); error != cudaSuccess) return error;
      if (const cudaError_t error =
              refuse_if_any_captures("cudaDeviceSynchronize while a stream is captured");
          error != cudaSuccess)
        return error;
    }
    wait_for_device();
    return cudaSuccess;
  });
}
