// Graphs: what runs after what, and how often.
#include <cuda.h>

#include "tests/cudart/support/objects.h"

namespace hearth::cudart {
namespace {

std::size_t free_memory() {
  std::size_t free = 0, total = 0;
  EXPECT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  return free;
}

struct TestGraph {
  explicit TestGraph(cudaGraph_t of) : graph(of) {
    EXPECT_EQ(cudaGraphInstantiate(&executable, graph, cudaGraphInstantiateFlagUseNodePriority),
              cudaSuccess);
  }
  ~TestGraph() {
    EXPECT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  }
  TestGraph(const TestGraph&) = delete;
  TestGraph& operator=(const TestGraph&) = delete;

  cudaGraph_t graph;
  cudaGraphExec_t executable = nullptr;
};

void begin(cudaStream_t stream) {
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
}
cudaGraph_t end(cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  return graph;
}

void fork(cudaStream_t from, cudaEvent_t event, cudaStream_t to) {
  ASSERT_EQ(cudaEventRecord(event, from), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(to, event, 0), cudaSuccess);
}

TEST(CudartGraphs, RunWhatWasCapturedAndNothingBefore) {
  const TestStream stream;
  const PinnedWords words(2);
  begin(stream);
  EXPECT_EQ(copy(&words.data[1], &words.data[0], 4, stream), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(&words.data[0], 1, 4, stream), cudaSuccess);
  const TestGraph graph(end(stream));
  std::size_t nodes = 0;
  EXPECT_EQ(cudaGraphGetNodes(graph.graph, nullptr, &nodes), cudaSuccess);
  EXPECT_EQ(nodes, 2u);
  EXPECT_EQ(words.data[0], 0u);
  for (int launch = 0; launch < 2; ++launch)
    EXPECT_EQ(cudaGraphLaunch(graph.executable, stream), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(words.data[1], 0x01010101u);
}

// One executable, in two streams that know nothing of each other.
TEST(CudartGraphs, AreNotRunTwiceAtOnce) {
  const TestStream stream, other;
  struct Seen {
    std::atomic<int> now = 0, most = 0;
  } seen;
  const auto enter = [](void* at) {
    auto& of = *static_cast<Seen*>(at);
    of.most = std::max<int>(of.most, ++of.now);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    --of.now;
  };
  begin(stream);
  EXPECT_EQ(cudaLaunchHostFunc(stream, enter, &seen), cudaSuccess);
  const TestGraph graph(end(stream));
  for (int launch = 0; launch < 10; ++launch)
    EXPECT_EQ(cudaGraphLaunch(graph.executable, launch % 2 == 0 ? stream : other), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(seen.most, 1);
}

TEST(CudartGraphs, TakeMemoryOfTheDevice) {
  const TestStream stream;
  const PinnedWords words(1);
  begin(stream);
  for (int i = 0; i < 32; ++i) EXPECT_EQ(cudaMemsetAsync(words.data, i, 4, stream), cudaSuccess);
  cudaGraph_t captured = end(stream);
  const std::size_t before = free_memory();
  {
    const TestGraph graph(captured);
    EXPECT_EQ(free_memory(), before - 32 * (64 << 10));
    EXPECT_EQ(cudaGraphUpload(graph.executable, stream), cudaSuccess);
    EXPECT_EQ(cudaGraphLaunch(graph.executable, stream), cudaSuccess);
  }  // which is in flight
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(words.data[0], 31u * 0x01010101u);
}

TEST(CudartGraphs, AreNotLaunchedIntoACapture) {
  const TestStream stream;
  const PinnedWords words(1);
  begin(stream);
  EXPECT_EQ(cudaMemsetAsync(words.data, 1, 4, stream), cudaSuccess);
  const TestGraph graph(end(stream));
  begin(stream);
  EXPECT_EQ(cudaGraphLaunch(graph.executable, stream), cudaErrorStreamCaptureUnsupported);
  cudaGraph_t none = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream, &none), cudaErrorStreamCaptureInvalidated);
}

TEST(CudartGraphs, TakeMomentsAnewWithEachLaunch) {
  const TestStream stream;
  const TestEvent event, after;
  begin(stream);
  EXPECT_EQ(cudaEventRecordWithFlags(event, stream, cudaEventRecordExternal), cudaSuccess);
  const TestGraph graph(end(stream));
  float milliseconds = 0;
  for (int launch = 0; launch < 2; ++launch) {
    EXPECT_EQ(cudaGraphLaunch(graph.executable, stream), cudaSuccess);
    if (launch == 0) {
      EXPECT_EQ(cudaEventRecord(after, stream), cudaSuccess);
    }
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  }
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, after, event), cudaSuccess);
  EXPECT_GT(milliseconds, 0);
}

