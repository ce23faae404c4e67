// Launches of kernels. Limits are those of compute capability 9.0 (programming guide, "Technical
// Specifications per Compute Capability").
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <atomic>
#include <cstring>
#include <exception>
#include <limits>
#include <stdexcept>
#include <vector>

#include "tests/cudart/calls.h"
#include "tests/cudart/memory.h"
#include "tests/cudart/modules.h"
#include "tests/cudart/settings.h"
#include "tests/cudart/state.h"

namespace hearth::cudart {
namespace {

constexpr unsigned kMostThreads = 1024;
constexpr std::size_t kMostShared = 227 << 10;
constexpr std::size_t kMostParameterBytes = 32764;

struct Configuration {
  dim3 blocks, threads;
  std::size_t shared;
  cudaStream_t stream;
  bool begins_early = false;
};
thread_local std::vector<Configuration> configurations;

cudaError_t check_grid(const dim3& blocks, const dim3& threads) {
  constexpr unsigned kMostBlocksX = std::numeric_limits<int>::max(), kMostBlocksYZ = 65535;
  if (blocks.x == 0 || blocks.y == 0 || blocks.z == 0 || threads.x == 0 || threads.y == 0 ||
      threads.z == 0)
    return refuse(cudaErrorInvalidConfiguration, "an empty grid or block");
  if (blocks.x > kMostBlocksX || blocks.y > kMostBlocksYZ || blocks.z > kMostBlocksYZ)
    return refuse(cudaErrorInvalidConfiguration, "a grid is at most 2^31 - 1, 65535 and 65535");
  if (threads.x > 1024 || threads.y > 1024 || threads.z > 64 ||
      std::uint64_t{threads.x} * threads.y * threads.z > kMostThreads)
    return refuse(cudaErrorInvalidConfiguration, "a block has at most 1024 threads");
  return cudaSuccess;
}

cudaError_t check_kernel(const RegisteredKernel& kernel, const ptx::KernelFacts& facts,
                         const Configuration& of) {
  // "A kernel will fail to launch if it is executed with more threads per block than its launch
  // bound".
  if (of.threads.x * of.threads.y * of.threads.z > facts.max_threads)
    return refuse(cudaErrorInvalidValue, "more threads than the launch bounds of the kernel");
  // Static allocations "are limited to 48 KB"; more wants "an explicit opt-in using
  // cudaFuncSetAttribute".
  if (of.shared + facts.static_shared > kernel.most_dynamic_shared)
    return refuse(cudaErrorInvalidValue, "more shared memory than the kernel was set to");
  if (facts.parameter_bytes > kMostParameterBytes)
    return refuse(cudaErrorInvalidValue, "more than 32764 bytes of parameters");
  return cudaSuccess;
}

std::vector<std::byte> packed(const ptx::KernelFacts& facts, void** arguments) {
  std::vector<std::byte> bytes(facts.parameter_bytes);
  for (std::size_t i = 0; i < facts.parameters.size(); ++i)
    std::memcpy(bytes.data() + facts.parameters[i].offset, arguments[i], facts.parameters[i].bytes);
  return bytes;
}

void fail_if_asked() {
  static std::atomic<std::uint64_t> kernels = 0;
  if (++kernels == settings().failing_kernel)
    throw std::runtime_error("it is the one that was to fail");
}

cudaError_t launch(RegisteredKernel* named, const Configuration& of, void** arguments) {
  if (named == nullptr)
    return refuse(cudaErrorInvalidDeviceFunction, "the kernel was not registered");
  if (const cudaError_t error = check_grid(of.blocks, of.threads); error != cudaSuccess)
    return error;
  const std::unique_lock lock(state().mutex);
  if (const cudaError_t error = need_context(); error != cudaSuccess) return error;
  const auto stream = state().streams.find(of.stream);
  if (stream == nullptr)
    return refuse(cudaErrorInvalidResourceHandle, "no stream (the default one is not modelled)");
  // "Opportunistically allow the grid's execution to overlap with the previous kernel in the
  // stream": what it means behind anything else is not said.
  if (of.begins_early && !stream->behind_kernel)
    return refuse(cudaErrorInvalidValue, "a programmatic launch that is behind no kernel");
  if (of.begins_early && stream->capture != nullptr && !settings().captures_early_launches) {
    invalidate(*stream->capture);
    return refuse(cudaErrorInvalidResourceHandle, "a programmatic launch in a capture");
  }
  const ptx::Module* module = nullptr;
  try {
    module = named->module->load();
  } catch (const std::exception& wrong) {
    fmt::print(stderr, "cudart: the module of {}: {}\n", named->name, wrong.what());
    return cudaErrorInvalidKernelImage;
  }
  if (module == nullptr)
    return refuse(cudaErrorMemoryAllocation,
                  "the device has no memory for the kernels of a module");
  const ptx::Kernel* const kernel = module->find(named->name);
  if (kernel == nullptr)
    return refuse(cudaErrorInvalidDeviceFunction, "the module has no such kernel");
  const ptx::KernelFacts& facts = ptx::facts(*kernel);
  if (const cudaError_t error = check_kernel(*named, facts, of); error != cudaSuccess) return error;
  const ptx::Grid grid{.blocks = {of.blocks.x, of.blocks.y, of.blocks.z},
                       .threads = {of.threads.x, of.threads.y, of.threads.z},
                       .dynamic_shared = static_cast<unsigned>(of.shared),
                       .begins_early = of.begins_early};
  return submit(*stream, {.what = "kernel " + named->name,
                          .run =
                              [kernel, grid, parameters = packed(facts, arguments)] {
                                fail_if_asked();
                                ptx::run(*kernel, grid, parameters, memory(), draw(),
                                         settings().weak_memory ? ptx::Consistency::kWeak
                                                                : ptx::Consistency::kSequential);
                              },
                          .is_kernel = true});
}

}  // namespace
}  // namespace hearth::cudart

