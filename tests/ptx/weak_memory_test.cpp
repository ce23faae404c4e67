// What weak memory lets a kernel see. Each way of handing data over is tried with many seeds: one
// that orders nothing fails with some of them, one that does never.
#include "tests/ptx/weak_memory.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

#include "tests/ptx/support/launch.h"

namespace hearth::ptx {
namespace {

constexpr std::uint64_t kSeeds = 40;
constexpr std::uint32_t kOld = 7, kNew = 42;

struct alignas(64) Words {
  std::array<std::uint32_t, 64> words = {};
};

// `device` is memory of a device, `host` is not.
struct Memory final : AddressSpace {
  Range around(std::uintptr_t address) const override {
    for (const Words* each : {&device, &host})
      if (const auto begin = begin_of(*each); address - begin < sizeof(Words))
        return {begin, begin + sizeof(Words), true};
    return {};
  }
  Alias alias() const override { return {begin_of(device), sizeof device, 0}; }
  static std::uintptr_t begin_of(const Words& words) {
    return reinterpret_cast<std::uintptr_t>(words.words.data());
  }

  Words device, host;
};

// The kernel has the addresses %rd1 of the host's memory, %rd2 of the device's.
void run_weakly(const std::string& body, Memory& memory, unsigned blocks, unsigned threads,
                std::uint64_t seed) {
  const auto module = Module::parse(kernel(body));
  const void* addresses[2] = {memory.host.words.data(), memory.device.words.data()};
  run(*module->find("test"), {{blocks, 1, 1}, {threads, 1, 1}, 0},
      std::as_bytes(std::span(addresses)), memory, seed, Consistency::kWeak);
}

// How often a reader found the old value.
template <typename F>
unsigned failures(F found_with_seed) {
  unsigned old = 0;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const std::uint32_t found = found_with_seed(seed);
    EXPECT_TRUE(found == kNew || found == kOld) << found;
    old += found == kOld;
  }
  return old;
}

// Block 0 writes word 0 and then, by `raise`, flag word 1; block 1 has read word 0 before, waits
// until %r10 is the flag, by `look`, and reads word 0 once more.
struct HandOver {
  const char* raise;
  const char* look;
};

std::uint32_t between_blocks(const HandOver& by, const std::string& memory, std::uint64_t seed) {
  Memory there;
  const bool on_device = memory == "%rd2";
  Words& words = on_device ? there.device : there.host;
  words.words[0] = kOld;
  std::string body = R"(
  mov.u64 %rd10, MEMORY;
  mov.u32 %r2, %ctaid.x;
  mov.u32 %r3, 42;
  mov.u32 %r4, 1;
  setp.ne.u32 %p1, %r2, 0;
  @%p1 bra READER;
  st.global.u32 [%rd10], %r3;
  RAISE
  ret;
READER:
  ld.global.u32 %r11, [%rd10];
WAIT:
  LOOK
  setp.eq.u32 %p2, %r10, 0;
  @%p2 bra WAIT;
  ld.global.u32 %r11, [%rd10];
  st.global.u32 [%rd2+128], %r11;)";
  const auto put = [&](const std::string& name, const std::string& text) {
    body.replace(body.find(name), name.size(), text);
  };
  put("MEMORY", memory);
  put("RAISE", by.raise);
  put("LOOK", by.look);
  run_weakly(body, there, 2, 1, seed);
  EXPECT_EQ(words.words[0], kNew);  // whoever saw what, it is there at the end
  return there.device.words[32];
}

unsigned failures(const HandOver& by, const std::string& memory = "%rd2") {
  return failures([&](std::uint64_t seed) { return between_blocks(by, memory, seed); });
}

