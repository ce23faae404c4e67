// The ways of lanes, warps and blocks through a kernel, whatever order a seed draws.
#include <atomic>
#include <thread>

#include "tests/ptx/support/launch.h"

namespace hearth::ptx {
namespace {

using Words = std::vector<std::uint32_t>;

// %rd4: where this thread of all blocks writes.
const std::string kPlace = R"(
  mov.u32 %r2, %ctaid.x;
  mov.u32 %r3, %ntid.x;
  mad.lo.s32 %r4, %r2, %r3, %r1;
  mul.wide.u32 %rd4, %r4, 4;
  add.s64 %rd4, %rd2, %rd4;
)";

constexpr std::uint64_t kSeeds = 20;

Words result(const std::string& body, Shape shape, const std::string& declarations = "") {
  Words in(64), out(std::size_t{shape.threads} * shape.blocks, 0xdeadbeef);
  launch(kernel(kPlace + body, declarations), in, out, shape);
  return out;
}

TEST(PtxExecution, LanesPartAndMeetAgain) {
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    // Three ways, two of them nested; then all must be together for the product of the warp's
    // votes.
    const Words out = result(R"(
  and.b32 %r10, %r1, 1;
  setp.eq.u32 %p1, %r10, 0;
  @%p1 bra EVEN;
  setp.lt.u32 %p2, %r1, 16;
  @%p2 bra LOW;
  mov.u32 %r11, 300;
  bra.uni END;
LOW:
  mov.u32 %r11, 200;
  bra.uni END;
EVEN:
  mov.u32 %r11, 100;
END:
  vote.sync.ballot.b32 %r12, %p1, -1;
  add.s32 %r11, %r11, %r1;
  @!%p1 add.s32 %r11, %r11, 5000;
  xor.b32 %r12, %r12, 0x55555555;
  add.s32 %r11, %r11, %r12;
  st.global.u32 [%rd4], %r11;)",
                             {.threads = 64, .seed = seed});
    for (unsigned i = 0; i < 64; ++i) {
      const unsigned low = i < 16 ? 5200 : 5300;
      EXPECT_EQ(out[i], (i % 2 == 0 ? 100 : low) + i);
    }
  }
}

TEST(PtxExecution, LoopsOfDifferentLengthsEndTogether) {
  const Words out = result(R"(
  mov.u32 %r10, 0;
  mov.u32 %r11, 0;
OUTER:
  mov.u32 %r12, 0;
INNER:
  add.s32 %r11, %r11, 1;
  add.s32 %r12, %r12, 1;
  setp.le.u32 %p1, %r12, %r10;
  @%p1 bra INNER;
  add.s32 %r10, %r10, 1;
  setp.le.u32 %p2, %r10, %r1;
  @%p2 bra OUTER;
  shfl.sync.bfly.b32 %r11, %r11, 1, 31, -1;
  st.global.u32 [%rd4], %r11;)",
                           {});
  for (unsigned i = 0; i < 32; ++i) {
    const unsigned n = (i ^ 1) + 1;
    EXPECT_EQ(out[i], n * (n + 1) / 2);
  }
}

// A value that is read in the middle of a loop, behind which others come and go that could have its
// place.
TEST(PtxExecution, ValuesLiveFromOneRoundOfALoopToTheNext) {
  Words in(1), out(4);
  launch(kernel(R"(
  mov.u32 %r10, 0;
  mov.u32 %r20, 100;
  mov.u64 %rd10, %rd2;
LOOP:
  setp.eq.u32 %p2, %r10, 99;
  @%p2 bra SKIP;
  add.s32 %r11, %r20, %r10;
  st.global.u32 [%rd10], %r11;
SKIP:
  add.s64 %rd10, %rd10, 4;
  mov.u32 %r13, 5;
  add.s32 %r14, %r13, %r13;
  sub.s32 %r15, %r14, 9;
  add.s32 %r10, %r10, %r15;
  setp.lt.u32 %p1, %r10, 4;
  @%p1 bra LOOP;)"),
         in, out, {.threads = 1});
  EXPECT_EQ(out, (Words{100, 101, 102, 103}));
}

