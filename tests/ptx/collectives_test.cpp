// Shuffles, votes and products of matrices, against the manual's pseudocode and layouts.
#include <random>

#include "tests/ptx/support/launch.h"

namespace hearth::ptx {
namespace {

using Words = std::vector<std::uint32_t>;

// Stores %r30 of each thread.
const std::string kStore = "add.s64 %rd4, %rd2, %rd3;\n st.global.u32 [%rd4], %r30;\n";

Words lanes_after(const std::string& body, Shape shape = {}) {
  Words in(64), out(shape.threads * shape.blocks, 0xdeadbeef);
  launch(kernel(body + kStore), in, out, shape);
  return out;
}

// Lane 100 + l of each: where it came from; 1000 more where the source was out of range.
Words sources(const std::string& mode, const std::string& b, const std::string& c) {
  return lanes_after("add.s32 %r10, %r1, 100;\n shfl.sync." + mode + ".b32 %r30|%p1, %r10, " + b +
                     ", " + c + ", -1;\n @!%p1 add.s32 %r30, %r30, 1000;\n");
}

TEST(PtxShuffles, GiveTheValueOfTheLaneThatTheModeNames) {
  const Words butterfly = sources("bfly", "5", "0x1f");
  const Words index = sources("idx", "3", "0x181f");  // segments of 8
  const Words up = sources("up", "3", "0x1800");      // likewise
  const Words down = sources("down", "3", "0x181f");
  for (unsigned lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(butterfly[lane], 100 + (lane ^ 5));
    EXPECT_EQ(index[lane], 100 + lane / 8 * 8 + 3);
    EXPECT_EQ(up[lane], lane % 8 < 3 ? 1100 + lane : 100 + lane - 3);
    EXPECT_EQ(down[lane], lane % 8 > 4 ? 1100 + lane : 100 + lane + 3);
  }
}

TEST(PtxShuffles, WaitForLanesThatTookAnotherWay) {
  const Words out = lanes_after(R"(
  setp.lt.u32 %p1, %r1, 7;
  mov.u32 %r10, 1;
  @%p1 bra SHORT;
  mov.u32 %r11, 0;
LOOP:
  add.s32 %r11, %r11, 1;
  setp.lt.u32 %p2, %r11, %r1;
  @%p2 bra LOOP;
  mov.u32 %r10, %r11;
SHORT:
  shfl.sync.bfly.b32 %r30, %r10, 16, 31, -1;
)");
  for (unsigned lane = 0; lane < 32; ++lane)
    EXPECT_EQ(out[lane], (lane ^ 16) < 7 ? 1u : lane ^ 16) << lane;
}

TEST(PtxShuffles, OfSomeLanesLeaveOthersAlone) {
  const Words out = lanes_after(R"(
  mov.u32 %r30, 7;
  setp.ge.u32 %p1, %r1, 8;
  @%p1 bra END;
  shfl.sync.idx.b32 %r30, %r1, 2, 31, 0xff;
END:
)");
  for (unsigned lane = 0; lane < 32; ++lane) EXPECT_EQ(out[lane], lane < 8 ? 2u : 7u);
}

TEST(PtxShuffles, RefuseWhatIsUndefined) {
  const auto error = [](const std::string& body) {
    return error_of_body(body + "mov.u32 %r30, 0;\n" + kStore);
  };
  // Lanes 0 to 7 never come.
  EXPECT_NE(error("setp.lt.u32 %p1, %r1, 8; @%p1 bra END; shfl.sync.idx.b32 %r10, %r1, 9, 31, -1; "
                  "END: bar.sync 0;\n")
                .find("lanes wait"),
            std::string::npos);
  // They have left, and lane 3 is asked for.
  EXPECT_NE(error("setp.lt.u32 %p1, %r1, 8; @%p1 exit; shfl.sync.idx.b32 %r10, %r1, 3, 31, -1;\n")
                .find("takes no part"),
            std::string::npos);
  EXPECT_NE(error("shfl.sync.idx.b32 %r10, %r1, 3, 31, 0xff;\n").find("without this one"),
            std::string::npos);
  EXPECT_NE(error("shl.b32 %r10, 0xffff, %r1; or.b32 %r10, %r10, 0xffff; bar.warp.sync %r10;\n")
                .find("different lanes"),
            std::string::npos);
}

TEST(PtxVotes, CountTheLanesThatTakePart) {
  const std::string odd = "and.b32 %r10, %r1, 1;\n setp.ne.u32 %p1, %r10, 0;\n";
  for (std::uint32_t x : lanes_after(odd + "vote.sync.ballot.b32 %r30, %p1, -1;\n"))
    EXPECT_EQ(x, 0xaaaaaaaau);
  for (std::uint32_t x :
       lanes_after(odd + "vote.sync.any.pred %p2, %p1, -1;\n selp.u32 %r30, 1, 0, %p2;\n"))
    EXPECT_EQ(x, 1u);
  for (std::uint32_t x :
       lanes_after(odd + "vote.sync.all.pred %p2, %p1, -1;\n selp.u32 %r30, 1, 0, %p2;\n"))
    EXPECT_EQ(x, 0u);
  // Of those that are left, all are odd.
  const Words left =
      lanes_after(odd + "mov.u32 %r30, 0;\n @!%p1 exit;\n vote.sync.all.pred %p2, %p1, -1;\n" +
                  "selp.u32 %r30, 1, 0, %p2;\n");
  EXPECT_EQ(left[1], 1u);
  EXPECT_EQ(left[0], 0xdeadbeefu);
}

// Fragments by the manual's formulas, one element at a time ("Matrix fragments for mma.m16n8k32"
// and its kin): a_i, b_i, c_i of a lane.
struct Layout {
  unsigned rows, depth;
  unsigned a_row(unsigned lane, unsigned i) const {
    const unsigned group = lane >> 2;
    if (rows == 8) return group;
    if (depth == 16) return i < 4 ? group : group + 8;
    return i < 4 || (8 <= i && i < 12) ? group : group + 8;
  }
  unsigned a_column(unsigned lane, unsigned i) const {
    const unsigned column = lane % 4 * 4 + (i & 3);
    return depth == 32 && i >= 8 ? column + 16 : column;
  }
  unsigned b_row(unsigned lane, unsigned i) const {
    return lane % 4 * 4 + (i & 3) + (i < 4 ? 0 : 16);
  }
  unsigned c_row(unsigned lane, unsigned i) const { return i < 2 ? lane >> 2 : (lane >> 2) + 8; }
  unsigned c_column(unsigned lane, unsigned i) const { return lane % 4 * 2 + (i & 1); }

