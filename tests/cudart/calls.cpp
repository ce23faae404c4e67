#include "tests/cudart/calls.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <cstdio>

#include "tests/cudart/settings.h"

namespace hearth::cudart {
namespace {

thread_local cudaError_t last_error = cudaSuccess;
thread_local bool in_host_function = false;
std::atomic<cudaError_t> error_of_device = cudaSuccess;
std::atomic<bool> misused = false;
std::mutex host_functions;

}  // namespace

cudaError_t refuse(cudaError_t error, const char* why) {
  if (settings().explains_refusals)
    fmt::print(stderr, "cudart: {}: {}\n", cudaGetErrorName(error), why);
  return error;
}

void fail_device(cudaError_t error, const std::string& what) {
  cudaError_t none = cudaSuccess;
  if (error_of_device.compare_exchange_strong(none, error))
    fmt::print(stderr, "cudart: the device failed: {}\n", what);
}

cudaError_t device_error() { return error_of_device.load(); }

void report_misuse(const std::string& what) {
  misused = true;
  fmt::print(stderr, "cudart: misuse: {}\n", what);
}

bool was_misused() { return misused; }

HostFunctionScope::HostFunctionScope() : alone_(host_functions) { in_host_function = true; }
HostFunctionScope::~HostFunctionScope() { in_host_function = false; }

cudaError_t may_call(const char* function) {
  // "The host function must not make any CUDA API calls" (cudaLaunchHostFunc).
  if (in_host_function) {
    report_misuse(fmt::format("{} is called by a host function", function));
    return cudaErrorNotPermitted;
  }
  return device_error();
}

void keep_last_error(cudaError_t error) { last_error = error; }

}  // namespace hearth::cudart

using namespace hearth::cudart;

// Returns the thread's last error and resets it, but for that of a device that failed.
cudaError_t cudaGetLastError() {
  if (device_error() != cudaSuccess) return device_error();
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

cudaError_t cudaPeekAtLastError() {
  return device_error() != cudaSuccess ? device_error() : last_error;
}

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define HEARTH_ERROR(name) \
  case name:               \
    return #name;
#include "tests/cudart/errors.def"
#undef HEARTH_ERROR
    default:
      return "an error that the stand-in does not use";
  }
}

const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }
