// Stream capture: what is refused while a stream is captured, and with which error.
#include <functional>
#include <string>
#include <vector>

#include "tests/cudart/support/objects.h"

namespace hearth::cudart {
namespace {

class CudartCapture : public testing::Test {
 protected:
  void begin(cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal) {
    ASSERT_EQ(cudaStreamBeginCapture(stream, mode), cudaSuccess);
  }
  cudaError_t end() {
    cudaGraph_t graph = nullptr;
    const cudaError_t error = cudaStreamEndCapture(stream, &graph);
    EXPECT_EQ(graph != nullptr, error == cudaSuccess);
    if (graph != nullptr) {
      EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
    }
    return error;
  }
  cudaError_t fill() { return cudaMemsetAsync(there.data, 0, 8, stream); }

  TestStream stream, other;
  TestEvent event, joined;
  DeviceBytes there{8};
  PinnedWords pinned{4};
};

TEST_F(CudartCapture, RefusesWhatIsUnsafeAndIsInvalidThen) {
  std::uint32_t pageable = 0;
  void* memory = nullptr;
  std::size_t bytes = 0;
  float milliseconds = 0;
  cudaStream_t made = nullptr;
  ASSERT_EQ(cudaEventRecord(event, other), cudaSuccess);
  const std::vector<std::pair<std::string, std::function<cudaError_t()>>> calls = {
      {"cudaMalloc", [&] { return cudaMalloc(&memory, 8); }},
      {"cudaFree", [&] { return cudaFree(nullptr); }},
      {"cudaHostAlloc", [&] { return cudaHostAlloc(&memory, 8, 0); }},
      {"cudaFreeHost", [&] { return cudaFreeHost(nullptr); }},
      {"cudaHostRegister", [&] { return cudaHostRegister(&pageable, 4, 0); }},
      {"cudaHostUnregister", [&] { return cudaHostUnregister(&pageable); }},
      {"cudaMemGetInfo", [&] { return cudaMemGetInfo(&bytes, &bytes); }},
      {"cudaDeviceSynchronize", [&] { return cudaDeviceSynchronize(); }},
      {"cudaStreamSynchronize", [&] { return cudaStreamSynchronize(stream); }},
      {"cudaStreamQuery", [&] { return cudaStreamQuery(stream); }},
      {"of another stream", [&] { return cudaStreamSynchronize(other); }},
      {"cudaEventQuery", [&] { return cudaEventQuery(event); }},
      {"cudaEventSynchronize", [&] { return cudaEventSynchronize(event); }},
      {"cudaEventElapsedTime", [&] { return cudaEventElapsedTime(&milliseconds, event, event); }},
      {"a new stream",
       [&] { return cudaStreamCreateWithPriority(&made, cudaStreamNonBlocking, 0); }},
      {"its end", [&] { return cudaStreamDestroy(stream); }},
      {"from pageable memory", [&] { return copy(there.data, &pageable, 4, stream); }},
      {"to pageable memory", [&] { return copy(&pageable, there.data, 4, stream); }},
  };
  for (const auto& [name, call] : calls) {
    begin();
    EXPECT_EQ(call(), cudaErrorStreamCaptureUnsupported) << name;
    cudaStreamCaptureStatus status{};
    EXPECT_EQ(cudaStreamIsCapturing(stream, &status), cudaSuccess);
    EXPECT_EQ(status, cudaStreamCaptureStatusInvalidated) << name;
    EXPECT_EQ(fill(), cudaErrorStreamCaptureInvalidated) << name;
    EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated) << name;
    EXPECT_EQ(fill(), cudaSuccess) << name;
  }
  EXPECT_EQ(cudaGetLastError(), cudaErrorStreamCaptureInvalidated);
}

TEST_F(CudartCapture, OfAThreadForbidsNothingToOthersButToWaitForTheDevice) {
  begin();
  void* memory = nullptr;
  cudaError_t allocated{}, freed{};
  std::thread([&] {
    allocated = cudaMalloc(&memory, 8);
    freed = cudaFree(memory);
  }).join();
  EXPECT_EQ(allocated, cudaSuccess);
  EXPECT_EQ(freed, cudaSuccess);
  EXPECT_EQ(end(), cudaSuccess);
  begin();
  std::thread([&] {
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorStreamCaptureUnsupported);
  }).join();
  EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);
  begin(cudaStreamCaptureModeGlobal);
  std::thread([&] { EXPECT_EQ(cudaMalloc(&memory, 8), cudaErrorStreamCaptureUnsupported); }).join();
  EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);
  begin(cudaStreamCaptureModeRelaxed);
  EXPECT_EQ(cudaMalloc(&memory, 8), cudaSuccess);
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  EXPECT_EQ(end(), cudaSuccess);
}

