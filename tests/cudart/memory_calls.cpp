// Memory of the device and of the host, and copies.
#include "tests/cudart/memory.h"

#include <cuda_runtime_api.h>

#include <cstring>
#include <stdexcept>
#include <vector>

#include "tests/cudart/calls.h"
#include "tests/cudart/state.h"

using namespace hearth::cudart;

namespace {

using hearth::Bytes;
using Kind = Memory::Kind;

cudaError_t begin_unsafe_call(const char* name) {
  const std::unique_lock lock(state().mutex);
  const cudaError_t error = need_context();
  return error != cudaSuccess ? error : refuse_if_captures(name);
}

void require_reachable(const void* range, std::size_t bytes) {
  if (!memory().reaches(range, bytes))
    throw std::runtime_error("its memory was freed or unregistered before it was done");
}

// Memory is freed when nothing runs that could use it: "cudaMalloc and cudaFree cause the GPU to
// synchronize across all executing CUDA streams" (programming guide, stream ordered allocator).
template <typename Free>
cudaError_t freed_by(const char* name, Free&& free) {
  return called(name, [&] {
    if (const cudaError_t error = begin_unsafe_call(name); error != cudaSuccess) return error;
    wait_for_device();
    return free();
  });
}

bool fits_direction(cudaMemcpyKind direction, Kind to, Kind from) {
  switch (direction) {
    case cudaMemcpyDefault:
      return true;
    case cudaMemcpyHostToDevice:
      return from != Kind::kDevice && to == Kind::kDevice;
    case cudaMemcpyDeviceToHost:
      return from == Kind::kDevice && to != Kind::kDevice;
    case cudaMemcpyDeviceToDevice:
      return from == Kind::kDevice && to == Kind::kDevice;
    case cudaMemcpyHostToHost:
      return from != Kind::kDevice && to != Kind::kDevice;
  }
  return false;
}

Operation copy_of(void* to, const void* from, std::size_t bytes) {
  return {.what = "copy", .run = [=] {
            require_reachable(to, bytes);
            require_reachable(from, bytes);
            std::memcpy(memory().place(to), memory().place(from), bytes);
          }};
}

// "Host memory is copied to a staging buffer immediately [...]. The function will return once the
// pageable buffer has been copied" (API synchronization behavior).
Operation copy_of_staged(void* to, const void* from, std::size_t bytes) {
  const auto* const first = static_cast<const std::byte*>(from);
  return {.what = "copy of pageable memory",
          .run = [to, staged = std::vector<std::byte>(first, first + bytes)] {
            require_reachable(to, staged.size());
            std::memcpy(memory().place(to), staged.data(), staged.size());
          }};
}

// To pageable memory "the function will return only after the copy has completed".
Operation copy_to_pageable(void* to, const void* from, std::size_t bytes, Kind kind) {
  return {.what = "copy to pageable memory", .run = [=] {
            if (kind != Kind::kPageable) require_reachable(from, bytes);
            std::memcpy(to, memory().place(from), bytes);
          }};
}

bool overlap(const void* a, const void* b, std::size_t bytes) {
  const auto first = reinterpret_cast<std::uintptr_t>(a);
  const auto second = reinterpret_cast<std::uintptr_t>(b);
  return first < second + bytes && second < first + bytes;
}

// Where the copy has to be waited for, its end.
cudaError_t enqueue_copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind direction,
                         cudaStream_t named, std::shared_ptr<Moment>& end) {
  const std::unique_lock lock(state().mutex);
  const auto stream = state().streams.find(named);
  if (stream == nullptr) return refuse(cudaErrorInvalidResourceHandle, "a copy on no stream");
  if (bytes == 0) return cudaSuccess;
  const Kind target = memory().kind_of(to, bytes), source = memory().kind_of(from, bytes);
  // "Each must be from one allocation": drivers refuse a range over two registrations.
  if (target == Kind::kMixed || source == Kind::kMixed)
    return refuse(cudaErrorInvalidValue, "a copy over the end of an allocation or registration");
  if (!fits_direction(direction, target, source))
    return refuse(cudaErrorInvalidMemcpyDirection, "a copy in another direction than it says");
  if (overlap(to, from, bytes))
    return refuse(cudaErrorInvalidValue, "\"the memory areas may not overlap\"");
  const bool pageable = target == Kind::kPageable || source == Kind::kPageable;
  if (pageable && stream->capture != nullptr) {
    invalidate(*stream->capture);
    return refuse(cudaErrorStreamCaptureUnsupported, "a copy of pageable memory in a capture");
  }
  if (target == Kind::kPageable) {
    if (const cudaError_t error = refuse_if_captures("a copy that waits, in a capture");
        error != cudaSuccess)
      return error;
    const cudaError_t error = submit(*stream, copy_to_pageable(to, from, bytes, source));
    end = stream->queue->end();
    return error;
  }
  return submit(*stream, source == Kind::kPageable ? copy_of_staged(to, from, bytes)
                                                   : copy_of(to, from, bytes));
}

}  // namespace