TEST(PtxWeakMemory, BlocksHandOverByReleaseAndAcquire) {
  for (const HandOver& by : {
           HandOver{"st.release.gpu.global.u32 [%rd10+4], %r4;",
                    "ld.acquire.gpu.global.u32 %r10, [%rd10+4];"},
           HandOver{"membar.gl; st.relaxed.gpu.global.u32 [%rd10+4], %r4;",
                    "ld.relaxed.gpu.global.u32 %r10, [%rd10+4]; membar.gl;"},
           HandOver{"fence.acq_rel.gpu; st.volatile.global.u32 [%rd10+4], %r4;",
                    "ld.volatile.global.u32 %r10, [%rd10+4]; fence.sc.sys;"},
           HandOver{"atom.release.gpu.global.exch.b32 %r5, [%rd10+4], %r4;",
                    "atom.acquire.gpu.global.or.b32 %r10, [%rd10+4], 0;"},
           HandOver{"atom.acq_rel.sys.global.add.u32 %r5, [%rd10+4], %r4;",
                    "ld.acquire.sys.global.u32 %r10, [%rd10+4];"},
       })
    for (const char* memory : {"%rd1", "%rd2"})
      EXPECT_EQ(failures(by, memory), 0u) << by.raise << " " << by.look << " " << memory;
}

TEST(PtxWeakMemory, HalfAnOrderIsNone) {
  for (const HandOver& by : {
           HandOver{"st.relaxed.gpu.global.u32 [%rd10+4], %r4;",
                    "ld.acquire.gpu.global.u32 %r10, [%rd10+4];"},
           HandOver{"st.release.gpu.global.u32 [%rd10+4], %r4;",
                    "ld.relaxed.gpu.global.u32 %r10, [%rd10+4];"},
           HandOver{"st.volatile.global.u32 [%rd10+4], %r4;",
                    "ld.volatile.global.u32 %r10, [%rd10+4];"},
           HandOver{"membar.cta; st.relaxed.gpu.global.u32 [%rd10+4], %r4;",
                    "ld.acquire.gpu.global.u32 %r10, [%rd10+4];"},
           HandOver{"st.release.gpu.global.u32 [%rd10+4], %r4;",
                    "ld.relaxed.gpu.global.u32 %r10, [%rd10+4]; fence.sc.cta;"},
           HandOver{"atom.global.add.u32 %r5, [%rd10+4], %r4;",
                    "atom.acquire.gpu.global.or.b32 %r10, [%rd10+4], 0;"},
       })
    for (const char* memory : {"%rd1", "%rd2"})
      EXPECT_GT(failures(by, memory), 0u) << by.raise << " " << by.look << " " << memory;
}

// The flag may be there before what it is for. It is seen in the end, after long.
TEST(PtxWeakMemory, AWeakFlagOrdersNothing) {
  const HandOver by = {"st.global.u32 [%rd10+4], %r4;", "ld.global.u32 %r10, [%rd10+4];"};
  unsigned old = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) old += between_blocks(by, "%rd2", seed) == kOld;
  EXPECT_GT(old, 0u);
}

// Each thread its word; one of them raises the flag for all behind a barrier, and one looks.
TEST(PtxWeakMemory, AFenceBehindABarrierIsForTheBlock) {
  const auto wrong = [](const std::string& fence, std::uint64_t seed) {
    Memory memory;
    run_weakly(R"(
  mov.u32 %r2, %ctaid.x;
  mov.u32 %r4, 1;
  add.s64 %rd10, %rd2, %rd3;
  setp.ne.u32 %p3, %r1, 0;
  setp.ne.u32 %p1, %r2, 0;
  @%p1 bra READER;
  st.global.u32 [%rd10], %r4;
  bar.sync 0;
  @%p3 bra END;
  )" + fence + R"(
  st.relaxed.gpu.global.u32 [%rd2+252], %r4;
END:
  ret;
READER:
  ld.global.u32 %r11, [%rd10];
  @%p3 bra TOGETHER;
WAIT:
  ld.acquire.gpu.global.u32 %r10, [%rd2+252];
  setp.eq.u32 %p2, %r10, 0;
  @%p2 bra WAIT;
TOGETHER:
  bar.sync 0;
  ld.global.u32 %r11, [%rd10];
  add.s64 %rd11, %rd1, %rd3;
  st.global.u32 [%rd11], %r11;)",
               memory, 2, 60, seed);
    return static_cast<unsigned>(
        std::count(memory.host.words.begin(), memory.host.words.begin() + 60, 0u));
  };
  unsigned without = 0;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    EXPECT_EQ(wrong("membar.gl;", seed), 0u);
    without += wrong("", seed);
  }
  EXPECT_GT(without, 0u);
}

