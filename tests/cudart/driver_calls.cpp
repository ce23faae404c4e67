// The functions of the driver that programs find by name: stream memory operations, by the section
// "Stream Memory Operations" of the driver API. Their memory is that of the device or pinned.
#include <cuda.h>
#include <cuda_runtime_api.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "tests/cudart/calls.h"
#include "tests/cudart/memory.h"
#include "tests/cudart/settings.h"
#include "tests/cudart/state.h"

using namespace hearth::cudart;

namespace {

std::uint32_t* word_at(CUdeviceptr address) { return reinterpret_cast<std::uint32_t*>(address); }

// cudaSuccess or an error, of the stream and the address.
template <typename MakeOperation>
CUresult enqueue(const char* name, CUstream handle, CUdeviceptr address, MakeOperation&& make) {
  if (may_call(name) != cudaSuccess) return CUDA_ERROR_UNKNOWN;
  const std::unique_lock lock(state().mutex);
  const auto stream = state().streams.find(handle);
  if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (address % sizeof(std::uint32_t) != 0 ||
      !memory().reaches(word_at(address), sizeof(std::uint32_t))) {
    refuse(cudaErrorInvalidValue, "a memory operation on what is no word that the device reaches");
    return CUDA_ERROR_INVALID_VALUE;
  }
  return static_cast<CUresult>(submit(*stream, make()));
}

std::atomic_ref<std::uint32_t> shared_word(std::uint32_t* word) {
  if (!memory().reaches(word, sizeof *word))
    throw std::runtime_error("the memory of a memory operation was freed");
  return std::atomic_ref(*reinterpret_cast<std::uint32_t*>(memory().place(word)));
}

CUresult write_value(CUstream handle, CUdeviceptr address, cuuint32_t value, unsigned flags) {
  if (flags != CU_STREAM_WRITE_VALUE_DEFAULT) return CUDA_ERROR_NOT_SUPPORTED;
  return enqueue("cuStreamWriteValue32", handle, address, [&] {
    return Operation{.what = "write of a value", .run = [word = word_at(address), value] {
                       shared_word(word).store(value, std::memory_order_release);
                     }};
  });
}

// "Wait until (int32_t)(*addr - value) >= 0".
CUresult wait_value(CUstream handle, CUdeviceptr address, cuuint32_t value, unsigned flags) {
  if (flags != CU_STREAM_WAIT_VALUE_GEQ) return CUDA_ERROR_NOT_SUPPORTED;
  return enqueue("cuStreamWaitValue32", handle, address, [&] {
    return Operation{
        .what = "wait for a value", .run = [word = word_at(address), value] {
          const auto there = shared_word(word);
          while (static_cast<std::int32_t>(there.load(std::memory_order_acquire) - value) < 0) {
            if (device_error() != cudaSuccess) return;
            std::this_thread::sleep_for(std::chrono::microseconds(20));
          }
        }};
  });
}

}  // namespace

// "If the symbol was not found [...], driverStatus is cudaDriverEntryPointSymbolNotFound". The
// forms of version 11070 are the second ones, without the restrictions of the first.
cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned version,
                                             unsigned long long flags,
                                             cudaDriverEntryPointQueryResult* result) {
  return called("cudaGetDriverEntryPointByVersion", [&] {
    *function = nullptr;
    if (flags != cudaEnableDefault) return refuse(cudaErrorInvalidValue, "flags not modelled");
    const bool known = settings().memory_operations && version >= 11070;
    if (known && symbol == std::string_view("cuStreamWriteValue32"))
      *function = reinterpret_cast<void*>(&write_value);
    if (known && symbol == std::string_view("cuStreamWaitValue32"))
      *function = reinterpret_cast<void*>(&wait_value);
    if (result != nullptr)
      *result =
          *function != nullptr ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
    return cudaSuccess;
  });
}
