// Launches of hand-written kernels, registered as nvcc's code does it: limits, parameters, and what
// follows when one fails.
#include <array>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/cudart/support/objects.h"

extern "C" {
void** __cudaRegisterFatBinary(void*);
void __cudaRegisterFunction(void**, const char*, char*, const char*, int, uint3*, uint3*, dim3*,
                            dim3*, int*);
}

namespace hearth::cudart {
namespace {

// Each thread adds `amount` to its word; and one that traps.
constexpr const char* kKernels = R"(
.version 9.0
.target sm_90
.address_size 64

.visible .entry add(
	.param .u64 add_param_0,
	.param .u32 add_param_1
)
.maxntid 64
{
	.reg .b32 	%r<5>;
	.reg .b64 	%rd<5>;

	ld.param.b64 	%rd1, [add_param_0];
	ld.param.b32 	%r1, [add_param_1];
	cvta.to.global.u64 	%rd2, %rd1;
	mov.u32 	%r2, %tid.x;
	mul.wide.u32 	%rd3, %r2, 4;
	add.s64 	%rd4, %rd2, %rd3;
	ld.global.b32 	%r3, [%rd4];
	add.s32 	%r4, %r3, %r1;
	st.global.b32 	[%rd4], %r4;
	ret;
}

.visible .entry add_in_turn(
	.param .u64 add_param_0,
	.param .u32 add_param_1
)
.maxntid 64
{
	.reg .b32 	%r<5>;
	.reg .b64 	%rd<5>;

	ld.param.b64 	%rd1, [add_param_0];
	ld.param.b32 	%r1, [add_param_1];
	cvta.to.global.u64 	%rd2, %rd1;
	griddepcontrol.wait;
	griddepcontrol.launch_dependents;
	ld.global.b32 	%r3, [%rd2];
	add.s32 	%r4, %r3, %r1;
	st.global.b32 	[%rd2], %r4;
	ret;
}

.visible .entry fail()
{
	trap;
	ret;
}
)";

// What nvcc and fatbinary make of a source.
struct FatBinary {
  explicit FatBinary(const std::string& text, std::uint32_t compressed_bytes = 0) {
    const auto put = [&](auto value) {
      const auto* const bytes = reinterpret_cast<const char*>(&value);
      contents.insert(contents.end(), bytes, bytes + sizeof value);
    };
    constexpr std::uint32_t kEntryBytes = 64;
    put(std::uint32_t{0xba55ed50});
    put(std::uint16_t{1});
    put(std::uint16_t{16});
    put(std::uint64_t{kEntryBytes + text.size() + 1});
    put(std::uint16_t{1});
    put(std::uint16_t{0x101});
    put(kEntryBytes);
    put(std::uint64_t{text.size() + 1});
    put(compressed_bytes);
    contents.resize(16 + kEntryBytes);
    contents.insert(contents.end(), text.begin(), text.end());
    contents.push_back('\0');
    wrapper = {0x466243b1, 1, contents.data(), nullptr};
  }

  std::vector<char> contents;
  struct {
    std::uint32_t magic, version;
    const void* data;
    const void* unused;
  } wrapper;
};

const char add_stub = 0, add_in_turn_stub = 0, fail_stub = 0, missing_stub = 0;

class CudartLaunch : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    static FatBinary binary(kKernels);
    void** const module = __cudaRegisterFatBinary(&binary.wrapper);
    for (const auto& [stub, name] :
         {std::pair{&add_stub, "add"}, std::pair{&add_in_turn_stub, "add_in_turn"},
          std::pair{&fail_stub, "fail"}, std::pair{&missing_stub, "missing"}})
      __cudaRegisterFunction(module, stub, nullptr, name, -1, nullptr, nullptr, nullptr, nullptr,
                             nullptr);
  }

  cudaError_t add(dim3 blocks, dim3 threads, std::uint32_t* words, std::uint32_t amount,
                  std::size_t shared = 0) {
    std::array<void*, 2> arguments{&words, &amount};
    return cudaLaunchKernel(&add_stub, blocks, threads, arguments.data(), shared, stream);
  }

  // Adds 1 to the first word.
  cudaError_t add_early(const void* stub, std::uint32_t* words) {
    std::uint32_t amount = 1;
    std::array<void*, 2> arguments{&words, &amount};
    cudaLaunchAttribute early{};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    const cudaLaunchConfig_t config{.gridDim = 1,
                                    .blockDim = 1,
                                    .dynamicSmemBytes = 0,
                                    .stream = stream,
                                    .attrs = &early,
                                    .numAttrs = 1};
    return cudaLaunchKernelExC(&config, stub, arguments.data());
  }

  TestStream stream;
};