// Word 0 and then, by `raise`, flag word 1 of the host's memory, which the host waits for.
std::uint32_t to_the_host(const std::string& raise, std::uint64_t seed) {
  Memory memory;
  auto& words = memory.host.words;
  words[0] = kOld;
  std::uint32_t found = 0;
  std::thread host([&] {
    while (std::atomic_ref(words[1]).load() == 0) std::this_thread::yield();
    found = std::atomic_ref(words[0]).load();
    std::atomic_ref(words[2]).store(1);
  });
  run_weakly("mov.u32 %r3, 42; mov.u32 %r4, 1; st.global.u32 [%rd1], %r3;\n" + raise + R"(
WAIT:
  ld.volatile.global.u32 %r10, [%rd1+8];
  setp.eq.u32 %p2, %r10, 0;
  @%p2 bra WAIT;)",
             memory, 1, 1, seed);
  host.join();
  return found;
}

TEST(PtxWeakMemory, TheHostIsReachedBySystemScopeAlone) {
  for (const char* raise : {"st.release.sys.global.u32 [%rd1+4], %r4;",
                            "membar.sys; st.relaxed.sys.global.u32 [%rd1+4], %r4;",
                            "fence.acq_rel.sys; st.volatile.global.u32 [%rd1+4], %r4;"})
    EXPECT_EQ(failures([&](std::uint64_t seed) { return to_the_host(raise, seed); }), 0u) << raise;
  for (const char* raise : {"membar.gl; st.volatile.global.u32 [%rd1+4], %r4;",
                            "st.volatile.global.u32 [%rd1+4], %r4;"})
    EXPECT_GT(failures([&](std::uint64_t seed) { return to_the_host(raise, seed); }), 0u) << raise;
}

// The kernel reads word 0, says so, and reads it once more when it has seen the host's flag.
std::uint32_t from_the_host(const std::string& look, const std::string& nc, std::uint64_t seed) {
  Memory memory;
  auto& words = memory.host.words;
  words[0] = kOld;
  std::thread host([&] {
    while (std::atomic_ref(words[32]).load() == 0) std::this_thread::yield();
    std::atomic_ref(words[0]).store(kNew);
    std::atomic_ref(words[1]).store(1);
  });
  run_weakly("ld.global" + nc + R"(.u32 %r11, [%rd1];
  st.volatile.global.u32 [%rd1+128], 1;
WAIT:
  )" + look + R"(
  setp.eq.u32 %p2, %r10, 0;
  @%p2 bra WAIT;
  ld.global)" + nc +
                 R"(.u32 %r11, [%rd1];
  st.global.u32 [%rd2], %r11;)",
             memory, 1, 1, seed);
  host.join();
  return memory.device.words[0];
}

TEST(PtxWeakMemory, TheHostIsHeardBySystemScopeAlone) {
  const auto heard = [](const std::string& look) {
    return failures([&](std::uint64_t seed) { return from_the_host(look, "", seed); });
  };
  EXPECT_EQ(heard("ld.acquire.sys.global.u32 %r10, [%rd1+4];"), 0u);
  EXPECT_EQ(heard("ld.volatile.global.u32 %r10, [%rd1+4]; membar.sys;"), 0u);
  EXPECT_GT(heard("ld.acquire.gpu.global.u32 %r10, [%rd1+4];"), 0u);
  EXPECT_GT(heard("ld.volatile.global.u32 %r10, [%rd1+4]; membar.gl;"), 0u);
  EXPECT_GT(heard("ld.volatile.global.u32 %r10, [%rd1+4];"), 0u);
}

