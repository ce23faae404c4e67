#include "profiler/table_toml.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace hearth::profiler {
namespace {

using namespace std::string_view_literals;

std::string string_of(std::string_view text) {
  const toml::table root = parse_toml(text, "file");
  return TableReader(root, "file").string("s");
}

std::optional<std::string> refusal(std::string_view text) {
  try {
    parse_toml(text, "file");
    return std::nullopt;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadFile);
    return error.what();
  }
}

TEST(TableToml, StringsOfEitherQuoteKeepEveryLetter) {
  EXPECT_EQ(string_of("s = \"für \u20ac \U0001f525\"  # übrig"), "für \u20ac \U0001f525");
  EXPECT_EQ(string_of("# \xff\ns = 'für \u20ac \U0001f525'"), "für \u20ac \U0001f525");
  EXPECT_EQ(string_of(R"(s = 'C:\Über "uns" \u0041\')"), R"(C:\Über "uns" \u0041\)");
  EXPECT_EQ(string_of(R"(s = "C:\\\u00dcber \"uns\" 'hier' # ü")"), "C:\\Über \"uns\" 'hier' # ü");
  EXPECT_EQ(string_of("\"s\" = ''"), "");
  EXPECT_EQ(string_of("s = \"\u0080\u07ff\u0800\uffff\U00010000\U0010ffff\""),
            "\u0080\u07ff\u0800\uffff\U00010000\U0010ffff");
}

TEST(TableToml, WhatIsNoTextInAStringIsRefused) {
  EXPECT_EQ(refusal("s = 1\nt = \"\xc3(\""),
            "file: line 2: a string is not UTF-8; correct it, or make the file again");
  EXPECT_EQ(refusal("s = \"\\ü\""),
            "file: line 1: a string has an unknown escape; correct it, or make the file again");
  for (const std::string_view text : {"s = \"\\u12ü4\"", "s = \"ü\n\"", "s = 'ü", "s = \"ü\\",
                                      "s = \"\"\"ü\"\"\"", "s = '''ü'''"})
    EXPECT_TRUE(refusal(text)) << text;
}

// From a sign or digit the parser reads ahead, into what stands in quotes for everybody else.
TEST(TableToml, AStringWithinANumberIsRefused) {
  EXPECT_TRUE(refusal("name =-\0\0\0[\"comp\u00fcs Teson =ts \""sv));
  for (const std::string_view number : {"-", "1", "0x", "1.", "1e", "2020-01-01", "1=", "inf", "t"})
    for (const std::string_view text : {"\"ü\"", "'ü'", "[\"ü\"]", "{ü = 'ü'}", "=\"ü\""})
      EXPECT_TRUE(refusal("s = " + std::string(number).append(text))) << number << text;
}

}  // namespace
}  // namespace hearth::profiler