TEST_F(CudartLaunch, TakesParametersWhenItIsCalled) {
  const PinnedWords words(4);
  {
    Gate gate(stream);
    EXPECT_EQ(add(1, 3, words.data, 5), cudaSuccess);
    EXPECT_EQ(add(1, 4, words.data, 1), cudaSuccess);
    EXPECT_EQ(words.data[0], 0u);
  }
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(words.data[0], 6u);
  EXPECT_EQ(words.data[2], 6u);
  EXPECT_EQ(words.data[3], 1u);
}

TEST_F(CudartLaunch, IsANodeOfAGraph) {
  const PinnedWords words(1);
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  EXPECT_EQ(add(1, 1, words.data, 2), cudaSuccess);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(cudaGraphLaunch(executable, stream), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(words.data[0], 6u);
  EXPECT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
}

TEST_F(CudartLaunch, MayBeginEarlyBehindAKernel) {
  const PinnedWords words(1);
  EXPECT_EQ(add_early(&add_in_turn_stub, words.data), cudaErrorInvalidValue);
  EXPECT_EQ(add(1, 1, words.data, 1), cudaSuccess);
  EXPECT_EQ(add_early(&add_in_turn_stub, words.data), cudaSuccess);
  EXPECT_EQ(add_early(&add_in_turn_stub, words.data), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(words.data[0], 3u);
}

TEST_F(CudartLaunch, BeginsNotEarlyBehindWhatIsNoKernel) {
  const PinnedWords words(2);
  EXPECT_EQ(add(1, 1, words.data, 1), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(words.data + 1, 0, 4, stream), cudaSuccess);
  EXPECT_EQ(add_early(&add_in_turn_stub, words.data), cudaErrorInvalidValue);
  EXPECT_EQ(add(1, 1, words.data, 1), cudaSuccess);
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  EXPECT_EQ(add_early(&add_in_turn_stub, words.data), cudaErrorInvalidValue);
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
}

TEST_F(CudartLaunch, IsWithinTheLimits) {
  const PinnedWords words(64);
  EXPECT_EQ(add(0, 1, words.data, 1), cudaErrorInvalidConfiguration);
  EXPECT_EQ(add(1, 0, words.data, 1), cudaErrorInvalidConfiguration);
  EXPECT_EQ(add({1, 65536}, 1, words.data, 1), cudaErrorInvalidConfiguration);
  EXPECT_EQ(add({1, 1, 65536}, 1, words.data, 1), cudaErrorInvalidConfiguration);
  EXPECT_EQ(add(1, 1025, words.data, 1), cudaErrorInvalidConfiguration);
  EXPECT_EQ(add(1, {1, 1, 65}, words.data, 1), cudaErrorInvalidConfiguration);
  EXPECT_EQ(add(1, 65, words.data, 1), cudaErrorInvalidValue);  // than .maxntid
  EXPECT_EQ(add(1, 64, words.data, 1), cudaSuccess);
}

TEST_F(CudartLaunch, HasMoreSharedMemoryWhereTheKernelIsSetToIt) {
  const PinnedWords words(1);
  constexpr int kMore = 100 << 10;
  EXPECT_EQ(add(1, 1, words.data, 1, 48 << 10), cudaSuccess);
  EXPECT_EQ(add(1, 1, words.data, 1, (48 << 10) + 1), cudaErrorInvalidValue);
  constexpr auto kAttribute = cudaFuncAttributeMaxDynamicSharedMemorySize;
  EXPECT_EQ(cudaFuncSetAttribute(&add_stub, kAttribute, (227 << 10) + 1), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFuncSetAttribute(&add_stub, kAttribute, kMore), cudaSuccess);
  EXPECT_EQ(add(1, 1, words.data, 1, kMore), cudaSuccess);
  EXPECT_EQ(add(1, 1, words.data, 1, kMore + 1), cudaErrorInvalidValue);
}

TEST_F(CudartLaunch, IsOfAKernelThatIsThere) {
  const char unknown = 0;
  EXPECT_EQ(cudaLaunchKernel(&unknown, 1, 1, nullptr, 0, stream), cudaErrorInvalidDeviceFunction);
  EXPECT_EQ(cudaLaunchKernel(&missing_stub, 1, 1, nullptr, 0, stream),
            cudaErrorInvalidDeviceFunction);
  EXPECT_EQ(cudaLaunchKernel(&fail_stub, 1, 1, nullptr, 0, nullptr),
            cudaErrorInvalidResourceHandle);
}

// Each in a process of its own, for the device is gone then.
class CudartFailures : public CudartLaunch {
 protected:
  // Exits with the answer to the next call that waits, if all others have the same.
  template <typename Launch>
  void expect_failure(Launch&& launch, const char* message) {
    testing::GTEST_FLAG(death_test_style) = "threadsafe";
    const auto run = [&] {
      EXPECT_EQ(launch(), cudaSuccess);
      const cudaError_t error = cudaStreamSynchronize(stream);
      void* memory = nullptr;
      const bool stays = cudaGetLastError() == error && cudaGetLastError() == error &&
                         cudaMalloc(&memory, 1) == error && cudaDeviceSynchronize() == error;
      _exit(stays && error == cudaErrorLaunchFailure ? 7 : 0);
    };
    EXPECT_EXIT(run(), testing::ExitedWithCode(7), message);
  }
};

TEST_F(CudartFailures, StayAfterATrap) {
  expect_failure([&] { return cudaLaunchKernel(&fail_stub, 1, 1, nullptr, 0, stream); },
                 "the device failed: kernel fail");
}

TEST_F(CudartFailures, StayAfterAKernelThatBeganEarlyAndNeverWaits) {
  const PinnedWords words(1);
  const auto launch = [&] {
    EXPECT_EQ(add(1, 1, words.data, 1), cudaSuccess);
    return add_early(&add_stub, words.data);
  };
  expect_failure(launch, "no griddepcontrol.wait");
}

TEST_F(CudartFailures, StayAfterAWriteBesideMemory) {
  const PinnedWords words(2);
  expect_failure([&] { return add(1, 3, words.data, 1); }, "the device failed: kernel add");
}

TEST_F(CudartFailures, StayAfterAWriteToPageableMemory) {
  std::uint32_t pageable = 0;
  expect_failure([&] { return add(1, 1, &pageable, 1); }, "the device failed: kernel add");
}

TEST_F(CudartFailures, StayAfterACopyOfMemoryThatIsGone) {
  const auto launch = [&] {
    void* gone = nullptr;
    EXPECT_EQ(cudaMalloc(&gone, 4), cudaSuccess);
    const PinnedWords words(1);
    EXPECT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    EXPECT_EQ(cudaMemsetAsync(gone, 0, 4, stream), cudaSuccess);
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    EXPECT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
    EXPECT_EQ(cudaFree(gone), cudaSuccess);
    return cudaGraphLaunch(executable, stream);
  };
  expect_failure(launch, "the device failed: fill: its memory was freed");
}

TEST_F(CudartFailures, MayBeAskedFor) {
  setenv("HEARTH_CUDART_FAIL_AT", "2", 1);
  const PinnedWords words(1);
  const auto launch = [&] {
    EXPECT_EQ(add(1, 1, words.data, 1), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    return add(1, 1, words.data, 1);
  };
  expect_failure(launch, "the one that was to fail");
  unsetenv("HEARTH_CUDART_FAIL_AT");
}

TEST(CudartModules, HavePtxThatIsNotCompressed) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto run = [](const std::string& text, std::uint32_t compressed_bytes) {
    static const char stub = 0;
    FatBinary binary(text, compressed_bytes);
    void** const module = __cudaRegisterFatBinary(&binary.wrapper);
    __cudaRegisterFunction(module, &stub, nullptr, "k", -1, nullptr, nullptr, nullptr, nullptr,
                           nullptr);
    const TestStream stream;
    _exit(cudaLaunchKernel(&stub, 1, 1, nullptr, 0, stream) == cudaErrorInvalidKernelImage ? 7 : 0);
  };
  EXPECT_EXIT(run("", 5), testing::ExitedWithCode(7), "compressed PTX");
  EXPECT_EXIT(run("nonsense", 0), testing::ExitedWithCode(7), "nonsense");
}

}  // namespace
}  // namespace hearth::cudart
