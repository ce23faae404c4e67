// What the tests of the stand-in share: objects of the runtime that have an end.
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>

namespace hearth::cudart {

struct TestStream {
  TestStream() {
    EXPECT_EQ(cudaStreamCreateWithPriority(&handle, cudaStreamNonBlocking, 0), cudaSuccess);
  }
  ~TestStream() { EXPECT_EQ(cudaStreamDestroy(handle), cudaSuccess); }
  TestStream(const TestStream&) = delete;
  TestStream& operator=(const TestStream&) = delete;
  operator cudaStream_t() const { return handle; }

  cudaStream_t handle = nullptr;
};

struct TestEvent {
  explicit TestEvent(unsigned flags = 0) {
    EXPECT_EQ(cudaEventCreateWithFlags(&handle, flags), cudaSuccess);
  }
  ~TestEvent() { EXPECT_EQ(cudaEventDestroy(handle), cudaSuccess); }
  TestEvent(const TestEvent&) = delete;
  TestEvent& operator=(const TestEvent&) = delete;
  operator cudaEvent_t() const { return handle; }

  cudaEvent_t handle = nullptr;
};

struct DeviceBytes {
  explicit DeviceBytes(std::size_t bytes) {
    void* memory = nullptr;
    EXPECT_EQ(cudaMalloc(&memory, bytes), cudaSuccess);
    data = static_cast<std::byte*>(memory);
  }
  ~DeviceBytes() { EXPECT_EQ(cudaFree(data), cudaSuccess); }
  DeviceBytes(const DeviceBytes&) = delete;
  DeviceBytes& operator=(const DeviceBytes&) = delete;

  std::byte* data = nullptr;
};

struct PinnedWords {
  explicit PinnedWords(std::size_t count) {
    void* memory = nullptr;
    EXPECT_EQ(cudaHostAlloc(&memory, count * sizeof(std::uint32_t), cudaHostAllocMapped),
              cudaSuccess);
    data = static_cast<std::uint32_t*>(memory);
    for (std::size_t i = 0; i < count; ++i) data[i] = 0;
  }
  ~PinnedWords() { EXPECT_EQ(cudaFreeHost(data), cudaSuccess); }
  PinnedWords(const PinnedWords&) = delete;
  PinnedWords& operator=(const PinnedWords&) = delete;

  std::uint32_t* data = nullptr;
};

// A stream that goes no further until it is opened, at the latest at the end.
class Gate {
 public:
  explicit Gate(cudaStream_t stream) {
    EXPECT_EQ(cudaLaunchHostFunc(stream, wait, &open_), cudaSuccess);
    stream_ = stream;
  }
  ~Gate() {
    open();
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  void open() { open_ = true; }

 private:
  static void wait(void* flag) {
    while (!*static_cast<std::atomic<bool>*>(flag)) std::this_thread::yield();
  }
  std::atomic<bool> open_ = false;
  cudaStream_t stream_;
};

inline cudaError_t copy(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
  return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream);
}

}  // namespace hearth::cudart