// After an early end of some threads of each warp, and of whole warps, the barrier is for those
// that are left.
TEST(PtxExecution, BarriersAreForThreadsThatAreLeft) {
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const Words out = result(R"(
  setp.ge.u32 %p1, %r1, 70;
  @%p1 ret;
  shl.b32 %r10, %r1, 2;
  mov.u32 %r11, words;
  add.s32 %r11, %r11, %r10;
  st.shared.u32 [%r11], %r1;
  bar.sync 0;
  xor.b32 %r12, %r1, 64;
  min.u32 %r12, %r12, 69;
  shl.b32 %r12, %r12, 2;
  mov.u32 %r13, words;
  add.s32 %r12, %r12, %r13;
  ld.shared.u32 %r14, [%r12];
  st.global.u32 [%rd4], %r14;)",
                             {.threads = 128, .blocks = 6, .dynamic_shared = 512, .seed = seed},
                             ".extern .shared .align 16 .b8 words[];\n");
    for (unsigned block = 0; block < 6; ++block)
      for (unsigned i = 0; i < 128; ++i)
        ASSERT_EQ(out[block * 128 + i], i < 70 ? std::min(i ^ 64, 69u) : 0xdeadbeef);
  }
}

TEST(PtxExecution, BarriersOfSomeThreadsCountThem) {
  // Warps 0 and 1 meet at barrier 1 while the others never come there.
  const Words out = result(R"(
  .shared .align 4 .b8 word[4];
  setp.ge.u32 %p1, %r1, 64;
  @%p1 bra END;
  setp.eq.u32 %p2, %r1, 40;
  mov.u32 %r10, 77;
  @%p2 st.shared.u32 [word], %r10;
  bar.sync 1, 64;
  ld.shared.u32 %r11, [word];
  st.global.u32 [%rd4], %r11;
END:)",
                           {.threads = 128});
  for (unsigned i = 0; i < 64; ++i) EXPECT_EQ(out[i], 77u);
}

TEST(PtxExecution, ThreadsThatNeverMeetAtABarrierAreAnError) {
  const auto error = [](const std::string& body) { return error_of_body(body, {.threads = 64}); };
  EXPECT_NE(
      error("setp.lt.u32 %p1, %r1, 32; @%p1 bra A; bar.sync 0; bra END; A: bar.sync 1; END: ret;")
          .find("for ever"),
      std::string::npos);
  EXPECT_NE(error("setp.lt.u32 %p1, %r1, 32; @%p1 exit; bar.sync 0, 64;").find("for ever"),
            std::string::npos);
  // Within a warp: .aligned.
  EXPECT_NE(
      error("setp.lt.u32 %p1, %r1, 16; @%p1 bra A; bar.sync 0; bra END; A: bar.sync 0; END: ret;")
          .find("lanes wait"),
      std::string::npos);
}

// A loop in which lanes, warps and blocks wait for the last of them, and for a thread of the host.
TEST(PtxExecution, WaitingLoopsLetOthersGoOn) {
  const std::string text = kernel(R"(
  mov.u32 %r10, %ctaid.x;
  mov.u32 %r11, %ntid.x;
  mad.lo.s32 %r10, %r10, %r11, %r1;
WAIT:
  ld.acquire.gpu.global.u32 %r12, [%rd2];
  setp.ne.u32 %p1, %r12, %r10;
  @%p1 bra WAIT;
  add.s32 %r12, %r12, 1;
  st.release.gpu.global.u32 [%rd2], %r12;
HOST:
  ld.volatile.global.u32 %r13, [%rd2+4];
  setp.eq.u32 %p1, %r13, 0;
  @%p1 bra HOST;
  atom.global.add.u32 %r14, [%rd2+8], 1;)");
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    Words in(1), out(3);
    std::thread host([&] {
      while (std::atomic_ref(out[0]).load() < 4 * 64) std::this_thread::yield();
      std::atomic_ref(out[1]).store(1);
    });
    launch(text, in, out, {.threads = 64, .blocks = 4, .seed = seed});
    host.join();
    EXPECT_EQ(out[2], 4u * 64);
  }
}

