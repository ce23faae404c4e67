// What all functions of the runtime have in common: the error each thread keeps, the error of a
// device that failed, and what a host function may not do.
#pragma once

#include <driver_types.h>

#include <atomic>
#include <mutex>
#include <string>

namespace hearth::cudart {

// Why a call is refused; `why` cites the rule. `error` comes back.
cudaError_t refuse(cudaError_t error, const char* why);

// A failed kernel: every call answers with `error` from then on, "the process must be terminated
// and relaunched" (cuda_runtime_api.h of cudaErrorLaunchFailure). `what` is printed.
void fail_device(cudaError_t error, const std::string& what);
cudaError_t device_error();  // cudaSuccess while it works

// What the rules forbid, but no call returns: a line, and the exit code is 1 with
// HEARTH_CUDART_LEAKS.
void report_misuse(const std::string& what);
bool was_misused();

// While a thread runs a function of cudaLaunchHostFunc, which must not call CUDA. One at a time:
// the functions of independent streams "may be serialized", so that one that waits for another
// hangs.
class HostFunctionScope {
 public:
  HostFunctionScope();
  ~HostFunctionScope();
  HostFunctionScope(const HostFunctionScope&) = delete;
  HostFunctionScope& operator=(const HostFunctionScope&) = delete;

 private:
  const std::lock_guard<std::mutex> alone_;
};

// cudaSuccess, or why no function may run now.
cudaError_t may_call(const char* function);
void keep_last_error(cudaError_t error);

// The body of a function of the runtime.
template <typename Body>
cudaError_t called(const char* function, Body&& body) {
  cudaError_t error = may_call(function);
  if (error == cudaSuccess) error = body();
  if (device_error() != cudaSuccess) error = device_error();
  if (error != cudaSuccess) keep_last_error(error);
  return error;
}

}  // namespace hearth::cudart
