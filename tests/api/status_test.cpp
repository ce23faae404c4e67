// Codes, messages and structs at the border of the library.
#include "api/status.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <thread>

namespace hearth::border {
namespace {

template <typename Thrown>
hearth_status status_of_throwing(Thrown thrown) {
  return guarded([&] { throw thrown; });
}

TEST(Status, EveryExceptionBecomesACodeAndAMessage) {
  EXPECT_EQ(guarded([] {}), HEARTH_OK);
  EXPECT_EQ(status_of_throwing(Error(ErrorCode::kBudget, "too small")), HEARTH_ERROR_BUDGET);
  EXPECT_STREQ(hearth_message(), "too small");
  EXPECT_EQ(status_of_throwing(Stopped{"enough"}), HEARTH_STOPPED);
  EXPECT_STREQ(hearth_message(), "enough");
  EXPECT_EQ(status_of_throwing(Misuse(HEARTH_ERROR_STATE, "not {}", "now")), HEARTH_ERROR_STATE);
  EXPECT_STREQ(hearth_message(), "not now");
  EXPECT_EQ(status_of_throwing(std::bad_alloc()), HEARTH_ERROR_MEMORY);
  EXPECT_EQ(status_of_throwing(std::runtime_error("odd")), HEARTH_ERROR_INTERNAL);
  EXPECT_STREQ(hearth_message(), "odd");
  EXPECT_EQ(status_of_throwing(7), HEARTH_ERROR_INTERNAL);
}

TEST(Status, AMessageBelongsToItsThreadAndStays) {
  set_message("of the first");
  std::thread([] {
    EXPECT_STREQ(hearth_message(), "");
    set_message("of the second");
  }).join();
  EXPECT_STREQ(hearth_message(), "of the first");
  EXPECT_EQ(guarded([] {}), HEARTH_OK);
  EXPECT_STREQ(hearth_message(), "of the first");
}

TEST(Status, AMessageOfAnyLengthFits) {
  set_message(std::string(100'000, 'x'));
  EXPECT_EQ(std::string_view(hearth_message()).size(), 4095u);
}

TEST(Status, EveryCodeHasItsName) {
  EXPECT_STREQ(hearth_status_name(HEARTH_OK), "HEARTH_OK");
  EXPECT_STREQ(hearth_status_name(HEARTH_ERROR_BUDGET), "HEARTH_ERROR_BUDGET");
  EXPECT_STREQ(hearth_status_name(HEARTH_ERROR_INTERNAL), "HEARTH_ERROR_INTERNAL");
  EXPECT_STREQ(hearth_status_name(HEARTH_ERROR_INTERNAL + 1), "unknown status");
  EXPECT_STREQ(hearth_status_name(-1), "unknown status");
}

TEST(Status, TheVersionIsTheHeaders) {
  EXPECT_EQ(hearth_version(), fmt::format("{}.{}.{}", HEARTH_VERSION_MAJOR, HEARTH_VERSION_MINOR,
                                          HEARTH_VERSION_PATCH));
}

struct Options {
  std::size_t size;
  int first;
  int second;
};
struct LaterOptions {
  Options known;
  int third;
  int fourth;  // no padding: what nobody sets is not zero
};

TEST(Structs, AreReadAsFarAsBothSidesKnowThem) {
  const Options shorter{.size = offsetof(Options, second), .first = 1, .second = 2};
  const Options read = taken(&shorter, offsetof(Options, second), "options");
  EXPECT_EQ(read.first, 1);
  EXPECT_EQ(read.second, 0);

  LaterOptions later{
      .known = {.size = sizeof(LaterOptions), .first = 1, .second = 2}, .third = 0, .fourth = 0};
  EXPECT_EQ(taken(&later.known, sizeof(Options), "options").second, 2);
  later.third = 3;
  EXPECT_EQ(guarded([&] { taken(&later.known, sizeof(Options), "options"); }),
            HEARTH_ERROR_UNSUPPORTED);
}

TEST(Structs, WithoutASizeAreRefused) {
  const Options unset{};
  EXPECT_EQ(guarded([&] { taken(&unset, sizeof(Options), "options"); }), HEARTH_ERROR_USAGE);
  EXPECT_EQ(guarded([&] { taken<Options>(nullptr, sizeof(Options), "options"); }),
            HEARTH_ERROR_USAGE);
}

TEST(Structs, AreFilledAsFarAsTheCallerKnowsThem) {
  Options shorter{.size = offsetof(Options, second), .first = 0, .second = 7};
  fill(&shorter, {.size = sizeof(Options), .first = 1, .second = 2}, offsetof(Options, second),
       "options");
  EXPECT_EQ(shorter.size, offsetof(Options, second));
  EXPECT_EQ(shorter.first, 1);
  EXPECT_EQ(shorter.second, 7);
}

}  // namespace
}  // namespace hearth::border