TEST(PtxExecution, GridsHaveThreeDimensions) {
  const auto module = Module::parse(kernel(R"(
  mov.u32 %r1, %tid.x; mov.u32 %r2, %tid.y; mov.u32 %r3, %tid.z;
  mov.u32 %r4, %ntid.x; mov.u32 %r5, %ntid.y; mov.u32 %r6, %ntid.z;
  mad.lo.s32 %r7, %r3, %r5, %r2;
  mad.lo.s32 %r7, %r7, %r4, %r1;
  mov.u32 %r10, %ctaid.x; mov.u32 %r11, %ctaid.y; mov.u32 %r12, %ctaid.z;
  mov.u32 %r13, %nctaid.x; mov.u32 %r14, %nctaid.y;
  mad.lo.s32 %r15, %r12, %r14, %r11;
  mad.lo.s32 %r15, %r15, %r13, %r10;
  mul.lo.s32 %r16, %r4, %r5;
  mul.lo.s32 %r16, %r16, %r6;
  mad.lo.s32 %r17, %r15, %r16, %r7;
  mul.wide.u32 %rd4, %r17, 4;
  add.s64 %rd4, %rd2, %rd4;
  st.global.u32 [%rd4], %r17;)"));
  Words out(3 * 5 * 2 * 4 * 3 * 7, 0);
  TestMemory memory;
  memory.add(out);
  const void* addresses[2] = {nullptr, out.data()};
  run(*module->find("test"), {{3, 5, 2}, {4, 3, 7}, 0}, std::as_bytes(std::span(addresses)), memory,
      3);
  for (unsigned i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], i);
}

TEST(PtxExecution, NobodyKnowsWhatLiesInSharedMemory) {
  const std::string body =
      ".shared .align 4 .b8 word[4];\n ld.shared.u32 %r10, [word];\n st.global.u32 [%rd4], %r10;";
  EXPECT_NE(result(body, {.seed = 1})[0], result(body, {.seed = 2})[0]);
}

TEST(PtxExecution, VariablesOfAModuleKeepWhatIsWritten) {
  const auto module = Module::parse(kernel(R"(
  mov.u64 %rd10, table;
  add.s64 %rd10, %rd10, 4;
  atom.global.add.u32 %r10, [%rd10], 5;
  cvt.u64.u32 %rd11, %r10;
  st.global.u32 [%rd2], %rd11;)",
                                           ".global .align 4 .b8 table[8] = {1, 2, 3, 4, 10};\n"));
  Words out(1);
  TestMemory memory;
  memory.add(out);
  const void* addresses[2] = {nullptr, out.data()};
  for (std::uint32_t expected : {10u, 15u}) {
    run(*module->find("test"), {{1, 1, 1}, {1, 1, 1}, 0}, std::as_bytes(std::span(addresses)),
        memory, 1);
    EXPECT_EQ(out[0], expected);
  }
  EXPECT_EQ(module->variable("table").size(), 8u);
  EXPECT_EQ(module->variable("table")[3], std::byte{4});
  EXPECT_EQ(module->variable("table")[4], std::byte{20});
}

TEST(PtxExecution, FactsAreThoseOfTheText) {
  const auto module = Module::parse(R"(.version 8.0
.extern .shared .align 16 .b8 more[];
.entry other(.param .u8 a, .param .align 8 .b8 b[20], .param .u64 c)
.maxntid 128, 2, 1
.minnctapersm 2
{
  .shared .align 4 .b8 words[12];
  ret;
})");
  const KernelFacts& of = facts(*module->find("other"));
  ASSERT_EQ(of.parameters.size(), 3u);
  EXPECT_EQ(of.parameters[1].offset, 8u);
  EXPECT_EQ(of.parameters[2].offset, 32u);
  EXPECT_EQ(of.parameter_bytes, 40u);
  EXPECT_EQ(of.static_shared, 12u);
  EXPECT_EQ(of.max_threads, 256u);
  EXPECT_EQ(module->find("test"), nullptr);
}

// Nothing of global memory, and no end, before what was launched before is over.
TEST(PtxExecution, KernelsThatWaitDoNothingBefore) {
  const auto error = [](const std::string& body) { return error_of([&] { result(body, {}); }); };
  EXPECT_EQ(result("griddepcontrol.wait;\ngriddepcontrol.launch_dependents;\n"
                   "st.global.u32 [%rd4], %r1;",
                   {})[7],
            7u);
  EXPECT_EQ(error("prefetch.global.L2 [%rd4];\ngriddepcontrol.wait;"), "");
  EXPECT_NE(error("st.global.u32 [%rd4], %r1;\ngriddepcontrol.wait;")
                .find("accesses global memory before griddepcontrol.wait"),
            std::string::npos);
  EXPECT_NE(error("ld.global.nc.u32 %r5, [%rd4];\ngriddepcontrol.wait;").find("before"),
            std::string::npos);
  EXPECT_NE(error("setp.eq.u32 %p1, %r1, 9;\n@%p1 ret;\ngriddepcontrol.wait;")
                .find("ends before griddepcontrol.wait"),
            std::string::npos);
}

}  // namespace
}  // namespace hearth::ptx
