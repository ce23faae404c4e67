// Streams, events and the errors of calls.
#include "tests/cudart/support/objects.h"

namespace hearth::cudart {
namespace {

TEST(CudartStreams, RunBehindTheirCalls) {
  const TestStream stream;
  const TestEvent event;
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess);  // also before it was recorded
  Gate gate(stream);
  EXPECT_EQ(cudaEventRecord(event, stream), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), cudaErrorNotReady);
  EXPECT_EQ(cudaStreamQuery(stream), cudaErrorNotReady);
  EXPECT_EQ(cudaGetLastError(), cudaErrorNotReady);
  gate.open();
  EXPECT_EQ(cudaEventSynchronize(event), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(cudaStreamQuery(stream), cudaSuccess);
}

TEST(CudartStreams, AreOrderedByEventsAlone) {
  const TestStream first, second, third;
  const TestEvent event;
  const PinnedWords words(1);
  const DeviceBytes there(4);
  EXPECT_EQ(cudaMemsetAsync(there.data, 0, 4, first), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(first), cudaSuccess);
  Gate gate(first);
  EXPECT_EQ(cudaMemsetAsync(there.data, 1, 4, first), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(event, first), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(second, event, 0), cudaSuccess);
  EXPECT_EQ(copy(words.data, there.data, 4, second), cudaSuccess);
  std::uint32_t early = 1;
  EXPECT_EQ(copy(&early, there.data, 4, third), cudaSuccess);
  EXPECT_EQ(early, 0u);
  EXPECT_EQ(cudaStreamQuery(second), cudaErrorNotReady);
  gate.open();
  EXPECT_EQ(cudaStreamSynchronize(second), cudaSuccess);
  EXPECT_EQ(words.data[0], 0x01010101u);
}

TEST(CudartStreams, EndTheirWorkWhenTheyAreDestroyed) {
  const PinnedWords words(1);
  std::atomic<bool> open = false;
  {
    const TestStream stream;
    const auto wait = [](void* flag) {
      while (!*static_cast<std::atomic<bool>*>(flag)) std::this_thread::yield();
    };
    EXPECT_EQ(cudaLaunchHostFunc(stream, wait, &open), cudaSuccess);
    EXPECT_EQ(cudaMemsetAsync(words.data, 1, 4, stream), cudaSuccess);
  }
  EXPECT_EQ(words.data[0], 0u);
  open = true;
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(words.data[0], 0x01010101u);
}

TEST(CudartStreams, MemoryIsFreedAfterAllWork) {
  const TestStream stream;
  void* there = nullptr;
  ASSERT_EQ(cudaMalloc(&there, 4), cudaSuccess);
  std::atomic<bool> opened = false;
  Gate gate(stream);
  EXPECT_EQ(cudaMemsetAsync(there, 0, 4, stream), cudaSuccess);
  std::thread opener([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    opened = true;
    gate.open();
  });
  EXPECT_EQ(cudaFree(there), cudaSuccess);
  EXPECT_TRUE(opened);
  opener.join();
}

TEST(CudartStreams, AreKnownByTheirHandles) {
  cudaStream_t gone = nullptr;
  {
    const TestStream stream;
    gone = stream;
  }
  const TestEvent event;
  EXPECT_EQ(cudaStreamSynchronize(gone), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamDestroy(gone), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventRecord(event, gone), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventRecord(event, nullptr), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventRecordWithFlags(event, nullptr, cudaEventRecordExternal),
            cudaErrorInvalidResourceHandle);
}

TEST(CudartStreams, ErrorsAreThoseOfTheThread) {
  EXPECT_EQ(cudaSetDevice(1), cudaErrorInvalidDevice);
  cudaError_t of_another = cudaErrorInvalidDevice;
  std::thread([&] { of_another = cudaGetLastError(); }).join();
  EXPECT_EQ(of_another, cudaSuccess);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDevice);
}

TEST(CudartEvents, AreTimedWhereTheyWereRecorded) {
  const TestStream stream;
  const TestEvent begin, end, never, untimed(cudaEventDisableTiming);
  float milliseconds = -1;
  EXPECT_EQ(cudaEventRecord(begin, stream), cudaSuccess);
  EXPECT_EQ(cudaEventSynchronize(begin), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, begin, never), cudaErrorInvalidResourceHandle);
  {
    Gate gate(stream);
    EXPECT_EQ(cudaEventRecord(end, stream), cudaSuccess);
    EXPECT_EQ(cudaEventRecord(untimed, stream), cudaSuccess);
    EXPECT_EQ(cudaEventElapsedTime(&milliseconds, begin, end), cudaErrorNotReady);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, begin, untimed), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, begin, end), cudaSuccess);
  EXPECT_GE(milliseconds, 5);
}

TEST(CudartHostFunctions, RunOneAtATime) {
  struct Running {
    std::atomic<int> now = 0, most = 0;
  } running;
  const auto run = [](void* at) {
    auto& count = *static_cast<Running*>(at);
    const int now = ++count.now;
    if (now > count.most) count.most = now;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    --count.now;
  };
  const TestStream streams[4];
  for (int i = 0; i < 3; ++i)
    for (const TestStream& stream : streams)
      EXPECT_EQ(cudaLaunchHostFunc(stream, run, &running), cudaSuccess);
  for (const TestStream& stream : streams) EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(running.most, 1);
}

// Reported at the end, too: a process of its own.
TEST(CudartHostFunctions, MustNotCallCuda) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto call = [] {
    const TestStream stream;
    cudaError_t answer = cudaSuccess;
    const auto misuse = [](void* at) {
      *static_cast<cudaError_t*>(at) = cudaGetDeviceCount(nullptr);
    };
    EXPECT_EQ(cudaLaunchHostFunc(stream, misuse, &answer), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    _exit(answer == cudaErrorNotPermitted ? 7 : 0);
  };
  EXPECT_EXIT(call(), testing::ExitedWithCode(7), "is called by a host function");
}

TEST(CudartExit, NamesWhatIsLeft) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto leave = [] {
    setenv("HEARTH_CUDART_LEAKS", "1", 1);
    void* left = nullptr;
    cudaMalloc(&left, 12);
    exit(0);
  };
  EXPECT_EXIT(leave(), testing::ExitedWithCode(1), "left at the end: 12 bytes of device memory");
}

}  // namespace
}  // namespace hearth::cudart
