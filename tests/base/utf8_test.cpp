#include "base/utf8.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace hearth {
namespace {

TEST(Utf8, AcceptsWhatTheStandardCallsWellFormed) {
  EXPECT_EQ(valid_utf8_length("a"), 1u);
  EXPECT_EQ(valid_utf8_length("\xc3\xa9"), 2u);
  EXPECT_EQ(valid_utf8_length("\xe2\x82\xac!"), 3u);
  EXPECT_EQ(valid_utf8_length("\xf0\x9f\x98\x80"), 4u);
  EXPECT_EQ(valid_utf8_length("\xf4\x8f\xbf\xbf"), 4u);
}

TEST(Utf8, RejectsOverlongSurrogatesAndPastTheEnd) {
  for (const char* bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "\xff"})
    EXPECT_EQ(valid_utf8_length(bad), 0u) << printable(bad);
}

TEST(Utf8, HoldsBackAnIncompleteLastCharacterOnly) {
  EXPECT_EQ(complete_utf8_prefix("ab\xe2\x82"), 2u);
  EXPECT_EQ(complete_utf8_prefix("ab\xe2\x82\xac"), 5u);
  EXPECT_EQ(complete_utf8_prefix("ab\xf0\x9f\x98"), 2u);
  EXPECT_EQ(complete_utf8_prefix("\xbf\xbf\xbf\xbf"),
            4u);  // never a character: nothing to wait for
  EXPECT_EQ(complete_utf8_prefix(""), 0u);
}

TEST(Error, PrintableKeepsOneLine) {
  EXPECT_EQ(printable("a\nb\xff\x7f\xc3\xa9"), "a\\x0ab\\xff\\x7f\xc3\xa9");
  EXPECT_EQ(printable("aaaaaa", 3), "aaa...");
}

}  // namespace
}  // namespace hearth
