// Instructions against the words of the PTX ISA manual, at the edges it names.
#include <cmath>
#include <limits>

#include "tests/ptx/support/launch.h"

namespace hearth::ptx {
namespace {

constexpr std::uint32_t kNan = 0x7fffffff;
constexpr std::uint32_t kOtherNan = 0xffc12345;
constexpr std::uint32_t kInfinity = 0x7f800000;

std::uint64_t of_floats(const std::string& opcode, std::vector<float> inputs) {
  std::vector<std::uint64_t> bits;
  for (float x : inputs) bits.push_back(bits_as<std::uint32_t>(x));
  return result_of(opcode, std::string(inputs.size() + 1, 'w'), bits);
}

std::uint64_t word(std::int64_t x) { return static_cast<std::uint32_t>(x); }

TEST(PtxInstructions, IntegersWrap) {
  EXPECT_EQ(result_of("add.s32", "www", {0x7fffffff, 1}), 0x80000000u);
  EXPECT_EQ(result_of("sub.s64", "ddd", {0, 1}), ~0ull);
  EXPECT_EQ(result_of("mul.lo.s32", "www", {0x80000001, 3}), 0x80000003u);
  EXPECT_EQ(result_of("mad.lo.s32", "wwww", {word(-3), 5, 7}), word(-8));
  EXPECT_EQ(result_of("add.u16", "hhh", {0xffff, 2}), 1u);
  EXPECT_EQ(result_of("neg.s32", "ww", {0x80000000}), 0x80000000u);
  EXPECT_EQ(result_of("abs.s32", "ww", {word(-5)}), 5u);
}

TEST(PtxInstructions, WideProductsKeepAllBits) {
  EXPECT_EQ(result_of("mul.wide.u32", "dww", {0xffffffff, 0xffffffff}), 0xfffffffe00000001u);
  EXPECT_EQ(result_of("mul.wide.s32", "dww", {0xffffffff, 2}), static_cast<std::uint64_t>(-2));
  EXPECT_EQ(result_of("mul.hi.u32", "www", {0x80000000, 6}), 3u);
  EXPECT_EQ(result_of("mul.hi.s32", "www", {0x80000000, 6}), word(-3));
  EXPECT_EQ(result_of("mad.wide.u32", "dwwd", {1u << 31, 2, 5}), (1ull << 32) + 5);
}

TEST(PtxInstructions, DivisionTruncates) {
  EXPECT_EQ(result_of("div.s32", "www", {word(-7), 2}), word(-3));
  EXPECT_EQ(result_of("rem.s32", "www", {word(-7), 2}), word(-1));
  EXPECT_EQ(result_of("div.u32", "www", {word(-7), 2}), 0x7ffffffcu);
  EXPECT_EQ(result_of("rem.u64", "ddd", {1ull << 40, 7}), (1ull << 40) % 7);
  EXPECT_NE(error_of([] { result_of("div.u32", "www", {1, 0}); }).find("division by zero"),
            std::string::npos);
}

TEST(PtxInstructions, LeastAndGreatestOfIntegersKnowTheSign) {
  EXPECT_EQ(result_of("min.s32", "www", {word(-1), 1}), word(-1));
  EXPECT_EQ(result_of("min.u32", "www", {word(-1), 1}), 1u);
  EXPECT_EQ(result_of("max.u64", "ddd", {~0ull, 1}), ~0ull);
  EXPECT_EQ(result_of("max.s64", "ddd", {~0ull, 1}), 1u);
}

TEST(PtxInstructions, ShiftsBeyondTheWidthClamp) {
  EXPECT_EQ(result_of("shl.b32", "www", {1, 31}), 1u << 31);
  EXPECT_EQ(result_of("shl.b32", "www", {1, 32}), 0u);
  EXPECT_EQ(result_of("shl.b32", "www", {1, 0xffffffff}), 0u);
  EXPECT_EQ(result_of("shr.u32", "www", {0x80000000, 32}), 0u);
  EXPECT_EQ(result_of("shr.s32", "www", {0x80000000, 40}), 0xffffffffu);
  EXPECT_EQ(result_of("shl.b64", "ddw", {1, 63}), 1ull << 63);
  EXPECT_EQ(result_of("shr.s64", "ddw", {1ull << 63, 64}), ~0ull);
  EXPECT_EQ(result_of("shl.b16", "hhw", {1, 16}), 0u);
  EXPECT_EQ(result_of("shr.s16", "hhw", {0x8000, 3}), 0xf000u);
}

TEST(PtxInstructions, FunnelShiftsWrapOrClamp) {
  constexpr std::uint32_t low = 0x12345678, high = 0x9abcdef0;
  EXPECT_EQ(result_of("shf.r.wrap.b32", "wwww", {low, high, 8}), 0xf0123456u);
  EXPECT_EQ(result_of("shf.r.wrap.b32", "wwww", {low, high, 32}), low);
  EXPECT_EQ(result_of("shf.r.clamp.b32", "wwww", {low, high, 35}), high);
  EXPECT_EQ(result_of("shf.l.wrap.b32", "wwww", {low, high, 8}), 0xbcdef012u);
  EXPECT_EQ(result_of("shf.l.clamp.b32", "wwww", {low, high, 32}), low);
}

TEST(PtxInstructions, BytesArePermutedAndSignsReplicated) {
  constexpr std::uint32_t a = 0x83828180, b = 0x07060504;
  EXPECT_EQ(result_of("prmt.b32", "wwww", {a, b, 0x7531}), 0x07058381u);
  EXPECT_EQ(result_of("prmt.b32", "wwww", {a, b, 0xcba8}), 0x00ffffffu);
  EXPECT_EQ(result_of("prmt.b32", "wwww", {a, b, 0xffff3210}),
            a);  // of the selector, 16 bits count
}

TEST(PtxInstructions, FieldsEndAtTheTopBit) {
  EXPECT_EQ(result_of("bfi.b32", "wwwww", {0xff, 0, 4, 4}), 0xf0u);
  EXPECT_EQ(result_of("bfi.b32", "wwwww", {0xffff, 0x1, 24, 16}), 0xff000001u);
  EXPECT_EQ(result_of("bfi.b32", "wwwww", {0xffff, 7, 32, 4}), 7u);
  EXPECT_EQ(result_of("bfi.b32", "wwwww", {0xffff, 7, 0, 0}), 7u);
  EXPECT_EQ(result_of("bfi.b32", "wwwww", {0xabcdef01, 7, 0, 32}), 0xabcdef01u);
  EXPECT_EQ(result_of("bfe.u32", "wwww", {0xabcd, 4, 8}), 0xbcu);
  EXPECT_EQ(result_of("bfe.u32", "wwww", {0xf0000000, 28, 8}), 0xfu);
  EXPECT_EQ(result_of("bfe.s32", "wwww", {0x80, 4, 4}), 0xfffffff8u);
  EXPECT_EQ(result_of("bfe.s32", "wwww", {0x80000000, 40, 4}), 0xffffffffu);
  EXPECT_EQ(result_of("bfe.s32", "wwww", {0x80000000, 31, 0}), 0u);
}

TEST(PtxInstructions, BitsAreCounted) {
  EXPECT_EQ(result_of("popc.b32", "ww", {0xf0f00001}), 9u);
  EXPECT_EQ(result_of("popc.b64", "wd", {~0ull}), 64u);
  EXPECT_EQ(result_of("clz.b32", "ww", {0}), 32u);
  EXPECT_EQ(result_of("not.b16", "hh", {0x0ff0}), 0xf00fu);
  EXPECT_EQ(result_of("xor.b64", "ddd", {~0ull, 1}), ~1ull);
}

TEST(PtxInstructions, DotProductsTakeSignsFromTheirTypes) {
  EXPECT_EQ(result_of("dp4a.s32.s32", "wwww", {0x80ff0102, 0x7f02ff03, 10}),
            word(10 + 2 * 3 - 1 - 1 * 2 - 128 * 127));
  EXPECT_EQ(result_of("dp4a.u32.s32", "wwww", {0xff000000, 0xff000000, 0}), word(-255));
  // The lower and the upper two bytes of b, with both halves of a.
  EXPECT_EQ(result_of("dp2a.lo.s32.u32", "wwww", {0x8000fffe, 0x0403ff02, 1}),
            word(1 - 2 * 2 - 32768 * 255));
  EXPECT_EQ(result_of("dp2a.hi.s32.u32", "wwww", {0x8000fffe, 0x0403ff02, 1}),
            word(1 - 2 * 3 - 32768 * 4));
}

TEST(PtxInstructions, FloatsRoundOnceAndKeepSubnormals) {
  const float tiny = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(of_floats("add.rn.f32", {tiny, tiny}), 2u);
  EXPECT_EQ(of_floats("mul.rn.f32", {tiny, 0.5f}), 0u);  // a tie, to even
  EXPECT_EQ(of_floats("mul.rn.f32", {3 * tiny, 0.5f}), 2u);
  const float x = 1 + 0x1p-12f;  // whose square rounds, but not before the sum
  EXPECT_EQ(of_floats("fma.rn.f32", {x, x, -1 - 0x1p-11f}), bits_as<std::uint32_t>(0x1p-24f));
  EXPECT_EQ(of_floats("div.rn.f32", {1, 3}), 0x3eaaaaabu);
  EXPECT_EQ(of_floats("sqrt.rn.f32", {2}), 0x3fb504f3u);
  EXPECT_EQ(of_floats("rcp.rn.f32", {-0.0f}), 0xff800000u);
  EXPECT_EQ(
      result_of("div.rn.f64", "ddd", {bits_as<std::uint64_t>(1.0), bits_as<std::uint64_t>(3.0)}),
      0x3fd5555555555555u);
}

TEST(PtxInstructions, NoNumbersAreCanonical) {
  EXPECT_EQ(result_of("add.rn.f32", "www", {kOtherNan, 0}), kNan);
  EXPECT_EQ(result_of("sub.rn.f32", "www", {kInfinity, kInfinity}), kNan);
  EXPECT_EQ(result_of("mul.rn.f32", "www", {kInfinity, 0}), kNan);
  EXPECT_EQ(result_of("fma.rn.f32", "wwww", {kInfinity, 0, kOtherNan}), kNan);
  EXPECT_EQ(of_floats("sqrt.rn.f32", {-1}), kNan);
  EXPECT_EQ(of_floats("div.rn.f32", {0, 0}), kNan);
}

TEST(PtxInstructions, LeastAndGreatestPreferNumbersAndKnowTheSignOfZero) {
  const auto one = bits_as<std::uint32_t>(1.0f);
  EXPECT_EQ(result_of("max.f32", "www", {kOtherNan, one}), one);
  EXPECT_EQ(result_of("max.f32", "www", {one, kOtherNan}), one);
  EXPECT_EQ(result_of("min.f32", "www", {kOtherNan, kOtherNan}), kNan);
  EXPECT_EQ(of_floats("max.f32", {-0.0f, 0.0f}), 0u);
  EXPECT_EQ(of_floats("max.f32", {0.0f, -0.0f}), 0u);
  EXPECT_EQ(of_floats("min.f32", {0.0f, -0.0f}), 0x80000000u);
  EXPECT_EQ(of_floats("min.f32", {-0.0f, 0.0f}), 0x80000000u);
  EXPECT_EQ(result_of("neg.f32", "ww", {0}), 0x80000000u);
}

TEST(PtxInstructions, ComparisonsAreOrderedOrNot) {
  const auto one = bits_as<std::uint32_t>(1.0f), two = bits_as<std::uint32_t>(2.0f);
  for (const char* ordered : {"eq", "ne", "lt", "le", "gt", "ge", "num"})
    EXPECT_EQ(result_of(std::string("setp.") + ordered + ".f32", "pww", {kNan, one}), 0u)
        << ordered;
  for (const char* unordered : {"equ", "neu", "ltu", "leu", "gtu", "geu", "nan"})
    EXPECT_EQ(result_of(std::string("setp.") + unordered + ".f32", "pww", {one, kNan}), 1u)
        << unordered;
  const auto holds = [&](const char* name, std::uint32_t a, std::uint32_t b) {
    return result_of(std::string("setp.") + name + ".f32", "pww", {a, b}) == 1;
  };
  for (const std::string end : {"", "u"}) {
    EXPECT_TRUE(holds(("lt" + end).c_str(), one, two) && !holds(("lt" + end).c_str(), one, one));
    EXPECT_TRUE(holds(("le" + end).c_str(), one, one) && !holds(("le" + end).c_str(), two, one));
    EXPECT_TRUE(holds(("gt" + end).c_str(), two, one) && !holds(("gt" + end).c_str(), one, one));
    EXPECT_TRUE(holds(("ge" + end).c_str(), one, one) && !holds(("ge" + end).c_str(), one, two));
    EXPECT_TRUE(holds(("eq" + end).c_str(), one, one) && !holds(("eq" + end).c_str(), one, two));
    EXPECT_TRUE(holds(("ne" + end).c_str(), one, two) && !holds(("ne" + end).c_str(), two, two));
  }
  EXPECT_EQ(result_of("setp.eq.f32", "pww", {0, 0x80000000}), 1u);
  EXPECT_EQ(result_of("setp.lt.s32", "pww", {word(-1), 0}), 1u);
  EXPECT_EQ(result_of("setp.lt.u32", "pww", {word(-1), 0}), 0u);
  EXPECT_EQ(result_of("setp.gt.s16", "phh", {0xffff, 0}), 0u);
  EXPECT_EQ(result_of("setp.ge.u64", "pdd", {~0ull, 1}), 1u);
}

TEST(PtxInstructions, FloatsBecomeIntegersRoundedAndClamped) {
  const auto to = [](const char* type, float x) {
    return result_of(std::string("cvt.") + type + ".f32", "ww", {bits_as<std::uint32_t>(x)});
  };
  EXPECT_EQ(to("rni.s32", 2.5f), 2u);
  EXPECT_EQ(to("rni.s32", 3.5f), 4u);
  EXPECT_EQ(to("rni.s32", -2.5f), word(-2));
  EXPECT_EQ(to("rzi.s32", -2.9f), word(-2));
  EXPECT_EQ(to("rmi.s32", -2.1f), word(-3));
  EXPECT_EQ(to("rpi.s32", 2.1f), 3u);
  EXPECT_EQ(to("rni.s32", 3e9f), 0x7fffffffu);
  EXPECT_EQ(to("rni.s32", -3e9f), 0x80000000u);
  EXPECT_EQ(to("rzi.u32", -1.0f), 0u);
  EXPECT_EQ(to("rzi.u32", 5e9f), 0xffffffffu);
  EXPECT_EQ(result_of("cvt.rni.s32.f32", "ww", {kNan}), 0u);
  EXPECT_EQ(result_of("cvt.rni.s64.f32", "dw", {kNan}), 1ull << 63);
  EXPECT_EQ(result_of("cvt.rzi.s32.f64", "wd", {0x7ff8000000000000}), 0x80000000u);
  EXPECT_EQ(result_of("cvt.rzi.s64.f64", "dd", {bits_as<std::uint64_t>(-1e15 - 0.5)}),
            static_cast<std::uint64_t>(-1000000000000000));
}

TEST(PtxInstructions, IntegersBecomeFloatsRounded) {
  EXPECT_EQ(result_of("cvt.rn.f32.s32", "ww", {0x01000001}), bits_as<std::uint32_t>(0x1p24f));
  EXPECT_EQ(result_of("cvt.rn.f32.u32", "ww", {0xffffffff}), bits_as<std::uint32_t>(0x1p32f));
  EXPECT_EQ(result_of("cvt.rn.f32.s16", "wh", {0xffff}), bits_as<std::uint32_t>(-1.0f));
  EXPECT_EQ(result_of("cvt.rn.f64.u32", "dw", {0xffffffff}), bits_as<std::uint64_t>(4294967295.0));
  EXPECT_EQ(result_of("cvt.rn.f32.f64", "wd", {bits_as<std::uint64_t>(1 + 0x1p-24)}), 0x3f800000u);
  EXPECT_EQ(result_of("cvt.f64.f32", "dw", {1}), bits_as<std::uint64_t>(0x1p-149));
}

TEST(PtxInstructions, IntegersExtendByTheSignOfTheirType) {
  EXPECT_EQ(result_of("cvt.s32.s8", "ww", {0x1280}), 0xffffff80u);
  EXPECT_EQ(result_of("cvt.u32.u8", "ww", {0x1280}), 0x80u);
  EXPECT_EQ(result_of("cvt.s16.s8", "hh", {0x1280}), 0xff80u);
  EXPECT_EQ(result_of("cvt.s64.s32", "dw", {0x80000000}), 0xffffffff80000000u);
  EXPECT_EQ(result_of("cvt.u64.u32", "dw", {0x80000000}), 0x80000000u);
  EXPECT_EQ(result_of("cvt.u32.u64", "wd", {0x123456789abcdef0}), 0x9abcdef0u);
  EXPECT_EQ(result_of("cvt.u16.u32", "hw", {0x12345678}), 0x5678u);
}

// Every half, against its value by the definition of the format.
TEST(PtxInstructions, HalvesBecomeFloatsExactly) {
  for (std::uint32_t half = 0; half < 0x10000;
       half += half % 0x400 < 3 || half % 0x400 > 0x3fc ? 1 : 61) {
    const int exponent = static_cast<int>(half >> 10 & 31);
    const int mantissa = static_cast<int>(half & 0x3ff);
    const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                            : exponent == 31
                                ? std::numeric_limits<float>::infinity()
                                : std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
    const std::uint32_t expected =
        exponent == 31 && mantissa ? kNan
                                   : bits_as<std::uint32_t>(half & 0x8000 ? -magnitude : magnitude);
    ASSERT_EQ(result_of("cvt.f32.f16", "wh", {half}), expected) << half;
    if (exponent == 31 && mantissa) continue;
    ASSERT_EQ(result_of("cvt.rn.f16.f32", "hw", {expected}), half) << half;
  }
}

TEST(PtxInstructions, FloatsBecomeHalvesToTheNearestEven) {
  const auto half = [](float x) {
    return result_of("cvt.rn.f16.f32", "hw", {bits_as<std::uint32_t>(x)});
  };
  EXPECT_EQ(half(65519.99f), 0x7bffu);
  EXPECT_EQ(half(65520), 0x7c00u);
  EXPECT_EQ(half(-1e9f), 0xfc00u);
  EXPECT_EQ(half(0x1p-25f), 0u);               // a tie, to even
  EXPECT_EQ(half(0x1.000002p-25f), 1u);        // the least subnormal
  EXPECT_EQ(half(0x1.8p-24f), 2u);             // a tie, to even
  EXPECT_EQ(half(0x1.ffep-15f), 0x0400u);      // from the last subnormal up, a tie
  EXPECT_EQ(half(1 + 0x1p-11f), 0x3c00u);      // a tie, to even
  EXPECT_EQ(half(1 + 0x1.8p-10f), 0x3c02u);    // a tie, to even
  EXPECT_EQ(half(1 + 0x1.002p-11f), 0x3c01u);  // above a tie
  EXPECT_EQ(result_of("cvt.rn.f16.f32", "hw", {kOtherNan}), 0x7fffu);
}

TEST(PtxInstructions, SelectionsFollowThePredicate) {
  EXPECT_EQ(result_of("selp.b32", "wwwp", {1, 2, 1}), 1u);
  EXPECT_EQ(result_of("selp.b64", "dddp", {1, ~0ull, 0}), ~0ull);
  EXPECT_EQ(result_of("and.pred", "ppp", {1, 0}), 0u);
  EXPECT_EQ(result_of("or.pred", "ppp", {1, 0}), 1u);
  EXPECT_EQ(result_of("xor.pred", "ppp", {1, 1}), 0u);
  EXPECT_EQ(result_of("not.pred", "pp", {0}), 1u);
}

TEST(PtxInstructions, HalvesOfARegisterComeApartAndTogether) {
  std::vector<std::uint64_t> in = {0x1122334455667788}, out(1);
  launch(kernel(R"(
  ld.global.u64 %rd10, [%rd1];
  mov.b64 {%r10, %r11}, %rd10;
  mov.b32 {%h1, %h2}, %r10;
  mov.b32 %r10, {%h2, %h1};
  mov.b64 %rd11, {%r11, %r10};
  st.global.u64 [%rd2], %rd11;)"),
         in, out, {.threads = 1});
  EXPECT_EQ(out[0], 0x7788556611223344u);
}

}  // namespace
}  // namespace hearth::ptx