using namespace hearth::cudart;

extern "C" {

unsigned __cudaPushCallConfiguration(dim3 blocks, dim3 threads, std::size_t shared, void* stream) {
  configurations.push_back({blocks, threads, shared, static_cast<cudaStream_t>(stream)});
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* blocks, dim3* threads, std::size_t* shared,
                                       void* stream) {
  return called("__cudaPopCallConfiguration", [&] {
    if (configurations.empty())
      return refuse(cudaErrorMissingConfiguration, "a launch without a configuration");
    const Configuration last = configurations.back();
    configurations.pop_back();
    *blocks = last.blocks;
    *threads = last.threads;
    *shared = last.shared;
    *static_cast<cudaStream_t*>(stream) = last.stream;
    return cudaSuccess;
  });
}

// Kernels are launched by a handle, since CUDA 13, or by their stub.
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* stub) {
  return called("__cudaGetKernel", [&] {
    *kernel = reinterpret_cast<cudaKernel_t>(find_kernel(stub));
    return *kernel != nullptr
               ? cudaSuccess
               : refuse(cudaErrorInvalidDeviceFunction, "the kernel was not registered");
  });
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 blocks, dim3 threads, void** arguments,
                               std::size_t shared, cudaStream_t stream) {
  return called("a launch", [&] {
    return launch(reinterpret_cast<RegisteredKernel*>(kernel), {blocks, threads, shared, stream},
                  arguments);
  });
}

}  // extern "C"

cudaError_t cudaLaunchKernel(const void* stub, dim3 blocks, dim3 threads, void** arguments,
                             std::size_t shared, cudaStream_t stream) {
  return called("cudaLaunchKernel", [&] {
    return launch(find_kernel(stub), {blocks, threads, shared, stream}, arguments);
  });
}

// "attrs: List of attributes; nullable if ::cudaLaunchConfig_t::numAttrs == 0".
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* stub,
                                void** arguments) {
  return called("cudaLaunchKernelExC", [&] {
    Configuration of{config->gridDim, config->blockDim, config->dynamicSmemBytes, config->stream};
    for (unsigned i = 0; i < config->numAttrs; ++i) {
      const cudaLaunchAttribute& attribute = config->attrs[i];
      if (attribute.id != cudaLaunchAttributeProgrammaticStreamSerialization)
        return refuse(cudaErrorNotSupported, "an attribute of launches that is not modelled");
      of.begins_early = attribute.val.programmaticStreamSerializationAllowed != 0;
    }
    if (of.begins_early && settings().capability < 90)
      return refuse(cudaErrorNotSupported, "programmatic launches came with 9.0");
    return launch(find_kernel(stub), of, arguments);
  });
}

cudaError_t cudaFuncSetAttribute(const void* stub, cudaFuncAttribute attribute, int value) {
  return called("cudaFuncSetAttribute", [&] {
    RegisteredKernel* const kernel = find_kernel(stub);
    if (kernel == nullptr)
      return refuse(cudaErrorInvalidDeviceFunction, "the kernel was not registered");
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize)
      return refuse(cudaErrorNotSupported, "an attribute of kernels that is not modelled");
    if (value < 0 || static_cast<std::size_t>(value) > kMostShared)
      return refuse(cudaErrorInvalidValue, "a block has at most 227 KiB of shared memory");
    kernel->most_dynamic_shared = static_cast<unsigned>(value);
    return cudaSuccess;
  });
}
