// The functions of CUDA or of HIP, which differ in the first letters of their names, and what
// becomes of their errors.
#pragma once

#ifdef HEARTH_HIP_SOURCE
#include "kernels/gpu/vendor/hip_names.h"
#else
#include "kernels/gpu/vendor/cuda_names.h"
#endif

#include "base/error.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

using Status = GPU(Error_t);
inline constexpr Status kSuccess = GPU(Success);

// A failed call leaves its code behind for whoever asks next; taking it here keeps it from a launch
// that did nothing wrong.
inline const char* reason_of(Status status) {
  static_cast<void>(GPU(GetLastError)());
  return GPU(GetErrorString)(status);
}

inline void require(Status status, const char* what) {
  if (status != kSuccess)
    throw_error(ErrorCode::kDevice, "{}: {} failed: {}; see dmesg, or run without the GPU", kApi,
                what, reason_of(status));
}

// Where nothing can be done about an error. Its code is taken all the same: launches would find it.
inline void ignore(Status status) {
  if (status != kSuccess) static_cast<void>(GPU(GetLastError)());
}

// Whether there was memory for it; anything else that went wrong is fatal.
inline bool had_room(Status status, const char* what) {
  if (status == GPU(ErrorMemoryAllocation)) {
    static_cast<void>(GPU(GetLastError)());
    return false;
  }
  require(status, what);
  return true;
}

// What a stream or an event says of the work before it.
inline bool is_done(Status status) {
  if (status == GPU(ErrorNotReady)) {
    static_cast<void>(GPU(GetLastError)());
    return false;
  }
  require(status, "work on the device");
  return true;
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