class CudartMemoryOperations : public testing::Test {
 protected:
  using Function = CUresult (*)(CUstream, CUdeviceptr, cuuint32_t, unsigned);
  static Function find(const char* name, cudaDriverEntryPointQueryResult expected) {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result{};
    EXPECT_EQ(cudaGetDriverEntryPointByVersion(name, &found, 11070, cudaEnableDefault, &result),
              cudaSuccess);
    EXPECT_EQ(result, expected) << name;
    return reinterpret_cast<Function>(found);
  }
  static CUdeviceptr at(const void* memory) { return reinterpret_cast<CUdeviceptr>(memory); }

  Function write = find("cuStreamWriteValue32", cudaDriverEntryPointSuccess);
  Function wait = find("cuStreamWaitValue32", cudaDriverEntryPointSuccess);
};

TEST_F(CudartMemoryOperations, AreFoundByName) {
  find("cuStreamWriteValue128", cudaDriverEntryPointSymbolNotFound);
}

TEST_F(CudartMemoryOperations, WaitForTheHostAndTellIt) {
  const TestStream stream;
  const PinnedWords words(2);
  const auto word = [&](int i) { return std::atomic_ref(words.data[i]); };
  begin(stream);
  EXPECT_EQ(wait(stream, at(&words.data[0]), 3, CU_STREAM_WAIT_VALUE_GEQ), CUDA_SUCCESS);
  EXPECT_EQ(write(stream, at(&words.data[1]), 5, CU_STREAM_WRITE_VALUE_DEFAULT), CUDA_SUCCESS);
  const TestGraph graph(end(stream));
  EXPECT_EQ(word(1).load(), 0u);
  EXPECT_EQ(cudaGraphLaunch(graph.executable, stream), cudaSuccess);
  word(0) = 2;
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(word(1).load(), 0u);
  word(0) = 4;
  while (word(1).load() != 5) std::this_thread::yield();
  EXPECT_EQ(wait(stream, at(&words.data[0]), 0x80000005u, CU_STREAM_WAIT_VALUE_GEQ),
            CUDA_SUCCESS);  // the numbers wrap: 4 is later
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
}

// Neither ends without the other: a host function, and what waits for it and then lets it go on.
TEST_F(CudartMemoryOperations, RunBesideOtherBranchesOfAGraph) {
  const TestStream stream, other;
  const TestEvent forked, joined;
  const PinnedWords words(2);
  const auto meet = [](void* at) {
    auto* const both = static_cast<std::uint32_t*>(at);
    std::atomic_ref(both[0]).store(1);
    while (std::atomic_ref(both[1]).load() == 0) std::this_thread::yield();
  };
  begin(stream);
  fork(stream, forked, other);
  EXPECT_EQ(cudaLaunchHostFunc(stream, meet, words.data), cudaSuccess);
  EXPECT_EQ(wait(other, at(&words.data[0]), 1, CU_STREAM_WAIT_VALUE_GEQ), CUDA_SUCCESS);
  EXPECT_EQ(write(other, at(&words.data[1]), 1, CU_STREAM_WRITE_VALUE_DEFAULT), CUDA_SUCCESS);
  fork(other, joined, stream);
  const TestGraph graph(end(stream));
  EXPECT_EQ(cudaGraphLaunch(graph.executable, stream), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(words.data[1], 1u);
}

TEST_F(CudartMemoryOperations, AreOnWordsOfTheDevice) {
  const TestStream stream;
  const PinnedWords words(1);
  alignas(4) std::uint32_t pageable = 0;
  EXPECT_EQ(write(stream, at(&pageable), 1, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(write(stream, at(words.data) + 2, 1, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(write(nullptr, at(words.data), 1, 0), CUDA_ERROR_INVALID_HANDLE);
}

}  // namespace
}  // namespace hearth::cudart
