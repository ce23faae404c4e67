// What is refused: texts that are not understood, and accesses that are not allowed.
#include "tests/ptx/support/launch.h"

namespace hearth::ptx {
namespace {

using Words = std::vector<std::uint32_t>;

std::string text_error(const std::string& body) {
  return error_of([&] { Module::parse(kernel(body)); });
}

void expect_refused(const std::string& error, const std::string& why) {
  EXPECT_NE(error.find(why), std::string::npos) << "'" << error << "' instead of " << why;
}

TEST(PtxRefusals, NameTheLineOfWhatIsUnknown) {
  expect_refused(text_error("frobnicate.b32 %r1, %r2;"),
                 "PTX line 17: no known instruction: frobnicate.b32");
  expect_refused(text_error("mov.u32 %r1, %clock;"), "unknown name: %clock");
  expect_refused(text_error("mov.u32 %r1, %r99;"), "unknown name: %r99");
  expect_refused(text_error("bra NOWHERE;"), "no label NOWHERE");
  expect_refused(text_error("mov.u32 %r1, %rd1;"), "operands of other widths");
  expect_refused(text_error("ld.global.u64 %r1, [%rd1];"), "no known access");
  expect_refused(text_error("ld.local.u32 %r1, [%rd1];"), "no known access");
  expect_refused(text_error("st.param.u32 [%rd1], %r1;"), "no known access");
  expect_refused(text_error("mov.u32 %r1, 5"), "';' expected");
  expect_refused(text_error(".local .align 4 .b8 stack[16];"), "unknown in a kernel: .local");
  expect_refused(error_of([] { Module::parse(".func f() { ret; }"); }),
                 "unknown in a module: .func");
  expect_refused(error_of([] { Module::parse(".address_size 32\n"); }), "64 bits");
}

TEST(PtxRefusals, OfWhatACardOrItsCompilerMayChoose) {
  for (const char* opcode : {"add.f32", "mul.f32", "sub.f32"})
    expect_refused(text_error(std::string(opcode) + " %f1, %f2, %f3;"),
                   "may become part of another");
  for (const char* opcode : {"ex2.approx.f32", "rsqrt.approx.f32", "add.rn.ftz.f32"})
    expect_refused(text_error(std::string(opcode) + " %f1, %f2;"), "depend on the card");
}

TEST(PtxRefusals, NameKernelLineBlockAndThread) {
  const std::string error = error_of_body("setp.eq.u32 %p1, %r1, 41; @%p1 trap;", {.threads = 64});
  expect_refused(error, "test, PTX line 17, block (0, 0, 0), thread (41, 0, 0): trap");
}

TEST(PtxRefusals, OfGlobalMemoryThatIsNone) {
  expect_refused(error_of_body("ld.global.u32 %r10, [%rd1+256];"),
                 "reads 4 bytes outside of global memory");
  expect_refused(error_of_body("ld.global.u32 %r10, [%rd1+-4];"), "outside of global memory");
  expect_refused(error_of_body("st.global.u32 [%rd1], %r1;"),
                 "writes 4 bytes outside of global memory");
  expect_refused(error_of_body("ld.global.v4.u32 {%r10, %r11, %r12, %r13}, [%rd1+248];"),
                 "no multiple");
  expect_refused(error_of_body("ld.global.nc.v2.u32 {%r10, %r11}, [%rd1+252];"), "no multiple");
  expect_refused(error_of_body("mov.u64 %rd10, 0; ld.global.u8 %r10, [%rd10];"), "at 0x0");
  expect_refused(error_of_body("prefetch.global.L2 [%rd1+256];"), "outside of global memory");
  expect_refused(error_of_body("atom.global.add.u32 %r10, [%rd1], 1;"), "writes 4 bytes outside");
  // One lane of many.
  expect_refused(error_of_body("mul.wide.u32 %rd10, %r1, 8; add.s64 %rd10, %rd1, %rd10; "
                               "ld.global.u64 %rd11, [%rd10+8];"),
                 "thread (31, 0, 0)");
}

TEST(PtxRefusals, OfReadOnlyMemoryThatTheLaunchWrites) {
  const std::string write = "st.global.u16 [%rd2+70], %r1;\n";
  expect_refused(error_of_body(write + "ld.global.nc.u32 %r10, [%rd2+68];"),
                 "where the launch has written");
  expect_refused(
      error_of_body(
          "red.global.add.u32 [%rd2], 1; ld.global.nc.v4.u32 {%r10, %r11, %r12, %r13}, [%rd2];"),
      "where the launch has written");
  EXPECT_EQ(
      error_of_body(write + "ld.global.nc.u16 %r10, [%rd2+68]; ld.global.nc.u64 %rd10, [%rd2+72];"),
      "");
  EXPECT_EQ(error_of_body(write + "ld.global.u32 %r10, [%rd2+68];"), "");
}

TEST(PtxRefusals, OfSharedMemoryThatIsNone) {
  const std::string of_words = ".shared .align 16 .b8 words[64];\n mov.u32 %r10, words;\n";
  expect_refused(error_of_body(of_words + "ld.shared.u32 %r11, [%r10+64];"),
                 "outside of shared memory at 0x40");
  expect_refused(error_of_body(of_words + "ld.shared.u32 %r11, [%r10+-4];"),
                 "outside of shared memory");
  expect_refused(error_of_body(of_words + "ld.shared.u16 %h1, [%r10+1];"), "no multiple");
  expect_refused(
      error_of_body(
          of_words +
          "mov.u64 %rd10, words; cvta.shared.u64 %rd10, %rd10; ld.global.u32 %r11, [%rd10];"),
      "outside of global memory");
  EXPECT_EQ(
      error_of_body(of_words +
                    "mov.u64 %rd10, words; cvta.shared.u64 %rd10, %rd10; ld.u32 %r11, [%rd10+60];"),
      "");
  EXPECT_EQ(error_of_body(of_words + "ld.shared.u32 %r11, [%r10+64];", {.dynamic_shared = 4},
                          ".extern .shared .align 4 .b8 more[];"),
            "");
}

TEST(PtxRefusals, OfLaunchesThatDoNotFitTheKernel) {
  const auto module = Module::parse(".entry test(.param .u64 a)\n.maxntid 64\n{ ret; }");
  const TestMemory memory;
  const std::vector<std::byte> parameters(8);
  const auto error = [&](Grid grid, std::size_t bytes) {
    return error_of(
        [&] { run(*module->find("test"), grid, std::span(parameters).first(bytes), memory, 1); });
  };
  EXPECT_EQ(error({{1, 1, 1}, {64, 1, 1}, 0}, 8), "");
  expect_refused(error({{1, 1, 1}, {65, 1, 1}, 0}, 8), "at most 64");
  expect_refused(error({{0, 1, 1}, {64, 1, 1}, 0}, 8), "without threads");
  expect_refused(error({{1, 1, 1}, {64, 1, 1}, 0}, 4), "4 bytes of parameters, not 8");
}

TEST(PtxRefusals, NotOfWhatInactiveLanesHold) {
  // Lanes without memory, and divisors of zero, are not active.
  EXPECT_EQ(error_of_body(R"(
  mul.wide.u32 %rd10, %r1, 64;
  add.s64 %rd10, %rd1, %rd10;
  setp.ge.u32 %p1, %r1, 4;
  @%p1 bra END;
  ld.global.u32 %r10, [%rd10];
  setp.eq.u32 %p2, %r1, 0;
  @%p2 bra END;
  div.u32 %r11, %r10, %r1;
END:)"),
            "");
}

TEST(PtxMemory, RegistersMayBeWiderThanWhatIsRead) {
  std::vector<std::uint64_t> in = {0x8081828384858687, 0x1122334455667788}, out(6);
  launch(kernel(R"(
  ld.global.s8 %rd10, [%rd1];
  st.global.u64 [%rd2], %rd10;
  ld.global.u8 %h1, [%rd1+1];
  cvt.u64.u16 %rd10, %h1;
  st.global.u64 [%rd2+8], %rd10;
  ld.global.s16 %r10, [%rd1+2];
  st.global.u16 [%rd2+16], %r10;
  ld.global.v2.u64 {%rd11, %rd12}, [%rd1];
  st.global.v2.u64 [%rd2+32], {%rd12, %rd11};
  ld.global.u32 %rd13, [%rd1];
  st.global.u64 [%rd2+24], %rd13;)"),
         in, out, {.threads = 1});
  EXPECT_EQ(out[0], 0xffffffffffffff87u);
  EXPECT_EQ(out[1], 0x86u);
  EXPECT_EQ(out[2], 0x8485u);
  EXPECT_EQ(out[3], 0x84858687u);
  EXPECT_EQ(out[4], in[1]);
  EXPECT_EQ(out[5], in[0]);
}

TEST(PtxMemory, AtomicsReturnWhatWasThere) {
  Words in(1), out = {0, 5, 0, 100, 7, 0xffffffff, 0, 0};
  launch(kernel(R"(
  atom.global.add.u32 %r10, [%rd2], 1;
  atom.shared.exch.b32 %r11, [word], %r1;
  red.global.max.u32 [%rd2+4], %r1;
  atom.global.cas.b32 %r12, [%rd2+8], %r1, 50;
  atom.global.min.s32 %r13, [%rd2+12], %r1;
  red.global.or.b32 [%rd2+16], 8;
  atom.acq_rel.sys.global.max.s32 %r13, [%rd2+20], -5;
  mov.u32 %r14, 1;
  shl.b32 %r14, %r14, %r10;
  red.global.xor.b32 [%rd2+24], %r14;)",
                ".extern .shared .align 4 .b8 word[];"),
         in, out, {.dynamic_shared = 4});
  EXPECT_EQ(out[0], 32u);
  EXPECT_EQ(out[1], 31u);
  EXPECT_EQ(out[2], 50u);
  EXPECT_EQ(out[3], 0u);
  EXPECT_EQ(out[4], 15u);
  EXPECT_EQ(out[5], 0xffffffffu);
  EXPECT_EQ(out[6], 0xffffffffu);  // each lane had another turn
}

}  // namespace
}  // namespace hearth::ptx