  unsigned a_elements() const { return rows * depth / 32; }
  unsigned b_elements() const { return depth * 8 / 32; }
  unsigned c_elements() const { return rows * 8 / 32; }
};

void expect_product(const Layout& layout) {
  std::mt19937 random(layout.rows + layout.depth);
  std::vector<std::vector<int>> a(layout.rows, std::vector<int>(layout.depth)),
      b(layout.depth, std::vector<int>(8)), c(layout.rows, std::vector<int>(8));
  for (auto* matrix : {&a, &b})
    for (auto& row : *matrix)
      for (int& x : row) x = static_cast<int>(random() % 256) - 128;
  for (auto& row : c)
    for (int& x : row) x = static_cast<int>(random() % 100000);

  const unsigned a_words = layout.a_elements() / 4, b_words = layout.b_elements() / 4,
                 sums = layout.c_elements();
  const unsigned stride = a_words + b_words + sums;
  Words in(32 * stride), out(32 * sums);
  for (unsigned lane = 0; lane < 32; ++lane) {
    std::uint32_t* of_lane = in.data() + lane * stride;
    const auto put = [&](unsigned at, unsigned i, int x) {
      of_lane[at + i / 4] |= static_cast<std::uint32_t>(x & 0xff) << 8 * (i % 4);
    };
    for (unsigned i = 0; i < layout.a_elements(); ++i)
      put(0, i, a[layout.a_row(lane, i)][layout.a_column(lane, i)]);
    for (unsigned i = 0; i < layout.b_elements(); ++i)
      put(a_words, i, b[layout.b_row(lane, i)][lane >> 2]);
    for (unsigned i = 0; i < sums; ++i)
      of_lane[a_words + b_words + i] =
          static_cast<std::uint32_t>(c[layout.c_row(lane, i)][layout.c_column(lane, i)]);
  }

  const auto words = [](unsigned first, unsigned count) {
    std::string text = "{";
    for (unsigned i = 0; i < count; ++i) text += (i ? ", %r" : "%r") + std::to_string(first + i);
    return text + "}";
  };
  std::string body =
      "mul.wide.u32 %rd4, %r1, " + std::to_string(4 * stride) + ";\n add.s64 %rd4, %rd1, %rd4;\n";
  for (unsigned i = 0; i < stride; ++i)
    body +=
        "ld.global.u32 %r" + std::to_string(10 + i) + ", [%rd4+" + std::to_string(4 * i) + "];\n";
  const std::string of_sums = words(10 + a_words + b_words, sums);
  body += "mma.sync.aligned.m" + std::to_string(layout.rows) + "n8k" +
          std::to_string(layout.depth) + ".row.col.s32.s8.s8.s32 " + of_sums + ", " +
          words(10, a_words) + ", " + words(10 + a_words, b_words) + ", " + of_sums + ";\n";
  body += "mul.wide.u32 %rd4, %r1, " + std::to_string(4 * sums) + ";\n add.s64 %rd4, %rd2, %rd4;\n";
  for (unsigned i = 0; i < sums; ++i)
    body += "st.global.u32 [%rd4+" + std::to_string(4 * i) + "], %r" +
            std::to_string(10 + a_words + b_words + i) + ";\n";
  launch(kernel(body), in, out);

  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned i = 0; i < sums; ++i) {
      const unsigned row = layout.c_row(lane, i), column = layout.c_column(lane, i);
      int sum = c[row][column];
      for (unsigned k = 0; k < layout.depth; ++k) sum += a[row][k] * b[k][column];
      EXPECT_EQ(static_cast<int>(out[lane * sums + i]), sum)
          << "row " << row << ", column " << column;
    }
}

TEST(PtxProducts, OfMatricesHaveTheFragmentsOfTheManual) {
  expect_product({8, 16});
  expect_product({16, 16});
  expect_product({16, 32});
}

TEST(PtxProducts, NeedAllLanes) {
  const std::string mma =
      "mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%r10, %r11}, {%r12}, {%r13}, {%r10, "
      "%r11};\n";
  EXPECT_NE(error_of_body("setp.eq.u32 %p1, %r1, 3; @%p1 exit;\n" + mma).find("lanes have left"),
            std::string::npos);
  EXPECT_NE(error_of_body("setp.eq.u32 %p1, %r1, 3; @%p1 bra END;\n" + mma + "END: bar.sync 0;")
                .find("lanes wait"),
            std::string::npos);
}

}  // namespace
}  // namespace hearth::ptx