TEST(PtxWeakMemory, NoFenceReachesTheReadOnlyPath) {
  const auto stale = [](const std::string& nc) {
    return failures([&](std::uint64_t seed) {
      return from_the_host("ld.acquire.sys.global.u32 %r10, [%rd1+4]; fence.sc.sys;", nc, seed);
    });
  };
  EXPECT_EQ(stale(""), 0u);
  EXPECT_GT(stale(".nc"), 0u);
}

// Loads, stores and atomics of all kinds, each thread in words of its own: nobody else writes
// there, so that memory looks as if it were not weak.
TEST(PtxWeakMemory, AThreadSeesWhatItWrote) {
  const auto module = Module::parse(kernel(R"(
  mov.u32 %r2, %ctaid.x;
  mad.lo.s32 %r2, %r2, 64, %r1;
  shl.b32 %r3, %r2, 2;
  cvt.u64.u32 %rd10, %r3;
  add.s64 %rd10, %rd2, %rd10;
  mov.u32 %r10, %r2;
  mov.u32 %r20, 0;
LOOP:
  mad.lo.s32 %r10, %r10, 1664525, 1013904223;
  shr.u32 %r11, %r10, 24;
  mul.wide.u32 %rd11, %r11, 512;
  add.s64 %rd11, %rd10, %rd11;
  ld.global.u32 %r12, [%rd11];
  add.s32 %r12, %r12, %r10;
  st.global.u32 [%rd11], %r12;
  shr.u32 %r13, %r10, 16;
  and.b32 %r13, %r13, 255;
  mul.wide.u32 %rd11, %r13, 512;
  add.s64 %rd11, %rd10, %rd11;
  atom.global.add.u32 %r14, [%rd11], %r12;
  ld.relaxed.gpu.global.u32 %r15, [%rd11];
  xor.b32 %r15, %r15, %r14;
  st.release.gpu.global.u32 [%rd11], %r15;
  ld.global.u8 %r16, [%rd11+1];
  st.global.u8 [%rd11+2], %r16;
  add.s32 %r20, %r20, 1;
  setp.lt.u32 %p1, %r20, 300;
  @%p1 bra LOOP;)"));
  const auto result = [&](bool of_host, Consistency consistency, std::uint64_t seed) {
    struct alignas(64) Line {
      std::uint32_t words[16] = {};
    };
    std::vector<Line> lines(256 * 128 / 16);
    struct Space final : AddressSpace {
      Range range = {};
      bool of_host = false;
      Range around(std::uintptr_t) const override { return range; }
      Alias alias() const override {
        return of_host ? Alias{} : Alias{range.begin, range.end - range.begin, 0};
      }
    } space;
    const auto begin = reinterpret_cast<std::uintptr_t>(lines.data());
    space.range = {begin, begin + lines.size() * sizeof(Line), true};
    space.of_host = of_host;
    const void* addresses[2] = {nullptr, lines.data()};
    run(*module->find("test"), {{2, 1, 1}, {64, 1, 1}, 0}, std::as_bytes(std::span(addresses)),
        space, seed, consistency);
    std::vector<std::uint32_t> words;
    for (const Line& line : lines) words.insert(words.end(), line.words, line.words + 16);
    return words;
  };
  const auto expected = result(false, Consistency::kSequential, 1);
  for (std::uint64_t seed = 0; seed < 8; ++seed)
    for (const bool of_host : {false, true})
      EXPECT_EQ(result(of_host, Consistency::kWeak, seed), expected) << seed << of_host;
}

TEST(PtxWeakMemory, ASeedDrawsOneWay) {
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const HandOver by = {"st.relaxed.gpu.global.u32 [%rd10+4], %r4;",
                         "ld.acquire.gpu.global.u32 %r10, [%rd10+4];"};
    EXPECT_EQ(between_blocks(by, "%rd2", seed), between_blocks(by, "%rd2", seed));
  }
}

}  // namespace
}  // namespace hearth::ptx
