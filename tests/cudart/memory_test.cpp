// Memory and copies, by the rules of the CUDA runtime API.
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <vector>

#include "base/units.h"
#include "tests/cudart/support/objects.h"

namespace hearth::cudart {
namespace {

constexpr std::size_t kPage = 4096;

std::size_t free_memory() {
  std::size_t free = 0, total = 0;
  EXPECT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  return free;
}

struct Pages {
  explicit Pages(std::size_t count) : bytes((count + 1) * kPage) {
    const auto at = reinterpret_cast<std::uintptr_t>(bytes.data());
    data = bytes.data() + (round_up(at, kPage) - at);
  }
  std::vector<std::byte> bytes;
  std::byte* data;
};

TEST(CudartMemory, IsCounted) {
  const std::size_t before = free_memory();
  {
    const DeviceBytes large(3 << 20);
    EXPECT_EQ(free_memory(), before - (4 << 20));
    const DeviceBytes one(1), other(1);
    EXPECT_EQ(free_memory(), before - (6 << 20));
  }
  EXPECT_EQ(free_memory(), before);
}

TEST(CudartMemory, RunsOutWithoutAnErrorThatStays) {
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, free_memory() + 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaPeekAtLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  const DeviceBytes some(1);
}

TEST(CudartMemory, IsNeitherZeroNorTheSameAgain) {
  const TestStream stream;
  std::array<std::uint32_t, 64> found{};
  const DeviceBytes some(sizeof found);
  EXPECT_EQ(copy(found.data(), some.data, sizeof found, stream), cudaSuccess);
  EXPECT_LT(std::ranges::count(found, 0u), 2);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(some.data) % 256, 0u);
}

TEST(CudartMemory, OfTheDeviceIsNotTheHosts) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto read = [] {
    const DeviceBytes there(8);
    _exit(static_cast<int>(there.data[0]));
  };
  EXPECT_EXIT(read(), testing::KilledBySignal(SIGSEGV), "");
}

TEST(CudartMemory, IsFreedAsItWasTaken) {
  int on_stack = 0;
  void* nothing = &on_stack;
  EXPECT_EQ(cudaMalloc(&nothing, 0), cudaSuccess);
  EXPECT_EQ(nothing, nullptr);
  EXPECT_EQ(cudaFree(nullptr), cudaSuccess);
  EXPECT_EQ(cudaFree(&on_stack), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFreeHost(&on_stack), cudaErrorInvalidValue);
  EXPECT_EQ(cudaHostUnregister(&on_stack), cudaErrorHostMemoryNotRegistered);
  const DeviceBytes some(512);
  EXPECT_EQ(cudaFree(some.data + 256), cudaErrorInvalidValue);
}

TEST(CudartPinning, RefusesPagesThatArePinned) {
  const Pages pages(3);
  constexpr unsigned kFlags = cudaHostRegisterMapped | cudaHostRegisterPortable;
  EXPECT_EQ(cudaHostRegister(pages.data, 0, kFlags), cudaErrorInvalidValue);
  ASSERT_EQ(cudaHostRegister(pages.data, kPage + 8, kFlags), cudaSuccess);
  EXPECT_EQ(cudaHostRegister(pages.data, kPage, kFlags), cudaErrorHostMemoryAlreadyRegistered);
  EXPECT_EQ(cudaHostRegister(pages.data + kPage + 8, 8, kFlags),
            cudaErrorHostMemoryAlreadyRegistered);
  EXPECT_EQ(cudaHostUnregister(pages.data + 8), cudaErrorHostMemoryNotRegistered);
  EXPECT_EQ(cudaHostRegister(pages.data + 2 * kPage, kPage, kFlags), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(pages.data), cudaErrorInvalidValue);
  EXPECT_EQ(cudaHostUnregister(pages.data), cudaSuccess);
  EXPECT_EQ(cudaHostUnregister(pages.data + 2 * kPage), cudaSuccess);
}

TEST(CudartPinning, IsOfMemoryThatTheProcessHasToTheEnd) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto give_back_too_early = [] {
    void* const pages =
        mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const cudaError_t registered = cudaHostRegister(pages, kPage, 0);
    munmap(pages, kPage);
    const bool gone = cudaHostRegister(pages, 1, 0) != cudaSuccess;
    _exit(registered == cudaSuccess && gone && cudaHostUnregister(pages) == cudaSuccess ? 7 : 0);
  };
  EXPECT_EXIT(give_back_too_early(), testing::ExitedWithCode(7), "misuse");
}