TEST_F(CudartCapture, EndsWhereItBegan) {
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorIllegalState);
  begin();
  EXPECT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
            cudaErrorIllegalState);
  std::thread([&] {
    EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureWrongThread);
  }).join();
  EXPECT_EQ(cudaEventRecord(event, stream), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(other, event, 0), cudaSuccess);
  EXPECT_EQ(cudaStreamEndCapture(other, &graph), cudaErrorStreamCaptureUnmatched);
  EXPECT_EQ(end(), cudaSuccess);
}

TEST_F(CudartCapture, JoinsItsStreamsBeforeItsEnd) {
  const auto fork = [&] {
    begin();
    EXPECT_EQ(fill(), cudaSuccess);
    EXPECT_EQ(cudaEventRecord(event, stream), cudaSuccess);
    EXPECT_EQ(cudaStreamWaitEvent(other, event, 0), cudaSuccess);
    EXPECT_EQ(cudaMemsetAsync(there.data, 1, 4, other), cudaSuccess);
    EXPECT_EQ(cudaEventRecord(joined, other), cudaSuccess);
  };
  fork();
  EXPECT_EQ(end(), cudaErrorStreamCaptureUnjoined);
  fork();
  EXPECT_EQ(cudaStreamWaitEvent(stream, joined, 0), cudaSuccess);
  EXPECT_EQ(end(), cudaSuccess);
  fork();
  EXPECT_EQ(cudaStreamWaitEvent(stream, joined, 0), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(there.data, 1, 4, other), cudaSuccess);  // behind what was joined
  EXPECT_EQ(end(), cudaErrorStreamCaptureUnjoined);
}

TEST_F(CudartCapture, KnowsItsEvents) {
  EXPECT_EQ(cudaEventRecord(event, other), cudaSuccess);
  begin();
  EXPECT_EQ(cudaStreamWaitEvent(stream, event, 0), cudaErrorStreamCaptureIsolation);
  EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);

  begin();
  EXPECT_EQ(cudaEventRecord(event, stream), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), cudaErrorCapturedEvent);
  EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);

  begin();
  EXPECT_EQ(cudaEventRecord(event, stream), cudaSuccess);
  EXPECT_EQ(end(), cudaSuccess);
  EXPECT_EQ(cudaEventSynchronize(event), cudaErrorCapturedEvent);
  EXPECT_EQ(cudaStreamWaitEvent(other, event, 0), cudaErrorCapturedEvent);
  EXPECT_EQ(cudaEventRecord(event, other), cudaSuccess);
  EXPECT_EQ(cudaEventSynchronize(event), cudaSuccess);
}

TEST_F(CudartCapture, IsNotMergedWithAnother) {
  begin(cudaStreamCaptureModeRelaxed);
  ASSERT_EQ(cudaStreamBeginCapture(other, cudaStreamCaptureModeRelaxed), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(event, other), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(stream, event, 0), cudaErrorStreamCaptureMerge);
  EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(other, &graph), cudaErrorStreamCaptureInvalidated);
}

TEST_F(CudartCapture, MarksMomentsInGraphsAlone) {
  EXPECT_EQ(cudaEventRecordWithFlags(event, stream, cudaEventRecordExternal),
            cudaErrorInvalidValue);
}

}  // namespace
}  // namespace hearth::cudart
