#include "tools/hearth/quantity.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace hearth::tools {
namespace {

template <typename Call>
ErrorCode error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::kNumerics;
}

TEST(Quantity, SizesInEverySpelling) {
  EXPECT_EQ(parse_size("0"), Bytes(0));
  EXPECT_EQ(parse_size("4096"), Bytes(4096));
  EXPECT_EQ(parse_size("4096B"), Bytes(4096));
  EXPECT_EQ(parse_size("6GiB"), 6 * kGiB);
  EXPECT_EQ(parse_size("6G"), 6 * kGiB);
  EXPECT_EQ(parse_size("6g"), 6 * kGiB);
  EXPECT_EQ(parse_size("6 GiB"), 6 * kGiB);
  EXPECT_EQ(parse_size("512MiB"), 512 * kMiB);
  EXPECT_EQ(parse_size("64k"), 64 * kKiB);
  EXPECT_EQ(parse_size("1.5GB"), Bytes(1'500'000'000));
  EXPECT_EQ(parse_size("0.5GiB"), 512 * kMiB);
  EXPECT_EQ(parse_size("2TB"), Bytes(2'000'000'000'000));
}

TEST(Quantity, WhatIsNoSizeIsAUsageError) {
  for (const char* text : {"", "G", "-1", "+1", "1e9", "0x10", "1.5.2", "6Gi B", "6GiBs", "6P",
                           "25%", "nan", "inf", "9999999TiB", " 6G", "6G "})
    EXPECT_EQ(error_of([&] { parse_size(text); }), ErrorCode::kUsage) << "'" << text << "'";
}

TEST(Quantity, AShareIsOfSomethingKnownLater) {
  EXPECT_EQ(parse_size_or_share("25%").of(Bytes(1000)), Bytes(250));
  EXPECT_EQ(parse_size_or_share("12.5%").of(Bytes(1000)), Bytes(125));
  EXPECT_EQ(parse_size_or_share("100%").of(Bytes(7)), Bytes(7));
  EXPECT_EQ(parse_size_or_share("1MiB").of(Bytes(7)), kMiB);
  for (const char* text : {"0%", "101%", "-5%", "%", "5%%", "x%", "5M%"})
    EXPECT_EQ(error_of([&] { parse_size_or_share(text); }), ErrorCode::kUsage) << text;
}

TEST(Quantity, NumbersAreDecimalAndBounded) {
  EXPECT_EQ(parse_integer("-1", -1, 10), -1);
  EXPECT_EQ(parse_integer("010", 0, 10), 10);
  EXPECT_EQ(parse_unsigned("18446744073709551615", ~0ull), ~0ull);
  EXPECT_EQ(parse_real("-0.5"), -0.5);
  for (const char* text : {"", "a", "1a", "11", "-2", "1.5", " 1", "99999999999999999999"})
    EXPECT_EQ(error_of([&] { parse_integer(text, -1, 10); }), ErrorCode::kUsage) << text;
  for (const char* text : {"", "-1", "256", "0x1"})
    EXPECT_EQ(error_of([&] { parse_unsigned(text, 255); }), ErrorCode::kUsage) << text;
  for (const char* text : {"", "nan", "inf", "1e999", "1,5", "1 "})
    EXPECT_EQ(error_of([&] { parse_real(text); }), ErrorCode::kUsage) << text;
}

TEST(Quantity, SizesAndRatesReadWell) {
  EXPECT_EQ(format_size(Bytes(0)), "0 B");
  EXPECT_EQ(format_size(Bytes(1023)), "1023 B");
  EXPECT_EQ(format_size(Bytes(1024)), "1.00 KiB");
  EXPECT_EQ(format_size(kMiB - Bytes(1)), "1.00 MiB");  // not "1024 KiB"
  EXPECT_EQ(format_size(Bytes(3'059'712)), "2.92 MiB");
  EXPECT_EQ(format_size(5000 * kGiB), "4.88 TiB");
  EXPECT_EQ(format_rate(Bytes(2'310'000'000), std::chrono::seconds(1)), "2.31 GB/s");
  EXPECT_EQ(format_rate(Bytes(1), Nanoseconds(0)), "-");
  EXPECT_EQ(format_count(128), "128");
  EXPECT_EQ(format_count(30'532'122'624), "30.5 B");
  EXPECT_EQ(format_count(999'950), "1.00 M");
  EXPECT_EQ(format_grouped(999), "999");
  EXPECT_EQ(format_grouped(1'234'567), "1,234,567");
}

TEST(Quantity, DurationsReadWell) {
  EXPECT_EQ(format_duration(Nanoseconds(850)), "850 ns");
  EXPECT_EQ(format_duration(std::chrono::microseconds(1500)), "1.50 ms");
  EXPECT_EQ(format_duration(std::chrono::milliseconds(59'900)), "59.9 s");
  EXPECT_EQ(format_duration(std::chrono::milliseconds(59'960)), "1 min 00 s");
  EXPECT_EQ(format_duration(std::chrono::seconds(123)), "2 min 03 s");
  EXPECT_EQ(format_duration(std::chrono::minutes(125)), "2 h 05 min");
  EXPECT_EQ(format_duration(-std::chrono::seconds(2)), "-2.00 s");
}

}  // namespace
}  // namespace hearth::tools