// Waits as cudaFree does. "cudaMalloc() returns cudaErrorMemoryAllocation in case of failure."
cudaError_t cudaMalloc(void** allocated, std::size_t bytes) {
  return called("cudaMalloc", [&] {
    if (const cudaError_t error = begin_unsafe_call("cudaMalloc in a capture");
        error != cudaSuccess)
      return error;
    *allocated = nullptr;
    if (bytes == 0) return cudaSuccess;
    wait_for_device();
    *allocated = memory().allocate(Bytes(bytes));
    return *allocated != nullptr ? cudaSuccess
                                 : refuse(cudaErrorMemoryAllocation, "out of device memory");
  });
}

// "If devPtr is 0, no operation is performed."
cudaError_t cudaFree(void* allocated) {
  return freed_by("cudaFree", [&] {
    return allocated == nullptr || memory().free(allocated)
               ? cudaSuccess
               : refuse(cudaErrorInvalidValue, "cudaFree of what cudaMalloc did not return");
  });
}

cudaError_t cudaHostAlloc(void** allocated, std::size_t bytes, unsigned flags) {
  return called("cudaHostAlloc", [&] {
    if (const cudaError_t error = begin_unsafe_call("cudaHostAlloc in a capture");
        error != cudaSuccess)
      return error;
    constexpr unsigned kKnown =
        cudaHostAllocPortable | cudaHostAllocMapped | cudaHostAllocWriteCombined;
    if ((flags & ~kKnown) != 0) return refuse(cudaErrorInvalidValue, "unknown flags");
    *allocated = nullptr;
    if (bytes == 0) return cudaSuccess;
    *allocated = memory().allocate_pinned(bytes, (flags & cudaHostAllocMapped) != 0);
    return *allocated != nullptr ? cudaSuccess
                                 : refuse(cudaErrorMemoryAllocation, "out of host memory");
  });
}

cudaError_t cudaFreeHost(void* allocated) {
  return freed_by("cudaFreeHost", [&] {
    return allocated == nullptr || memory().unpin(allocated, Memory::Origin::kAllocated)
               ? cudaSuccess
               : refuse(cudaErrorInvalidValue, "cudaFreeHost of what cudaHostAlloc did not return");
  });
}

cudaError_t cudaHostRegister(void* host, std::size_t bytes, unsigned flags) {
  return called("cudaHostRegister", [&] {
    if (const cudaError_t error = begin_unsafe_call("cudaHostRegister in a capture");
        error != cudaSuccess)
      return error;
    constexpr unsigned kKnown = cudaHostRegisterPortable | cudaHostRegisterMapped;
    if (host == nullptr || bytes == 0 || (flags & ~kKnown) != 0)
      return refuse(cudaErrorInvalidValue, "no memory, or flags that are not modelled");
    if (!Memory::process_has(host, bytes))
      return refuse(cudaErrorInvalidValue, "memory that the process does not have");
    return memory().pin(static_cast<std::byte*>(host), bytes, (flags & cudaHostRegisterMapped) != 0)
               ? cudaSuccess
               : refuse(cudaErrorHostMemoryAlreadyRegistered, "a page of it is pinned already");
  });
}

// "The memory must have been registered": by its base, as it was given.
cudaError_t cudaHostUnregister(void* host) {
  return freed_by("cudaHostUnregister", [&] {
    return memory().unpin(host, Memory::Origin::kRegistered)
               ? cudaSuccess
               : refuse(cudaErrorHostMemoryNotRegistered, "no registration begins there");
  });
}

cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned flags) {
  return called("cudaHostGetDevicePointer", [&] {
    *device = nullptr;
    if (flags != 0) return refuse(cudaErrorInvalidValue, "\"flags must be 0\"");
    if (!memory().is_mapped(host))
      return refuse(cudaErrorInvalidValue, "not pinned with the flag for mapped memory");
    *device = host;
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind direction,
                            cudaStream_t named) {
  return called("cudaMemcpyAsync", [&] {
    std::shared_ptr<Moment> end;
    const cudaError_t error = enqueue_copy(to, from, bytes, direction, named, end);
    if (end != nullptr) end->wait();
    return error;
  });
}

cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t named) {
  return called("cudaMemsetAsync", [&] {
    const std::unique_lock lock(state().mutex);
    const auto stream = state().streams.find(named);
    if (stream == nullptr) return refuse(cudaErrorInvalidResourceHandle, "a fill on no stream");
    if (bytes == 0) return cudaSuccess;
    if (!memory().reaches(to, bytes))
      return refuse(cudaErrorInvalidValue, "a fill of what is no memory of the device");
    return submit(*stream, {.what = "fill", .run = [=] {
                              require_reachable(to, bytes);
                              std::memset(memory().place(to), value, bytes);
                            }});
  });
}
