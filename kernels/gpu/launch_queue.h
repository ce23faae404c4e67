// What the kernels of CUDA and HIP are launched into: a stream that is told of each, whether a
// table of operations has one kernel for an operation or several.
#pragma once

namespace hearth::kernels {

class LaunchQueue {
 public:
  virtual void* stream() = 0;  // a cudaStream_t or a hipStream_t, whose device is the current one
  // Whether a kernel may be launched here so that it begins before the one before it has ended.
  virtual bool begins_early() const = 0;
  virtual void launched() = 0;

 protected:
  ~LaunchQueue() = default;
};

}  // namespace hearth::kernels