TEST(CudartPinning, HasADeviceAddressWhereItIsMapped) {
  const PinnedWords mapped(4);
  void* found = nullptr;
  EXPECT_EQ(cudaHostGetDevicePointer(&found, mapped.data, 0), cudaSuccess);
  EXPECT_EQ(found, mapped.data);
  void* only_pinned = nullptr;
  ASSERT_EQ(cudaHostAlloc(&only_pinned, 16, cudaHostAllocPortable), cudaSuccess);
  EXPECT_EQ(cudaHostGetDevicePointer(&found, only_pinned, 0), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFreeHost(only_pinned), cudaSuccess);
}

TEST(CudartCopies, StayWithinOneAllocationOrRegistration) {
  const Pages pages(2);
  const TestStream stream;
  const DeviceBytes there(2 * kPage);
  for (std::size_t page = 0; page < 2; ++page)
    ASSERT_EQ(cudaHostRegister(pages.data + page * kPage, kPage, cudaHostRegisterMapped),
              cudaSuccess);
  EXPECT_EQ(copy(there.data, pages.data, kPage, stream), cudaSuccess);
  EXPECT_EQ(copy(there.data, pages.data + 1, kPage, stream), cudaErrorInvalidValue);
  EXPECT_EQ(copy(there.data, pages.data, 2 * kPage, stream), cudaErrorInvalidValue);
  EXPECT_EQ(copy(there.data + 1, pages.data, 2 * kPage, stream), cudaErrorInvalidValue);
  EXPECT_EQ(copy(there.data, there.data + 1, 2, stream), cudaErrorInvalidValue);  // overlap
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(cudaHostUnregister(pages.data), cudaSuccess);
  EXPECT_EQ(copy(there.data, pages.data, 2 * kPage, stream), cudaErrorInvalidValue);
  EXPECT_EQ(cudaHostUnregister(pages.data + kPage), cudaSuccess);
  EXPECT_EQ(copy(there.data, pages.data, 2 * kPage, stream), cudaSuccess);
}

TEST(CudartCopies, GoWhereTheySay) {
  const TestStream stream;
  const DeviceBytes there(8);
  const PinnedWords here(2);
  const auto copied = [&](void* to, const void* from, cudaMemcpyKind kind) {
    return cudaMemcpyAsync(to, from, 8, kind, stream);
  };
  EXPECT_EQ(copied(there.data, here.data, cudaMemcpyHostToDevice), cudaSuccess);
  EXPECT_EQ(copied(here.data, there.data, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(copied(there.data, here.data, cudaMemcpyDeviceToHost), cudaErrorInvalidMemcpyDirection);
  EXPECT_EQ(copied(here.data, there.data, cudaMemcpyDeviceToDevice),
            cudaErrorInvalidMemcpyDirection);
}

TEST(CudartCopies, ReadPageableMemoryBeforeTheyReturnAndPinnedMemoryInTheirTurn) {
  const TestStream stream;
  const DeviceBytes there(8);
  const PinnedWords pinned(1);
  std::uint32_t pageable = 1;
  std::array<std::uint32_t, 2> found{};
  pinned.data[0] = 1;
  {
    Gate gate(stream);
    EXPECT_EQ(copy(there.data, &pageable, 4, stream), cudaSuccess);
    EXPECT_EQ(copy(there.data + 4, pinned.data, 4, stream), cudaSuccess);
    pageable = pinned.data[0] = 2;
  }
  EXPECT_EQ(copy(found.data(), there.data, 8, stream), cudaSuccess);
  EXPECT_EQ(found, (std::array<std::uint32_t, 2>{1, 2}));  // without a wait: the target is pageable
}

TEST(CudartCopies, FillMemoryOfTheDeviceAlone) {
  const TestStream stream;
  const DeviceBytes there(8);
  std::uint32_t pageable = 0;
  EXPECT_EQ(cudaMemsetAsync(there.data, 7, 8, stream), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(there.data + 1, 7, 8, stream), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemsetAsync(&pageable, 7, 4, stream), cudaErrorInvalidValue);
  EXPECT_EQ(copy(&pageable, there.data, 4, stream), cudaSuccess);
  EXPECT_EQ(pageable, 0x07070707u);
}

}  // namespace
}  // namespace hearth::cudart
